"""Which photo becomes which folders or files, and which of these are there already, whole and of the same photo."""

import hashlib
import os
from dataclasses import replace
from pathlib import Path, PurePosixPath

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.errors import InputError
from common.images.photos import SkippedPhoto
from tools.extract_subimages.chunks import layout_of, mask_path
from tools.extract_subimages.pixels import header, pixels_of
from tools.extract_subimages.records import GEOMETRY, listed_files, read_about, read_lines
from tools.extract_subimages.sinks import flat_geometry
from tools.extract_subimages.sources import PhotoUnit, digest_of, original_folder, pair_partners, stable_stem


def plan_units(options, sources, known=None):
    """Return the [PhotoUnit] of the sources, in order.

    known: {path: (height, width), or None for a photo that proved unusable} of an earlier attempt, in place of headers.
    Only original naming looks into the files: its running numbers need the tile counts of all photos before.
    Raises InputError for names that would be equal, or that a list or an LMDB cannot hold.
    """
    units = _named_units(options, sources, known)
    for unit in units if options.meta_info or options.lmdb else ():
        _check_listed(options, unit)
    return units


def _named_units(options, sources, known):
    if options.mode == "multiscale" and options.naming == "original":
        return _running_numbers(options, sources, known or {})
    if options.naming == "basicsr":
        units = _published_stems(options, sources)
    elif options.mode == "pair":
        units = [PhotoUnit(index, source, stable_stem(source.path)) for index, source in enumerate(sources)]
    if options.mode == "pair" and options.pair_folder:
        partners = pair_partners(sources, options.pair_folder, options.pair_scale)
        units = [replace(unit, partner=partners[unit.source.path]) for unit in units]
    if options.mode == "pair" or options.naming == "basicsr":
        return units
    if options.mode == "multiscale" or (options.mode == "single" and options.naming == "stable"):
        return [PhotoUnit(index, source, stable_stem(source.path)) for index, source in enumerate(sources)]
    return _plain_stems(options, sources)


def _published_stems(options, sources):
    """Return units named after their files alone. Raises InputError for names that would be equal."""
    units, taken = [], {}
    for index, source in enumerate(sources):
        stem = PurePosixPath(source.path).stem
        if stem in taken:
            raise InputError(f"this photo and {taken[stem]} would give the same names ({stem}_s001, ...)",
                             where=source.path, do="Rename one, or use --naming stable")
        taken[stem] = source.path
        units.append(PhotoUnit(index, source, stem))
    return units


def _check_listed(options, unit):
    """Raise InputError for a photo whose name the readers of meta_info.txt or of an LMDB would take for another."""
    what = None
    if options.lmdb and "." in unit.stem:
        what, flag = "a dot in the name, where its readers end it", "lmdb"
    elif any(sign.isspace() for sign in unit.stem):
        what, flag = "a blank in the name, where its readers end it", "meta_info" if options.meta_info else "lmdb"
    elif unit.stem != unit.stem.encode(errors="replace").decode():
        what, flag = "a name that is not UTF-8, as its readers expect", "meta_info" if options.meta_info else "lmdb"
    if what:
        raise InputError(what, where=f"--{flag}: {unit.source.path}", do="Rename the photo")


def _plain_stems(options, sources):
    """Return units named after their files; where two names would be equal, the later one's holds its path."""
    units, taken = [], set()
    for index, source in enumerate(sources):
        path = PurePosixPath(source.path)
        stem = path.stem
        if options.mode == "square" and options.naming == "stable":
            flat = path.with_suffix("").as_posix()
            stem = flat if options.keep_folder and flat.count("/") == 1 else flat.replace("/", "__")
        if stem.replace("/", "__") in taken and options.compat == "none":  # as the geometry file is named
            named = stable_stem(f"{Path(source.folder).name}/{source.path}" if len(options.input_folder) > 1
                                else source.path)
            if "/" in stem:  # its folder stays
                named = f"{stem}~{hashlib.sha256(os.fsencode(source.path)).hexdigest()[:8]}"
            stem = named if named not in taken else f"{named}~{index}"
        taken.add(stem.replace("/", "__"))
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
    """Return (height, width) of a photo, upright where that is asked for; None when it cannot be read."""
    size = header(source.full, options.exif and options.compat == "none")
    if size is not None:
        return size
    try:  # rare: what OpenCV reads and Pillow does not
        data = Path(source.full).read_bytes()
        return pixels_of(options, data).pixels.shape[:2]
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
    """Return {"chunks" or "files": [names], "tiles", "about"} of a unit with whole outputs of this name, else None."""
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
        if whole and about.get("source") == unit.source.path:
            return {"chunks": about["chunks"], "tiles": sum(other["tiles"] for other in others), "about": about}
        return None
    return None


def _finished_flat(options, unit):
    path = flat_geometry(options.save_folder, unit.stem)
    about = read_about(path)
    if about is None or about.get("source") != unit.source.path:
        return None
    files = listed_files(path)
    sizes = [os.path.getsize(f"{options.save_folder}/{file}") for file in files
             if os.path.exists(f"{options.save_folder}/{file}")]
    if not len(sizes) == len(files) == about["tiles"] or not _as_stored(sizes, about):
        return None
    return {"files": files, "tiles": about["tiles"], "about": about}


def _as_stored(sizes, about):
    """True when files of these sizes have as many bytes as were written."""
    return all(sizes) and sum(sizes) == about.get("stored_bytes", sum(sizes))


def chunk_is_whole(folder, about):
    """True when every file that the geometry tells is there, as long as it was written."""
    try:
        sizes = {entry.name: entry.stat().st_size for entry in os.scandir(folder)}
    except OSError:
        return False
    wanted = {"ref.jpg", CENTERS}
    if about.get("layout") == "virtual":
        wanted.add(f"square.{about['format']}")
    else:
        lines = read_lines(f"{folder}/{GEOMETRY}")[1:]
        if len(lines) != about["tiles"]:
            return False
        wanted |= {f"{line['id']:08d}.{about['format']}" for line in lines}
    return wanted <= set(sizes) and _as_stored([sizes[name] for name in wanted], about)


def same_inputs(options, unit, about):
    """True when outputs come from these very bytes: the photo's, its partner's, its mask's."""
    if about.get("source_bytes") != unit.source.bytes or about.get("source_sha256") != digest_of(unit.source.full):
        return False
    if about.get("partner_sha256") != (unit.partner and digest_of(unit.partner.full)):
        return False
    return not options.use_masking or about.get("mask_sha256") == digest_of(mask_path(options, unit.source))
