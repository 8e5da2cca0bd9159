"""LPIPS, the perceptual distance of Zhang et al. (2018), version 0.1, with AlexNet or VGG-16.

Features after five rectifiers, unit length along the channels; their squared differences, weighted by a learned 1x1
layer, averaged over the pixels and summed over the layers. The backbone's weights are the user's file (torchvision's
alexnet-owt-7be5be79.pth, vgg16-397923af.pth, or a state dict of the package lpips); the learned layers come with that
package, or with the file.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from common.formats.checkpoints import load_strictly, load_torch

# (outputs, side, stride, padding) of the convolutions by their index in torchvision's `features`; pools before some;
# taps after the rectifiers of some.
ALEX = {0: (64, 11, 4, 2), 3: (192, 5, 1, 2), 6: (384, 3, 1, 1), 8: (256, 3, 1, 1), 10: (256, 3, 1, 1)}
VGG = {index: (width, 3, 1, 1) for index, width in zip(
    (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28), (64, 64, 128, 128, *[256] * 3, *[512] * 6))}
NETS = {"alex": (ALEX, (3, 6), 3, (0, 3, 6, 8, 10)), "vgg": (VGG, (5, 10, 17, 24), 2, (2, 7, 14, 21, 28))}
SMALLEST = {"alex": 31, "vgg": 16}  # pixels of a side that leave the last features one position
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
VGG_ADDRESS = "https://download.pytorch.org/models/vgg16-397923af.pth, 553 MB"
PUBLISHED = f"torchvision's vgg16-397923af.pth ({VGG_ADDRESS}) or alexnet-owt-7be5be79.pth (244 MB, there too)"


class Lpips(nn.Module):
    """The distance. net: "alex" or "vgg"."""

    def __init__(self, net="alex"):
        super().__init__()
        self.net, self.smallest = net, SMALLEST[net]
        layers, self.pools, self.pool_side, self.taps = NETS[net]
        self.features, before = nn.ModuleDict(), 3
        for index, (width, side, stride, padding) in layers.items():
            self.features[str(index)] = nn.Conv2d(before, width, side, stride, padding)
            before = width
        self.lins = nn.ParameterList([nn.Parameter(torch.zeros(1, layers[tap][0], 1, 1)) for tap in self.taps])
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def forward(self, first, second):
        """Return the distances (B,) of images (B, 3, H, W) in [-1, 1]; values beyond are clamped."""
        total = 0.0
        for lin, one, two in zip(self.lins, self.unit_features(first), self.unit_features(second)):
            total = total + F.conv2d((one - two).square(), lin).mean(dim=(1, 2, 3))
        return total

    def unit_features(self, x, clamp=True):
        """Return the five features (B, C, H, W) of images, of unit length along the channels.

        clamp: values beyond [-1, 1] to it; the package does not, and a loss has no gradient there.
        """
        x, found = ((x.clamp(-1, 1) if clamp else x) - self.shift) / self.scale, []
        for name, layer in self.features.items():
            if int(name) in self.pools:
                x = F.max_pool2d(x, self.pool_side, 2)
            x = F.relu(layer(x))
            if int(name) in self.taps:
                # vector_norm has a derivative (0) where all channels are 0; a square root of 0 has none.
                found.append(x / (torch.linalg.vector_norm(x, dim=1, keepdim=True) + 1e-10))
        return found


def load_lpips(path, device="cpu"):
    """Return the Lpips of a backbone's file, its parameters fixed.

    Raises InputError for a missing, damaged or foreign file, one that would run code, the learned layers alone (the
    8 kB of the package lpips, which are often taken for all of it), and other shapes.
    """
    if not Path(path).exists():
        raise InputError("no such file", where=path, do=f"Download {PUBLISHED}: nothing is fetched here")
    value = load_torch(path)
    value = value if isinstance(value, dict) else {}
    value = value["state_dict"] if isinstance(value.get("state_dict"), dict) else value
    tensors = {str(name): item for name, item in value.items() if isinstance(item, torch.Tensor)}
    state, lins = _backbone(tensors), _lins(tensors)
    net = next((net for net, (layers, *_) in NETS.items()
                if {name.split(".")[1] for name in state} == {*map(str, layers)}), None)
    if net is None and lins and not state:
        raise InputError("it holds LPIPS's learned layers alone, not the network below them", where=path,
                         do=f"Give {PUBLISHED}; the learned layers come with the package lpips")
    if net is None:
        raise InputError("neither AlexNet's nor VGG-16's features are in it", where=path, do=f"Give {PUBLISHED}")
    network = Lpips(net)
    learned = lins or _lins(load_torch(_package_file(net)))
    load_strictly(network, {**state, **learned}, path, do=f"Give {PUBLISHED}")
    return network.to(device).eval().requires_grad_(False)


def _backbone(tensors):
    """Return {features.N.weight or bias: tensor} from torchvision's names, or those of the package."""
    found = {}
    for name, tensor in tensors.items():
        parts = name.split(".")
        if parts[-1] in ("weight", "bias") and len(parts) > 2 and parts[-2].isdigit() \
                and (parts[-3] == "features" or parts[-3].startswith("slice")):
            found[f"features.{parts[-2]}.{parts[-1]}"] = tensor
    return found


def _lins(tensors):
    """Return {lins.K: tensor} of the learned layers, {} where there are none."""
    return {f"lins.{name[3]}": tensor for name, tensor in tensors.items()
            if name.startswith("lin") and name[3:4].isdigit() and name.endswith("model.1.weight")}


def _package_file(net):
    """Return the package's file of the learned layers, without importing it: that would import torchvision."""
    from importlib.util import find_spec

    spec = find_spec("lpips")
    if spec is None:
        raise InputError("the package lpips is not installed", do="Install it with pip install lpips")
    return Path(spec.submodule_search_locations[0]) / "weights" / "v0.1" / f"{net}.pth"
