"""What the records in a data set's folder list: the outputs of the extractor, and nothing else that lies beside them.

A chunk folder is known by its geometry file, flat tiles by `geometry/<name>.jsonl`, a shard by the index beside it.
"""

import contextlib
import json
import os
import re
import shutil
from pathlib import Path

from common.errors import InputError

UNFINISHED, SEGMENTS = ".unfinished", ".segments"
GEOMETRY = "geometry.jsonl"
FLAT_GEOMETRY = "geometry"  # folder
IN_CHUNK = re.compile(r"(\d{8,}|square)\.(jpg|png|webp)|ref\.jpg|centers\.pt|geometry\.jsonl")
CHUNK = re.compile(r"_(left|right)(_\d+)?$")  # how names of chunk folders end
TILE = re.compile(r"(_l\d{5,})?(_s\d{3,})?\.(jpg|png|webp)$")  # how those of flat tiles end, after the photo's name
SHARD_INDEX = re.compile(r"shard-\d{6}\.jsonl")


def read_lines(path):
    """Return the JSON lines of a geometry file; [] when it is missing or broken."""
    try:
        with open(path, encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, ValueError, RecursionError):
        return []


def read_about(path):
    """Return the first line of a geometry file, or None when it is missing or broken."""
    try:
        with open(path, encoding="utf-8") as stream:
            about = json.loads(stream.readline())
    except (OSError, ValueError, RecursionError):
        return None
    return about if isinstance(about, dict) and isinstance(about.get("tiles"), int) else None


def is_torn(path):
    """True for a geometry file whose first line is not JSON, as after a power cut: what it listed was written here."""
    try:
        with open(path, "rb") as stream:
            json.loads(stream.readline())
    except OSError:
        return False
    except (ValueError, RecursionError):
        return True
    return False


def listed_files(path):
    """Return the files that a flat mode's geometry file lists, relative to the data set."""
    names = [line.get("file") for line in read_lines(path)[1:] if isinstance(line, dict)]
    return [name for name in names
            if isinstance(name, str) and not name.startswith("/") and ".." not in name.split("/")]


def flat_files(root, path):
    """Return the files that a flat mode's geometry file lists; of one that is broken, those that bear its name."""
    lines, about = listed_files(path), read_about(path)
    if about is not None and len(lines) == about["tiles"]:
        return lines
    if Path(path).parent.name != FLAT_GEOMETRY or (about is None and not is_torn(path)):  # or not in its place yet
        return lines
    stem, places = Path(path).stem, [(root, [], os.listdir(root)), *os.walk(f"{root}/HR"), *os.walk(f"{root}/LR")]
    found = {os.path.relpath(os.path.join(folder, name), root) for folder, _, names in places
             for name in names if TILE.search(name) and TILE.sub("", name) == stem}
    found = {name for name in found if any(TILE.search(name).groups()[:2])} or found  # else a.jpg of mode square
    return sorted(found - {name for other in Path(path).parent.glob("*.jsonl") for name in listed_files(other)})


def lost_outputs(root, names):
    """Return {path: the chunk's folder or the photo's name} of outputs whose geometry file is gone.

    names: what the record of a finished run lists, relative to the data set's folder.
    """
    lost, known = {}, set(outputs_in(root)) if names else ()
    for path in (Path(root, name) for name in names):
        if path.is_dir() and CHUNK.search(path.name) and not (path / GEOMETRY).exists():
            lost |= {inner: path.name for inner in path.iterdir() if IN_CHUNK.fullmatch(inner.name)}
        elif path.is_file() and TILE.search(path.name) and path not in known:
            lost[path] = TILE.sub("", path.name)
    return lost


def shard_lines(path):
    """Return the lines of the index beside a shard, or None when it is missing or broken."""
    lines = read_lines(Path(path).with_suffix(".jsonl"))
    return lines if lines and all(_is_shard_line(line) for line in lines) else None


def _is_shard_line(line):
    header = line.get("header") if isinstance(line, dict) else None
    return (isinstance(header, dict) and isinstance(line.get("chunk"), str) and isinstance(header.get("tiles"), int)
            and isinstance(header.get("source"), str))


def outputs_in(root):
    """Return the paths of all outputs that are listed in a data set's folder; a folder that holds nothing else stands
    for its files."""
    found, root = [], Path(root)
    for entry in sorted(root.iterdir()) if root.is_dir() else ():
        if entry.is_dir() and (read_about(entry / GEOMETRY) is not None or is_torn(entry / GEOMETRY)):
            found += _chunk_outputs(entry)
        elif entry.name == FLAT_GEOMETRY and entry.is_dir():
            found += _flat_outputs(root, entry)
        elif SHARD_INDEX.fullmatch(entry.name) and shard_lines(entry) is not None:
            shards = (entry.with_suffix(ending) for ending in (".tar", ".parquet"))
            found += [entry, *(path for path in shards if path.exists())]
    return found


def _chunk_outputs(folder):
    names = os.listdir(folder)
    own = [folder / name for name in names if IN_CHUNK.fullmatch(name)]
    return [folder] if len(own) == len(names) else own


def _flat_outputs(root, folder):
    files = set()
    for path in folder.glob("*.jsonl"):
        if read_about(path) is not None or is_torn(path):
            files |= {path, *(root / name for name in flat_files(root, path))}
    files = {path for path in files if path.exists() or path.is_symlink()}
    for inner in sorted({path.parent for path in files} - {root}):
        held = {path for path in files if path.parent == inner}
        if held == set(inner.iterdir()):
            files = files - held | {inner}
    return sorted(files)


def remove_chunk(folder):
    """Remove what the extractor wrote into a chunk folder, and the folder where nothing else is in it."""
    for path in _chunk_outputs(Path(folder)):
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def remove_flat(root, path, keep=()):
    """Remove the files that a flat mode's geometry file lists, but for `keep`, then the geometry file."""
    for name in set(flat_files(root, path)) - set(keep):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{root}/{name}")
    Path(path).unlink(missing_ok=True)


def in_the_way(path):
    """Return the error about a path that the extractor would replace and did not write."""
    return InputError("is in the way: no record of this data set lists it", where=path,
                      do="Move it away, or choose another folder")
