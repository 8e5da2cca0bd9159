"""The index of a chunked data set: its folders and the files in them. It replaces cache.pth.

It is checked against the folders on each start, so nothing has to be deleted by hand: the root is listed, and a folder
whose modification and change times match the index is not listed again. A folder changed less than two seconds before
the index is written is not trusted next time, because another file could be added within the clock's resolution. The
index has names relative to the root and no options, so it is valid for every option and moves with the data. It is
JSON: reading it executes nothing, and a damaged one is rebuilt. For a read-only data set it is in GENPROBE_CACHE; if
that cannot be written either, each start lists all folders (some 20 us per folder).
"""

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field

from common.errors import InputError
from common.files import TEMPORARY, system_errors
from common.images.suffixes import is_image, note_skipped

FILE = "genprobe_index.json"
FORMAT, VERSION = "genprobe chunk index", 2
RACY_NS = 2_000_000_000  # the coarsest clock of common file systems (FAT: 2 s)
REFERENCE, GEOMETRY, SQUARE = "ref.jpg", "geometry.jsonl", "square."
REFERENCES = "__references__/"  # before the names of references in a tar: webdataset passes over `__x__/`
HIDDEN = "__"  # before a reference's own name there: Hugging Face's datasets passes over such files


@dataclass(slots=True)
class Folder:
    """One chunk folder: its name, its stamp, and its files' names joined by "/", which no file name can contain.

    stamp: (modified, changed) in ns; (0, 0) is never trusted.  tiles: image files, sorted, except those whose name
    contains ref.jpg.  others: the other files.  inner: folders inside, as Folders named relative to the root.
    In the virtual layout (a square image and its geometry) tiles are the names that extracted tiles would have, others
    includes the square, and the stamp has the geometry's times too.
    """

    name: str
    stamp: tuple
    tiles: str
    others: str
    inner: list = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """The contents of a data set's root: its chunk folders and its own files, each sorted by name.

    fresh: how many folders had to be listed on this start.  notes: the state of cache.pth (`legacy_cache`).
    """

    root: str
    folders: list
    files: list
    fresh: int = 0
    notes: dict = field(default_factory=dict)


def open_index(root):
    """Return the current `Listing` of a data set's root, and update the stored index if it has changed.

    Raises InputError when the root, or a folder in it, cannot be read.
    """
    root = os.fspath(root)
    folders, files = _list_root(root)
    stored, notes = _read(os.path.join(root, FILE)) if FILE in files else ({}, {})
    listing = Listing(root, [], files, notes=notes)
    changed = _validate(root, folders, stored, listing)
    if changed:
        cached, notes = _read(_cached_path(root))
        listing.notes = listing.notes or notes
        changed = _validate(root, changed, cached, listing)
        listing.folders += [_scan(root, name) for name in changed]
        listing.folders.sort(key=lambda folder: folder.name)
    listing.fresh = len(changed)
    _note_skipped(listing)
    if changed or len(stored) > len(folders):
        save_index(listing)
    return listing


def _note_skipped(listing):
    """Note the files in chunk folders that are neither tiles nor expected beside them."""
    skipped = []
    for others, count in Counter(folder.others for folder in listing.folders).items():  # nearly all are the same
        names = filter(None, others.split("/"))
        skipped += count * [name for name in names if not name.endswith(".pt") and not is_image(name)]
    note_skipped(skipped, listing.root)


def save_index(listing):
    """Write the index beside the data, or below GENPROBE_CACHE for a read-only data set, if at all possible."""
    trusted_before = time.time_ns() - RACY_NS
    value = {"format": FORMAT, "version": VERSION, "notes": listing.notes,
             "folders": [_to_row(folder, trusted_before) for folder in listing.folders]}
    text = json.dumps(value, separators=(",", ":"))
    for path in (os.path.join(listing.root, FILE), _cached_path(listing.root)):
        try:
            _write(path, text)
            return
        except (InputError, OSError):  # without an index only the next start is slower
            continue


def _list_root(root):
    """Return (names of the folders, names of the files) in the root, sorted; hidden ones are ignored."""
    folders, files = [], []
    with system_errors(root):
        if not os.path.isdir(root) and os.path.exists(root):
            raise InputError("not a folder", where=root, do="Pass the folder that contains the chunk folders")
        with os.scandir(root) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def _validate(root, names, stored, listing):
    """Add the unchanged stored folders to the listing; return the names of new and changed ones."""
    changed = []
    for name in names:
        folder = stored.get(name)
        if folder is not None and _is_current(root, folder):
            listing.folders.append(folder)
        else:
            changed.append(name)
    return changed


