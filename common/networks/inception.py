"""The Inception-v3 network of FID, KID and IS: the port of TensorFlow's 2015-12-05 network (Szegedy et al. 2016).

Names and order of the state dict are those of pt_inception-2015-12-05-6726825d.pth (pytorch-fid, clean-fid,
torch-fidelity). It differs from torchvision's Inception in the average pools of blocks A, C and 7b, which do not count
padding, in the max pool of 7c, in 1008 classes, and has no auxiliary head. InceptionV3 is the network as published,
InceptionFeatures the same in the form that the tools run.
"""

from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

from common.errors import InputError
from common.nn.unfilled import unfilled

SIZE = 299  # pixels of the square input
NUM_FEATURES = 2048
NUM_CLASSES = 1008
# Outputs and their widths: means over positions as torch-fidelity and pytorch-fid number them, and ADM's spatial ones.
LAYERS = {"64": 64, "192": 192, "spatial": 7 * 17 * 17, "768": 768, "2048": NUM_FEATURES}
PACKED_BATCH = 16  # batch size for which weights are laid out on a CPU; other sizes work as well


class BasicConv(nn.Module):
    """Convolution without bias, batch normalisation, ReLU."""

    def __init__(self, in_channels, out_channels, kernel_size=1, stride=1, padding=0):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)  # TensorFlow's eps; torch's default is 1e-5

    def forward(self, x):
        """Return (n, C', H', W') of x (n, C, H, W)."""
        return functional.relu(self.bn(self.conv(x)), inplace=True)  # (n, C', H', W')


def average_pool():
    """Return the 3x3 average pool of stride 1 that leaves padding out of its count, as TensorFlow's."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


class BlockA(nn.Module):
    """35x35: 1x1, 5x5, double 3x3 and pool branches -> 224 + pool_features channels."""

    def __init__(self, in_channels, pool_features):
        super().__init__()
        self.branch1x1 = BasicConv(in_channels, 64)
        self.branch5x5_1 = BasicConv(in_channels, 48)
        self.branch5x5_2 = BasicConv(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv(in_channels, 64)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, padding=1)
        self.pool = average_pool()
        self.branch_pool = BasicConv(in_channels, pool_features)

    def forward(self, x):
        """Return (n, C', 35, 35) of x (n, C, 35, 35)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))  # (n, 96, 35, 35)
        wide = self.branch5x5_2(self.branch5x5_1(x))  # (n, 64, 35, 35)
        return torch.cat([self.branch1x1(x), wide, double, self.branch_pool(self.pool(x))], 1)  # in the published order


class BlockB(nn.Module):
    """35x35 -> 17x17: 288 -> 768 channels."""

    def __init__(self):
        super().__init__()
        self.branch3x3 = BasicConv(288, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv(288, 64)
        self.branch3x3dbl_2 = BasicConv(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv(96, 96, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x):
        """Return (n, 768, 17, 17) of x (n, 288, 35, 35)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))  # (n, 96, 17, 17)
        return torch.cat([self.branch3x3(x), double, self.pool(x)], 1)  # 384 + 96 + 288 = 768 channels


class BlockC(nn.Module):
    """17x17, 768 channels: 1x1, factorised 7x7, double factorised 7x7 and pool branches, 192 channels each."""

    def __init__(self, inner):
        super().__init__()
        row, column = {"kernel_size": (1, 7), "padding": (0, 3)}, {"kernel_size": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv(768, 192)
        self.branch7x7_1 = BasicConv(768, inner)
        self.branch7x7_2 = BasicConv(inner, inner, **row)
        self.branch7x7_3 = BasicConv(inner, 192, **column)
        self.branch7x7dbl_1 = BasicConv(768, inner)
        self.branch7x7dbl_2 = BasicConv(inner, inner, **column)
        self.branch7x7dbl_3 = BasicConv(inner, inner, **row)
        self.branch7x7dbl_4 = BasicConv(inner, inner, **column)
        self.branch7x7dbl_5 = BasicConv(inner, 192, **row)
        self.pool = average_pool()
        self.branch_pool = BasicConv(768, 192)

    def forward(self, x):
        """Return (n, 768, 17, 17) of x (n, 768, 17, 17)."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))  # (n, 192, 17, 17)
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))  # (n, inner, 17, 17)
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))  # (n, 192, 17, 17)
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(self.pool(x))], 1)  # (n, 768, 17, 17)


