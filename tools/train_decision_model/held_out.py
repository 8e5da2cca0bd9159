"""What a model says of the held-out images, each process for its share of them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from common import parallel
from common.datasets.prepared import to_network
from common.errors import InputError


class HeldOut:
    """images: PreparedImages.  targets: uint8 (N, A + R). Calling it with a network returns (logits (N, A + R) at
    temperature 1, truth like them, numbers (N,) of the images that could be read)."""

    def __init__(self, images, targets, options, device):
        self.images, self.targets, self.device = images, targets, device
        self.batch_size, self.workers = options.test_batch_size, options.num_workers

    @torch.no_grad()
    def __call__(self, network):
        was_training = network.training
        network.eval()
        found = [(np.zeros((0, self.targets.shape[1]), np.float32), np.zeros(0, np.int64))]
        for x, numbers in self._batches(np.array(parallel.shard(range(len(self.images))), np.int64)):
            if len(numbers):
                found.append((raw_logits(network, x.to(self.device)).float().cpu().numpy(), numbers))
        network.train(was_training)
        own = [np.concatenate(parts) for parts in zip(*found)]
        logits, numbers = (np.concatenate(parts) for parts in zip(*parallel.gather_objects(own)))
        if not len(numbers):
            raise InputError("none of the held-out images can be read", where=self.images.title(0),
                             do="Restore the images")
        order = np.argsort(numbers)
        return logits[order], self.targets[numbers[order]], numbers[order]

    def _batches(self, numbers):
        """Yield (pictures (n, 3, H, W) in [-1, 1], numbers (n,)) in order, of those that can be read."""
        parts = [numbers[start : start + self.batch_size] for start in range(0, len(numbers), self.batch_size)]

        def read(part):
            pixels, good = self.images.read(part)
            return to_network(pixels[good]), part[good]

        with ThreadPoolExecutor(max(self.workers, 1)) as pool:
            yield from pool.map(read, parts) if self.workers else map(read, parts)


def raw_logits(network, x):
    """Return logits (B, A + R) of pictures, those of the reasons last, at temperature 1."""
    if network.config.reasons:
        return torch.cat(network.both(x), dim=1)
    return network.head(network.features(x))
