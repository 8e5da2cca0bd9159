"""An existing cache.pth of the original: checked, never trusted, and never executed.

It is a torch pickle of ChunkWithReference objects (path, tiles, need_metadata, need_ref) or, from an image folder, of a
list of paths. Our own index replaces it; the user is only warned when a cache.pth is stale (the original's readers use
it), damaged, or loads something it must not: an unused file is no reason to reject the data beside it. On request
(`refresh_cache`) a stale one is rewritten, for those who still use the original; not by default, since it may list
fewer tiles on purpose (ignore_first).
"""

import os
import pickle
import types

from common.datasets.dlas.chunked import warn
from common.errors import InputError
from common.files import atomic_path, system_errors
from common.numerals import counted

FILE = "cache.pth"
LARGEST = 1 << 28  # bytes; 10 000 tiles take 0.7 MB
CLASS, MODULE = "ChunkWithReference", "data.images.chunk_with_reference"


STALE = " is stale: "


def read_cache(path):
    """Return the {folder name: [tile file names]} of a cache.pth of chunks or of image paths.

    Raises InputError for a missing, oversized or damaged file, and for one that loads any global but the class
    ChunkWithReference (from any module), which becomes a plain record of attributes.
    """
    from common.formats.pickles import loads_plain_torch

    with system_errors(path), open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size > LARGEST:
            raise InputError("too large to check", where=path, do="Remove it")
        data = stream.read()
    value = loads_plain_torch(data, path, holders=(CLASS,))
    if not isinstance(value, list):
        raise InputError(f"is of type {type(value).__name__}, expected a list", where=path, do="Remove it")
    listed = {}
    for entry in value:
        tiles = [entry] if isinstance(entry, str) else getattr(entry, "attributes", {}).get("tiles")
        if not isinstance(tiles, list) or not all(isinstance(tile, str) for tile in tiles):
            raise InputError("holds something that is neither a chunk nor a path", where=path, do="Remove it")
        for tile in tiles:
            parent, _, name = tile.replace("\\", "/").rpartition("/")
            listed.setdefault(parent.rpartition("/")[2], []).append(name)
    return listed


def note_cache(listing, refresh=False):
    """Warn of what is wrong with a cache.pth in the data set's root; refresh: rewrite a stale one instead.

    listing: index.Listing; its notes store the state, so that the file is read only when something has changed.
    Returns True when the notes have changed and should be saved.
    """
    if FILE not in listing.files:
        return False
    path = os.path.join(listing.root, FILE)
    try:
        status = os.stat(path)
    except OSError:
        return False
    state = [status.st_size, status.st_mtime_ns]
    if not listing.fresh and listing.notes.get("cache_pth", [])[:2] == state:
        verdict = listing.notes["cache_pth"][2]
    else:
        verdict = _verdict(path, listing)
    if refresh and isinstance(verdict, str) and STALE in verdict:
        write_cache(listing)
        status, verdict = os.stat(path), ""
        state = [status.st_size, status.st_mtime_ns]
    if isinstance(verdict, str) and verdict:
        warn(verdict)
    changed = listing.notes.get("cache_pth") != [*state, verdict]
    listing.notes["cache_pth"] = [*state, verdict]
    return changed


def _verdict(path, listing):
    """Return what is wrong with a cache.pth, in one sentence, or ""."""
    try:
        listed = read_cache(path)
    except InputError as error:
        return f"{error} It is not used: the folders themselves are read"
    existing = {folder.name: folder.tiles.split("/") for folder in listing.folders if folder.tiles}
    if {name: sorted(tiles) for name, tiles in listed.items()} == existing:
        return ""
    counts = [f"{counted(sum(map(len, side.values())), 'tile')} in {counted(len(side), 'folder')}"
              for side in (listed, existing)]
    return f"{path}{STALE}it lists {counts[0]}, there are {counts[1]}. It is not used, but the original's readers would"


class _Chunk:
    """Replaces the original's class while its objects are pickled."""


class _NamingPickler(pickle._Pickler):
    """Writes `_Chunk` under the name of the original's class, which need not be installed."""

    def save_global(self, obj, name=None):
        if obj is not _Chunk:
            return super().save_global(obj, name)
        self.write(pickle.GLOBAL + f"{MODULE}\n{CLASS}\n".encode())
        return self.memoize(obj)

    dispatch = {**pickle._Pickler.dispatch, type: save_global}


def write_cache(listing, need_ref=True, need_metadata=True):
    """Write the cache.pth of a data set of folders like the original: absolute paths, sorted tiles.

    need_ref, need_metadata: options that the original stores in this file and reads from it. Raises InputError when the
    file cannot be written.
    """
    import torch

    chunks, root = [], os.path.abspath(listing.root)
    for folder in listing.folders:
        if folder.tiles:
            chunk = _Chunk()
            chunk.path = f"{root}/{folder.name}"
            chunk.tiles = [f"{chunk.path}/{name}" for name in folder.tiles.split("/")]
            chunk.need_metadata, chunk.need_ref = need_metadata, need_ref
            chunks.append(chunk)
    naming = types.SimpleNamespace(Pickler=_NamingPickler, __name__="naming")
    with atomic_path(os.path.join(listing.root, FILE)) as temporary:
        torch.save(chunks, temporary, pickle_module=naming, pickle_protocol=2)
