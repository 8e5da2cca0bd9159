"""Tar archives and gzip files from anywhere, read so that damage is an InputError and no small file unfolds to a huge
one. Nothing is ever unpacked to the disk, so names that lead elsewhere and links have no effect.
"""

import gzip
import os
import tarfile
from contextlib import contextmanager

from common.formats.zips import AGAIN, HIGHEST_RATIO, LARGE, zip_errors


def tar_errors(where, what, do=AGAIN, also=()):
    """Turn what a damaged or foreign tar or gzip file raises inside into an InputError; see zips.zip_errors."""
    return zip_errors(where, what, do, (tarfile.TarError, TypeError, *also))


class _Bounded:
    """A gzip stream that raises EOFError where far more comes out than honest data hold."""

    def __init__(self, stream, packed):
        self.stream, self.left = stream, max(LARGE, HIGHEST_RATIO * packed)
        self.packed = packed

    def read(self, count=-1):
        """Return the next bytes, all that are left by default."""
        data = self.stream.read(min(self.left + 1, count) if count >= 0 else self.left + 1)
        self.left -= len(data)
        if self.left < 0:
            raise EOFError(f"more unfolds from {self.packed:,} bytes than they can hold")
        return data


@contextmanager
def open_gzip(path):
    """Yield a gzip file's contents as a stream to be read once, from its beginning; to be used under `tar_errors`."""
    with gzip.open(path) as stream:
        yield _Bounded(stream, os.path.getsize(path))


def tar_members(archive, limit):
    """Yield the regular files of an open TarFile; ValueError for one of over `limit` bytes (sparse ones are any size).
    """
    for member in archive:
        if member.isfile() and member.size > limit:
            raise ValueError(f"'{member.name}' claims {member.size:,} bytes, more than the {limit:,} there can be")
        if member.isfile() and not member.issparse():
            yield member
