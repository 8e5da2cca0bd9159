"""Where statistics of data sets are stored, and their names: clean-fid's, in a folder of the user's choice.

`<name>_<mode>[_<model>]_<split>_<res>.npz`, all in lower case; statistics that users compute have split `custom` and
res `na`. clean-fid itself looks in its own package folder, which is read here too but never written.
"""

import os
from pathlib import Path

from common.errors import InputError, Parameter, nearest

DEFAULT = "fid_stats"
VARIABLE = "GENPROBE_STATS"


def stats_dir(folder=None):
    """Return the folder of statistics: `folder`, else GENPROBE_STATS, else fid_stats below the current folder."""
    return Path(folder or os.environ.get(VARIABLE) or DEFAULT)


def package_dir():
    """Return clean-fid's own folder of statistics, None where clean-fid is not installed; does not import it."""
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
    """Return a name in lower case, as in the file's name. Raises InputError for an empty or unsuitable one."""
    if not name or not name.strip() or any(mark in name for mark in "/\\\0") or name.startswith("."):
        raise InputError(f"invalid name '{name}'", where=Parameter("name"),
                         do="Use letters, digits, - and _")
    return name.strip().lower()


def search_places(folder=None):
    """Return the folders to look in, the user's first."""
    package = package_dir()
    return [stats_dir(folder), *([package] if package else [])]


def stored_files(folder):
    """Return the .npz and .pkl files of a folder by name, [] for no such folder."""
    folder = Path(folder)
    return sorted(path for path in folder.glob("*") if path.suffix in (".npz", ".pkl")) if folder.is_dir() else []


def find_stats(name, folder=None, mode="clean", model="", kid=False):
    """Return the path of the statistics of a name, in any case of letters.

    The custom file of that name and mode comes first, then a file of just this name, then a published one
    (`<name>_<mode>_<split>_<res>.npz`) if it is the only one. Raises InputError that lists the existing files.
    """
    custom = stats_name(name, mode, model, kid)
    stem = name.lower().removesuffix(".npz")
    prefix = f"{stem}_{'clean' if mode == 'fast' else mode}_"
    for place in search_places(folder):
        files = {path.name.lower(): path for path in stored_files(place)}
        for candidate in (custom, f"{stem}.npz", f"{stem}.pkl"):
            if candidate in files:
                return files[candidate]
        published = [path for low, path in files.items() if low.startswith(prefix) and low.endswith("_kid.npz") == kid]
        if len(published) == 1 and not model:
            return published[0]
        if len(published) > 1 and not model:
            raise InputError(f"'{name}' is ambiguous: {', '.join(path.name for path in published)}", where=place,
                             do="Pass the file name")
    if Path(name).is_file():
        raise InputError("this is a file, not the name of statistics", where=Parameter("dataset_name", name),
                         do="Pass it as `reference`")
    do = "Compute them with setup_fid `action` compute_new, or pass their folder with `stats_dir`"
    files = {path.name.removesuffix(custom.removeprefix(stem)).lower() for place in search_places(folder)
             for path in stored_files(place)}
    raise InputError(f"no statistics '{name}' (no {custom}); {_existing_files(folder)}",
                     where=Parameter("dataset_name", name), do=nearest(stem, files, do))


def _existing_files(folder):
    """Return the files in the searched folders, for a message."""
    parts = []
    for place in search_places(folder):
        names = [path.name for path in stored_files(place)]
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        parts.append(f"{place} has {', '.join(names[:8]) + more if names else 'none'}")
    return "; ".join(parts)
