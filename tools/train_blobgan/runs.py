"""Run folders as the original has them, `logs/wandb/run-DATE_TIME-ID/files/checkpoints/`, and going on with one.

Nothing is asked on the terminal. A run goes on in its own folder with its last state; what starts elsewhere, from an
earlier checkpoint or from weights alone, makes a new run, so that nothing of the old one is overwritten.
"""

import dataclasses
import os
import random
import re
import string
import time
from dataclasses import replace
from math import isfinite
from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.record import RECORD, read_record

LATEST = "latest_run"
RUNS = ("run-*", "offline-run-*")
LOGS, STATE = "logs", "state.pth"
NUMBERS = {"step": re.compile(r"step=(\d+)"), "epoch": re.compile(r"epoch=(\d+)")}
SHOWN = 12  # runs or checkpoints that a message lists


def settle(request, output_dir):
    """Return (options with their output folder and what they start from, names of options that may differ from those
    of the run's record).

    output_dir: the default of that flag, which says that none was given.
    Raises InputError for an ID that fits no run or several, and for flags that contradict each other.
    """
    is_named = request.output_dir != output_dir
    if request.log_dir is not None and is_named:
        raise InputError("cannot be combined with --output_dir", where=f"--log_dir {request.log_dir}", do="Choose one")
    if request.resume_id is None:
        _refuse_loose(request)
        if request.log_dir is None:
            return request, ()
        return _new_run(request, request.log_dir), ()
    root = Path(request.resume_log_dir or request.log_dir or LOGS) / "wandb"
    run = find_run(root, request.resume_id)
    options, accepted = _with_stored(request, run / "files" / RECORD)
    start = _start(request, run)
    if not start and not request.new_run and not is_named:
        return replace(options, output_dir=str(run / "files"), wandb_id=run_id(run)), accepted
    options = replace(options, **(start or {"start_state": str(_state_of(run))}))
    return options if is_named else _new_run(options, request.log_dir or LOGS), ()


def find_run(root, wanted):
    """Return the folder of the run below `root` that an ID, or latest_run, names."""
    runs = sorted((path for pattern in RUNS for path in Path(root).glob(pattern) if path.is_dir()),
                  key=lambda path: (_changed(path), path.name))
    if wanted == LATEST and runs:
        return runs[-1]
    for fits in (lambda path: run_id(path) == wanted, lambda path: wanted in path.name):
        found = [path for path in runs if fits(path)]
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(f"fits {len(found)} runs below {root}: {_listed(found)}", where=f"resume.id={wanted}",
                             do="Give the whole ID of one")
    there = f"there are {_listed(runs[::-1])}" if runs else "there are none"
    raise InputError(f"no run below {root} has this ID; {there}", where=f"resume.id={wanted}",
                     do="Give the ID of a run, or its folder's parent as resume.log_dir")


def run_id(run):
    """Return the ID of a run's folder: what follows its date and time."""
    return re.sub(r"^(offline-)?run-(\d{8}_\d{6}[-_])?", "", Path(run).name)


def _refuse_loose(request):
    """Raise InputError for flags that need a run to go on with."""
    names = ("resume_step", "resume_epoch", "resume_best", "resume_model_only", "resume_clobber_hparams", "new_run")
    for name in names:
        if getattr(request, name) not in (None, False):
            raise InputError("needs a run to go on with", where=f"--{name}", do="Add --resume_id ID or latest_run")


def _new_run(options, log_dir):
    """Return the options with a folder of their own; it is made with its first file.

    Of several processes the main one writes, and the others need no name of theirs.
    """
    signs = string.ascii_lowercase + string.digits
    own = options.wandb_id or "".join(random.SystemRandom().choices(signs, k=8))
    if not re.fullmatch(r"[\w-]+", own):
        raise InputError("expected letters, digits, - and _", where=f"--wandb_id {own}", do="Give another ID")
    root = Path(log_dir) / "wandb"
    taken = [path for pattern in RUNS for path in root.glob(pattern) if run_id(path) == own]
    if taken and parallel.is_main():
        raise InputError(f"a run has this ID: {taken[0]}", where=f"--wandb_id {own}",
                         do=f"Go on with it by resume.id={own}, or give another")
    folder = root / f"run-{time.strftime('%Y%m%d_%H%M%S')}-{own}" / "files"
    return replace(options, output_dir=str(folder), wandb_id=own)


