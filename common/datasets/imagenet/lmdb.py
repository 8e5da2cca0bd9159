"""ImageNet at 64 x 64 in an LMDB: `images_{i}_data` raw uint8 (3, H, W), `labels_{i}_data` raw int64, network order."""

from pathlib import Path

from common.errors import InputError
from common.formats.lmdb_files import import_lmdb, open_lmdb


class LmdbImages:
    """The images of an LMDB folder by number. classes: (N,) int64.  side: of the images, in pixels.

    Raises InputError when the package lmdb is not installed, for a missing or foreign file, and labels out of range.
    """

    def __init__(self, path):
        import numpy as np

        self.path, self._damage = Path(path), import_lmdb("--lmdb_path").Error
        self._base = open_lmdb(path)
        self._reader = self._base.begin(buffers=True)
        shape = self._shape("images_shape")
        count, *_ = (*self._shape("labels_shape"), 0)
        if len(shape) != 4 or shape[1] != 3 or shape[2] != shape[3] or shape[0] != count:
            raise InputError(f"images of shape {shape} and {count} labels, expected (n, 3, side, side)", where=path,
                             do="Create it again")
        self.side, self._count = shape[2], count
        if count and len(self._get("images_0_data")) != 3 * self.side**2:
            raise InputError(f"images of shape {shape}, the first has {len(self._get('images_0_data')):,} bytes",
                             where=path, do="Create it again")
        labels = [bytes(self._get(f"labels_{number}_data")) for number in range(count)]
        if any(len(label) != 8 for label in labels):
            raise InputError("a label is not one int64", where=path, do="Make it again")
        self.classes = np.frombuffer(b"".join(labels), np.int64)
        if count == 0 or self.classes.min() < 0:
            raise InputError("no images, or labels below 0", where=path, do="Create it again")

    def _get(self, key):
        try:
            value = self._reader.get(key.encode())
        except self._damage as error:
            raise InputError(f"damaged at '{key}' ({error})", where=self.path, do="Copy it again") from error
        if value is None:
            raise InputError(f"no entry '{key}'", where=self.path, do="Use an LMDB of the published layout")
        return value

    def _shape(self, key):
        try:
            return tuple(int(number) for number in bytes(self._get(key)).decode().split())
        except ValueError as error:
            raise InputError(f"'{key}' is not a row of numbers", where=self.path,
                             do="Use an LMDB of the published layout") from error

    def __len__(self):
        return self._count

    def identity(self):
        """Return what identifies the images, for records."""
        import hashlib

        return {"images": len(self), "side": self.side,
                "labels_sha256": hashlib.sha256(self.classes.tobytes()).hexdigest()}

    def read(self, indices):
        """Return uint8 (n, 3, side, side) of images by number."""
        import numpy as np

        size, out = 3 * self.side**2, np.empty((len(indices), 3, self.side, self.side), np.uint8)
        for place, number in enumerate(indices):
            data = self._get(f"images_{int(number)}_data")
            if len(data) != size:
                raise InputError(f"image {number} has {len(data)} bytes, expected {size}", where=self.path,
                                 do="Create it again")
            out[place] = np.frombuffer(data, np.uint8).reshape(3, self.side, self.side)
        return out
