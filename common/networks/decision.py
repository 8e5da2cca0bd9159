"""Reading and writing decision models: the published dictionary, and ImageNet's weights to start from.

Published (STEEX's checkpoint.tar, OCTET's decision_densenet.tar): {epoch, optimizer_state_dict, loss,
model_state_dict}, a torch file whatever its suffix says. Ours has beside these `arch`, `attributes`, `kind`,
`input_size`, `value_range`, `transform`, `reasons` and `temperature`. No file can run code.
"""

from collections import Counter
from pathlib import Path

from common.errors import InputError
from common.files import system_errors
from common.formats.checkpoints import (
    is_safetensors,
    load_safetensors,
    load_strictly,
    load_torch,
    save_torch,
    unwrapped,
    unwrapped_state,
)
from common.formats.lightning import load_container
from common.images.squash import SquashOrCrop, from_description
from common.networks.decision_networks import DRIVING, KINDS, REASONS, SIZE, DecisionConfig, build_decision_model
from common.networks.densenet import current_name

PUBLISHED = "a decision model, such as decision_densenet.tar or a checkpoint of train_decision_model"
STATES = ("model_state_dict", "state_dict", "model")  # entries of a file that hold the weights
COUNTER = "num_batches_tracked"  # of batch norms; files from before torch 0.4.1 lack it
DEPTHS = {(False, 2): 18, (False, 6): 34, (True, 6): 50, (True, 23): 101, (True, 36): 152}  # by the third group
GZIP, TAR = b"\x1f\x8b", (257, b"ustar")
FIT, FILTER = "squash", "bicubic"  # how published models' pictures were brought to their size
IMAGENET = {"densenet121": "densenet121-a639ec97.pth", "resnet18": "resnet18-f37072fd.pth",
            "resnet34": "resnet34-b627a593.pth", "resnet50": "resnet50-0676ba61.pth",
            "resnet101": "resnet101-63fe2227.pth", "resnet152": "resnet152-394f9c45.pth"}


def open_decision_model(path, device="cpu"):
    """Return the DecisionModel of a file on a device, in evaluation mode, its parameters fixed.

    Its `transform` is the squash.SquashOrCrop that brought the pictures it was trained on to their size.
    Raises InputError for a missing, damaged or foreign file, one that would run code, and for an archive.
    """
    refuse_archive(path)
    value = load_safetensors(path)[0] if is_safetensors(path) else load_container(path)
    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, not a decision model", where=path, do=f"Give {PUBLISHED}")
    state = find_weights(value, path)
    config = deduce_config(state, value, path)
    network = _filled(config, state, path)
    network.temperature = _temperature(value, network, path)
    stored = value.get("transform")
    network.transform = SquashOrCrop(*config.size, FIT, FILTER) if stored is None else _rule(stored, path)
    return network.to(device).eval().requires_grad_(False)


def _rule(stored, where):
    """Return the SquashOrCrop that a file describes."""
    if not isinstance(stored, dict):
        raise InputError("'transform' is not a description of a resize", where=where, do="Make or copy the file again")
    return from_description(stored, where)


def refuse_archive(path):
    """Raise InputError for an archive: .tar names a torch file here, .tar.gz an archive with one in it."""
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(512)
    place, mark = TAR
    if head.startswith(GZIP) or head[place : place + len(mark)] == mark:
        kind, flag = ("a gzipped archive (.tar.gz)", "z") if head.startswith(GZIP) else ("an archive of files", "")
        raise InputError(f"this is {kind}, not the torch file in it", where=path,
                         do=f"Unpack it (tar x{flag}f {Path(path).name}) and give the checkpoint.tar inside")


def find_weights(value, where):
    """Return {present name without prefixes: tensor} of a file's dictionary."""
    import torch

    inner = next((value[name] for name in STATES if isinstance(value.get(name), dict)), value)
    tensors = {name: tensor for name, tensor in inner.items() if isinstance(tensor, torch.Tensor)}
    return unwrapped_state(tensors, where, lambda name: current_name(unwrapped(name)))


def deduce_config(state, value, where):
    """Return the DecisionConfig that weights and a file's own entries stand for."""
    if "fc.weight" in state or any(name.startswith("features.conv0") for name in state):
        raise InputError("these are ImageNet's weights, not a decision model", where=where,
                         do=f"Give {PUBLISHED}; train_decision_model starts from these with --imagenet_weights")
    arch, last = _architecture(state)
    if arch is None or f"{last}.weight" not in state or state[f"{last}.weight"].dim() != 2:
        held = ", ".join(list(state)[:3]) or ", ".join(map(str, list(value)[:3])) or "nothing"
        raise InputError(f"no decision model is in it (it has {held})", where=where, do=f"Give {PUBLISHED}")
    outputs = state[f"{last}.weight"].shape[0]
    names = _names(value.get("attributes"), outputs, DRIVING, "attribute", where)
    reasons = ()
    if "explainer.bias" in state:
        reasons = _names(value.get("reasons"), len(state["explainer.bias"]), REASONS, "reason", where)
    width = state["body.0.0.weight"].shape[0] if arch == "small" else DecisionConfig._field_defaults["width"]
    return DecisionConfig(arch, names, _size(value.get("input_size"), where), _kind(value.get("kind"), where), width,
                          reasons)


