"""The loss of a training step as a module of the network."""

import torch
from torch import nn

from common.diffusion.labels import class_vectors
from tools.train_edm.loss import edm_loss


class EdmLoss(nn.Module):
    """EDM's loss as a module around the network, for DistributedDataParallel to wrap."""

    def __init__(self, network, layout=torch.contiguous_format):
        """layout: memory format of the images."""
        super().__init__()
        self.network, self.layout = network, layout

    def forward(self, images, sigma, noise, classes):
        """Return the loss (B,) of uint8 images (B, C, R, R) at noise levels (B,) with noise like images; classes:
        (B,)."""
        labels = class_vectors(classes, self.network.config.label_dim, images.device)
        images = images.contiguous(memory_format=self.layout).float() / 127.5 - 1
        return edm_loss(lambda x, level: self.network(x, level, labels), images, sigma, noise)