def _is_current(root, folder):
    path = f"{root}/{folder.name}"
    if folder.stamp[:2] != _stamp(path):
        return False
    if len(folder.stamp) > 2 and folder.stamp[2:] != _stamp(f"{path}/{GEOMETRY}"):
        return False
    return all(_is_current(root, inner) for inner in folder.inner)


def _stamp(path):
    """Return (modified, changed) of a folder or file in ns, or (-1, -1) when it does not exist.

    The change time too: copying tools set the modification time of a folder to that of their source, even for an
    incomplete copy; nothing sets the change time.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return (-1, -1)
    return (status.st_mtime_ns, status.st_ctime_ns)


def _scan(root, name):
    """Return the current Folder `name` (relative to the root). Its stamp comes first, so later changes are noticed."""
    path = f"{root}/{name}"
    stamp = _stamp(path)
    with system_errors(path):
        names = sorted(entry for entry in os.listdir(path) if entry[0] != ".")
    tiles = [entry for entry in names if is_image(entry) and REFERENCE not in entry]
    others, inner = [], []
    for entry in set(names).difference(tiles):
        # Expected files are not tested for being folders: that costs more than listing them.
        # Links to folders are not followed, as in the original: they can form a cycle.
        below = f"{path}/{entry}"
        is_file = entry.endswith((REFERENCE, ".pt", ".jsonl"))
        is_folder = not is_file and os.path.isdir(below) and not os.path.islink(below)
        (inner if is_folder else others).append(entry)
    if GEOMETRY in others and len(tiles) == 1 and tiles[0].startswith(SQUARE):
        stamp += _stamp(f"{path}/{GEOMETRY}")
        others.append(tiles[0])
        tiles, stamp = _virtual_tiles(path, tiles[0], stamp)
    return Folder(name, stamp, "/".join(tiles), "/".join(sorted(others)),
                  [_scan(root, f"{name}/{below}") for below in sorted(inner)])


def _virtual_tiles(path, square, stamp):
    """Return (names of the tiles that the geometry crops from a square, stamp); ([], untrusted) if it is broken."""
    from common.datasets.dlas.chunked import warn
    from common.datasets.dlas.chunked.virtual import read_geometry, virtual_name

    try:
        return sorted(virtual_name(number, square) for number in read_geometry(f"{path}/{GEOMETRY}")), stamp
    except InputError as error:
        warn(f"{error} This folder is skipped")
        return [], (0, 0)


def _to_row(folder, trusted_before):
    stamp = folder.stamp if max(folder.stamp) < trusted_before else (0, 0)
    row = [folder.name, stamp, folder.tiles, folder.others]
    return [*row, [_to_row(inner, trusted_before) for inner in folder.inner]] if folder.inner else row


def _from_row(row):
    name, stamp, tiles, others, *inner = row
    if not (isinstance(name, str) and isinstance(tiles, str) and isinstance(others, str)) or ".." in name.split("/"):
        raise ValueError("not a folder of an index")
    return Folder(name, tuple(stamp), tiles, others, [_from_row(below) for below in inner[0]] if inner else [])


def _read(path):
    """Return ({name: Folder}, notes) of a stored index; empty when there is none of this version, or a damaged one."""
    try:
        with open(path, "rb") as stream:
            value = json.loads(stream.read())
        if value["format"] != FORMAT or value["version"] != VERSION or not isinstance(value["notes"], dict):
            return {}, {}
        return {row[0]: _from_row(row) for row in value["folders"]}, value["notes"]
    except (OSError, ValueError, KeyError, TypeError, IndexError, RecursionError):
        return {}, {}


def _write(path, text):
    """Write the index under its final name by one rename. Not synced to disk: a damaged index is rebuilt anyway."""
    folder, name = os.path.split(path)
    temporary = os.path.join(folder, f".{name}.{os.getpid()}{TEMPORARY}")
    if folder and not os.path.isdir(folder):
        os.makedirs(folder, exist_ok=True)
    try:
        with open(temporary, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.replace(temporary, path)
    except OSError:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def _cached_path(root):
    """Return the path of the index of a read-only data set, named by a hash of the root."""
    import hashlib

    from common.paths import cache_dir

    name = hashlib.sha256(os.path.realpath(root).encode(errors="surrogateescape")).hexdigest()[:32]
    return os.path.join(cache_dir(), "chunk_indexes", f"{name}.json")
