"""Where statistics of data sets are kept, and under which names: clean-fid's, in a folder the user says.

`<name>_<mode>[_<model>]_<split>_<res>.npz`, all in lower case; statistics that users make have split `custom` and res
`na`. clean-fid itself looks in its own package folder, which is read here too but never written.
"""

import os
from pathlib import Path

from common.errors import InputError, Parameter

DEFAULT = "fid_stats"
VARIABLE = "GENPROBE_STATS"


def stats_dir(given=None):
    """Return the folder of statistics: the one given, else GENPROBE_STATS, else fid_stats below the current folder."""
    return Path(given or os.environ.get(VARIABLE) or DEFAULT)


def package_dir():
    """Return clean-fid's own folder of statistics, or None where clean-fid is not installed; nothing is imported."""
    from importlib.util import find_spec

    spec = find_spec("cleanfid")
    return Path(spec.origin).parent / "stats" if spec and spec.origin else None


def stats_name(name, mode="clean", model="", kid=False):
    """Return clean-fid's file name for custom statistics. model: "" for Inception, else the feature space's name.

    Mode fast has no statistics of its own: its scores are taken against those of mode clean, as users do.
    """
    mode = "clean" if mode == "fast" else mode
    model = f"_{model}" if model else ""
    return f"{name}_{mode}{model}_custom_na{'_kid' if kid else ''}.npz".lower()


def check_name(name):
    """Return a name fit for a file; people may write it in any case. Raises InputError for an empty or odd one."""
    if not name or not name.strip() or any(mark in name for mark in "/\\\0") or name.startswith("."):
        raise InputError(f"'{name}' is no name for statistics", where=Parameter("name"),
                         do="Use letters, digits, - and _")
    return name.strip().lower()


def search_places(given=None):
    """Return the folders that are looked in, the user's first."""
    package = package_dir()
    return [stats_dir(given), *([package] if package else [])]


def stored_files(folder):
    """Return the .npz and .pkl files of a folder by name ([] where there is no such folder)."""
    folder = Path(folder)
    return sorted(path for path in folder.glob("*") if path.suffix in (".npz", ".pkl")) if folder.is_dir() else []


def find_stats(name, given=None, mode="clean", model="", kid=False):
    """Return the path of the statistics that a name means, in any case of letters.

    The custom file of that name and mode comes first, then a file of just this name, then a published one
    (`<name>_<mode>_<split>_<res>.npz`) when there is but one. Raises InputError that lists what there is.
    """
    wanted = stats_name(name, mode, model, kid)
    word = name.lower().removesuffix(".npz")
    begins = f"{word}_{'clean' if mode == 'fast' else mode}_"
    for folder in search_places(given):
        files = {path.name.lower(): path for path in stored_files(folder)}
        for candidate in (wanted, f"{word}.npz", f"{word}.pkl"):
            if candidate in files:
                return files[candidate]
        published = [path for low, path in files.items() if low.startswith(begins) and low.endswith("_kid.npz") == kid]
        if len(published) == 1 and not model:
            return published[0]
        if len(published) > 1 and not model:
            raise InputError(f"'{name}' may mean {', '.join(path.name for path in published)}", where=folder,
                             do="Give the file's name")
    if Path(name).is_file():
        raise InputError("this is a file, not the name of statistics", where=Parameter("dataset_name", name),
                         do="Pass it as `reference`")
    raise InputError(f"no statistics '{name}' (no {wanted}); {_what_there_is(given)}",
                     where=Parameter("dataset_name", name),
                     do="Make them with setup_fid `action` compute_new, or name their folder with `stats_dir`")


def _what_there_is(given):
    """Return what stands in the folders looked in, for a message."""
    parts = []
    for folder in search_places(given):
        names = [path.name for path in stored_files(folder)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        parts.append(f"{folder} has {', '.join(names[:8]) + more if names else 'none'}")
    return "; ".join(parts)
