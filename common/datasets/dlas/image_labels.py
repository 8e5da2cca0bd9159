"""Labelled patches of images, from the JSON files of the "VS.net" image labeller that DL-Art-School reads.

    {key: {"index": 3, "label": "eye", "keyBinding": "e",
           "labeledImages": [{"path", "label", "patch_top", "patch_left", "patch_height", "patch_width"}]}}
"""

import os

import torch

from common.errors import InputError
from common.files import read_json

PATCH = ("patch_top", "patch_left", "patch_height", "patch_width")


class PatchLabels:
    """The labelled patches of one file, or of a list of files together.

    names: {index: label}.  Raises InputError for a file that is missing or of another format.
    """

    def __init__(self, files):
        self.names, self._patches, self._folder = {}, {}, ""
        for path in files if isinstance(files, (list, tuple)) else [files]:
            self._add(path)
        if not self._patches:
            raise InputError("no labelled images", where=files, do="Label some images, or remove the labeler")

    def paths(self, folder):
        """Return the paths of the labelled images, in the file's order, below a folder."""
        self._folder = os.fspath(folder)
        return [os.path.join(self._folder, name) for name in self._patches]

    def tensors(self, path, size, side):
        """Return the labels of one image: labels (1, H, W) int64, labels_mask (1, H, W) float32, label_strings.

        size: (H, W) of the HQ image.  side: of the square before resizing; patches are divided (//) by side // H.
        """
        labels = torch.zeros((1, *size), dtype=torch.int64)
        mask = torch.zeros((1, *size))
        factor = max(side // size[0], 1)
        for patch, value in self._patches[os.path.relpath(path, self._folder).replace(os.sep, "/")]:
            top, left, height, width = (length // factor for length in patch)
            labels[:, top : top + height, left : left + width] = value
            mask[:, top : top + height, left : left + width] = 1.0
        return {"labels": labels, "labels_mask": mask, "label_strings": dict(self.names)}

    def _add(self, path):
        categories = read_json(path)
        try:
            values = {category["label"]: int(category["index"]) for category in categories.values()}
            for category in categories.values():
                for entry in category["labeledImages"]:
                    patch = tuple(int(entry[key]) for key in PATCH)
                    name = str(entry["path"]).replace("\\", "/").lstrip("/")  # files written on Windows
                    self._patches.setdefault(name, []).append((patch, values[entry["label"]]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"not a file of labelled patches ({type(error).__name__}: {error})", where=path,
                             do="Use the labeller's JSON file") from error
        self.names |= {value: label for label, value in values.items()}
