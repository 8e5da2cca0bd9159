"""Prepared images in one file: a .npy of uint8 (N, H, W, 3), mapped into memory, with its contents' marks beside it.

FILE is complete when it is there; FILE.part is being made, and goes on where it stopped. FILE.json says of which images
it was made and how they were resized, and has a CRC-32 for each chunk.
"""

import os
import zlib
from pathlib import Path

import numpy as np

from common import console
from common.errors import InputError
from common.files import plain, read_json, system_errors, write_json
from common.locks import exclusive
from common.threads import Threads

CHUNK = 64 << 20  # bytes of pixels between two saves of the progress


class Pack:
    """One such file.

    identity: plain values of the images and how they are resized.  shape: (N, H, W, 3).
    unreadable: numbers of the images that could not be read, black in the file.
    Raises InputError where the file holds other images.
    """

    def __init__(self, path, identity, shape):
        self.path, self.identity, self.shape = Path(path), plain(identity), tuple(int(side) for side in shape)
        if self.path.is_dir():
            raise InputError("this is a folder", where=self.path, do="Pass the path of a file")
        self.part, self.about = self.path.with_name(f"{self.path.name}.part"), Path(f"{self.path}.json")
        self.step = max(1, CHUNK // int(np.prod(self.shape[1:])))
        self.unreadable, self.sums, self._pixels = [], [], None
        self._stamp = None
        self.check()

    def check(self):
        """Read what the file is; InputError where it is another's, or not of these images."""
        if not self.about.exists():
            if self.path.exists():
                raise InputError("is in the way: nothing says what is in it", where=self.path,
                                 do="Choose another file, or move it away")
            return
        stored = read_json(self.about)
        if not isinstance(stored, dict) or not {"identity", "shape"} <= set(stored) \
                or not all(map(_are_numbers, (stored.get("crc32"), stored.get("unreadable")))):
            raise InputError("does not describe a file of images", where=self.about, do="Remove it and the images")
        if stored["shape"] != list(self.shape) or stored["identity"] != self.identity:
            raise InputError(f"{self.path} was made of other images ({self._difference(stored)})", where=self.about,
                             do="Choose another file, or remove these two")
        self.sums, self.unreadable = list(stored["crc32"]), list(stored["unreadable"])
        self._stamp = stored.get("stamp")

    def _difference(self, stored):
        """Return the first entry that is another one, in words."""
        if stored["shape"] != list(self.shape):
            return f"shape {stored['shape']}, here {list(self.shape)}"
        before = stored["identity"] if isinstance(stored["identity"], dict) else {}
        name = next((name for name in self.identity if before.get(name) != self.identity[name]), "the images")
        return f"{name} {before.get(name)}, here {self.identity[name]}" if name in before else name

    def make(self, load, num_workers=1):
        """Make the file, or what is missing of it, and map it; another process that makes it is waited for.

        load: function of numbers (n,) -> (places of the readable ones, their images).
        """
        waiting = f"{self.path}: another process is preparing the images"
        lock = Path(f"{self.path}.lock")
        with exclusive(lock, waiting):
            self.check()
            if not self.path.exists():
                self._fill(load, num_workers)
                os.replace(self.part, self.path)
            self._verify()
            lock.unlink(missing_ok=True)
        self._pixels = np.load(self.path, mmap_mode="r")

    def read(self, numbers):
        """Return (uint8 (n, H, W, 3), good (n,) bool) of images by number."""
        return np.array(self._pixels[numbers]), ~np.isin(numbers, self.unreadable)

    def _fill(self, load, num_workers):
        starts = range(0, self.shape[0], self.step)
        pixels, done = self._open_part(starts)
        self.unreadable = [number for number in self.unreadable if number < done * self.step]
        with console.progress("preparing images", self.shape[0], done * self.step, "images") as advance, \
                Threads(max(1, num_workers)) as pool:
            for start in starts[done:]:
                numbers = np.arange(start, min(start + self.step, self.shape[0]))
                for part, (places, images) in zip(parts := np.array_split(numbers, max(1, num_workers) * 4),
                                                  pool.map(load, parts)):
                    own = np.zeros((len(part), *self.shape[1:]), np.uint8)
                    own[places] = images
                    pixels[part] = own
                    self.unreadable += [int(number) for number in np.delete(part, places)] \
                        if not isinstance(places, slice) else []
                pixels.flush()
                self.sums.append(zlib.crc32(pixels[numbers[0] : numbers[-1] + 1]))
                self._save()
                advance(len(numbers))

    def _open_part(self, starts):
        """Return (the mapped file that is being made, number of its chunks that are whole)."""
        with system_errors(self.part):
            self.part.parent.mkdir(parents=True, exist_ok=True)
            if self.part.exists():
                try:
                    pixels = np.load(self.part, mmap_mode="r+")
                except (ValueError, OSError, EOFError):
                    pixels = None
                if pixels is not None and pixels.shape == self.shape and pixels.dtype == np.uint8:
                    whole = self._whole(pixels, starts)
                    self.sums = self.sums[:whole]
                    return pixels, whole
            self.sums, self.unreadable = [], []
            pixels = np.lib.format.open_memmap(self.part, "w+", np.uint8, self.shape)
            with open(self.part, "rb+") as stream:  # a full disk is an error now, not a bus error later
                os.posix_fallocate(stream.fileno(), 0, self.part.stat().st_size)
            return pixels, 0

    def _whole(self, pixels, starts):
        """Return how many of the first chunks have the sums that were noted."""
        for place, (start, wanted) in enumerate(zip(starts, self.sums)):
            if zlib.crc32(pixels[start : start + self.step]) != wanted:
                return place
        return len(self.sums)

    def _verify(self):
        """Check the file against its sums where it was touched since they were last checked."""
        with system_errors(self.path):
            status = os.stat(self.path)
            stamp = [status.st_size, status.st_mtime_ns]
            if stamp == self._stamp:
                return
            try:
                pixels = np.load(self.path, mmap_mode="r")
            except (ValueError, OSError, EOFError):
                pixels = None
        starts = range(0, self.shape[0], self.step)
        if pixels is None or pixels.shape != self.shape or len(self.sums) != len(starts) \
                or self._whole(pixels, starts) < len(starts):
            raise InputError("its images are no longer those that were prepared", where=self.path,
                             do=f"Remove it and {self.about}, they are made again")
        self._save(stamp)

    def _save(self, stamp=None):
        self._stamp = stamp
        write_json(self.about, {"identity": self.identity, "shape": list(self.shape), "crc32": self.sums,
                                "unreadable": sorted(self.unreadable), "stamp": stamp})


def _are_numbers(values):
    return isinstance(values, list) and all(type(value) is int for value in values)
