"""The folders of cached features: which rows are there already, and how much they may take.

A set of features is a folder below GENPROBE_CACHE/features. Beside its rows lie the keys of its images (`keys.npz`), so
that another set takes the rows of the images that it shares. When all sets together take more than a limit
(GENPROBE_CACHE_GB, default 20), those used longest ago are removed; a set that a process reads or makes stays.
"""

import hashlib
import os
from contextlib import contextmanager, suppress
from pathlib import Path

from common.errors import InputError, Parameter

VARIABLE, DEFAULT_GB = "GENPROBE_CACHE_GB", 20.0
KEYS = "keys.npz"
LOCK, READING = ".lock", ".reading"  # held by the process that makes a set, and by those that read it


def features_dir():
    """Return the folder of all sets."""
    from common.paths import cache_dir

    return cache_dir() / "features"


def digests(keys):
    """Return the keys (texts, or None for an image without) as 16 bytes each, b"" for None."""
    return [b"" if key is None else hashlib.blake2b(key.encode(errors="surrogateescape"), digest_size=16).digest()
            for key in keys]


def write_keys(folder, wanted):
    """Write the keys (bytes) of a set's rows, in order."""
    import numpy as np

    from common.files import write_npz

    padded = b"".join(key.ljust(16, b"\0") for key in wanted)
    write_npz(folder / KEYS, compressed=False, keys=np.frombuffer(padded, np.uint8).reshape(-1, 16))


def known_rows(space_key, wanted):
    """Return {position in wanted: (folder, row)} of the images whose features in a space are in a finished set."""
    from common.files import read_json, read_npz

    places = {}
    for position, key in enumerate(wanted):
        if key:
            places.setdefault(key, []).append(position)
    found = {}
    for path in sorted(features_dir().glob(f"*/{KEYS}")):
        try:
            if read_json(path.with_name("set.json")).get("space") != space_key:
                continue
            keys = read_npz(path, required=("keys",))["keys"]
        except InputError:  # being made or removed, or damaged
            continue
        for row, key in enumerate(map(bytes, keys)):
            for position in places.get(key, ()):
                found.setdefault(position, (path.parent, row))
    return found


@contextmanager
def open_rows(places):
    """Yield a function of a position that returns (features, logits or None) of one of `known_rows`."""
    from common.formats.rows import FileRows

    opened, held = {}, []

    def row_of(position):
        folder, row = places[position]
        if folder not in opened:
            held.append(hold(folder))
            files = [(folder / "features.npz", "pool_3"), (folder / "logits.npz", "logit")]
            opened[folder] = [FileRows(path, name) for path, name in files if path.exists()]
        values = [rows[row : row + 1][0] for rows in opened[folder]]
        return values[0], values[1] if len(values) > 1 else None

    try:
        yield row_of
    finally:
        for files in opened.values():
            for rows in files:
                rows.close()
        for stream in held:
            stream.close()


def hold(folder):
    """Return an open file whose lock keeps a set from being removed, and note that the set is in use."""
    import fcntl

    stream = open(folder / READING, "ab")
    fcntl.flock(stream, fcntl.LOCK_SH)
    with suppress(OSError):  # a cache that others own
        os.utime(folder / "set.json")
    return stream


def listing():
    """Return [(seconds of the last use, bytes, folder)] of all sets, the longest unused first."""
    found = []
    for folder in features_dir().glob("*"):
        with suppress(OSError):  # removed meanwhile
            files = [entry.stat() for entry in os.scandir(folder) if entry.is_file()]
            data = [stat for stat in files if stat.st_size]
            if data:
                found.append((max(stat.st_mtime for stat in data), sum(stat.st_size for stat in data), folder))
    return sorted(found)


def limit_bytes(gigabytes=None):
    """Return the limit in bytes: `gigabytes`, else GENPROBE_CACHE_GB, else DEFAULT_GB."""
    text = os.environ.get(VARIABLE)
    try:
        value = float(text or DEFAULT_GB) if gigabytes is None else gigabytes
        if not value >= 0:
            raise ValueError
    except ValueError as error:
        where = f"{VARIABLE}={text}" if gigabytes is None else Parameter("cache_gb", gigabytes)
        raise InputError("expected a number of GB from 0", where=where, do="Correct the value") from error
    return value * 1e9


def prune(gigabytes=None):
    """Remove the sets used longest ago until all take no more than the limit; return [(bytes, folder)] of these."""
    sets = listing()
    total, limit, gone = sum(size for _, size, _ in sets), limit_bytes(gigabytes), []
    for _, size, folder in sets:
        if total <= limit:
            break
        if _remove(folder):
            gone.append((size, folder))
            total -= size
    return gone


def _remove(folder):
    """Remove a set's files, its mark of completeness first; False where a process makes or reads it."""
    import fcntl

    try:
        with open(folder / LOCK, "ab") as making, open(folder / READING, "ab") as reading:
            for stream in (making, reading):
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in sorted(Path(folder).iterdir(), key=lambda path: path.name != "set.json"):
                if path.name not in (LOCK, READING):
                    path.unlink()
    except OSError:
        return False
    return True
