"""Which photo becomes which folders or files, and which of these exist, complete and made from the same photo."""

import hashlib
import json
import os
from pathlib import Path, PurePosixPath

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from tools.extract_subimages.chunks import layout_of
from tools.extract_subimages.pixels import SkippedPhoto, decode_photo, header
from tools.extract_subimages.sinks import GEOMETRY, flat_geometry
from tools.extract_subimages.sources import PhotoUnit, original_folder, pair_partners, stable_stem


def plan_units(options, sources, known=None):
    """Return the [PhotoUnit] of the sources, in order.

    known: {path: (height, width), or None for an unusable photo} from an earlier attempt, in place of headers.
    Only original naming reads the files: its running numbers need the tile counts of all earlier photos.
    """
    if options.mode == "multiscale" and options.naming == "original":
        return _running_numbers(options, sources, known or {})
    if options.mode == "pair":
        partners = pair_partners(sources, options.pair_folder, options.pair_scale)
        return [PhotoUnit(index, source, stable_stem(source.path), partner=partners[source.path])
                for index, source in enumerate(sources)]
    if options.mode == "multiscale" or (options.mode == "single" and options.naming == "stable"):
        return [PhotoUnit(index, source, stable_stem(source.path)) for index, source in enumerate(sources)]
    return _plain_stems(options, sources)


def _plain_stems(options, sources):
    """Return units named after their files; on a collision the later one is named after its path."""
    units, taken = [], set()
    for index, source in enumerate(sources):
        path = PurePosixPath(source.path)
        stem = path.stem
        if options.mode == "square" and options.naming == "stable":
            flat = path.with_suffix("").as_posix()
            stem = flat if options.keep_folder and flat.count("/") == 1 else flat.replace("/", "__")
        if stem in taken and options.compat == "none":
            named = stable_stem(f"{Path(source.folder).name}/{source.path}" if len(options.input_folder) > 1
                                else source.path)
            stem = named if named not in taken else f"{named}~{index}"
        taken.add(stem)
        units.append(PhotoUnit(index, source, stem))
    return units


def _running_numbers(options, sources, known):
    units, number, next_id = [], 0, 0
    for index, source in enumerate(sources):
        counts = ()
        size = known[source.path] if source.path in known else _size(options, source)
        if size is not None:
            try:
                _, layout = layout_of(options, source, *size)
                counts = tuple(len(records) for _, records in layout)
            except SkippedPhoto:
                counts = ()
        units.append(PhotoUnit(index, source, stable_stem(source.path), number, next_id, counts))
        number, next_id = number + len(counts), next_id + sum(counts) + len(counts)
    return units


def _size(options, source):
    """Return (height, width) of a photo, after rotation if any; None when it cannot be read."""
    size = header(source.full, options.exif and options.compat == "none")
    if size is not None:
        return size
    try:  # rare: files that OpenCV reads and Pillow does not
        data = Path(source.full).read_bytes()
        return decode_photo(data, options.exif, original=options.compat == "original").pixels.shape[:2]
    except (SkippedPhoto, OSError):
        return None


def folder_names(options, unit):
    """Return the folders that a photo may have: all it has under original naming, candidates otherwise."""
    if options.naming == "original":
        sides = ("left", "right") if options.vertical_split else ("left",)
        return [original_folder(unit.source.name, side, unit.number + index)
                for index in range(len(unit.counts)) for side in sides]
    return [f"{unit.stem}_{side}" for side in (("left", "right") if options.vertical_split else ("left",))]


def finished(options, unit):
    """Return {"chunks" or "files": [names], "tiles"} of a unit with complete outputs of this photo, else None."""
    if options.mode != "multiscale":
        return _finished_flat(options, unit)
    for name in folder_names(options, unit):
        about = read_about(f"{options.save_folder}/{name}/{GEOMETRY}")
        if about is None:
            continue
        if options.naming == "original" and about.get("reference_id") != unit.first_id:
            return None
        others = [read_about(f"{options.save_folder}/{other}/{GEOMETRY}") for other in about.get("chunks", [])]
        whole = all(other is not None and chunk_is_whole(f"{options.save_folder}/{chunk}", other)
                    for chunk, other in zip(about.get("chunks", []), others))
        if whole and _same_photo(about, unit.source, f"{options.save_folder}/{name}"):
            return {"chunks": about["chunks"], "tiles": sum(other["tiles"] for other in others)}
        return None
    return None


def _finished_flat(options, unit):
    path = flat_geometry(options.save_folder, unit.stem)
    about = read_about(path)
    if about is None or not _same_photo(about, unit.source, path):
        return None
    files = [line["file"] for line in read_lines(path)[1:]]
    if len(files) != about["tiles"] or not all(os.path.exists(f"{options.save_folder}/{file}") for file in files):
        return None
    return {"files": files, "tiles": about["tiles"]}


def read_lines(path):
    """Return the JSON lines of a geometry file; [] when it is missing or broken."""
    try:
        with open(path, encoding="utf-8") as stream:
            return [json.loads(line) for line in stream]
    except (OSError, ValueError):
        return []


def read_about(path):
    """Return the first line of a geometry file, or None when it is missing or broken."""
    try:
        with open(path, encoding="utf-8") as stream:
            about = json.loads(stream.readline())
    except (OSError, ValueError):
        return None
    return about if isinstance(about, dict) and isinstance(about.get("tiles"), int) else None


def chunk_is_whole(folder, about):
    """True when every file that the geometry lists exists."""
    try:
        names = {entry.name for entry in os.scandir(folder)}
    except OSError:
        return False
    expected = {"ref.jpg", CENTERS}
    if about.get("layout") == "virtual":
        expected.add(f"square.{about['format']}")
    else:
        lines = read_lines(f"{folder}/{GEOMETRY}")[1:]
        if len(lines) != about["tiles"]:
            return False
        expected |= {f"{line['id']:08d}.{about['format']}" for line in lines}
    return expected <= names


def _same_photo(about, source, output):
    """True when an output comes from this very photo: of the same size and older than the output, or the same hash."""
    if about.get("source") != source.path or about.get("source_bytes") != source.bytes:
        return False
    if os.stat(output).st_mtime_ns >= source.mtime_ns:
        return True
    try:
        return hashlib.sha256(Path(source.full).read_bytes()).hexdigest() == about.get("source_sha256")
    except OSError:
        return False
