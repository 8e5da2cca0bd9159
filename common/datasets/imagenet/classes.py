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


def parse_class(text, index=None, where="--target_classes"):
    """Return the class of a word: its number, its synset or other label, or its name (ignoring case, with spaces).

    index: {"0": [label, name], ...}, ImageNet's in network order by default.  Raises InputError for an unknown word,
    and for one that fits two classes (listing their numbers).
    """
    from common.errors import nearest

    index, text = class_index() if index is None else index, str(text).strip()
    matches = {int(number) for number, words in index.items() if text in words}
    if text.isascii() and text.isdigit() and (text.lstrip("0") or "0") in index:
        matches.add(int(text))
    if not matches:
        wanted = _folded(text)
        matches = {int(number) for number, (_, name) in index.items() if _folded(name) == wanted}
    if len(matches) == 1:
        return matches.pop()
    if matches:
        numbers = " and ".join(f"{number} ({index[str(number)][0]})" for number in sorted(matches))
        if text.isdigit():
            raise InputError(f"'{text}' is the number of one class and the name of another, {numbers}", where=where,
                             do="Rename one of them")
        count = "two" if len(matches) == 2 else len(matches)
        raise InputError(f"'{text}' is the name of {count} classes, {numbers}", where=where, do="Pass the number")
    numbers = sorted(map(int, index))
    do = f"Use {numbers[0]} .. {numbers[-1]}"
    if not text.isdecimal():
        close = nearest(text, [name for _, name in index.values()])
        do = close if len(close) < 100 else f"{do}, a synset or a name"
    raise InputError(f"unknown class '{text}'", where=where, do=do)


def parse_classes(text, index=None, where="--target_classes"):
    """Return the sorted classes of words separated by commas; InputError as parse_class, and for no word at all."""
    words = [word.strip() for word in text.split(",") if word.strip()]
    if not words:
        raise InputError("no class given", where=where, do="Pass numbers or names, separated by commas")
    return sorted({parse_class(word, index, where) for word in words})


def _folded(name):
    return name.lower().replace(" ", "_")
