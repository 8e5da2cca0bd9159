"""Perceptual distances: LPIPS, or maps of a classifier of ours; the caller computes the features of a target once."""

import torch
import torch.nn.functional as F

from common.errors import InputError
from common.networks.lpips import VGG_ADDRESS, load_lpips

EPSILON = 1e-12  # of squared lengths: where all channels are 0, so is the derivative


class LpipsDistance:
    """LPIPS on images in [-1, 1], see common.networks.lpips; values beyond are taken as they are, as by the package."""

    name = "lpips"

    def __init__(self, network):
        self.network = network

    def features(self, images):
        """Return the features of images (B, 3, H, W), a list of maps."""
        return self.network.unit_features(images, clamp=False)

    def distance(self, first, second):
        """Return the distances (B,) of two results of `features`."""
        return sum(F.conv2d((one - two).square(), lin).mean(dim=(1, 2, 3))
                   for lin, one, two in zip(self.network.lins, first, second))


class MapsDistance:
    """The squared distance of a classifier's maps, each of unit length along the channels: the mean over the pixels,
    summed over the maps. Between 0 and 4 a map."""

    name = "perceptual"

    def __init__(self, model):
        self.model = model

    def features(self, images):
        """Return the maps of images (B, 3, H, W) in [-1, 1]."""
        return [part * torch.rsqrt(part.square().sum(dim=1, keepdim=True) + EPSILON)
                for part in self.model.maps(images)]

    def distance(self, first, second):
        """Return the distances (B,) of two results of `features`."""
        return sum((one - two).square().sum(dim=1).mean(dim=(1, 2)) for one, two in zip(first, second))


def open_perceptual(lpips_weights=None, model=None, device="cpu", needed_by=None):
    """Return the distance of a file of LPIPS's trunk, or of a decision model; None where neither is given.

    needed_by: the flag of what cannot be computed without one, which is then an InputError.
    """
    if lpips_weights:
        return LpipsDistance(load_lpips(lpips_weights, device))
    if model:
        from common.networks.decision import open_decision_model

        return MapsDistance(open_decision_model(model, device))
    if needed_by:
        raise InputError("a perceptual distance needs a network", where=needed_by,
                         do=f"Pass --lpips_weights vgg16-397923af.pth ({VGG_ADDRESS}; nothing is downloaded here), "
                         "--perceptual MODEL of train_decision_model, or a weight of 0")
    return None


@torch.no_grad()
def compare(perceptual, first, second):
    """Return the distances (B,) of two batches of images."""
    return perceptual.distance(perceptual.features(first), perceptual.features(second))
