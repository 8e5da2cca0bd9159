"""The index of a chunked data set: which folders it has and which files are in them. It takes the place of cache.pth.

It is checked against the folders on each start, so nothing has to be deleted by hand: the root is listed, and a folder
whose times of modification and of change are those on record is not listed again. A folder whose times are younger than
two seconds when the index is written is not trusted next time, because a file could still come into it within the
clock's grain. The index holds names relative to the root and no options, so it serves every option and moves with the
data. It is JSON: reading it runs nothing, and one that is damaged is made anew. In a read-only data set it lies in
GENPROBE_CACHE; where that cannot be written either, each start lists all folders (some 20 us a folder).
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
RACY_NS = 2_000_000_000  # the coarsest clock among common file systems (FAT: 2 s)
REFERENCE, GEOMETRY, SQUARE = "ref.jpg", "geometry.jsonl", "square."
REFERENCES = "__references__/"  # before the names of references in a tar: webdataset passes over `__x__/`


@dataclass(slots=True)
class Folder:
    """One chunk folder: its name, its stamp, and its files' names joined by "/", which no file name can hold.

    stamp: (modified, changed) in ns; (0, 0) is never trusted.  tiles: image files, sorted; those whose name contains
    ref.jpg are no tiles.  others: the other files.  inner: folders inside, as Folders named relative to the root.
    Where a square image and its geometry stand for tiles that are cut when read, tiles holds the names they would have,
    others the square, and the stamp has the geometry's times too.
    """

    name: str
    stamp: tuple
    tiles: str
    others: str
    inner: list = field(default_factory=list)


@dataclass(slots=True)
class Listing:
    """What a data set's root holds: its chunk folders and its own files, each sorted by name.

    fresh: how many folders had to be listed on this start.  notes: what is known of cache.pth (`legacy_cache`).
    """

    root: str
    folders: list
    files: list
    fresh: int = 0
    notes: dict = field(default_factory=dict)


def open_index(root):
    """Return the `Listing` of a data set's root as it is now, and bring the stored index up to date where it is not.

    Raises InputError when the root, or a folder in it, cannot be read.
    """
    root = os.fspath(root)
    folders, files = _list_root(root)
    stored, notes = _read(os.path.join(root, FILE)) if FILE in files else ({}, {})
    listing = Listing(root, [], files, notes=notes)
    unknown = _validate(root, folders, stored, listing)
    if unknown:
        elsewhere, notes = _read(_cached_path(root))
        listing.notes = listing.notes or notes
        unknown = _validate(root, unknown, elsewhere, listing)
        listing.folders += [_scan(root, name) for name in unknown]
        listing.folders.sort(key=lambda folder: folder.name)
    listing.fresh = len(unknown)
    _note_skipped(listing)
    if unknown or len(stored) > len(folders):
        save_index(listing)
    return listing


def _note_skipped(listing):
    """Note the files in chunk folders that are neither tiles nor what belongs beside them."""
    skipped = []
    for others, count in Counter(folder.others for folder in listing.folders).items():  # nearly all hold the same
        names = filter(None, others.split("/"))
        skipped += count * [name for name in names if not name.endswith(".pt") and not is_image(name)]
    note_skipped(skipped, listing.root)


def save_index(listing):
    """Write the index beside the data, or below GENPROBE_CACHE where the data set is read-only; else nowhere."""
    trusted_before = time.time_ns() - RACY_NS
    value = {"format": FORMAT, "version": VERSION, "notes": listing.notes,
             "folders": [_to_row(folder, trusted_before) for folder in listing.folders]}
    text = json.dumps(value, separators=(",", ":"))
    for path in (os.path.join(listing.root, FILE), _cached_path(listing.root)):
        try:
            _write(path, text)
            return
        except (InputError, OSError):  # a disk that is full or read-only costs only the time of the next start
            continue


def _list_root(root):
    """Return (names of the folders, names of the files) in the root, sorted; hidden ones are passed over."""
    folders, files = [], []
    with system_errors(root):
        if not os.path.isdir(root) and os.path.exists(root):
            raise InputError("not a folder", where=root, do="Give the folder that holds the chunk folders")
        with os.scandir(root) as entries:
            for entry in entries:
                if not entry.name.startswith("."):
                    (folders if entry.is_dir() else files).append(entry.name)
    return sorted(folders), sorted(files)


def _validate(root, names, stored, listing):
    """Add the stored folders that are as on record to the listing; return the names of those that are not."""
    unknown = []
    for name in names:
        folder = stored.get(name)
        if folder is not None and _is_current(root, folder):
            listing.folders.append(folder)
        else:
            unknown.append(name)
    return unknown


def _is_current(root, folder):
    path = f"{root}/{folder.name}"
    if folder.stamp[:2] != _stamp(path):
        return False
    if len(folder.stamp) > 2 and folder.stamp[2:] != _stamp(f"{path}/{GEOMETRY}"):
        return False
    return all(_is_current(root, inner) for inner in folder.inner)


def _stamp(path):
    """Return (modified, changed) of a folder or file in ns, or (-1, -1) when it is gone.

    The change time too: copying tools set the modification time of a folder to that of their source, whatever they
    have left out; nothing sets the change time.
    """
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return (-1, -1)
    return (found.st_mtime_ns, found.st_ctime_ns)


def _scan(root, name):
    """Return the Folder `name` (relative to the root) as it is. Its stamp is taken first: what follows shows."""
    path = f"{root}/{name}"
    stamp = _stamp(path)
    with system_errors(path):
        names = sorted(entry for entry in os.listdir(path) if entry[0] != ".")
    tiles = [entry for entry in names if is_image(entry) and REFERENCE not in entry]
    others, inner = [], []
    for entry in set(names).difference(tiles):
        # Names of files that belong here are not asked whether they are folders: that costs more than listing them.
        # Links to folders are not followed, as by the original: they can lead round in a circle.
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
    """Return (names of the tiles that the geometry cuts from a square, stamp); none, untrusted, where broken."""
    from common.datasets.dlas.chunked import warn
    from common.datasets.dlas.chunked.virtual import read_geometry, virtual_name

    try:
        return sorted(virtual_name(number, square) for number in read_geometry(f"{path}/{GEOMETRY}")), stamp
    except InputError as error:
        warn(f"{error} This folder is left out")
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
    """Write the index under its final name by one rename. Not synced to the disk: half an index is only made anew."""
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
    """Return where the index of a read-only data set lies: named by a hash of its place."""
    import hashlib

    from common.paths import cache_dir

    name = hashlib.sha256(os.path.realpath(root).encode(errors="surrogateescape")).hexdigest()[:32]
    return os.path.join(cache_dir(), "chunk_indexes", f"{name}.json")
