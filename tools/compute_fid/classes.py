"""`--per_class`: the Frechet distance and KID of each class, from features that are there already."""

from dataclasses import replace

import numpy as np

from common.errors import InputError
from tools.compute_fid.effects import PER_CLASS

LISTS = ("class_num_generated", "class_num_reference", "class_fid", "class_frechet_distance", "class_kid")


def measure_classes(sides, classes, options, device):
    """Return {classes: names, class_fid: values, ...: lists in the same order, and their means}, and notes.

    sides: both Statistics, with rows.  classes: the name of the class of each row, for both sides.
    Classes that a side lacks, or has one image of, are left out with a note.  Raises InputError where none is left.
    """
    from common.features.statistics import Statistics
    from common.formats.rows import gather
    from tools.compute_fid.measure import MEASURES

    names, notes = paired_names(*classes)
    rows = [_rows_of(column) for column in names]
    shared = [name for name in _in_order(rows[0].keys() & rows[1].keys())
              if min(len(rows[0][name]), len(rows[1][name])) > 1]
    left = (rows[0].keys() | rows[1].keys()) - {*shared}
    if not shared:
        raise InputError("no class has two images on both sides", where=sides[0].path,
                         do="Give the classes of both sides the same names")
    if left:
        few = ", ".join(_in_order(left)[:5]) + (" ..." if len(left) > 5 else "")
        notes.append(f"{len(left):,} classes with fewer than two images on a side are left out: {few}")
    results = {"classes": shared, **{f"class_num_{which}": [len(side[name]) for name in shared]
                                     for which, side in zip(("generated", "reference"), rows)}}
    bare = replace(options, interval=False)
    for metric in [name for name in PER_CLASS if name in options.metrics]:
        for name in shared:
            pair = [Statistics(features=gather(side.features, own[name]), meta=side.meta)
                    for side, own in zip(sides, rows)]
            value = MEASURES[metric](*pair, bare, device)
            for key in {"fid", "frechet_distance", "kid"} & value.keys():
                results.setdefault(f"class_{key}", []).append(value[key])
    results |= {f"{name}_mean": float(np.mean(results[name])) for name in LISTS[2:] if name in results}
    return results, notes


def paired_names(first, second):
    """Return both sides' names of classes in one spelling, and notes.

    Whole numbers are numbers however they are written. Where one side has numbers and the other names, as labels beside
    class folders, number i is the i-th name in order. Raises InputError for a number beyond the names.
    """
    columns = [[str(int(name)) for name in column] if _are_numbers(column) else column for column in (first, second)]
    numbers = [_are_numbers(column) for column in columns]
    if numbers[0] == numbers[1]:
        return columns, []
    side = numbers.index(True)
    names = sorted({*columns[1 - side]})
    beyond = max(map(int, columns[side]))
    if beyond >= len(names):
        raise InputError(f"label {beyond}, but the other side has {len(names)} classes by name",
                         where=("the generated images", "the reference")[side],
                         do="Give the classes of both sides the same names")
    columns[side] = [names[int(number)] for number in columns[side]]
    return columns, [f"labels are the numbers of the other side's classes in order of their names: 0 is {names[0]}"]


def _are_numbers(names):
    return all(name.isdecimal() for name in names)


def _in_order(names):
    return sorted(names, key=lambda name: (not name.isdecimal(), int(name) if name.isdecimal() else 0, name))


def _rows_of(names):
    """Return {class: its rows, ascending}."""
    found = {}
    for row, name in enumerate(names):
        found.setdefault(name, []).append(row)
    return {name: np.array(rows) for name, rows in found.items()}


def table_of_classes(results):
    """Return the header and rows of the table of classes; ([], []) without --per_class."""
    if "classes" not in results:
        return [], []
    columns = [name for name in LISTS if name in results]
    rows = zip(results["classes"], *(results[name] for name in columns))
    return (["class", *(name.removeprefix("class_") for name in columns)],
            [[name, *(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values)]
             for name, *values in rows])
