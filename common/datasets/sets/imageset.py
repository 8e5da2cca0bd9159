"""One split of a data set: the images, read by index as uint8, and what identifies them."""

import hashlib
from collections import Counter

from common.errors import InputError


class ImageSet:
    """Images of one split, all of one size.

    name, split: text.  stored: how many images of all splits its files hold.  labels: (N,) int64 from 0, or None.
    image_shape: (H, W, C).
    rows: (N,) positions in the store of this split's images, or None for all of them in order.
    A subclass has `_load(positions)`, (n, H, W, C) uint8, `_identity(without)`, plain values that identify its files,
    and `_headers()`, {decode.Header: number of images}.
    An ImageSet can be pickled for worker processes, which open its files again.
    """

    def __init__(self, name, split, count, image_shape, labels=None, rows=None):
        self.name, self.split, self.stored = str(name), split, int(count)
        self.image_shape = tuple(int(value) for value in image_shape)
        self.labels = labels if labels is None or rows is None else labels[rows]
        self._rows = rows
        self._count = int(count) if rows is None else len(rows)
        self._fingerprint, self._channels = None, self.image_shape[2]

    def __len__(self):
        return self._count

    def read(self, indices):
        """Return the images at `indices` (any order, repeats allowed, each 0..N-1) as (n, H, W, C) uint8, C order.

        Raises IndexError for an index outside the split, InputError for an image that cannot be read.
        """
        import numpy as np

        indices = np.asarray(indices)
        if indices.size == 0:
            return np.empty((0, *self.image_shape), np.uint8)
        if indices.ndim != 1 or indices.dtype.kind not in "iu":
            raise TypeError("indices must be one row of integers")
        if indices.min() < 0 or indices.max() >= len(self):
            raise IndexError(f"indices run {indices.min()}..{indices.max()}, the {self.split} split has {len(self)} "
                             f"images")
        images = self._load(indices if self._rows is None else self._rows[indices])
        if self.image_shape[2] < self._channels:
            from common.images.decode import to_grey

            images = to_grey(images)
        elif self.image_shape[2] > self._channels:
            images = images.repeat(3, axis=3)
        return np.ascontiguousarray(images)

    def set_channels(self, channels):
        """Give the images 1 or 3 channels: grey ones are repeated, of colours the luma is taken."""
        self.image_shape, self._fingerprint = (*self.image_shape[:2], channels), None

    def changes(self):
        """Return ({words: number of images}, images looked at): what reading does to the images, such as "resized"."""
        counts, looked, squashed = Counter(), 0, getattr(self._size, "rule", None) == "squash"
        for header, number in self._headers().items():
            happens = header.changes(self.image_shape[:2], self.image_shape[2], squashed)
            counts.update(dict.fromkeys(happens, number))
            looked += number
        return dict(counts), looked

    def fingerprint(self, without=None):
        """Return plain values for run records: name, split, count, image_shape, and the files' hashes or names.

        without: names of images whose contents do not count, for sets of files; the result is another kind of
        fingerprint, which does not depend on them.
        """
        head = {"name": self.name, "split": self.split, "count": len(self), "image_shape": list(self.image_shape)}
        if without is not None:
            return {**head, **self._identity(frozenset(without))}
        if self._fingerprint is None:
            self._fingerprint = {**head, **self._identity(frozenset())}
        return dict(self._fingerprint)


