"""Decision models: the classifiers of attributes that counterfactuals explain (STEEX, OCTET).

DenseNet-121 with a linear layer, optionally with a second one that gives reasons; ResNet-18 to 152; a small CNN for
small pictures. Names of weights are those of published checkpoints (`feat_extract.feat_extract.features.*` and
`classifier.*`, `resnet.*`). Pictures are in [-1, 1], not in ImageNet's units.
"""

from typing import NamedTuple, Tuple

import torch
from torch import nn

from common.networks.densenet import DenseNet121
from common.networks.resnet import DEPTHS, ResNet
from common.nn.dropout import Dropout

DRIVING = ("Forward", "Stop", "Left", "Right")
REASONS = (  # of BDD-OIA, in its order
    "forward: follow traffic", "forward: road is clear", "forward: light is green", "stop: car", "stop: person",
    "stop: rider", "stop: other obstacle", "stop: traffic light", "stop: traffic sign", "left: front car turning left",
    "left: on the left-turn lane", "left: light allows", "right: front car turning right",
    "right: on the right-turn lane", "right: light allows", "no left: obstacles on the left lane",
    "no left: no lane on the left", "no left: solid line on the left", "no right: obstacles on the right lane",
    "no right: no lane on the right", "no right: solid line on the right")
SIZE = (256, 512)  # height and width of the published models' pictures
KINDS = ("attributes", "classes")  # any number of them, a sigmoid each; one of them, a softmax
ARCHS = ("densenet121", *(f"resnet{depth}" for depth in DEPTHS), "small")
DROPOUT = 0.3  # before both layers of the model with reasons, as published
STRIDES, MULTIPLES, HIDDEN = (1, 2, 2, 2), (1, 2, 2, 4), 64  # of the small CNN


class DecisionConfig(NamedTuple):
    """What a decision model is.

    arch: one of ARCHS.  names: of its attributes or classes.  size: (H, W) of its pictures.  kind: one of KINDS.
    width: channels of the small CNN's first layer.  reasons: names of the reasons, () for none (densenet121 alone).
    """

    arch: str
    names: Tuple[str, ...]
    size: Tuple[int, int] = SIZE
    kind: str = "attributes"
    width: int = 8
    reasons: Tuple[str, ...] = ()


class DecisionModel(nn.Module):
    """The parts that all architectures share; a subclass has `features`, `maps` and `head`.

    config: DecisionConfig, whose names, size and kind are attributes, too.  value_range: of the pictures.
    temperature: (A,), or (1,) for classes: logits are divided by it; 1 unless the model was calibrated.
    """

    value_range = (-1.0, 1.0)

    def __init__(self, config):
        super().__init__()
        self.config, self.names, self.size, self.kind = config, config.names, config.size, config.kind
        temperatures = len(config.names) if config.kind == "attributes" else 1
        self.register_buffer("temperature", torch.ones(temperatures), persistent=False)

    def logits(self, x):
        """Return the logits (B, A) of pictures (B, 3, H, W) in [-1, 1], divided by the temperature."""
        return self.head(self.features(x)) / self.temperature

    def scores(self, logits):
        """Return probabilities (B, A) of logits: each attribute's own, or those of the classes, which sum to 1."""
        return logits.sigmoid() if self.kind == "attributes" else logits.softmax(dim=1)

    def forward(self, x):
        """Return probabilities (B, A) of pictures (B, 3, H, W) in [-1, 1]."""
        return self.scores(self.logits(x))


class _Wrapped(nn.Module):
    """A network one level deeper, as published names have it."""

    def __init__(self, network):
        super().__init__()
        self.feat_extract = network


class DenseNetDecision(DecisionModel):
    """DenseNet-121 and a linear layer; with reasons, a layer more that sees features and logits."""

    def __init__(self, config):
        super().__init__(config)
        self.feat_extract = _Wrapped(DenseNet121())
        outputs, width = len(config.names), DenseNet121.width
        self.classifier = nn.Linear(width, outputs)
        rate = DROPOUT if config.reasons else 0.0
        self.dropout1, self.dropout2 = Dropout(rate), Dropout(rate)
        self.dropout2.layer = 1
        if config.reasons:
            self.explainer = nn.Linear(width + outputs, len(config.reasons))

    @property
    def body(self):
        """The DenseNet121."""
        return self.feat_extract.feat_extract

    def features(self, x):
        """Return features (B, 1024) of pictures."""
        return self.body(x)

    def maps(self, x):
        """Return the maps [(B, C, H, W)] of pictures, after the first layer and each block."""
        return self.body.maps(x)

    def head(self, features):
        """Return logits (B, A) of features, at temperature 1."""
        return self.classifier(self.dropout1(features))

    def both(self, x):
        """Return (logits (B, A), logits of the reasons (B, R)) of pictures, at temperature 1."""
        features = self.dropout1(self.features(x))
        logits = self.classifier(features)
        return logits, self.explainer(torch.cat([self.dropout2(features), logits], dim=1))


class ResNetDecision(DecisionModel):
    """A ResNet, its last layer replaced."""

    def __init__(self, config):
        super().__init__(config)
        self.resnet = ResNet(int(config.arch.removeprefix("resnet")))
        self.resnet.fc = nn.Linear(self.resnet.width, len(config.names))

    @property
    def body(self):
        """The ResNet."""
        return self.resnet

    def features(self, x):
        """Return features (B, 512 or 2048) of pictures."""
        return self.resnet(x).flatten(1)

    def maps(self, x):
        """Return the maps [(B, C, H, W)] of pictures, after the first layer and each group."""
        return self.resnet.maps(x)

    def head(self, features):
        """Return logits (B, A) of features, at temperature 1."""
        return self.resnet.fc(features)


class SmallDecision(DecisionModel):
    """Four convolutions, flattened, and two linear layers, for pictures of some 32 px.

    Flattened rather than pooled: left and right are to be told apart.
    """

    def __init__(self, config):
        super().__init__(config)
        inputs, blocks, (height, width) = 3, [], config.size
        for multiple, stride in zip(MULTIPLES, STRIDES):
            outputs = multiple * config.width
            conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
            blocks.append(nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU()))
            inputs, height, width = outputs, -(-height // stride), -(-width // stride)
        self.body = nn.ModuleList(blocks)
        self.hidden = nn.Linear(inputs * height * width, HIDDEN)
        self.classifier = nn.Linear(HIDDEN, len(config.names))

    def maps(self, x):
        """Return the maps [(B, C, H, W)] of pictures, after each convolution."""
        found = []
        for block in self.body:
            x = block(x)
            found.append(x)
        return found

    def features(self, x):
        """Return features (B, 64) of pictures."""
        return torch.relu(self.hidden(self.maps(x)[-1].flatten(1)))

    def head(self, features):
        """Return logits (B, A) of features, at temperature 1."""
        return self.classifier(features)


def build_decision_model(config):
    """Return the network of a DecisionConfig, with torch's initial weights (torchvision's for the large ones)."""
    kind = {"d": DenseNetDecision, "r": ResNetDecision, "s": SmallDecision}[config.arch[0]]
    network = kind(config)
    for module in network.modules() if config.arch != "small" else ():
        if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_in" if config.arch == "densenet121" else "fan_out")
    return network
