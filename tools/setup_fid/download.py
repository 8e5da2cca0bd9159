"""`--action download`: where published statistics are, and whether fetched ones are whole. Nothing is downloaded."""

import tarfile
from pathlib import Path, PurePosixPath

from common import console
from common.cli import Outcome
from common.errors import InputError
from common.record import RECORD

ARCHIVE = "fid_stats.tar.gz"
PUBLISHED = f"http://efrosgans.eecs.berkeley.edu/blobgan/{ARCHIVE}"
SETS = ("lsun_bedroom", "lsun_conference", "lsun_kld")  # BlobGAN's, 256 x 256
LARGEST = 1 << 30  # bytes of one member; statistics of 2,048 features have 32 MB


def check_fetched(options):
    """Unpack a fetched archive (or take in a fetched file) and check what is there; results: folder, found, broken.

    Raises InputError, with where to get the archive, when there are no statistics at all.
    """
    from common.features.stats_store import stats_dir, stored_files

    folder = stats_dir(options.stats_dir)
    if options.path and options.dry_run:
        console.say(f"would take the statistics of {options.path} into {folder}")
    elif options.path:
        _take_in(Path(options.path), folder, options.overwrite)
    files = stored_files(folder)
    if not files:
        raise InputError(
            f"no statistics here; BlobGAN's ({', '.join(SETS)}) are published as {PUBLISHED}", where=folder,
            do=f"Fetch it and give it as --path {ARCHIVE}, or make your own with --action compute_new",
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
        console.say(f"not there: {', '.join(missing)} (published in {PUBLISHED})")
    return Outcome({"folder": str(folder), "found": found, "broken": broken, "missing": missing})


def _facts(path):
    """Return (images, width, "whole") of a readable file."""
    from common.features.statistics import read_statistics

    statistics = read_statistics(path)
    return f"{statistics.count:,}" if statistics.count else "not told", statistics.width, "whole"


def _take_in(path, folder, overwrite):
    """Copy a fetched .npz, or the .npz members of a fetched archive, into the folder of statistics."""
    from common.files import check_writable, system_errors, write_bytes

    check_writable(folder)
    with system_errors(path), open(path, "rb"):
        pass
    taken = 0
    for name, data in [(path.name, path.read_bytes())] if path.suffix == ".npz" else _members(path):
        target = folder / name.lower()
        if target.exists() and not overwrite:
            if target.read_bytes() != data:
                raise InputError("is there already with other contents", where=target,
                                 do="Remove it, or use --overwrite")
            continue
        (target.with_suffix("") / RECORD).unlink(missing_ok=True)  # it is of the file that goes
        write_bytes(target, data)
        taken += 1
    console.say(f"{taken} files taken from {path} into {folder}")


def _members(path):
    """Yield (file name, bytes) of an archive's .npz files; folders in their names are dropped."""
    try:
        with tarfile.open(path) as archive:
            found = 0
            for member in archive:
                name = PurePosixPath(member.name).name
                if not member.isfile() or not name.endswith(".npz") or name.startswith("."):
                    continue
                if member.size > LARGEST:
                    raise InputError(f"'{member.name}' has {member.size:,} bytes, too many for statistics", where=path,
                                     do="Fetch the archive again")
                found += 1
                yield name, archive.extractfile(member).read()
    except (tarfile.TarError, EOFError, OSError) as error:
        raise InputError(f"not a complete .tar.gz archive ({error})", where=path, do="Fetch it again") from error
    if not found:
        raise InputError("no .npz file in this archive", where=path, do="Fetch it again")
