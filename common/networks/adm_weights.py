"""Loading ADM networks from every container in which EDM's and DMD2's are published or copied.

- a flat state dict: .pth, .bin (zip or legacy, tensors only), .safetensors; bare, or under a wrapper key (`ema`,
  `model`, `state_dict`, `generator`), with or without the prefixes that wrappers of training leave; Lightning's .ckpt;
- a folder of accelerate: model.safetensors or pytorch_model.bin; the guidance model beside it (model_1.safetensors,
  pytorch_model_1.bin) holds two more networks, `real_unet` (the teacher) and `fake_unet`;
- NVIDIA's network pickle, .pkl, through `network_pickle`: EDMPrecond and iDDPMPrecond;
- a state dict of openai/guided-diffusion, .pt, through `adm_guided`.

The configuration comes from the pickle, or from what the file says of it, or from the weights' names and shapes.
No file can run code.
"""

import json
import re
from dataclasses import dataclass, replace
from pathlib import Path

from common.errors import InputError, Parameter
from common.files import system_errors
from common.formats.checkpoints import is_safetensors, load_safetensors, load_strictly, load_torch, unwrapped_state
from common.formats.lightning import load_lightning
from common.networks.adm_config import AdmConfig, deduce_config
from common.networks.adm_guided import is_guided, parse_model_flags, read_guided

PUBLISHED = ("a generator of DMD2 (huggingface.co/tianweiy/DMD2, model/imagenet), edm-imagenet-64x64-cond-adm.pkl of "
             "NVlabs/edm or a diffusion network of openai/guided-diffusion")
PARTS = ("generator", "real_unet", "fake_unet")
FOLDER_FILES = {"generator": ("model.safetensors", "pytorch_model.bin"),
                "guidance": ("model_1.safetensors", "pytorch_model_1.bin")}
PREFIXES = ("module.", "_orig_mod.", "feedforward_model.", "generator.")
WRAPPERS = {"ema": ("ema",), "raw": ("model", "net", "state_dict", "generator")}
ARGUMENTS = {  # in the order of EDM's constructors
    "EDMPrecond": ("img_resolution", "img_channels", "label_dim", "use_fp16", "sigma_min", "sigma_max", "sigma_data",
                   "model_type"),
    "iDDPMPrecond": ("img_resolution", "img_channels", "label_dim", "use_fp16", "C_1", "C_2", "M", "model_type")}
LEGACY_MAGIC = bytes.fromhex("8a0a6cfc9c46f9206aa85019")  # how torch.save's files began before they were zips
MARK = "map_layer0.weight"  # an entry that every ADM network has


@dataclass
class AdmFile:
    """What a file holds: a network's configuration and its weights {published name: float32 CPU tensor}."""

    path: Path
    config: AdmConfig
    state: dict
    entry: str  # where in the file it stood: "ema", "model", "real_unet", ... or "" for a bare state dict
    dropped: tuple = ()  # entries left out: map_augment


def load_adm(path, device="cpu", weights="ema", part="generator", precision="fp32", model_flags=None):
    """Return the EDMPrecond or DiscretePrecond of a file or folder on a device, for evaluation, its parameters fixed.

    weights: ema or raw, where a file has both.  part: generator, real_unet or fake_unet; the latter two stand in a
    guidance file.  precision: fp32; bf16 or fp16 on CUDA alone (weights and layers, not the embedding).
    model_flags: for a file of guided-diffusion, the flags that its scripts build the network with, as one text.
    Raises InputError for a missing, damaged or foreign file, one that would run code, and another network's weights.
    """
    if precision not in ("fp32", "tf32", "bf16", "fp16"):
        raise InputError(f"unknown precision '{precision}'", where="--precision", do="Use fp32, tf32, bf16 or fp16")
    if precision in ("bf16", "fp16") and not str(device).startswith("cuda"):
        raise InputError(f"{precision} needs CUDA", where=f"--precision {precision}", do="Use fp32 on this device")
    network = build_adm(read_adm(path, weights, part, model_flags)).to(device)
    if precision in ("bf16", "fp16"):
        import torch

        network.lower_precision(torch.bfloat16 if precision == "bf16" else torch.float16)
    return network


def read_adm(path, weights="ema", part="generator", model_flags=None):
    """Return the AdmFile of a file or folder; see load_adm."""
    if part not in PARTS:
        raise InputError(f"no part is called '{part}'", where="part", do=f"Use {', '.join(PARTS)}")
    if weights not in WRAPPERS:
        raise InputError(f"no weights are called '{weights}'", where="weights", do="Use ema or raw")
    path = find_adm(path, part)
    flags = parse_model_flags(model_flags)
    if _is_network_pickle(path):
        config, state, entry = _read_pickle(path)
    else:
        value, described = _read_container(path)
        state, entry = unwrap_state(value, path, weights)
        config = described or _described(value, path)
        if is_guided(state) and part == "generator":
            config, state = read_guided(state, flags, path)
            return AdmFile(path, config, {name: tensor.float().contiguous() for name, tensor in state.items()}, entry)
    if flags is not None:
        raise InputError("the network is not one of guided-diffusion", where=Parameter("model_flags"),
                         do="Omit the flags; the file describes itself")
    state, chosen = select_part(state, part, path)
    if not any(name.endswith(MARK) for name in state):
        raise InputError(f"no ADM network in it (no entry '...{MARK}')", where=path, do=f"Give {PUBLISHED}")
    if config is None:
        config = deduce_config({name: tuple(tensor.shape) for name, tensor in state.items()}, path)
    dropped = tuple(name for name in state if name == "model.map_augment.weight")
    state = {name: tensor.float().contiguous() for name, tensor in state.items() if name not in dropped}
    config = _with_levels(replace(config, augment_dim=0), state, path)
    return AdmFile(path, config, state, chosen or entry, dropped)


