"""DeepLabV3 as torchvision writes it: STEEX's has a ResNet-101 and 20 classes, logits under the key `out`."""


from common.explained.program import Program
from common.formats.checkpoints import load_strictly
from common.networks.decision import counted, find_weights
from common.networks.deeplab import DeepLabV3
from common.nn.unfilled import unfilled

MARK, LAST = "backbone.layer4.0.conv1.weight", "classifier.4.weight"
DO = "Give a file of torchvision's deeplabv3_resnet50 or _resnet101, such as STEEX's checkpoint.tar"
BLOCKS = {6: 50, 23: 101}  # of the third group: the depth


def is_deeplab(value, path):
    """Return whether the contents of a checkpoint are a DeepLabV3."""
    state = find_weights(value, path) if isinstance(value, dict) else {}
    return MARK in state and getattr(state.get(LAST), "ndim", None) == 4


def open_deeplab(path, value, device, objectives, size, value_range, output):
    """Return the Program of a checkpoint's contents; InputError for weights of another network."""
    state = find_weights(value, path)
    blocks = len({name.split(".")[2] for name in state if name.startswith("backbone.layer3.")})
    with unfilled():
        network = DeepLabV3(BLOCKS.get(blocks, 101), len(state[LAST]),
                            any(name.startswith("aux_classifier.") for name in state))
    load_strictly(network, counted(network, state), path, do=DO, assign=True)
    return Program(network.to(device).eval().requires_grad_(False), path, "deeplabv3", objectives, size, value_range,
                   output, device=device)
