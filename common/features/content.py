"""Hashes of image files' contents, remembered as long as the files are untouched, so that a second run reads none."""

import hashlib
import os

from common.errors import InputError
from common.files import open_regular, read_json, write_json

UNREADABLE = "unreadable"


def content_hashes(store):
    """Return one short hash of contents for each image of a folder's or zip's store, in order.

    A zip tells size and checksum itself. Of a folder each file is read once, of tar and parquet files each image;
    GENPROBE_CACHE/hashes remembers the hash as long as the file's size, inode and the times of modification and of the
    inode's change (which no program sets) stay the same. A file that cannot be read is UNREADABLE, for now: that is
    not remembered.
    """
    if hasattr(store, "checksums"):
        return store.checksums()
    if hasattr(store, "files"):
        return _member_hashes(store)
    folder = os.path.realpath(store.folder)
    memory = _memory(folder)
    known = _recall(memory)
    hashes, fresh = [], False
    for index in range(len(store)):
        path = store.title(index)
        name = os.path.relpath(os.path.realpath(path), folder)
        try:
            stamp = _stamp(path)
            if known.get(name, ["", ""])[0] != stamp:
                known[name], fresh = [stamp, _hash(path)], True
            hashes.append(known[name][1])
        except OSError:
            hashes.append(UNREADABLE)  # is named when it is decoded
    if fresh:
        write_json(memory, known)
    return hashes


def _member_hashes(store):
    """Return the hashes of images inside large files, remembered as long as all of these are untouched."""
    stamps = [[os.path.realpath(path), _stamp(path)] for path in store.files]
    titles = [store.title(index) for index in range(len(store))]
    listed = hashlib.sha256("\n".join(titles).encode(errors="surrogateescape")).hexdigest()
    memory = _memory(f"{stamps[0][0]}\n{listed}")
    known = _recall(memory)
    if known.get("stamps") == stamps and len(known.get("hashes", ())) == len(store):
        return known["hashes"]
    hashes = []
    for index in range(len(store)):
        try:
            hashes.append(hashlib.blake2b(store.read(index), digest_size=16).hexdigest())
        except InputError:
            hashes.append(UNREADABLE)
    if UNREADABLE not in hashes:
        write_json(memory, {"stamps": stamps, "hashes": hashes})
    return hashes


def _memory(name):
    """Return the path of what is remembered under a name."""
    from common.paths import cache_dir

    return cache_dir() / "hashes" / f"{hashlib.sha256(name.encode(errors='surrogateescape')).hexdigest()[:24]}.json"


def _stamp(path):
    stat = os.stat(path)
    return f"{stat.st_size}:{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _recall(memory):
    """Return what an earlier run remembered; a damaged memory is forgotten."""
    try:
        known = read_json(memory) if memory.exists() else {}
    except InputError:
        return {}
    return known if isinstance(known, dict) else {}


def _hash(path):
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
