"""Content hashes of image files, cached by path, size and modification time, so that a second run reads no file."""

import hashlib
import os

from common.files import read_json, write_json


def content_hashes(store):
    """Return a short content hash for each image of a folder's or zip's store, in order.

    A zip stores sizes and checksums. The files of a folder are read once; GENPROBE_CACHE/hashes keeps each hash while
    size and modification time (nanoseconds) stay the same.
    """
    if hasattr(store, "checksums"):
        return store.checksums()
    from common.paths import cache_dir

    folder = os.path.realpath(store.folder)
    cached = cache_dir() / "hashes" / f"{hashlib.sha256(folder.encode(errors='surrogateescape')).hexdigest()[:24]}.json"
    known = _read_cache(cached)
    hashes, fresh = [], {}
    for index in range(len(store)):
        path = store.title(index)
        try:
            stat = os.stat(path)
            stamp = f"{stat.st_size}:{stat.st_mtime_ns}"
        except OSError:
            hashes.append("unreadable")  # the error comes when it is decoded
            continue
        name = os.path.relpath(os.path.realpath(path), folder)
        if known.get(name, ["", ""])[0] != stamp:
            fresh[name] = [stamp, _hash(path)]
            known[name] = fresh[name]
        hashes.append(known[name][1])
    if fresh:
        write_json(cached, known)
    return hashes


def _read_cache(path):
    """Return the cached {name: [stamp, hash]}, {} when there is none or it is damaged."""
    from common.errors import InputError

    try:
        known = read_json(path) if path.exists() else {}
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