def _with_stored(request, record):
    """Return (the request with the run's own options where it has others, names that the request may change).

    The run's own count, as its networks and moments belong to them; with resume_clobber_hparams the request's do.
    """
    if not record.exists():
        return request, ()
    stored, changes, kept, accepted = read_record(record).get("options") or {}, {}, [], set()
    for item in dataclasses.fields(request):
        kind, given, name = item.metadata.get("kind", "result"), getattr(request, item.name), item.name
        before = stored.get(name)
        default = item.default if item.default_factory is dataclasses.MISSING else item.default_factory()
        if name == "data" and given is None:
            changes[name] = before
        if kind == "how" or name not in stored or given == before:
            continue
        if given == default:
            changes[name] = before
        elif kind == "total" and before is not None and given > before:
            continue
        elif request.resume_clobber_hparams:
            accepted.add(name)
        else:
            changes[name] = before
            kept.append(f"{name} {_short(before)} (given: {_short(given)})")
    if kept and parallel.is_main():
        console.say(f"note: this run goes on with its own {', '.join(kept)}; resume.clobber_hparams=true takes what is "
                    "given")
    return replace(request, **changes), accepted


def _start(request, run):
    """Return the option that says what a new run starts from, {} where the run's last state goes on in its folder."""
    is_chosen = request.resume_best or not (request.resume_step is None and request.resume_epoch is None)
    if not (is_chosen or request.resume_model_only or not request.resume_last):
        if not (run / "files" / RECORD).exists():
            raise InputError("this run has no state of ours to go on from", where=run,
                             do="Add resume.model_only=true to start from its weights")
        return {}
    name = "start_weights" if request.resume_model_only else "start_state"
    return {name: str(_checkpoint(request, run))}


def _checkpoint(request, run):
    """Return the checkpoint of a run that the flags name."""
    there = sorted(run.rglob("*.ckpt"), key=lambda path: (os.stat(path).st_mtime_ns, path.name))
    wanted = {"step": request.resume_step, "epoch": request.resume_epoch}
    found = [path for path in there if all(value is None or _number(path, name) == value
                                           for name, value in wanted.items())]
    if not found:
        asked = " ".join(f"resume.{name}={value}" for name, value in wanted.items() if value is not None)
        what = f"this run has no such checkpoint; there are {_listed(there[::-1])}" if there else \
            "this run has no checkpoint"
        raise InputError(what, where=f"{run} {asked}".strip(), do="Give the step of one, or another run")
    if request.resume_best:
        return _best(found, run)
    last = [path for path in found if path.name.endswith("last.ckpt")]
    if last and not any(value is not None for value in wanted.values()):
        return last[-1]
    return max(found, key=lambda path: (_number(path, "step") or 0, os.stat(path).st_mtime_ns, path.name))


def _best(checkpoints, run):
    """Return the checkpoint with the lowest FID by the run's log."""
    from common.training.log import read_log

    scores = {row["step"]: row["train/fid"] for row in read_log(run / "files" / "log.jsonl")
              if isinstance(row.get("train/fid"), (int, float)) and isfinite(row["train/fid"])}
    ranked = [(scores[_number(path, "step")], _number(path, "step"), path) for path in checkpoints
              if _number(path, "step") in scores]
    if not ranked:
        raise InputError("no FID was measured for a checkpoint of this run", where=f"{run} resume.best=true",
                         do=f"Give resume.step; there are {_listed(checkpoints[::-1])}")
    return min(ranked)[2]


def _state_of(run):
    path = run / "files" / STATE
    if not path.exists():
        raise InputError("this run has no state to go on from", where=run,
                         do="Add resume.model_only=true to start from the weights of a checkpoint")
    return path


def _number(path, name):
    """Return the step or epoch in a checkpoint's name, None where it has none."""
    found = NUMBERS[name].search(path.name)
    return int(found[1]) if found else None


def _changed(run):
    """Return when a run last wrote a state or a checkpoint."""
    files = [*run.rglob("*.ckpt"), *run.rglob(STATE)]
    return max((os.stat(path).st_mtime_ns for path in files), default=os.stat(run).st_mtime_ns)


def _listed(paths):
    names = [path.name for path in paths[:SHOWN]]
    return ", ".join([*names, *(["..."] if len(paths) > SHOWN else [])])


def _short(value):
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."
