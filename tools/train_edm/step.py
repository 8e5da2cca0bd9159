"""One training step's arithmetic: loss of rows, learning rate, decay of the averaged weights."""

import math

import torch
from torch import nn

from common.diffusion.labels import class_vectors
from tools.train_edm.loss import edm_loss


class LossModule(nn.Module):
    """EDM's loss as a module of the network, so that DistributedDataParallel can wrap all of it."""

    def __init__(self, network, layout=torch.contiguous_format):
        """layout: the order in memory that the network's convolutions are given."""
        super().__init__()
        self.network, self.layout = network, layout

    def forward(self, images, sigma, noise, classes):
        """Return the loss (B,) of uint8 images (B, C, R, R) at noise levels (B,) with noise like images; classes:
        (B,)."""
        labels = class_vectors(classes, self.network.config.label_dim, images.device)
        images = images.contiguous(memory_format=self.layout).float() / 127.5 - 1
        return edm_loss(lambda x, level: self.network(x, level, labels), images, sigma, noise)


def learning_rate(step, lr, warmup, decay, floor, steps):
    """Return the rate of step 0, 1, ...: rising over `warmup` steps; under "cosine" falling to floor lr at the last
    one."""
    rate = lr * min((step + 1) / max(warmup, 1), 1.0)
    if decay == "cosine":
        rate *= floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * min(step / max(steps - 1, 1), 1.0)))
    return rate


def ema_decay(step, batch, halflife_kimg, rampup_ratio):
    """Return the decay of the averaged weights after step 0, 1, ...: 0.5^(batch / H), H in images (NVlabs/edm).

    H is the half-life, but at most rampup_ratio of the images seen before (0: no such limit), so that the average
    begins with the first weights and forgets them. decay d at a batch of b is a half-life of -b ln 2 / ln d images, and
    the other usual ramp, (1 + i) / (10 + i) at step i, one of about ln 2 / 9 = 0.077 of the images seen.
    """
    halflife = halflife_kimg * 1000
    if rampup_ratio > 0:
        halflife = min(halflife, step * batch * rampup_ratio)
    return 0.5 ** (batch / max(halflife, 1e-8))


@torch.no_grad()
def update_average(average, network, decay):
    """Move the averaged network's parameters towards the network's: e = decay e + (1 - decay) p."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
