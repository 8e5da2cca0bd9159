"""The model of a command: flags and loading."""

import json
from dataclasses import dataclass
from typing import List, Optional

from common import console, flags
from common.errors import InputError
from common.options import REQUIRED, CommonOptions, option
from common.score.config import TRAINING_ALONE, check_same_model, override
from common.score.config_files import configuration, configuration_files
from common.score.ranges import check_config
from tools.qc_ncsn.work_dir import WorkDir


@dataclass(kw_only=True)
class WorkOptions(CommonOptions):
    """Flags of every command on a work folder."""

    workdir: str = option(REQUIRED, "work folder, under results/ unless absolute or starting with a dot", kind="how")
    config: Optional[str] = option(None, "preset or YAML or JSON file, for checkpoints that do not store their "
                                   "configuration", kind="how")
    set: List[str] = option([], "override an entry of the configuration; also --config.section.name=value",
                            nargs="*", type=str, kind="how", metavar="SECTION.NAME=VALUE")


@dataclass(kw_only=True)
class ModelOptions(WorkOptions):
    """Flags that choose a model, shared by sampling and evaluation."""

    checkpoint_idx: List[int] = option([], "snapshot in the work folder (default: the newest; 70 in a folder of the "
                                       "original's); several: each in a folder of its own, by_checkpoint/NUMBER, with "
                                       "one table and one curve", nargs="+", kind="how", metavar="NUMBER")
    checkpoint: Optional[str] = option(None, "path of a checkpoint, instead of a snapshot in the work folder",
                                       kind="how")
    seed: int = flags.seed("the noise; image i draws from (seed, i)")
    device: str = flags.device()
    coupling: str = option("image",
                           "image: step sizes per image; batch: from the whole batch, as the original",
                           choices=["image", "batch"])


def data_set_name(options):
    """Return the name of the data set that a work folder's model was trained on, None if unknown.

    The configuration says it: --config's, or the one in the newest checkpoint.
    """
    config = _configuration(options)
    return config and config["data"]["dataset"]


def model_shape(options):
    """Return the shape (H, W, C) of a work folder's model's images, None if unknown."""
    config = _configuration(options)
    return config and (config["data"]["image_size"],) * 2 + (config["data"]["num_channels"],)


def _configuration(options):
    """Return the configuration in the work folder's newest checkpoint, that of --config where there is none, or None;
    where there are both they must agree."""
    from common.score.container import read_checkpoint, stored_config
    from common.score.models import find_checkpoint

    given, stored = override(configuration(options.config), options.set) if options.config else None, None
    try:
        path = find_checkpoint(WorkDir(options.workdir))
        stored = stored_config(read_checkpoint(path))
    except InputError:  # a folder of samples alone
        pass
    if given and stored:
        check_same_model(given, stored, path)
    return given or stored


def note_unused(entries, uses, command):
    """Say which `section.name=value` entries a command does not use; uses: names, or sections with a dot at the end."""
    for name in (entry.partition("=")[0] for entry in entries):
        used = any(name == use or (use.endswith(".") and name.startswith(use)) for use in uses)
        if not used or name in TRAINING_ALONE:
            console.say(f"note: {command} does not use --config.{name}")


def load_model(options, work, device, command, uses):
    """Return the LoadedModel that the flags choose; uses: the entries that the command uses beside the network's."""
    from common.score.container import read_checkpoint, stored_config
    from common.score.models import LoadedModel, find_checkpoint

    note_unused(options.set, ("model.", "data.dataset", "data.image_size", "data.num_channels", *uses), command)
    if options.checkpoint and options.checkpoint_idx:
        raise InputError("contradicts --checkpoint_idx", where="--checkpoint", do="Omit one of them")
    path = find_checkpoint(work, next(iter(options.checkpoint_idx), None), options.checkpoint)
    config = configuration(options.config) if options.config else None
    if options.set:
        config = config or stored_config(read_checkpoint(path))
        if config is None:
            raise InputError("this checkpoint does not store its configuration", where=path, do="Pass --config")
        config = override(config, options.set)
    return LoadedModel(path, config and check_config(config), options.weights, device)


def announce(model):
    """Say which checkpoint and weights a command works with."""
    step = "" if model.step is None else f", step {model.step:,}"
    console.say(f"checkpoint: {model.path}{step}, {model.weights} weights")
    if model.weights == "only":
        console.say("note: this file has no EMA; its only weights are used")


def made_by(command, options, sha256, weights, **settings):
    """Return the JSON text that every stored file of a command holds: what made it, without paths."""
    return json.dumps({"command": command, "checkpoint_sha256": sha256, "weights": weights, "seed": options.seed,
                       "coupling": options.coupling, **settings}, sort_keys=True)


def model_inputs(options, model):
    """Return the paths on which the choice of a model, and its weights, depend."""
    named = options.checkpoint or options.checkpoint_idx or WorkDir(options.workdir).number is not None
    # without a name a newer snapshot would be chosen
    return [model.path if named else model.path.parent, *configuration_files(options.config)]
