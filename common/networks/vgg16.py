"""VGG-16 (Simonyan & Zisserman 2015) with torchvision's names, up to the second of its fully connected layers."""

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from common.formats.checkpoints import load_strictly, load_torch
from common.networks.lpips import NETS
from common.nn.unfilled import unfilled

NUM_FEATURES = 4096
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
PUBLISHED = "torchvision's vgg16-397923af.pth (download.pytorch.org/models)"
LAST = "classifier.6."  # of the classes, which is not used


class Vgg16(nn.Module):
    """The features of fc2 behind its rectifier."""

    def __init__(self):
        super().__init__()
        layers, self.pools, *_ = NETS["vgg"]
        self.features, before = nn.ModuleDict(), 3
        for index, (width, side, stride, padding) in layers.items():
            self.features[str(index)] = nn.Conv2d(before, width, side, stride, padding)
            before = width
        self.classifier = nn.ModuleDict({"0": nn.Linear(before * 7 * 7, NUM_FEATURES),
                                         "3": nn.Linear(NUM_FEATURES, NUM_FEATURES)})

    def forward(self, x):
        """Return (n, 4096) of images (n, 3, 224, 224) in 0..255."""
        mean, deviation = (x.new_tensor(values)[:, None, None] for values in (MEAN, DEVIATION))
        x = (x / 255 - mean) / deviation
        for name, layer in self.features.items():
            x = F.max_pool2d(x, 2) if int(name) in self.pools else x
            x = F.relu(layer(x))
        x = F.max_pool2d(x, 2).flatten(1)  # (n, 512, 7, 7), then (n, 25088)
        for layer in self.classifier.values():
            x = F.relu(layer(x))
        return x


def load_vgg16(path, device="cpu"):
    """Return the Vgg16 of torchvision's file, its parameters fixed. Raises InputError for another file."""
    state = load_torch(path)
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("this is not a dictionary of tensors", where=path, do=f"Give {PUBLISHED}")
    with unfilled():
        network = Vgg16()
    load_strictly(network, {name: value for name, value in state.items() if not name.startswith(LAST)}, path,
                  do=f"Give {PUBLISHED}", assign=True)
    return network.to(device).eval().requires_grad_(False)
