"""Hashes of image files' contents, remembered as long as the files are untouched, so that a second run reads none."""

import hashlib
import os

from common.files import read_json, write_json

UNREADABLE = "unreadable"


def content_hashes(store):
    """Return one short hash of contents for each image of a folder's or zip's store, in order.

    A zip tells size and checksum itself. Of a folder each file is read once; GENPROBE_CACHE/hashes remembers the hash
    as long as size, inode and the times of modification and of the inode's change (which no program sets) stay the
    same. A file that cannot be read is UNREADABLE, for now: that is not remembered.
    """
    if hasattr(store, "checksums"):
        return store.checksums()
    from common.paths import cache_dir

    folder = os.path.realpath(store.folder)
    memory = cache_dir() / "hashes" / f"{hashlib.sha256(folder.encode(errors='surrogateescape')).hexdigest()[:24]}.json"
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


def _stamp(path):
    stat = os.stat(path)
    return f"{stat.st_size}:{stat.st_ino}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"


def _recall(memory):
    """Return what an earlier run remembered; a damaged memory is forgotten."""
    from common.errors import InputError

    try:
        known = read_json(memory) if memory.exists() else {}
    except InputError:
        return {}
    return known if isinstance(known, dict) else {}


def _hash(path):
    digest = hashlib.blake2b(digest_size=16)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
