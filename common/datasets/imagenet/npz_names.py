"""Which files of a folder are batches of a downsampled ImageNet, by their names: none may be missing or there twice."""

import itertools
import os
import re
from pathlib import Path

from common.errors import InputError
from common.files import system_errors
from common.numerals import counted

PUBLISHED = "https://image-net.org/download-images (downsampled)"
PICKLE = re.compile(r"train_data_batch_\d+|val_data")
SHOWN = 3  # names in a note


def batch_paths(folder, subset="auto", partial=False):
    """Return ([batch files of a folder in the order of the numbers that end their names], [notes for the console]).

    Batches are .npz (any case), and pickles called train_data_batch_<n> or val_data without a suffix, where no .npz is
    of that name. subset: train (numbered files), val (val_data and the like), or auto: numbered ones if there are any,
    else the others. partial: a number between the first batch, 0 or 1, and the last may be missing.
    Raises InputError for a folder without batches, a link to nothing, two files of one number, and a missing one.
    """
    batches, others = _listed(Path(folder))
    numbered = {path: _number(path) for path in batches if _number(path) is not None}
    plain = [path for path in batches if path not in numbered]
    chosen = {"train": list(numbered), "val": [path for path in plain if path.name.startswith("val")],
              "auto": list(numbered) or plain}[subset]
    if not chosen:
        raise _nothing(folder, subset, [*batches, *others])
    chosen.sort(key=lambda path: (numbered.get(path, 0), path.name))
    numbers = [numbered[path] for path in chosen if path in numbered]
    for path, after, first, second in zip(chosen, chosen[1:], numbers, numbers[1:]):
        if first == second:
            raise InputError(f"has the same number as {after.name}", where=path, do="Keep each batch once")
    missing = _missing(numbers)
    if missing and not partial:
        there = ", ".join(map(str, numbers[:10])) + (", ..." if len(numbers) > 10 else "")
        raise InputError(f"batch {missing[0]} is missing (there are {there}): the images after it would change their "
                         f"numbers", where=folder, do=f"Get it from {PUBLISHED}, or pass --npz_partial")
    unread = [path for path in batches if path not in chosen] if subset == "auto" else []
    return chosen, _notes(folder, unread, others, missing)


def _missing(numbers):
    """Return the first numbers missing between 1, or 0, and the last of these ascending numbers."""
    known = set(numbers)
    return list(itertools.islice((number for number in range(min(1, *numbers), numbers[-1]) if number not in known),
                                 SHOWN + 1)) if numbers else []


def _listed(folder):
    """Return (batches, other files) of a folder; InputError for a batch that is a link to nothing."""
    with system_errors(folder):
        entries = sorted((entry for entry in os.scandir(folder) if not entry.name.startswith(".")),
                         key=lambda entry: entry.name)
    files = [folder / entry.name for entry in entries if not entry.is_dir()]
    arrays = [path for path in files if path.name.lower().endswith(".npz")]
    known = {path.name[:-4] for path in arrays}
    batches = sorted(arrays + [path for path in files if PICKLE.fullmatch(path.name) and path.name not in known])
    for path in batches:
        if not path.exists():
            raise InputError("a link to a file that is not there", where=path, do="Restore the file or remove the link")
    return batches, [path for path in files if path not in batches]


def _number(path):
    """Return the number after the last underscore of a file name, or None."""
    name = path.name[:-4] if path.name.lower().endswith(".npz") else path.name
    match = re.search(r"_([0-9]{1,9})$", name)
    return int(match.group(1)) if match else None


def _nothing(folder, subset, files):
    """Return the InputError for a folder without the wanted batches, saying what it holds."""
    what = "No NPZ files found" if subset == "auto" else f"no {subset} files of the downsampled ImageNet"
    zips = [path.name for path in files if path.suffix.lower() == ".zip"]
    deeper = sorted({path.parent for path in Path(folder).glob("*/*") if path.suffix.lower() == ".npz"})
    if deeper:
        do = f"They are in {deeper[0]}: pass that folder"
    elif zips:
        do = f"Unzip {zips[0]} first"
    else:
        do = f"Expected train_data_batch_1.npz ... or val_data.npz, from {PUBLISHED}"
    held = f"; it holds {_some(files)}" if files else ""
    return InputError(f"{what} in {folder}{held}", do=do)


def _notes(folder, unread, others, missing):
    """Return notes of what is not read."""
    notes = []
    if missing:
        notes.append(f"note: {folder}: batches are missing ({', '.join(map(str, missing[:SHOWN]))}"
                     f"{', ...' if len(missing) > SHOWN else ''}); images are numbered over those that are there")
    if unread:
        skipped = counted(len(unread), "batch", "batches")
        notes.append(f"note: {folder}: skipped {skipped} of another subset ({_some(unread)}); see "
                     f"--npz_subset")
    if others:
        skipped = counted(len(others), "file")
        notes.append(f"note: {folder}: skipped {skipped} not named as a batch ({_some(others)})")
    return notes


def _some(paths):
    """Return the first names of a list of paths."""
    return ", ".join(path.name for path in paths[:SHOWN]) + (", ..." if len(paths) > SHOWN else "")
