"""`--per_class`: the Frechet distance and KID of each class, from features that are there already."""

import numpy as np

from common.errors import InputError
from tools.compute_fid.effects import PER_CLASS
from tools.compute_fid.measure import MEASURES, spread

LISTS = ("class_num_generated", "class_num_reference", "class_fid", "class_frechet_distance", "class_kid")


def measure_classes(sides, classes, options, device):
    """Return {classes: names, class_fid: values, ...: lists in the same order, and their means}, and notes.

    sides: both Statistics, with rows.  classes: the name of the class of each row, for both sides.
    Classes that a side lacks, or has one image of, are left out with a note.  Raises InputError where none is left.
    """
    from common.features.statistics import Statistics
    from common.formats.rows import gather

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
    for metric in [name for name in PER_CLASS if name in options.metrics]:
        found = []
        for name in shared:
            pair = [Statistics(features=gather(side.features, own[name]), meta=side.meta)
                    for side, own in zip(sides, rows)]
            found.append(MEASURES[metric](*pair, options, device))
        results |= _in_lists(found, next(key for key in ("fid", "frechet_distance", "kid") if key in found[0]))
    return results, notes


def _in_lists(found, key):
    """Return {class_KEY: values, class_KEY_se and _interval: None where unknown, and the mean with its own} of what was
    measured of each class. Classes share no image: the errors of their values are independent."""
    values, errors = [one[key] for one in found], [one.get(f"{key}_se") for one in found]
    results, mean = {f"class_{key}": values}, float(np.mean(values))
    if any(error is not None for error in errors):
        results |= {f"class_{key}_se": errors, f"class_{key}_interval": [one.get(f"{key}_interval") for one in found]}
    error = float(np.linalg.norm(errors) / len(errors)) if None not in errors else None
    return results | {f"class_{key}_mean": mean} | spread(f"class_{key}_mean", mean, error)


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
    beyond = next((number for number in map(int, columns[side]) if not 0 <= number < len(names)), None)
    if beyond is not None:
        raise InputError(f"label {beyond}, but the other side has {len(names)} classes by name",
                         where=("the generated images", "the reference")[side],
                         do="Give the classes of both sides the same names")
    columns[side] = [names[int(number)] for number in columns[side]]
    return columns, [f"labels are the numbers of the other side's classes in order of their names: 0 is {names[0]}"]


def _are_numbers(names):
    return all(map(_is_number, names))


def _is_number(name):
    """True for a whole number; -1 is that of images without a class in many a set."""
    return name.removeprefix("-").isdecimal()


def _in_order(names):
    return sorted(names, key=lambda name: (not _is_number(name), int(name) if _is_number(name) else 0, name))


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
    columns = {}
    for name in LISTS:
        if name in results:
            label = name.removeprefix("class_")
            columns[label] = results[name]
        if f"{name}_interval" in results:
            intervals = results[f"{name}_interval"]
            columns |= {f"{label} 95 % {which}": [None if one is None else one[end] for one in intervals]
                        for end, which in enumerate(("low", "high"))}
    return ["class", *columns], [[name, *map(_text, values)]
                                 for name, *values in zip(results["classes"], *columns.values())]


def _text(value):
    return f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