class ArrayImages(ImageSet):
    """Images stored as uint8 arrays (in memory, or mapped from a file).

    parts: list of arrays (or `npz.MappedArray`s), (n, H, W, C), or (n, C, H, W) with channels_first; they are not
    concatenated, which would double the memory.  size: (H, W) to resize and crop images of another size to when read,
    or a rule of its own (`squash.SquashOrCrop`).
    identity: plain values for the fingerprint; None: pixels and labels are hashed, which gives the same result for the
    same images in any container.
    """

    def __init__(self, name, split, parts, labels=None, channels_first=False, rows=None, size=None, identity=None):
        import numpy as np

        self._parts, self._channels_first, self._identity_values = list(parts), channels_first, identity
        self._ends = np.cumsum([part.shape[0] for part in self._parts])
        _, *shape = self._parts[0].shape
        height, width, channels = (*shape[1:], shape[0]) if channels_first else shape
        wanted = getattr(size, "size", size) or (height, width)
        self._size = None if tuple(wanted) == (height, width) else size
        image_shape = (*wanted, channels)
        super().__init__(name, split, self._ends[-1], image_shape, labels, rows)

    def _load(self, positions):
        import numpy as np

        which = np.searchsorted(self._ends, positions, side="right")
        images = None
        for number in np.unique(which):
            chosen = which == number
            start = self._ends[number - 1] if number else 0
            rows = self._parts[number][positions[chosen] - start]
            if images is None:
                images = np.empty((len(positions), *rows.shape[1:]), np.uint8)
            images[chosen] = rows
        images = images.transpose(0, 2, 3, 1) if self._channels_first else images
        if self._size is None:
            return images
        from common.images.decode import fit_array

        return np.stack([fit_array(image, self._size) for image in images])

    def _headers(self):
        from common.images.decode import Header

        _, *shape = self._parts[0].shape
        height, width, channels = (*shape[1:], shape[0]) if self._channels_first else shape
        return {Header(height, width, channels == 1, False, False, False): len(self)}

    def _identity(self, without):
        if self._identity_values is not None:
            return self._identity_values
        import numpy as np

        digest = hashlib.sha256()
        for start in range(0, len(self), 4096):
            digest.update(self.read(np.arange(start, min(start + 4096, len(self)))))
        if self.labels is not None:
            digest.update(np.ascontiguousarray(self.labels, "<i8"))
        return {"sha256": digest.hexdigest()}


class CompressedImages(ImageSet):
    """Images decoded from a store of files (PNG, JPEG, ...) each time they are read, without a cache.

    store: has len(), `read(position)` -> bytes, `open(position)` -> a context with the same as a binary stream,
    `title(position)` -> the image's name in messages, and `identity()` -> plain values.
    size: (H, W) to resize and crop every image to, or a rule of its own (`squash.SquashOrCrop`), or None: then all must
    have the size of the first.
    tolerant: headers that cannot be read are left out of the check.
    Grey and transparent images become RGB.
    Raises InputError naming the first image that cannot be read or, without size, has another size; the headers of the
    first HEADERS images are checked when the set is opened, the rest when they are read.
    """

    HEADERS = 1000

    def __init__(self, name, split, store, labels=None, rows=None, size=None, tolerant=False):
        self._store, self._size, self._seen = store, size, Counter()
        positions = range(len(store)) if rows is None else rows
        shape = getattr(size, "size", size)
        for position in positions[: self.HEADERS]:
            try:
                header = self._header(position)
            except InputError:
                if not tolerant:
                    raise
                continue
            shape = shape or header[:2]
            self._check_size(header[:2], shape, position, positions[0])
            self._seen[header] += 1
        if shape is None:
            raise InputError("none of the first images can be read", where=store.title(positions[0]),
                             do="Restore or remove them")
        super().__init__(name, split, len(store), (*shape, 3), labels, rows)

    def _header(self, position):
        from common.images.decode import read_header

        with self._store.open(position) as stream:
            return read_header(stream, self._store.title(position))

    def names(self, indices):
        """Return the names of images in their folder or archive, by which `fingerprint` leaves them out; titles where
        the store has no names."""
        name = getattr(self._store, "name", self._store.title)
        return [str(name(index if self._rows is None else self._rows[index])) for index in indices]

    def _check_size(self, size, expected, position, first=None):
        if self._size is not None or size == expected:
            return
        like = f" as {self._store.title(first)}" if first is not None else ""
        raise InputError(
            f"image is {size[1]} x {size[0]} (width x height), expected {expected[1]} x {expected[0]}{like}",
            where=self._store.title(position), do="Pass a size to resize all images to, or remove this one",
        )

    def _load(self, positions):
        import numpy as np

        from common.images.decode import decode

        images = np.empty((len(positions), *self.image_shape[:2], self._channels), np.uint8)
        for row, position in enumerate(positions):
            image = decode(self._store.read(position), self._store.title(position), self._size)
            self._check_size(image.shape[:2], self.image_shape[:2], position)
            images[row] = image
        return images

    def _headers(self):
        return self._seen

    def _identity(self, without):
        return self._store.identity(without) if without else self._store.identity()
