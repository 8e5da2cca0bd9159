"""ArcFace's features of faces (Deng et al. 2019), an IR-SE50 with an output layer, for pSp's identity loss."""

import torch.nn.functional as F
from torch import nn

from common.errors import InputError
from common.formats.checkpoints import load_strictly, load_torch
from common.networks.ir_se import IRBackbone, published_groups
from common.nn.unfilled import unfilled

SIDE, WIDTH = 112, 512  # px, numbers
TOP, BOTTOM, LEFT, RIGHT = 35, 223, 32, 220  # of a face in an image of 256 px
PUBLISHED = "model_ir_se50.pth, as pixel2style2pixel publishes it"


class ArcFace(IRBackbone):
    """Faces (B, 3, 112, 112) in [-1, 1] -> features (B, 512) of length 1."""

    def __init__(self, depth=50):
        groups = published_groups(depth)
        super().__init__(groups)
        side = SIDE >> len(groups)
        self.output_layer = nn.Sequential(nn.BatchNorm2d(self.channels), nn.Dropout(0.6), nn.Flatten(),
                                          nn.Linear(self.channels * side**2, WIDTH), nn.BatchNorm1d(WIDTH))

    def forward(self, faces):
        """Return the features."""
        return F.normalize(self.output_layer(self.trunk(faces).contiguous()))


def crop_faces(images):
    """Return the faces (B, C, 188, 188) of aligned images (B, C, 256, 256)."""
    return images[:, :, TOP:BOTTOM, LEFT:RIGHT]


def identity_distance(network, first, second):
    """Return 1 - cosine of the features (B,) of aligned images (B, 3, 256, 256) in [-1, 1]."""
    features = [network(F.adaptive_avg_pool2d(crop_faces(images), SIDE)) for images in (first, second)]
    return 1 - (features[0] * features[1]).sum(dim=1)


def load_arcface(path, device="cpu"):
    """Return the ArcFace of a file, its parameters fixed. Raises InputError for any other file."""
    state = load_torch(path)
    if not isinstance(state, dict) or "output_layer.3.weight" not in state:
        raise InputError("'output_layer.3.weight' is missing", where=path, do=f"Give {PUBLISHED}")
    with unfilled():
        network = ArcFace()
    load_strictly(network, state, path, do=f"Give {PUBLISHED}", assign=True)
    return network.to(device).eval().requires_grad_(False)
