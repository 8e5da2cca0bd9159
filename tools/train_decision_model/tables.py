"""Attributes of images in a CSV table: the first column names the image, the others are 0 and 1."""

import os
from collections import Counter
from pathlib import Path

import numpy as np

from common.errors import InputError, nearest
from common.formats.tables import read_records
from tools.train_decision_model.sources import Source, held_out, note_missing, present

VALUES = {"0": 0, "1": 1, "-1": 0, "0.0": 0, "1.0": 1, "false": 0, "true": 1}  # -1: CelebA's
SPLIT = "split"
SPLITS = {"train": 0, "test": 1, "val": 1, "valid": 1, "validation": 1, "validate": 1}


def open_table(options):
    """Return the Source of --csv and, where given, --val_csv."""
    path, folder = Path(options.csv), _folder(options.images, options.csv)
    columns, records = read_records(path)
    names = chosen_columns(columns, records, options.attributes, path)
    whole, absent = _labelled(columns[0], records, names, folder, path)
    notes, inputs = note_missing(absent, len(records)), [options.csv, str(folder)]
    if options.val_csv is None:
        train, val, says = _divided(whole, records, columns, options)
        notes += [says] if says else []
        return Source(names, "attributes", train, val, inputs, notes, len(absent))
    val_folder, val_path = _folder(options.val_images, options.val_csv), Path(options.val_csv)
    val_columns, val_records = read_records(val_path)
    for name in names:
        if name not in val_columns:
            raise InputError(f"no column '{name}'", where=val_path, do=nearest(name, val_columns))
    val, more = _labelled(val_columns[0], val_records, names, val_folder, val_path)
    return Source(names, "attributes", whole, val, [*inputs, options.val_csv, str(val_folder)],
                  [*notes, *note_missing(more, len(val_records))], len(absent) + len(more))


def _folder(images, table):
    folder = Path(images) if images is not None else Path(table).parent
    if not folder.is_dir():
        raise InputError("no such folder", where=folder, do="Pass the folder of the images")
    return folder


def chosen_columns(columns, records, wanted, where):
    """Return the names of the attributes: the wanted ones, or all columns of 0 and 1."""
    if len(columns) < 2 or not records:
        raise InputError("no table of images and attributes", where=where,
                         do="Give a header, and for each image a line of its name and 0 or 1 for each attribute")
    if len({*wanted}) < len(wanted):
        raise InputError("names a column twice", where="--attributes", do="Name it once")
    others = [name for name in columns[1:] if name != SPLIT]
    for name in wanted:
        if name not in others:
            raise InputError(f"no column '{name}'", where=where, do=nearest(name, others))
    binary = [name for name in others if all(_value(record[name]) is not None for record in records)]
    if not wanted and not binary:
        raise InputError("no column holds 0 and 1 alone", where=where, do="Pass --attributes, and correct its column")
    return tuple(wanted or binary)


def _value(cell):
    return VALUES.get((cell or "").strip().lower())


def _labelled(key, records, names, folder, where):
    """Return (LabelledFiles of the images that are there, paths of the others)."""
    targets = np.zeros((len(records), len(names)), np.uint8)
    named = Counter(os.path.normpath(record[key] or "") for record in records)
    repeated = next((name for name, count in named.items() if count > 1), None)
    if repeated is not None:  # it might be trained on and held out, with other labels
        raise InputError(f"'{repeated}' stands in several rows", where=where, do="Keep one of them")
    for row, record in enumerate(records):
        for place, name in enumerate(names):
            value = _value(record[name])
            if value is None:
                raise InputError(f"'{name}' of {record[key]} is {record[name]!r}, expected 0 or 1", where=where,
                                 do="Correct the table, or leave the column out with --attributes")
            targets[row, place] = value
    return present(folder, [record[key] for record in records], targets)


def _divided(whole, records, columns, options):
    """Return (images to train on, those held out, a line that says how) of one table."""
    if SPLIT in columns:
        words = {record[columns[0]]: (record[SPLIT] or "").strip().lower() for record in records}
        wrong = next((word for word in words.values() if word not in SPLITS), None)
        if wrong is not None:
            raise InputError(f"split '{wrong}'", where=options.csv, do=nearest(wrong, SPLITS))
        which = np.array([SPLITS[words[name]] for name in whole.names], int)
        return whole.chosen(np.flatnonzero(which == 0)), whole.chosen(np.flatnonzero(which == 1)), None
    train, val = held_out(len(whole), options.val_share)
    return whole.chosen(train), whole.chosen(val), f"{len(val):,} of {len(whole):,} images are held out"
