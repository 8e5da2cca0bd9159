"""Batch norm whose statistics in training are those of the rows of all processes, on any device."""

import torch
from torch import nn

from common import parallel
from common.nn.across import SumAcross


class SharedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm2d over the batch of all processes (torch's own SyncBatchNorm needs a GPU)."""

    def forward(self, x):
        """Return x (B, C, H, W) normalised."""
        if not self.training or parallel.world_size() == 1:
            return super().forward(x)
        values = x.float()
        own = torch.cat([values.sum(dim=(0, 2, 3)), values.new_tensor([x.numel() / x.shape[1]])])
        total = SumAcross.apply(own)
        count = total[-1].detach()
        mean = total[:-1] / count
        centred = values - mean[:, None, None]
        variance = SumAcross.apply(centred.square().sum(dim=(0, 2, 3))) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * (count / (count - 1)), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)


def share_statistics(network):
    """Make every BatchNorm2d of a network a SharedBatchNorm2d; names of weights stay."""
    for module in network.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
