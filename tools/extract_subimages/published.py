"""What BasicSR's users have beside their tiles: meta_info.txt, and the tiles in an LMDB."""

import contextlib
import os
import shutil
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from common.errors import as_input_error
from common.files import write_bytes
from common.formats.lmdb_files import META, write_lmdb
from tools.extract_subimages.sinks import temporary_folder


def _lmdb_folders(options):
    """Return {name of an LMDB: folder of its tiles relative to the data set} of a run with --lmdb."""
    if not options.lmdb:
        return {}
    if options.mode != "pair":
        return {"tiles.lmdb": ""}
    lows = {f"LR_X{scale}.lmdb": f"LR/X{scale}" for scale in options.make_lr} or {"LR.lmdb": "LR"}
    return {"HR.lmdb": "HR", **lows}


def published_names(options):
    """Return the names of what a run writes beside its tiles."""
    return [*([META] if options.meta_info else []), *_lmdb_folders(options)]


def with_earlier(options, root, owns):
    """Return the options with the list and the LMDBs that an earlier run wrote: they follow the tiles.

    owns: names of the job's files.
    """
    every = replace(options, meta_info=options.mode != "multiscale", lmdb=options.naming == "basicsr")
    there = {name for name in published_names(every) if name in owns and Path(root, name).exists()}
    lmdb = options.lmdb or (bool(there - {META}) and find_spec("lmdb") is not None)
    return replace(options, meta_info=options.meta_info or META in there, lmdb=lmdb)


def write_published(options, files):
    """Write meta_info.txt and the LMDBs as the options ask; returns their paths.

    files: lists of tiles, relative to the data set's folder.
    """
    root, names = Path(options.save_folder), sorted(name for some in files for name in some)
    written = []
    if options.meta_info:
        high = [name for name in names if options.mode != "pair" or name.startswith("HR/")]
        lines = [f"{name.removeprefix('HR/')} ({','.join(map(str, image_size(root / name)))})\n" for name in high]
        write_bytes(root / META, "".join(lines).encode(errors="surrogateescape"))
        written.append(root / META)
    for name, folder in _lmdb_folders(options).items():
        written.append(root / name)
        _write_lmdb(options, root, name, [tile for tile in names if os.path.dirname(tile) == folder])
    return written


def _write_lmdb(options, root, name, tiles):
    """Write an LMDB under a temporary name, then in the place of an earlier one."""
    level = options.png_level if options.format == "png" else options.compression_level
    entries = ((os.path.basename(tile), image_size(root / tile), level, (root / tile).read_bytes()) for tile in tiles)
    folder = Path(temporary_folder(root))
    try:
        write_lmdb(folder / name, entries, sum(os.path.getsize(root / tile) for tile in tiles))
        if (root / name).exists():
            os.rename(root / name, folder / "old")
        os.rename(folder / name, root / name)
    except OSError as error:
        raise (as_input_error(error, where=root / name) or error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            folder.parent.rmdir()


def image_size(path):
    """Return (height, width, channels) of a tile from its header."""
    from PIL import Image

    with Image.open(path) as image:
        return image.height, image.width, len(image.getbands())
