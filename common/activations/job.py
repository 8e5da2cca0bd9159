"""Units of samples of extraction and generation, and where they are stored.

A unit (the samples of one activation file) is complete or absent: its pictures are written first, then the list of
skipped images, then the activations, and last the batch's json if the published tree has one. A unit of which anything
is missing or cut short is absent, and made again. Units are shared among processes, and give the same bytes in any
order.
"""

import os
from dataclasses import dataclass, field

from common.activations.layout import batch_name, sample_name, write_batch_json
from common.errors import InputError

ENDS = (b"IEND\xaeB`\x82", b"\xff\xd9")  # of a PNG and a JPEG


@dataclass
class SampleUnit:
    """Samples `first` .. `first` + count - 1; indices (count,) int64: their numbers in the source."""

    number: int
    first: int
    indices: object


@dataclass
class UnitResult:
    """The result of a unit. rows: places in it of the good samples.  left_out: {place: (title, reason)}."""

    unit: SampleUnit
    rows: list
    arrays: dict = field(default_factory=dict)  # {layer: (n, D)} of the good ones
    pictures: list = field(default_factory=list)  # [(path, bytes or uint8 (H, W, 3))]
    left_out: dict = field(default_factory=dict)
    samples: list = None  # of the batch's json; None for none


def split_units(indices, per_unit):
    """Return the SampleUnits of the samples `indices`, in order."""
    return [SampleUnit(number, first, indices[first : first + per_unit])
            for number, first in enumerate(range(0, len(indices), per_unit))]


class Store:
    """A tree with one form of activations, where units are written and looked up."""

    def __init__(self, tree, form, layers=None, picture_paths=None):
        """layers: names in the order asked for, of the json beside each batch, which only npz has; None for no json.
        picture_paths: function of a sample's position -> [paths of its pictures].
        """
        self.tree, self.form, self.layers = tree, form, layers
        self.picture_paths = picture_paths or (lambda position: [])
        self.with_json = layers is not None and form.name == "npz"

    def is_complete(self, unit):
        """True when a unit is complete; the last one of a shorter run is not."""
        from common.files import read_json

        rows = self.form.rows_there(unit.number)
        try:
            left_out = self.left_out(unit)
            if self.with_json:
                read_json(self.json_path(unit))
        except InputError:  # cut short
            return False
        if rows is None or rows + len(left_out) != len(unit.indices):
            return False
        good = [unit.first + place for place in range(len(unit.indices)) if place not in left_out]
        return all(is_whole_picture(path) for position in good for path in self.picture_paths(position))

    def json_path(self, unit):
        """Return the path of a unit's json."""
        return self.tree.activations / f"{batch_name(unit.number)}.json"

    def _left_out_path(self, unit):
        return self.tree.activations / f"{batch_name(unit.number)}.left_out.json"

    def left_out(self, unit):
        """Return {place: [title, reason]} of the skipped images of an existing unit."""
        from common.files import read_json

        path = self._left_out_path(unit)
        return {int(place): entry for place, entry in read_json(path).items()} if path.exists() else {}

    def write(self, result):
        """Write a UnitResult; the file that marks it as complete comes last."""
        from common.files import write_json

        for folder in {path.parent for path, _ in result.pictures}:
            folder.mkdir(parents=True, exist_ok=True)
        for path, picture in result.pictures:
            write_picture(path, picture)
        if result.left_out:
            write_json(self._left_out_path(result.unit), {place: list(why) for place, why in result.left_out.items()})
        self.form.write(result.unit.number, result.rows, result.arrays)
        if self.with_json:
            write_batch_json(self.json_path(result.unit), self.layers, result.samples)

    def stored(self, units):
        """Yield the complete units that hold a sample, not skipped images alone."""
        for unit in units:
            if self.is_complete(unit) and len(self.left_out(unit)) < len(unit.indices):
                yield unit

    def good_samples(self, units):
        """Yield (position, index in the source, row among the good ones of its unit) of each good sample."""
        for unit in units:
            skipped, row = self.left_out(unit), 0
            for place, index in enumerate(unit.indices.tolist()):
                if place not in skipped:
                    yield unit.first + place, index, row
                    row += 1


def write_picture(path, picture):
    """Write a picture (the bytes of a file, or uint8 (H, W, 3) as PNG), atomically.

    Unlike other files it is not synced to disk, which would take longer than computing it.
    """
    import io

    from PIL import Image

    from common.files import TEMPORARY, system_errors

    if not isinstance(picture, bytes):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, format="PNG")
        picture = stream.getvalue()
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")
    with system_errors(path):
        try:
            temporary.write_bytes(picture)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def is_whole_picture(path):
    """Return whether a picture is there and ends as pictures do."""
    try:
        with open(path, "rb") as stream:
            stream.seek(-min(8, os.fstat(stream.fileno()).st_size), os.SEEK_END)
            return stream.read().endswith(ENDS)
    except OSError:
        return False


def picture_path(folder, position, suffix="png"):
    """Return the path of a sample's picture."""
    return folder / f"{sample_name(position)}.{suffix}"
