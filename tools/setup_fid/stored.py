"""`list`, `show` and `compare` of stored statistics."""

from dataclasses import dataclass
from typing import List, Optional

from common import console
from common.cli import Outcome, run
from common.numerals import byte_count, counted
from common.options import REQUIRED, CommonOptions, option

PROG = "setup_fid"


@dataclass(kw_only=True)
class ListOptions(CommonOptions):
    """Flags of `setup_fid list`."""

    stats_dir: Optional[str] = option(None, "folder of statistics (GENPROBE_STATS, else fid_stats)", kind="how")


@dataclass(kw_only=True)
class ShowOptions(ListOptions):
    """Flags of `setup_fid show`."""

    name: str = option(REQUIRED, "name of statistics, or the path of a file", word=True)
    mode: str = option("clean", "clean-fid's preprocessing", choices=["clean", "legacy_pytorch", "legacy_tensorflow"])


@dataclass(kw_only=True)
class CompareStatisticsOptions(ListOptions):
    """Flags of `setup_fid compare`."""

    names: List[str] = option(REQUIRED, "two names of statistics, or paths of files", word=True, nargs=2, type=str)
    mode: str = option("clean", "clean-fid's preprocessing", choices=["clean", "legacy_pytorch", "legacy_tensorflow"])


@dataclass(kw_only=True)
class CacheOptions(CommonOptions):
    """Flags of `setup_fid cache`."""

    cache_gb: Optional[float] = option(None, "remove the sets used longest ago until all take no more GB; 0 for all",
                                       kind="how", low=0)


COMMANDS = {
    "list": (ListOptions, "List the stored statistics and the folders searched."),
    "show": (ShowOptions, "Show the content of a file of statistics and how it was made."),
    "cache": (CacheOptions, "List the cached features, and prune them with --cache_gb."),
    "compare": (CompareStatisticsOptions, "Compute the Frechet distance between two stored statistics."),
}


def run_stored(command, words):
    """Run one of the subcommands on command-line words and return its exit status."""
    options_class, description = COMMANDS[command]
    functions = {"list": list_stored, "show": show_stored, "compare": compare_stored,
                 "cache": show_cache}
    return run(functions[command], options_class, f"{PROG} {command}", description, "", words, command)


def list_stored(options):
    """Print what is stored; results: files (name, folder, images, features, width)."""
    from common.errors import InputError
    from common.features.statistics import read_statistics
    from common.features.stats_store import search_places, stored_files

    files, rows = [], []
    for folder in search_places(options.stats_dir):
        for path in stored_files(folder):
            try:
                facts = _facts(path, read_statistics(path))
            except InputError as error:
                rows.append([path.name, "", f"broken: {error.what}", "", str(folder)])
                continue
            files.append(facts)
            rows.append([path.name, facts["num_images"] or "unknown", facts["features"], facts["width"], str(folder)])
    if not rows:
        console.say(f"no statistics in {', '.join(map(str, search_places(options.stats_dir)))}")
    else:
        console.show_table("Stored statistics", ["file", "images", "features", "width", "folder"], rows)
    return Outcome({"files": files})


def show_cache(options):
    """Print the sets of cached features, after pruning; results: folder, gb, sets (folder, what, mb), removed."""
    from common.errors import InputError
    from common.features.cache import features_dir, listing, prune
    from common.files import read_json

    gone = [] if options.cache_gb is None or options.dry_run else prune(options.cache_gb)
    sets = []
    for _, size, folder in reversed(listing()):
        try:
            what = str(read_json(folder / "set.json")["what"])
        except (InputError, KeyError, TypeError):
            what = "not finished"
        sets.append({"folder": folder.name, "what": what, "mb": round(size / 1e6, 3)})
    total = sum(entry["mb"] for entry in sets) / 1e3
    rows = [[entry["what"], f"{entry['mb']:,.1f}", entry["folder"]] for entry in sets]
    title = f"{features_dir()}: {byte_count(total * 1e9)}, used last first"
    console.show_table(title, ["images", "MB", "folder"], rows)
    if gone:
        console.say(f"removed {counted(len(gone), 'set')}, {byte_count(sum(size for size, _ in gone))}")
    return Outcome({"folder": str(features_dir()), "gb": total, "sets": sets, "removed": len(gone)})


def _facts(path, statistics):
    meta = statistics.meta
    return {"file": path.name, "folder": str(path.parent), "num_images": statistics.count, "width": statistics.width,
            "features": meta.get("features") or meta.get("extractor") or "unknown"}


def _find(name, options):
    """Return the path of statistics given by name or path."""
    from pathlib import Path

    from common.features.stats_store import find_stats

    return Path(name) if Path(name).is_file() else find_stats(name, options.stats_dir, options.mode)


def show_stored(options):
    """Print one file; results: file, num_images, width, features, meta, trace of the covariance."""
    import numpy as np

    from common.features.statistics import read_statistics

    path = _find(options.name, options)
    statistics = read_statistics(path)
    facts = _facts(path, statistics)
    facts |= {"mean_norm": float(np.linalg.norm(statistics.mean)), "trace": float(np.trace(statistics.covariance))}
    rows = [[name, value] for name, value in {**facts, **statistics.meta}.items()]
    console.show_table(str(path), ["", ""], rows)
    return Outcome({**facts, "meta": statistics.meta})


def compare_stored(options):
    """Print the Frechet distance between two files; results: frechet_distance, file_1, file_2, notes."""
    from common.features.comparable import check_comparable
    from common.features.statistics import frechet, read_statistics

    paths = [_find(name, options) for name in options.names]
    first, second = (read_statistics(path) for path in paths)
    notes = check_comparable(first, second)
    value = frechet(first, second)
    console.show_table("Frechet distance", ["", "", "distance"], [[paths[0].name, paths[1].name, f"{value:.6g}"]])
    for note in notes:
        console.say(f"note: {note}")
    return Outcome({"frechet_distance": value, "file_1": str(paths[0]), "file_2": str(paths[1]), "notes": notes})
