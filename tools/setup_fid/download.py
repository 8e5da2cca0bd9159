"""`--action download`: where to get published statistics, and a check of downloaded ones; downloads nothing."""

import tarfile
from pathlib import Path, PurePosixPath

from common import console
from common.cli import Outcome
from common.errors import InputError
from common.formats.tars import tar_errors, tar_members
from common.numerals import counted
from common.record import RECORD

ARCHIVE = "fid_stats.tar.gz"
PUBLISHED = f"http://efrosgans.eecs.berkeley.edu/blobgan/{ARCHIVE}"
SETS = ("lsun_bedroom", "lsun_conference", "lsun_kld")  # BlobGAN's, 256 x 256
LARGEST = 1 << 30  # bytes of one member; statistics of 2,048 features take 32 MB


def check_fetched(options):
    """Unpack a downloaded archive (or copy a downloaded file) and check all; results: folder, found, broken, missing.

    Raises InputError, saying where to get the archive, when there are no statistics at all.
    """
    from common.features.stats_store import stats_dir, stored_files

    folder = stats_dir(options.stats_dir)
    if options.name or _holds_images(options.path):
        raise InputError("images are encoded with --action compute_new only", do="Add --action compute_new",
                         where="--name" if options.name else "--path")
    if options.path and options.dry_run:
        console.say(f"would copy the statistics in {options.path} to {folder}")
    elif options.path:
        _copy_in(Path(options.path), folder, options.overwrite)
    files = stored_files(folder)
    if not files:
        raise InputError(
            f"no statistics here; BlobGAN's ({', '.join(SETS)}) are published as {PUBLISHED}", where=folder,
            do=f"Download it and pass --path {ARCHIVE}, or compute your own with --action compute_new",
        )
    found, broken, rows = [], {}, []
    for path in files:
        try:
            rows.append([path.name, *_facts(path)])
            found.append(path.name)
        except InputError as error:
            broken[path.name] = error.what
            rows.append([path.name, "", "", f"broken: {error.what}"])
    console.show_table(str(folder), ["file", "images", "features", ""], rows)
    missing = [name for name in SETS if not any(name in file for file in found)]
    if missing:
        console.say(f"missing: {', '.join(missing)} (published in {PUBLISHED})")
    return Outcome({"folder": str(folder), "found": found, "broken": broken, "missing": missing})


def _facts(path):
    """Return (images, width, "complete") of a readable file."""
    from common.features.statistics import read_statistics

    statistics = read_statistics(path)
    return f"{statistics.count:,}" if statistics.count else "unknown", statistics.width, "complete"


def _copy_in(path, folder, overwrite):
    """Copy a downloaded .npz, or the .npz members of a downloaded archive, into the folder of statistics."""
    from common.files import check_writable, remove_abandoned, system_errors, write_bytes

    check_writable(folder)
    with system_errors(path), open(path, "rb"):
        pass
    copied = 0
    for name, data in [(path.name, path.read_bytes())] if path.suffix == ".npz" else _members(path):
        target = folder / name.lower()
        if target.exists() and not overwrite:
            if target.read_bytes() != data:
                raise InputError("already exists with other content", where=target,
                                 do="Delete it, or use --overwrite")
            continue
        (target.with_suffix("") / RECORD).unlink(missing_ok=True)  # it is of the file that goes
        remove_abandoned(target)
        write_bytes(target, data)
        copied += 1
    console.say(f"{counted(copied, 'file')} copied from {path} to {folder}")


def _holds_images(place):
    """True for a place that setup_fid takes images from, and no archive of statistics."""
    from common.datasets import KNOWN
    from common.features.sources import ARCHIVES
    from common.formats.npz import npz_names

    path, suffix = Path(place or "-"), Path(place or "-").suffix.lower()
    if path.is_file() and suffix == ".npz":
        return not {"mu", "feats"} & set(npz_names(path))
    images = (".zip", ".npy", *(end for end in ARCHIVES if end != ".tar"))
    return path.is_dir() or (path.is_file() and suffix in images) or str(place).lower() in KNOWN


def _members(path):
    """Yield (file name, bytes) of an archive's .npz files; folders in their names are dropped."""
    members = 0
    with tar_errors(path, "not a complete .tar.gz archive", "Download it again"), tarfile.open(path) as archive:
        for member in tar_members(archive, LARGEST):
            name = PurePosixPath(member.name).name
            if name.endswith(".npz") and not name.startswith("."):
                members += 1
                yield name, archive.extractfile(member).read()
    if not members:
        raise InputError("no .npz file in this archive", where=path, do="Download it again")
