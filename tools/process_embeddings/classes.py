"""The classes of a map's samples: told apart by number and synset, since names repeat (ImageNet has two cranes)."""

import re
from collections import Counter
from dataclasses import dataclass

import numpy as np


@dataclass
class Classes:
    """names: of the classes, no two alike, in natural order.  of: (N,) int32, the class of each sample.

    known: (N,) bool, False for samples that name no class; they share one entry of `names`.
    """

    names: list
    of: np.ndarray
    known: np.ndarray


def find_classes(records, class_names=None):
    """Return the Classes of sample records.

    A class is its number (`class_label`), and its synset where one number comes with several; without a number it is
    its synset or its name.  class_names: {number as text: name}, for records without a name.
    """
    keys = _keys(records)
    names = {}
    for key, record in zip(keys, records):
        if not names.get(key):
            names[key] = _text(record, "class_name") or str((class_names or {}).get(key[0]) or "")
    shown = _distinct({key: _readable(key, name) for key, name in names.items()})
    order = sorted(shown, key=lambda key: (_natural(shown[key]), _natural(key[0])))
    place = {key: number for number, key in enumerate(order)}
    return Classes([shown[key] for key in order], np.array([place[key] for key in keys], np.int32),
                   np.array([any(key) for key in keys], bool))


def _keys(records):
    """Return (number, synset) of each record; one without a synset takes that of its number if there is only one."""
    pairs = [(_text(record, "class_label"), _text(record, "synset_id")) for record in records]
    synsets = {}
    for number, synset in pairs:
        if synset:
            synsets.setdefault(number, set()).add(synset)
    only = {number: next(iter(known)) for number, known in synsets.items() if len(known) == 1 and number}
    return [(number, synset or only.get(number, "")) if number or synset else ("", _text(record, "class_name"))
            for (number, synset), record in zip(pairs, records)]


def _text(record, name):
    value = record.get(name)
    return "" if value is None else str(value)


def _readable(key, name):
    number, other = key
    return name.replace("_", " ") or (f"class {number}" if number else other or "no class")


def _distinct(names):
    """Return {key: name} with what tells the classes of one name apart behind it: number, synset, or a count."""
    shown = dict(names)
    for detail in (lambda key: key[0], lambda key: ", ".join(filter(None, key)),
                   lambda key: f"no. {list(names).index(key) + 1}"):
        often = Counter(shown.values())
        shown.update({key: f"{names[key]} ({detail(key)})" for key in names if often[shown[key]] > 1 and detail(key)})
    return shown


def _natural(text):
    """Return a sorting key that puts "class 2" before "class 10"."""
    return [(0, int(part), "") if part.isdecimal() and part.isascii() else (1, 0, part.casefold())
            for part in re.split(r"([0-9]+)", text) if part]
