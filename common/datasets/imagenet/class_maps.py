"""From the labels of a source to classes and their names."""

import re

from common.datasets.imagenet import classes as imagenet_classes
from common.errors import InputError, Parameter

LAYOUT = ('Use a list of classes (entry label - 1), a class index {"0": [synset, name], ...} in the labels\' order, or '
          'the names of your classes, ["cat", "dog"] or {"cat": 0, "dog": 1}')
SYNSET = re.compile(r"n\d{8}")


def read_class_map(name, labels, where):
    """Return (classes (N,) int64, {"0": [synset, name], ...}) of npz labels 1.. under a class map.

    imagenet: the permutation from the development kit's order to the network's.  none: label - 1.  A .json: a list of
    classes (entry label - 1), a class index {"0": [synset, name]} in the order of the labels, or the names of classes
    of one's own, whose number is label - 1.
    Raises InputError for a file of another kind, repeated or negative classes, and labels out of range.
    """
    import numpy as np

    from common.files import read_json

    labels = np.asarray(labels, np.int64)
    if name == "imagenet":
        return imagenet_classes.label_to_class(labels, where), imagenet_classes.class_index()
    if name == "none":
        return labels - 1, plain_index(range(int(labels.max(initial=1))))
    if not name.endswith(".json"):
        raise InputError("must be imagenet, none or a .json", where=Parameter("class_map", name), do="See the docs")
    value, own = read_json(name), None
    if isinstance(value, dict) and _has_synsets(value):
        value = _network_classes(value, name)
    elif not (isinstance(value, list) and all(type(item) is int for item in value)):
        own = _own_names(value, name)
        value = list(range(len(own)))
    if not value or min(value) < 0 or len(set(value)) != len(value):
        raise InputError("not a class map: its entries must be distinct non-negative integers", where=name, do=LAYOUT)
    if labels.size and labels.max() > len(value):
        raise InputError(f"a map of {len(value)} labels, but the data have label {labels.max()}", where=name, do=LAYOUT)
    if own is None:
        index = imagenet_classes.class_index()
        own = plain_index(sorted(value))
        own |= {number: index[number] for number in own if number in index}
    return np.array(value, np.int64)[labels - 1], own


def plain_index(numbers):
    """Return the class index {"0": ["0", "class_0"], ...} of classes without names."""
    return {str(number): [str(number), f"class_{number}"] for number in numbers}


def _has_synsets(value):
    """Return whether a JSON object is a class index of ImageNet: an entry begins with a synset."""
    return any(isinstance(entry, list) and entry and SYNSET.fullmatch(str(entry[0])) for entry in value.values())


def _network_classes(value, where):
    """Return the list of network classes of a class index in the labels' order."""
    numbers = imagenet_classes.synset_numbers()
    try:
        return [numbers[value[str(place)][0]] for place in range(len(value))]
    except (KeyError, IndexError, TypeError) as error:
        raise InputError(f"not a class index: no known synset at {error}", where=where, do=LAYOUT) from error


def _own_names(value, where):
    """Return the class index of classes of one's own: a list of names, {name: number}, or {"0": name or [key, name]}.

    Raises InputError for anything else, and for numbers that are not 0, 1, 2, ...
    """
    if isinstance(value, list):
        value = {str(number): name for number, name in enumerate(value)}
    if isinstance(value, dict) and all(type(number) is int for number in value.values()):
        value = {str(number): name for name, number in value.items()} if len(set(value.values())) == len(value) else {}
    entries = {} if not isinstance(value, dict) else {
        key: [key, name] if isinstance(name, str) else name for key, name in value.items()}
    good = all(isinstance(pair, list) and len(pair) == 2 and all(isinstance(word, str) for word in pair)
               for pair in entries.values())
    if not entries or not good or set(entries) != {str(number) for number in range(len(entries))}:
        raise InputError("not a class map: neither classes nor names of the classes 0, 1, 2, ...", where=where,
                         do=LAYOUT)
    return {str(number): entries[str(number)] for number in range(len(entries))}
