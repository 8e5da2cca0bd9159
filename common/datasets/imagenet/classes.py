"""The 1,000 classes of ImageNet (ILSVRC 2012) in both numberings.

- network order, 0 .. 999: synsets sorted (0 tench, 1 goldfish, ...); what EDM's and DMD2's networks, folders of images
  and LMDB files use;
- the labels 1 .. 1000 of the downsampled sets (ImageNet64 and its smaller versions, npz or pickled): the numbers of the
  ILSVRC development kit (1 kit_fox, 2 English_setter, ..., 449 tench). No class has label - 1 as its network number.

`classes.txt` beside this module has one line for each class in network order: synset, name, label.
"""

from functools import cache
from pathlib import Path

from common.errors import InputError

COUNT = 1000
TABLE = Path(__file__).with_name("classes.txt")


@cache
def _rows():
    """Return ((synset, name, label), ...) in network order."""
    rows = [line.split(" ") for line in TABLE.read_text(encoding="ascii").splitlines()]
    return tuple((synset, name, int(label)) for synset, name, label in rows)


def class_index():
    """Return {"0": [synset, name], ..., "999": ...} in network order, as in class index files."""
    return {str(number): [synset, name] for number, (synset, name, _) in enumerate(_rows())}


def synset_of(number):
    """Return the synset (such as n01440764) of a class in network order."""
    return _rows()[number][0]


@cache
def synset_numbers():
    """Return {synset: number in network order}."""
    return {synset: number for number, (synset, _, _) in enumerate(_rows())}


def npz_to_network():
    """Return the permutation (1000,) int32: entry label - 1 is the class in network order."""
    import numpy as np

    order = np.empty(COUNT, np.int32)
    for number, (_, _, label) in enumerate(_rows()):
        order[label - 1] = number
    return order


def label_to_class(labels, where=None):
    """Return network classes 0 .. 999, int64, of labels 1 .. 1000 of the downsampled sets (one number or an array).

    where: the file's name for messages. Raises InputError for labels outside 1 .. 1000 or that are not integers.
    """
    import numpy as np

    labels = np.asarray(labels)
    if labels.size and labels.dtype.kind not in "iu":
        raise InputError(f"the labels are {labels.dtype}, expected integers", where=where, do="Use the published files")
    wrong = labels[(labels < 1) | (labels > COUNT)]
    if wrong.size:
        do = "Use the published files; add 1 to labels that start at 0"
        raise InputError(f"label {wrong.flat[0]} is outside 1 .. {COUNT}", where=where, do=do)
    return npz_to_network()[labels.astype(np.int64) - 1].astype(np.int64)


def parse_class(text, where="--target_classes"):
    """Return the network class for a number 0 .. 999, a synset, or a class name (ignoring case; spaces are allowed).

    Raises InputError for an unknown one, and for a name that two classes share (listing their numbers).
    """
    from common.errors import nearest

    text = str(text).strip()
    if text.isdecimal() and int(text) < COUNT:
        return int(text)
    if text in synset_numbers():
        return synset_numbers()[text]
    wanted = text.lower().replace(" ", "_")
    matches = [number for number, (_, name, _) in enumerate(_rows()) if name.lower() == wanted]
    if len(matches) == 1:
        return matches[0]
    if matches:
        numbers = " and ".join(f"{number} ({synset_of(number)})" for number in matches)
        raise InputError(f"'{text}' is the name of two classes, {numbers}", where=where, do="Pass the number")
    do = nearest(text, [name for _, name, _ in _rows()]) if not text.isdecimal() else f"Use 0 .. {COUNT - 1}"
    raise InputError(f"unknown class '{text}'", where=where,
                     do=do if len(do) < 100 else f"Use 0 .. {COUNT - 1}, a synset or a name")
