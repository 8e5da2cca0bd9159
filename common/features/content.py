"""Hashes of image files' contents, remembered by path, size and time of change, so that a second run reads no file."""

import hashlib
import os

from common.files import read_json, write_json


def content_hashes(store):
    """Return one short hash of contents for each image of a folder's or zip's store, in order.

    A zip tells size and checksum itself. Of a folder each file is read once; GENPROBE_CACHE/hashes remembers the hash
    as long as size and time of change (nanoseconds) stay the same.
    """
    if hasattr(store, "checksums"):
        return store.checksums()
    from common.paths import cache_dir

    folder = os.path.realpath(store.folder)
    memory = cache_dir() / "hashes" / f"{hashlib.sha256(folder.encode(errors='surrogateescape')).hexdigest()[:24]}.json"
    known = _recall(memory)
    hashes, fresh = [], {}
    for index in range(len(store)):
        path = store.title(index)
        try:
            stat = os.stat(path)
            stamp = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            hashes.append("unreadable")  # is named when it is decoded
            continue
        name = os.path.relpath(os.path.realpath(path), folder)
        if known.get(name, ["", ""])[0] != stamp:
            fresh[name] = [stamp, _hash(path)]
            known[name] = fresh[name]
        hashes.append(known[name][1])
    if fresh:
        write_json(memory, known)
    return hashes


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
    try:
        with open(path, "rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    except OSError:
        return "unreadable"
    return digest.hexdigest()