class BlockD(nn.Module):
    """17x17 -> 8x8: 768 -> 1280 channels."""

    def __init__(self):
        super().__init__()
        self.branch3x3_1 = BasicConv(768, 192)
        self.branch3x3_2 = BasicConv(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv(768, 192)
        self.branch7x7x3_2 = BasicConv(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv(192, 192, 3, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2)

    def forward(self, x):
        """Return (n, 1280, 8, 8) of x (n, 768, 17, 17)."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))  # (n, 192, 8, 8)
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, self.pool(x)], 1)  # 320 + 192 + 768 channels


class BlockE(nn.Module):
    """8x8 -> 2048 channels; the pool is an average in 7b and a maximum in 7c."""

    def __init__(self, in_channels, pool):
        super().__init__()
        row, column = {"kernel_size": (1, 3), "padding": (0, 1)}, {"kernel_size": (3, 1), "padding": (1, 0)}
        self.branch1x1 = BasicConv(in_channels, 320)
        self.branch3x3_1 = BasicConv(in_channels, 384)
        self.branch3x3_2a = BasicConv(384, 384, **row)
        self.branch3x3_2b = BasicConv(384, 384, **column)
        self.branch3x3dbl_1 = BasicConv(in_channels, 448)
        self.branch3x3dbl_2 = BasicConv(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv(384, 384, **row)
        self.branch3x3dbl_3b = BasicConv(384, 384, **column)
        self.pool = pool
        self.branch_pool = BasicConv(in_channels, 192)

    def forward(self, x):
        """Return (n, 2048, 8, 8) of x (n, C, 8, 8)."""
        three = self.branch3x3_1(x)  # (n, 384, 8, 8); 2a and 2b both read it
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))  # (n, 384, 8, 8)
        return torch.cat([
            self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three),
            self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(self.pool(x)),
        ], 1)  # 320 + 4 * 384 + 192 = 2048 channels


class InceptionV3(nn.Module):
    """The whole network. Input: float (n, 3, 299, 299), about [-1, 1], normalised by the mode of the metric."""

    def __init__(self):
        super().__init__()
        self.Conv2d_1a_3x3 = BasicConv(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv(64, 80)
        self.Conv2d_4a_3x3 = BasicConv(80, 192, 3)
        self.Mixed_5b = BlockA(192, 32)
        self.Mixed_5c = BlockA(256, 64)
        self.Mixed_5d = BlockA(288, 64)
        self.Mixed_6a = BlockB()
        self.Mixed_6b = BlockC(128)
        self.Mixed_6c = BlockC(160)
        self.Mixed_6d = BlockC(160)
        self.Mixed_6e = BlockC(192)
        self.Mixed_7a = BlockD()
        self.Mixed_7b = BlockE(1280, average_pool())
        self.Mixed_7c = BlockE(2048, nn.MaxPool2d(3, stride=1, padding=1))  # max, as in the graph
        self.fc = nn.Linear(NUM_FEATURES, NUM_CLASSES)

    def stages(self):
        """Return the four functions whose composition leads to the features: to the stem's two pools, 6e and 7c."""
        stem_pool = nn.MaxPool2d(3, stride=2)
        return (
            nn.Sequential(self.Conv2d_1a_3x3, self.Conv2d_2a_3x3, self.Conv2d_2b_3x3, stem_pool),  # 149, 147, 147, 73
            nn.Sequential(self.Conv2d_3b_1x1, self.Conv2d_4a_3x3, stem_pool),  # 73, 71, 35
            nn.Sequential(self.Mixed_5b, self.Mixed_5c, self.Mixed_5d, self.Mixed_6a,
                          self.Mixed_6b, self.Mixed_6c, self.Mixed_6d, self.Mixed_6e),  # 35, then 17
            nn.Sequential(self.Mixed_7a, self.Mixed_7b, self.Mixed_7c),  # 8
        )

    def forward(self, x):
        """Return the features (n, 2048) of images (n, 3, 299, 299)."""
        return self.layers(x, ("2048",))["2048"]

    def layers(self, x, names):
        """Return {name: features (n, width)} of images (n, 3, 299, 299), for some of LAYERS.

        "spatial" are the first 7 channels of mixed_6/conv, position by position (Nash et al. 2021, as in ADM's
        evaluator): these stand first in what 6d, the graph's mixed_6, returns.
        """
        found = {}
        for name, stage in zip(("64", "192", "768", "2048"), self.stages()):
            for module in stage:
                x = module(x)  # at last (n, 2048, 8, 8)
                if module is self.Mixed_6d and "spatial" in names:
                    found["spatial"] = x[:, :7].permute(0, 2, 3, 1).flatten(1)  # (n, 2023), channels last as in TF
            if name in names:
                found[name] = x.mean((2, 3))
            if len(found) == len(names):
                break
        return found

    def logits(self, features, bias=True):
        """Return logits (n, 1008) of features; without the bias as torch-fidelity and StyleGAN take them for IS."""
        return functional.linear(features, self.fc.weight, self.fc.bias if bias else None)


class FoldedConv(nn.Module):
    """A BasicConv for inference: batch normalisation folded into the convolution, channels last.

    On a CPU, bias and ReLU are fused into the convolution and its weights are in oneDNN's own layout, by operators that
    torch provides for its compiler; where they are missing, ordinary ones are used.
    """

    def __init__(self, layer, device, relu=True):
        super().__init__()
        scale = layer.bn.weight.double() / (layer.bn.running_var.double() + layer.bn.eps).sqrt()  # (out,)
        weight = (layer.conv.weight.double() * scale[:, None, None, None]).float()
        bias = (layer.bn.bias.double() - layer.bn.running_mean.double() * scale).float()
        self.weight = weight.contiguous(memory_format=torch.channels_last).to(device)
        self.bias = bias.to(device)
        self.stride, self.padding, self.relu = layer.conv.stride, layer.conv.padding, relu
        self.fused = None  # decided at the first call, when the input size is known

    def forward(self, x):
        """Return what the BasicConv gives for x (n, C, H, W)."""
        if self.fused is None:
            self.fused = x.device.type == "cpu" and self._prepack(x)
        if self.fused:
            after = "relu" if self.relu else "none"
            return torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, self.padding, self.stride,
                                                           (1, 1), 1, after, [], "")
        y = functional.conv2d(x, self.weight, self.bias, self.stride, self.padding)  # (n, C', H', W')
        return y.relu_() if self.relu else y

    def _prepack(self, x):
        """Lay the weights out for inputs like `x`; return whether this torch has the operators for it."""
        if not hasattr(torch.ops.mkldnn, "_convolution_pointwise"):
            return False
        try:
            shape = [PACKED_BATCH, *x.shape[1:]]
            self.weight = torch._C._nn.mkldnn_reorder_conv2d_weight(self.weight.to_mkldnn(), self.padding, self.stride,
                                                                    (1, 1), 1, shape)
        except (AttributeError, RuntimeError):
            return False
        return True


class PooledConv(nn.Module):
    """A 1x1 convolution, then the average pool that precedes it in the network: the same sums on fewer channels."""

    def __init__(self, layer, device):
        super().__init__()
        self.conv, self.pool = FoldedConv(layer, device, relu=False), average_pool()

    def forward(self, x):
        """Return what pool and BasicConv give for x (n, C, H, W)."""
        return self.pool(self.conv(x)).relu_()  # (n, C', H, W); ReLU last: it does not commute with the mean


class InceptionFeatures:
    """The features of an InceptionV3 in its form for inference, within 1e-5 of the plain one's.

    weights: `load_inception`'s description of the file, else None.
    """

    def __init__(self, network, device="cpu"):
        """network: InceptionV3 in evaluation mode, not modified; its fc may be None."""
        self.device, self.weights = torch.device(device), None
        with unfilled():
            self._body = InceptionV3()
        for name, layer in network.named_modules():
            if isinstance(layer, BasicConv):
                self._place(name, layer)
        self._body.fc = self._fc = None
        if network.fc is not None:
            self._fc = [part.detach().to(self.device) for part in (network.fc.weight, network.fc.bias)]

    def _place(self, name, layer):
        """Put the folded form of `layer` in its place, the pool branch's average after the convolution."""
        block = self._body.get_submodule(name.rpartition(".")[0])
        if name.endswith("branch_pool") and isinstance(block.pool, nn.AvgPool2d):
            block.pool = nn.Identity()
            self._body.set_submodule(name, PooledConv(layer, self.device))
        else:
            self._body.set_submodule(name, FoldedConv(layer, self.device))

    def features(self, x):
        """Return float32 (n, 2048) on the device, for float (n, 3, 299, 299) normalised images on any device.

        An image's features do not depend on its batch but for rounding (1e-5). Convolutions on CUDA use full float32.
        """
        return self.layers(x, ("2048",))["2048"]

    def layers(self, x, names):
        """Return {name: float32 (n, width)} of some of LAYERS, as `features` does, from one pass that ends at the
        last."""
        if tuple(x.shape[1:]) != (3, SIZE, SIZE):
            raise ValueError(f"images are {tuple(x.shape)}, expected (n, 3, {SIZE}, {SIZE})")
        if not len(x):
            return {name: torch.empty((0, LAYERS[name]), device=self.device) for name in names}
        with torch.inference_mode(), full_precision():
            x = x.to(self.device, torch.float32).contiguous(memory_format=torch.channels_last)
            return self._body.layers(x, names)

    @property
    def has_logits(self):
        """False when the weights came without the last layer (a saved pytorch-fid wrapper)."""
        return self._fc is not None

    def logits(self, features, bias=True):
        """Return float32 (n, 1008) logits; without the bias as torch-fidelity and StyleGAN take them for IS.

        Raises InputError when the weights came without the last layer.
        """
        if not self.has_logits:
            name = self.weights and self.weights["file"]
            what = "these Inception weights end at the features (a pytorch-fid wrapper), so there are no logits"
            raise InputError(what, where=name, do="Use the published .pt or .pth for the Inception score")
        weight, offset = self._fc
        with torch.inference_mode(), full_precision():
            return functional.linear(features.to(self.device), weight, offset if bias else None)


@contextmanager
def full_precision():
    """Disable TensorFloat-32 in CUDA's convolutions, which torch allows by default."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
