"""BDD-OIA's annotations (Xu et al. 2020) as STEEX reads them: four actions an image, and 21 reasons.

{train,val}_25k_images_actions.json: `images`, sorted here by file_name, whose `id` is a position in `annotations`.
*_reasons.json: a list, sorted by file_name and matched with the images by position. Of five-entry categories, the fifth
says "confused": such images are left out.
"""

import numpy as np

from common.errors import InputError
from common.files import read_json
from common.networks.decision_networks import DRIVING, REASONS
from common.numerals import counted
from tools.train_decision_model.sources import Source, note_missing, present

ACTIONS = "{}_25k_images_actions.json"
REASON_FILE = "{}_25k_images_reasons.json"
IMAGES = "data"  # folder of the images; without it, the folder itself
DO = "Download the annotations of BDD-OIA again"


def open_bddoia(folder, with_reasons=False):
    """Return the Source of a folder of BDD-OIA.

    Raises InputError naming the file and the image of an id out of range, and of labels that are not 0 and 1.
    """
    root = folder / IMAGES if (folder / IMAGES).is_dir() else folder
    parts, notes, missing, inputs = [], [], 0, []
    for split in ("train", "val"):
        path = folder / ACTIONS.format(split)
        reasons = folder / REASON_FILE.format(split) if with_reasons else None
        names, targets, confused, renamed = read_actions(path, reasons)
        part, absent = present(root, names, targets)
        notes += note_missing(absent, len(names))
        if confused:
            notes.append(f"note: left out {counted(confused, 'image')} of {path.name}, marked as confused")
        if renamed:
            notes.append(f"note: {renamed:,} reasons of {reasons.name} bear another name than the image at their "
                         "place; they are matched by position, as published models were trained")
        parts.append(part)
        missing += len(absent)
        inputs += [str(path)] if reasons is None else [str(path), str(reasons)]
    return Source(DRIVING, "attributes", *parts, [*inputs, str(root)], notes, missing, REASONS if with_reasons else ())


def read_actions(path, reasons=None):
    """Return (file names, uint8 (N, 4 or 25) labels, number of confused images, of reasons of another name)."""
    value = read_json(path)
    images, annotations = (_list(value, name, path) for name in ("images", "annotations"))
    for number, image in enumerate(images):
        if not isinstance(image, dict) or not isinstance(image.get("file_name"), str) or not image["file_name"]:
            raise InputError(f"image {number} has no file_name", where=path, do=DO)
    images = sorted(images, key=lambda image: image["file_name"])
    given = None if reasons is None else read_reasons(reasons, len(images))
    names, rows, confused, renamed = [], [], 0, 0
    for place, image in enumerate(images):
        category = _category(image, annotations, path)
        if len(category) == 5 and category[4]:
            confused += 1
            continue
        names.append(image["file_name"])
        rows.append(category[:4] + (given[place]["reason"] if given else []))
        renamed += bool(given) and given[place]["file_name"] != image["file_name"]
    width = len(DRIVING) + (len(REASONS) if given else 0)
    return names, np.array(rows, np.uint8).reshape(-1, width), confused, renamed


def _list(value, name, path):
    if not isinstance(value, dict) or not isinstance(value.get(name), list):
        raise InputError(f"'{name}' is not a list", where=path, do=DO)
    return value[name]


def _category(image, annotations, path):
    """Return the 4 or 5 labels of an image: those at the position that its id gives."""
    place, name = image.get("id"), image["file_name"]
    if type(place) is not int or not 0 <= place < len(annotations):
        raise InputError(f"id {place} of {name} is not a position in its {len(annotations):,} annotations", where=path,
                         do=DO)
    entry = annotations[place]
    category = entry.get("category") if isinstance(entry, dict) else None
    if not _is_binary(category, (4, 5)):
        raise InputError(f"the category of {name} is {category}, expected 4 or 5 of 0 and 1", where=path, do=DO)
    return category


def read_reasons(path, count):
    """Return [{file_name, reason}] sorted by file_name, one for each of `count` images."""
    rows = read_json(path)
    if not isinstance(rows, list) or len(rows) != count:
        raise InputError(f"expected a list of {count:,} reasons, one for each image", where=path, do=DO)
    for number, row in enumerate(rows):
        good = isinstance(row, dict) and isinstance(row.get("file_name"), str)
        if not good or not _is_binary(row.get("reason"), (len(REASONS),)):
            raise InputError(f"entry {number} has no file_name, or no {len(REASONS)} reasons of 0 and 1", where=path,
                             do=DO)
    return sorted(rows, key=lambda row: row["file_name"])


def _is_binary(values, lengths):
    return isinstance(values, list) and len(values) in lengths \
        and all(type(value) is int and value in (0, 1) for value in values)
