"""What a model says of the held-out images, each process for its share of them."""

import numpy as np
import torch

from common import parallel


class HeldOut:
    """The held-out Pictures. Calling it with a network returns (logits (N, A + R) at temperature 1, truth like them,
    numbers (N,) of the images that could be read)."""

    def __init__(self, pictures, options, device):
        self.pictures, self.device = pictures, device
        self.batch_size, self.workers = options.test_batch_size, options.num_workers

    @torch.no_grad()
    def __call__(self, network):
        was_training = network.training
        network.eval()
        rows, found = parallel.shard(range(len(self.pictures))), [(np.zeros((0, self.outputs), np.float32), [])]
        for x, numbers in self.pictures.batches(rows, self.batch_size, self.workers):
            if len(numbers):
                found.append((raw_logits(network, x.to(self.device)).float().cpu().numpy(), numbers))
        network.train(was_training)
        logits, numbers = (np.concatenate(parts) for parts in zip(*found))
        shares = parallel.gather_objects((logits, numbers.astype(int)))
        logits, numbers = (np.concatenate(parts) for parts in zip(*shares))
        if not len(numbers):
            self.pictures.require(0)
        order = np.argsort(numbers)
        return logits[order], self.pictures.targets[numbers[order]], numbers[order]

    @property
    def outputs(self):
        """The number of attributes, or classes, and reasons."""
        return self.pictures.targets.shape[1]


def raw_logits(network, x):
    """Return logits (B, A + R) of pictures, those of the reasons last, at temperature 1."""
    if network.config.reasons:
        return torch.cat(network.both(x), dim=1)
    return network.head(network.features(x))