def _architecture(state):
    """Return (name, the last layer's name), (None, None) for other weights."""
    if any(name.startswith("feat_extract.") for name in state):
        return "densenet121", "classifier"
    if "resnet.conv1.weight" in state:
        blocks = len({name.split(".")[2] for name in state if name.startswith("resnet.layer3.")})
        depth = DEPTHS.get(("resnet.layer1.0.conv3.weight" in state, blocks))
        return (f"resnet{depth}", "resnet.fc") if depth else (None, None)
    if "body.0.0.weight" in state and state["body.0.0.weight"].dim() == 4:
        return "small", "classifier"
    return None, None


def _names(stored, count, usual, word, where):
    """Return the stored names, of several alike each with its number; those usual for this many, or numbers."""
    if stored is None:
        return usual if count == len(usual) else tuple(f"{word}_{number}" for number in range(count))
    if not isinstance(stored, (list, tuple)) or [type(name) for name in stored] != [str] * count:
        raise InputError(f"the names of its {word}s are not a list of {count} texts", where=where,
                         do="Make or copy the file again")
    counts = Counter(stored)
    return tuple(name if counts[name] == 1 else f"{name}_{number}" for number, name in enumerate(stored))


def _size(stored, where):
    if stored is None:
        return SIZE
    good = isinstance(stored, (list, tuple)) and len(stored) == 2
    if not good or not all(type(side) is int and 0 < side <= 1 << 14 for side in stored):
        raise InputError("'input_size' is not a height and width", where=where, do="Make or copy the file again")
    return tuple(stored)


def _kind(stored, where):
    if stored is not None and stored not in KINDS:
        raise InputError(f"'kind' is neither {' nor '.join(KINDS)}", where=where, do="Make or copy the file again")
    return stored or KINDS[0]


def _temperature(value, network, where):
    """Return the temperatures of a file, ones where it has none."""
    import torch

    stored = value.get("temperature")
    if stored is None:
        return torch.ones(network.temperature.shape)
    good = isinstance(stored, torch.Tensor) and stored.shape == network.temperature.shape
    if not good or not bool((stored > 0).all()) or not bool(stored.isfinite().all()):
        raise InputError("'temperature' is not a positive number for each attribute", where=where,
                         do="Make or copy the file again")
    return stored.float()


def _filled(config, state, where):
    """Return the network of a configuration whose weights are the tensors of a state dict."""
    from common.nn.unfilled import unfilled

    with unfilled():  # no time and memory for initial values that would be overwritten
        network = build_decision_model(config)
    load_strictly(network, counted(network, state), where, do=f"Give {PUBLISHED}", assign=True)
    return network


def counted(network, state):
    """Return a state dict of a network with the counters that old files lack."""
    import torch

    missing = {name: torch.zeros((), dtype=torch.int64) for name in network.state_dict()
               if name.endswith(COUNTER) and name not in state}
    return {**state, **missing}


def write_decision_model(path, network, epoch, loss, optimiser_state, transform=None):
    """Write a model as the published dictionary with what it lacks: names, kind, size, range, temperature.

    epoch, loss: of the held-out images, as the original has them.  optimiser_state: a torch optimiser's state_dict.
    transform: the squash.SquashOrCrop of the pictures that it was trained on; default the published one at its size.
    """
    config = network.config
    transform = transform or SquashOrCrop(*config.size, FIT, FILTER)
    save_torch(path, {
        "epoch": epoch, "optimizer_state_dict": optimiser_state, "loss": loss,
        "model_state_dict": {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()},
        "arch": config.arch, "attributes": list(config.names), "kind": config.kind, "input_size": list(config.size),
        "value_range": list(network.value_range), "transform": transform.describe(), "reasons": list(config.reasons),
        "temperature": network.temperature.detach().cpu()})


def load_imagenet(network, path):
    """Give a model's body the weights of torchvision's file (densenet121-a639ec97.pth ...); its last layers stay.

    Raises InputError for another network's file.
    """
    arch = network.config.arch
    do = f"Give {imagenet_address(arch)}"
    require_imagenet(path, arch)
    refuse_archive(path)
    value = load_torch(path)
    state = find_weights(value, path) if isinstance(value, dict) else {}
    dropped = ("classifier.", "fc.")
    own = {name: tensor for name, tensor in state.items() if not name.startswith(dropped)}
    body = {name: tensor for name, tensor in network.body.state_dict().items() if not name.startswith(dropped)}
    if not own.keys() & body.keys():
        raise InputError(f"no weights of {arch} are in it", where=path, do=do)
    kept = {name: tensor for name, tensor in network.body.state_dict().items() if name.startswith(dropped)}
    load_strictly(network.body, {**counted(network.body, own), **kept}, path, do=do)


def require_imagenet(path, arch):
    """Raise InputError, with the address of the published one, where there is no file of ImageNet's weights."""
    if not Path(path).exists():
        raise InputError("no such file", where=path, do=f"Download {imagenet_address(arch)} and pass its path")


def imagenet_address(arch):
    """Return where torchvision's ImageNet weights of an architecture are published."""
    return f"https://download.pytorch.org/models/{IMAGENET[arch]}"