def _with_levels(config, state, where):
    """Return the AdmConfig with the limits of the noise levels in a state dict, where it has discrete ones."""
    from common.networks.adm_discrete import with_limits

    if config.precond == "edm":
        return config
    levels = state.get("u")
    good = levels is not None and levels.shape == (config.M + 1,) and bool((levels[:-1] > levels[1:]).all())
    if not good or levels[-1] != 0 or not bool(levels.isfinite().all()):
        raise InputError(f"its noise levels (entry 'u') are not {config.M + 1} numbers that descend to 0", where=where,
                         do="Copy or download the file again")
    return with_limits(config, levels)


def build_adm(file):
    """Return the network of an AdmFile, whose tensors become its parameters; InputError when they do not fit."""

    from common.networks.adm import EDMPrecond
    from common.networks.adm_discrete import DiscretePrecond
    from common.nn.unfilled import unfilled

    with unfilled():  # no time and memory for initial values that would be overwritten
        network = (EDMPrecond if file.config.precond == "edm" else DiscretePrecond)(file.config)
    load_strictly(network, file.state, file.path, do=f"Give {PUBLISHED}", assign=True)
    for name, buffer in network.named_buffers():
        if name.endswith("resample_filter") and not bool((buffer == 0.25).all()):
            do = "Only ADM networks with 2x2 means are known"
            raise InputError(f"'{name}' is another filter than four quarters", where=file.path, do=do)
    return network.eval().requires_grad_(False)


def save_adm(path, network, **metadata):
    """Write a network's weights under their published names, with its configuration, as .safetensors, atomically.

    metadata: more {name: text} to store beside it. `load_adm` needs nothing else.
    """
    from common.formats.checkpoints import save_safetensors

    state = {name: tensor.detach().cpu() for name, tensor in network.state_dict().items()}
    save_safetensors(path, state, {"config": json.dumps(network.config.to_kwargs()), **metadata})


def find_adm(path, part="generator"):
    """Return the Path of the weight file: the one given, or that of a folder which holds the wanted part.

    A pattern such as imagenet_*.pth that the shell has left alone is resolved when exactly one file fits it.
    """
    path = Path(path)
    if any(sign in path.name for sign in "*?[") and not path.exists():
        found = sorted(path.parent.glob(path.name))
        if len(found) != 1:
            raise InputError(f"{len(found)} files fit this pattern", where=path, do="Name one file")
        path = found[0]
    if not path.is_dir():
        return path
    names = FOLDER_FILES["generator" if part == "generator" else "guidance"]
    for name in names:
        if (path / name).is_file():
            return path / name
    inner = sorted(folder.name for folder in path.glob("checkpoint_model_*"))
    do = f"Name one of its folders, such as {inner[-1]}" if inner else "Name the weight file itself"
    raise InputError(f"no {' or '.join(names)} in this folder", where=path, do=do)


def _is_network_pickle(path):
    """True for a pickle that is not a file of torch.save."""
    with system_errors(path), open(path, "rb") as stream:
        head = stream.read(14)
    return head[:1] == b"\x80" and head[2:] != LEGACY_MAGIC


def _read_pickle(path):
    """Return (AdmConfig, state, entry) of NVIDIA's network pickle."""
    from common.formats.network_pickle import Record, network_state, read_edm_pickle

    value, entry = read_edm_pickle(path), ""
    if isinstance(value, dict):
        entry = "ema"
        if not isinstance(value.get("ema"), Record):
            names = ", ".join(map(str, value)) or "nothing"
            raise InputError(f"no network under 'ema' (it has {names})", where=path, do=f"Give {PUBLISHED}")
        value = value["ema"]
    if not isinstance(value, Record) or value.class_name not in ARGUMENTS:
        kind = getattr(value, "class_name", None) or type(value).__name__
        raise InputError(f"it holds a {kind}, expected an EDMPrecond or iDDPMPrecond network (other preconditionings "
                         "are not read)", where=path, do=f"Give {PUBLISHED}")
    return _pickled_config(value, path), network_state(value, path), entry


