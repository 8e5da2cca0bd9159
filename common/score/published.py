"""The published configuration files: recognised by their paths, compared with what they say, never run."""

import ast
import re
from pathlib import Path

from common.errors import InputError

# Entries beside those of `model` that a file is held to: the others are flags, or start where our presets do not.
SHAPING = ("data.image_size", "data.num_channels", "data.random_flip", "data.centered", "data.uniform_dequantization",
           "optim.lr", "optim.beta1", "optim.eps", "optim.weight_decay", "optim.warmup", "optim.grad_clip",
           "optim.optimizer", "training.sde", "training.continuous", "training.reduce_mean", "training.snapshot_freq",
           "training.likelihood_weighting", "sampling.snr", "sampling.n_steps_each", "sampling.probability_flow",
           "sampling.last_step_snr")
OF_TRAINING = ("training.n_iters",)  # and those of a training's file
FILES = re.compile(r"(u|c|qc)_ncsn/(?:training/(\w+?)_ncsnpp_deep_continuous"
                   r"|evaluation/eval_(\w+?)_config(_ode)?)(?:\.py)?")


def published_file(name):
    """Return (family, data set, sampling method) that the path of a published configuration file names, else None.

    configs/qc_ncsn/training/cifar10_ncsnpp_deep_continuous.py and its like, below any folder.
    """
    found = FILES.fullmatch("/".join(Path(str(name).lower()).parts[-3:]))
    if found is None:
        return None
    family, trained, evaluated, ode = found.groups()
    return family, (trained or evaluated).replace("imagenet32", "imagenet"), "ode" if ode else "pc"


def check_file(path, config):
    """Raise InputError when a configuration file that is there assigns another number or text than `config` has.

    The file is a program and is not run: only assignments of literals to `section.key`, by whatever name the section
    goes in it, are read.
    """
    path = Path(path)
    if not path.is_file():
        return
    try:
        tree = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError("not a published configuration file: it is not Python", where=path,
                         do="Give a preset (python -m tools presets)") from error
    held = SHAPING + (OF_TRAINING if path.parent.name == "training" else ())
    sections = {name: name for name in config if isinstance(config[name], dict)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Assign) or len(node.targets) != 1:
            continue
        target, value = node.targets[0], node.value
        if isinstance(target, ast.Name) and isinstance(value, ast.Attribute) and value.attr in config:
            sections[target.id] = value.attr  # training = config.training
        if not isinstance(target, ast.Attribute):
            continue
        section = sections.get(getattr(target.value, "id", None) or getattr(target.value, "attr", None))
        if f"{section}.{target.attr}" in held or (section == "model" and target.attr in config["model"]):
            _compare(path, f"{section}.{target.attr}", value, config[section][target.attr])


def _compare(path, name, value, ours):
    """Raise InputError when a literal differs from the preset's value."""
    try:
        theirs = ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
        return  # an expression: what it gives is known to the program alone
    lists = (tuple, list)
    same = tuple(theirs) == tuple(ours) if isinstance(ours, lists) and isinstance(theirs, lists) else theirs == ours
    if not same:
        raise InputError(f"this file sets {name} to {theirs}, the published one sets {ours}; it is not run", where=path,
                         do=f"Add --config.{name}={theirs} to the published configuration's name, or give a preset")
