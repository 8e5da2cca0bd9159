"""Finding and reading the weights of the FID Inception, in every container in which they are published.

Containers: NVIDIA's TorchScript archive (.pt), the state dict of pytorch-fid, clean-fid and torch-fidelity (.pth), a
saved pytorch-fid wrapper, .safetensors. Names and shapes are checked strictly. Nothing is downloaded.
"""

import os
import tempfile
from pathlib import Path

from common.errors import InputError
from common.files import file_hash, system_errors
from common.formats.checkpoints import check_finite, load_safetensors, load_torch, unwrapped_state
from common.formats.tensors import aligned
from common.formats.torchscript import is_torchscript, load_torchscript

VARIABLE = "GENPROBE_INCEPTION"
SCRIPT_FILE = "inception-2015-12-05.pt"
STATE_FILES = ("pt_inception-2015-12-05-6726825d.pth", "weights-inception-2015-12-05-6726825d.pth")
SCRIPT_URL = f"https://nvlabs-fi-cdn.nvidia.com/stylegan2-ada-pytorch/pretrained/metrics/{SCRIPT_FILE}"
STATE_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{STATE_FILES[0]}"
SCRIPT_HASH = "f58cb9b6ec323ed63459aa4fb441fe750cfe39fafad6da5cb504a16f19e958f4"
STATE_HASH = "6726825d"  # the first digits, which stand in the file's name
ADVICE = f"Download {SCRIPT_URL} or {STATE_URL} and give its path, or set {VARIABLE} to it"

# Modules of the TorchScript archive and of pytorch-fid's wrapper, in the order of the published ones.
STEM = ("Conv2d_1a_3x3", "Conv2d_2a_3x3", "Conv2d_2b_3x3", "Conv2d_3b_1x1", "Conv2d_4a_3x3")
BLOCKS = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
WRAPPER = (STEM[:3], STEM[3:], [f"Mixed_{block}" for block in BLOCKS[:8]], [f"Mixed_{block}" for block in BLOCKS[8:]])
BRANCHES = {
    "A": {"conv": ["1x1"], "tower.conv": ["5x5_1", "5x5_2"], "tower_1.conv": ["3x3dbl_1", "3x3dbl_2", "3x3dbl_3"],
          "tower_2.conv": ["_pool"]},
    "B": {"conv": ["3x3"], "tower.conv": ["3x3dbl_1", "3x3dbl_2", "3x3dbl_3"]},
    "C": {"conv": ["1x1"], "tower.conv": ["7x7_1", "7x7_2", "7x7_3"],
          "tower_1.conv": [f"7x7dbl_{number}" for number in range(1, 6)], "tower_2.conv": ["_pool"]},
    "D": {"tower.conv": ["3x3_1", "3x3_2"], "tower_1.conv": [f"7x7x3_{number}" for number in range(1, 5)]},
    "E": {"conv": ["1x1"], "tower_conv": ["3x3_1"], "tower_mixed_conv": ["3x3_2a", "3x3_2b"],
          "tower_1_conv": ["3x3dbl_1", "3x3dbl_2"], "tower_1_mixed_conv": ["3x3dbl_3a", "3x3dbl_3b"],
          "tower_2_conv": ["_pool"]},
}
KINDS = dict(zip(BLOCKS, "AAABCCCCDEE"))
ENTRIES = {"weight": "conv.weight", "beta": "bn.bias", "mean": "bn.running_mean", "var": "bn.running_var"}


def find_inception(path=None):
    """Return the Path of the Inception weights: the one given, else $GENPROBE_INCEPTION, else a usual place.

    Usual places are those of the published tools: the system's temporary folder (clean-fid) and the cache of torch
    hub. A folder may be given too. Raises InputError that tells which file is wanted, from where, and where to put it.
    """
    given = path or os.environ.get(VARIABLE)
    if given:
        found = [place for place in _inside(Path(given)) if place.is_file()]
        if not found:
            where = given if path else f"{VARIABLE}={given}"
            raise InputError("no Inception weights here", where=where, do=ADVICE)
        return found[0]
    for place in usual_places():
        if place.is_file():
            return place
    names = ", ".join(str(place) for place in usual_places())
    raise InputError(f"the weights of the FID Inception were not found (looked for {names})", do=ADVICE)


def _inside(path):
    return [path / name for name in (SCRIPT_FILE, *STATE_FILES)] if path.is_dir() else [path]


def usual_places():
    """Return the paths where the published tools keep the weights, the likeliest first."""
    caches = [Path(os.environ["TORCH_HOME"])] if os.environ.get("TORCH_HOME") else []
    caches += [Path(os.environ["XDG_CACHE_HOME"], "torch")] if os.environ.get("XDG_CACHE_HOME") else []
    caches += [Path.home() / ".cache" / "torch"]
    hubs = [cache / "hub" / "checkpoints" / name for cache in caches for name in STATE_FILES]
    return [Path(tempfile.gettempdir(), SCRIPT_FILE), *dict.fromkeys(hubs)]


def script_names():
    """Return {name in the TorchScript archive: published name}; scales of batch norm have no counterpart there."""
    modules = {f"layers.{_numbered('conv', index)}": name for index, name in enumerate(STEM)}
    for index, block in enumerate(BLOCKS):
        for tower, branches in BRANCHES[KINDS[block]].items():
            for number, branch in enumerate(branches):
                inner = f"layers.{_numbered('mixed', index)}.{_numbered(tower, number)}"
                modules[inner] = f"Mixed_{block}.branch{branch}"
    names = {f"{inner}.{entry}": f"{name}.{own}" for inner, name in modules.items() for entry, own in ENTRIES.items()}
    return {**names, "output.weight": "fc.weight", "output.bias": "fc.bias"}