def _pickled_config(value, path):
    """Return the AdmConfig of the Record of a network."""
    positional, named = value.attributes.get("_init_args", ()), value.attributes.get("_init_kwargs", {})
    names = ARGUMENTS[value.class_name]
    if not isinstance(positional, tuple) or len(positional) > len(names) or not isinstance(named, dict):
        raise InputError("the network's arguments are missing", where=path, do="Copy or download the file again")
    arguments = {**dict(zip(names, positional)), **named}
    if "img_resolution" not in arguments or not all(isinstance(name, str) for name in arguments):
        raise InputError("the network's arguments are missing", where=path, do="Copy or download the file again")
    config = AdmConfig.from_kwargs(arguments, path)
    if value.class_name == "iDDPMPrecond":
        config = replace(config, precond="iddpm", out_channels=2 * config.img_channels)
    return config


def _read_container(path):
    """Return (value of a .safetensors or torch.save file, AdmConfig of its metadata or None)."""
    if not is_safetensors(path):
        try:
            return (load_lightning if Path(path).suffix == ".ckpt" else load_torch)(path), None
        except InputError as error:
            raise _of_training_state(path) or error from error
    tensors, metadata = load_safetensors(path)
    try:
        told = json.loads(metadata.get("config", "null"))
    except ValueError:
        told = None
    return tensors, _described({"config": told}, path)


def _of_training_state(path):
    """Return the InputError for EDM's training-state-<kimg>.pt, which pickles modules; None for another file."""
    found = re.fullmatch(r"training-state-(\d+)\.pt", Path(path).name)
    if not found:
        return None
    beside = Path(path).with_name(f"network-snapshot-{found[1]}.pkl")
    there = sorted(beside.parent.glob("network-snapshot-*.pkl"))
    do = f"Give {beside.name}, the network of that moment" if beside in there or not there else \
        f"Give a network, such as {there[-1].name}"
    return InputError("the state of a training with EDM, whose modules are not loaded", where=path, do=do)


def _described(value, path):
    """Return the AdmConfig that a file's `config` entry describes, or None when it has none of that kind."""
    told = value.get("config") if isinstance(value, dict) else None
    if not isinstance(told, dict) or "img_resolution" not in told:
        return None
    return AdmConfig.from_kwargs(told, path)


def unwrap_state(value, where, weights="ema"):
    """Return ({name: tensor}, wrapper key): the state dict in a checkpoint, prefixes of wrappers stripped.

    Under `weights` "ema" an averaged state dict goes before the others; "raw" refuses a file that has only that.
    """
    import torch

    if not isinstance(value, dict):
        raise InputError(f"is of type {type(value).__name__}, not a state dict", where=where, do=f"Give {PUBLISHED}")
    tensors = {str(name): item for name, item in value.items() if isinstance(item, torch.Tensor)}
    if any(name.endswith(MARK) for name in tensors) or is_guided({_stripped(name): None for name in tensors}):
        return unwrapped_state(tensors, where, _stripped), ""
    order = [*WRAPPERS["ema"], *WRAPPERS["raw"]] if weights == "ema" else list(WRAPPERS["raw"])
    for key in order:
        if isinstance(value.get(key), dict):
            state, inner = unwrap_state(value[key], where, weights)
            return state, f"{key}.{inner}".rstrip(".")
    if weights == "raw" and isinstance(value.get("ema"), dict):
        raise InputError("only averaged weights (ema) in it", where=where, do="Ask for the ema weights")
    held = ", ".join(list(map(str, value))[:5]) or "nothing"
    raise InputError(f"no ADM network in it (it has {held})", where=where, do=f"Give {PUBLISHED}")


def _stripped(name):
    """Return an entry's name without the prefixes of wrappers."""
    while name.startswith(PREFIXES):
        name = name.removeprefix(next(prefix for prefix in PREFIXES if name.startswith(prefix)))
    return name


def select_part(state, part, where):
    """Return ({published name: tensor}, part): the entries of one network of the file, `part` "" for the generator.

    A guidance file has `real_unet.` and `fake_unet.` (and a classifier's entries, left out). A bare U-Net's names,
    without `model.`, are completed.
    """
    state = unwrapped_state(state, where, lambda name: name.removeprefix("guidance_model."))
    networks = [name for name in PARTS[1:] if any(entry.startswith(f"{name}.") for entry in state)]
    own = {name: tensor for name,
           tensor in state.items() if name.partition(".")[0] not in (*PARTS[1:], "cls_pred_branch")}
    if networks:
        own.pop("karras_sigmas", None)
    if part != "generator":
        if part not in networks:
            raise InputError(f"no '{part}.' entries in it", where=where,
                             do="Give the guidance file, pytorch_model_1.bin")
        own = {name: tensor for name, tensor in state.items() if name.startswith(f"{part}.")}
        own = unwrapped_state(own, where, lambda name: _stripped(name.removeprefix(f"{part}.")))
    elif not own:
        what = f"this is a guidance file with the networks {' and '.join(networks)}, not a generator"
        raise InputError(what, where=where,
                         do="Give pytorch_model.bin (or model.safetensors) beside it, or choose one of the two")
    if MARK in own:
        own = {f"model.{name}": tensor for name, tensor in own.items()}
    return own, part if part != "generator" else ""
