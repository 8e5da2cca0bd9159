"""Convert a checkpoint to safetensors (one set of weights, no pickle) and back to the published container."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from common.cli import Outcome, run
from common.errors import InputError
from common.numerals import counted
from common.options import REQUIRED, CommonOptions, option
from common.score.config import check_same_model
from common.score.config_files import configuration

EPILOG = """examples:
  qc_ncsn convert --checkpoint results/digits_u/checkpoints/checkpoint_10.pth --output u.safetensors --weights ema
  qc_ncsn convert --checkpoint u.safetensors --output checkpoint.pth"""


@dataclass(kw_only=True)
class ConvertOptions(CommonOptions):
    """Flags of `qc_ncsn convert`."""

    checkpoint: str = option(REQUIRED, "the file to convert, .pth or .safetensors")
    output: str = option(REQUIRED, "the file to write, of the other kind")
    config: Optional[str] = option(None, "preset or YAML or JSON file, for checkpoints that do not store their "
                                   "configuration")
    weights: str = option("ema", "which weights to take from a .pth", choices=["ema", "raw"])


def main(options):
    """Run `qc_ncsn convert`; results: entries, step, weights."""
    import tempfile

    from common import console
    from common.files import check_writable, remove_abandoned

    source, target = Path(options.checkpoint), Path(options.output)
    kinds = {".safetensors": _from_safetensors, ".pth": _to_safetensors, ".pt": _to_safetensors}
    if source.suffix not in kinds or (source.suffix == ".safetensors") == (target.suffix == ".safetensors"):
        raise InputError("one file must be .pth, the other .safetensors", where=f"{source} -> {target}",
                         do="Rename one")
    check_writable(target.parent)
    convert, exists = kinds[source.suffix], target.exists() and not options.overwrite
    if exists or options.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            again = Path(folder) / target.name
            results = convert(options, source, again)
            if exists and not _same(again, target):
                raise InputError("exists, and differs from this conversion", where=target,
                                 do="Choose another name, or pass --overwrite")
    else:
        remove_abandoned(target)
        results = convert(options, source, target)
    what = "up to date" if exists else "would be written" if options.dry_run else "written"
    console.say(f"{target}: {what}, {counted(results['entries'], 'entry', 'entries')}, {results['weights']} weights")
    return Outcome(results, [] if options.dry_run else [str(target)])


def _same(first, second):
    """Return whether two files hold the same; safetensors writes the entries of its header in any order."""
    from common.files import file_hash
    from common.formats.checkpoints import is_safetensors, load_safetensors

    if not is_safetensors(first) or not is_safetensors(second):
        return file_hash(first) == file_hash(second)
    (ours, about), (theirs, other) = load_safetensors(first), load_safetensors(second)
    return about == other and ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def _configuration(options, state, source):
    """Return the configuration of a checkpoint: its own, which --config must not contradict, or --config's."""
    from common.score.container import stored_config

    given, stored = configuration(options.config) if options.config else None, stored_config(state)
    if given is not None and stored is not None:
        check_same_model(given, stored, source)
    return given or stored


def _to_safetensors(options, source, target):
    from common.formats.checkpoints import save_safetensors
    from common.score.container import read_checkpoint
    from common.score.models import filled_network

    state = read_checkpoint(source)
    config = _configuration(options, state, source)
    if config is None:
        raise InputError("this checkpoint does not store its configuration", where=source,
                         do="Pass --config, for example --config qc_cifar10")
    tensors = filled_network(config, state, source, options.weights).state_dict()
    extra = {"config": config, "step": state.get("step")}
    weights = options.weights if state["ema"] is not None else "raw"  # the only ones
    save_safetensors(target, tensors, {"weights": weights, "genprobe": json.dumps(extra)})
    return {"entries": len(tensors), "step": state.get("step"), "weights": weights}


def _from_safetensors(options, source, target):
    """The published container needs an EMA and an optimiser: the weights serve as EMA, the optimiser is fresh."""
    from common.formats.checkpoints import save_torch
    from common.score.container import read_checkpoint
    from common.score.models import filled_network
    from tools.qc_ncsn.train.step import checkpoint_state, make_average, make_optimiser

    state = read_checkpoint(source)
    config = _configuration(options, state, source)
    if config is None:
        raise InputError("the file does not store its configuration", where=source, do="Pass --config")
    weights = state.get("weights") or "raw"
    network = filled_network(config, state, source, weights)
    average = make_average(network, config["model"]["ema_rate"])
    step = json.loads(state["genprobe"]).get("step")
    container = checkpoint_state(network, make_optimiser(network, config["optim"], 0), average, step or 0, config)
    if step is None:
        del container["step"]
    save_torch(target, container)
    return {"entries": len(container["model"]), "step": step, "weights": weights}


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, ConvertOptions, "qc_ncsn convert", "Convert a checkpoint to safetensors and back.", EPILOG, words,
               "convert")