def _numbered(name, index):
    """Return name, name_1, name_2 ...: how repeated names are told apart in the archive."""
    return f"{name}_{index}" if index else name


def wrapper_names():
    """Return {prefix in a saved pytorch-fid wrapper: published prefix}."""
    return {f"blocks.{i}.{j}.": f"{name}." for i, names in enumerate(WRAPPER) for j, name in enumerate(names)}


def load_inception_state(path):
    """Return {published name: float32 tensor} of a weight file, in published order, batch counters (0) included.

    fc.weight and fc.bias are absent when the file has none (a pytorch-fid wrapper). Raises InputError for a file that
    is missing, truncated, of another network (torchvision's is named), would run code, or has a wrong name or shape.
    """
    path = Path(path)
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(1 << 16)
    if path.suffix == ".pkl" or b"torch_utils.persistence" in head:
        what = "this is a pickle with code inside (NVIDIA's inception-2015-12-05.pkl), which is never run"
        raise InputError(what, where=path, do=f"Use the same network without code. {ADVICE}")
    if path.suffix == ".safetensors":
        state = load_safetensors(path)[0]
    elif is_torchscript(path):
        state = _rename_script(load_torchscript(path))
    else:
        state = load_torch(path)
    return _checked(_published(state, path), path)


def _rename_script(found):
    """Return the archive's tensors under published names, with the batch norm scales (1) that it leaves out."""
    import torch

    names, state = script_names(), {}
    for name, tensor in found.items():
        state[names.get(name, name)] = tensor
        if name in names and name.endswith(".beta"):
            state[names[name].replace("bn.bias", "bn.weight")] = torch.ones_like(tensor)
    return state


def _published(state, path):
    """Return `state` under published names; an InputError when it is no state dict, or torchvision's."""
    import torch

    if not isinstance(state, dict) or not state or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise InputError("this is not a dictionary of tensors", where=path, do=ADVICE)
    if any(name.startswith("AuxLogits.") for name in state) or tuple(_shape(state, "fc.weight")[:1]) == (1000,):
        what = "this is torchvision's ImageNet Inception (1000 classes), not the network of FID"
        raise InputError(what, where=path, do=ADVICE)
    prefixes = wrapper_names()

    def rename(name):
        head = ".".join(name.split(".")[:3]) + "."
        return prefixes[head] + name.removeprefix(head) if head in prefixes else name

    return unwrapped_state({str(name): tensor for name, tensor in state.items()}, path, rename)


def _shape(state, name):
    return state[name].shape if name in state else ()


def _checked(state, path):
    """Return the entries in published order, all names and shapes checked."""
    import torch

    expected = _expected()
    counters = {name for name in expected if name.endswith("num_batches_tracked")}
    optional = counters | ({"fc.weight", "fc.bias"} if not {"fc.weight", "fc.bias"} & state.keys() else set())
    missing = [name for name in expected if name not in state and name not in optional]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        what = f"'{missing[0]}' is missing" if missing else f"'{unexpected[0]}' is not part of the FID Inception"
        what += f" ({len(missing)} missing, {len(unexpected)} unexpected of {len(expected) - len(counters)} entries)"
        raise InputError(what, where=path, do=ADVICE)
    checked = {}
    for name, shape in expected.items():
        if name in counters:
            checked[name] = torch.zeros((), dtype=torch.int64)
        elif name in state:
            checked[name] = _checked_entry(name, state[name], shape, path)
    return checked


def _checked_entry(name, tensor, shape, path):
    import torch

    if tuple(tensor.shape) != shape:
        raise InputError(f"'{name}' has shape {tuple(tensor.shape)}, expected {shape}", where=path, do=ADVICE)
    if tensor.dtype not in (torch.float32, torch.float64):
        what = f"'{name}' is {str(tensor.dtype).removeprefix('torch.')}, expected float32 (rounding changes FID)"
        raise InputError(what, where=path, do=ADVICE)
    check_finite(name, tensor, path)
    if name.endswith("running_var") and bool((tensor < 0).any()):
        raise InputError(f"'{name}' holds a negative variance", where=path, do=ADVICE)
    return aligned(tensor.float().contiguous())


def _expected():
    """Return {name: shape} of the network's state dict, in order."""

    from common.networks.inception import InceptionV3
    from common.nn.unfilled import unfilled

    with unfilled():
        return {name: tuple(tensor.shape) for name, tensor in InceptionV3().state_dict().items()}


def build_inception(state):
    """Return the plain InceptionV3 in evaluation mode with the weights of `load_inception_state`.

    Without fc.weight and fc.bias in `state` its fc is None.
    """

    from common.networks.inception import InceptionV3
    from common.nn.unfilled import unfilled

    with unfilled():  # no time for initial values that would be overwritten
        network = InceptionV3()
    if "fc.weight" not in state:
        network.fc = None
    network.load_state_dict(state, assign=True)
    return network.eval().requires_grad_(False)


def load_inception(path=None, device="cpu"):
    """Return the InceptionFeatures of a weight file (by default the one that `find_inception` finds) on a device.

    Its `weights` are {"file": name, "sha256": hex digest, "published": whether these are the bytes of a published
    file}.
    """
    from common.networks.inception import InceptionFeatures

    path = find_inception(path)
    features = InceptionFeatures(build_inception(load_inception_state(path)), device)
    digest = file_hash(path)
    published = digest == SCRIPT_HASH or digest.startswith(STATE_HASH)
    features.weights = {"file": path.name, "sha256": digest, "published": published}
    return features
