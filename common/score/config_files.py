"""Configurations from YAML or JSON files: a preset as their base, and entries by section that replace its own.

    preset: u_digits
    model: {nf: 32, ch_mult: [1, 2, 2]}
    optim: {lr: 5e-4}
"""

from pathlib import Path

from common.errors import InputError, nearest
from common.formats.settings import read_settings
from common.score.config import BASE, assign, preset
from common.score.ranges import check_config

SUFFIXES = (".yml", ".yaml", ".json")
DEFAULT = "u_cifar10"  # the base of a file that names none


def configuration(name):
    """Return the configuration of a preset, of a published configuration's path, or of a YAML or JSON file."""
    return read_configuration(name) if str(name).lower().endswith(SUFFIXES) else preset(name)


def configuration_files(name):
    """Return [path] of the file that a `config` option names, [] where it is not a file."""
    return [name] if name and Path(name).is_file() else []


def read_configuration(path):
    """Return the configuration of a YAML or JSON file, checked; InputError naming the file and its first bad entry."""
    settings = read_settings(path)
    if not isinstance(settings, dict):
        raise InputError("expected sections of entries", where=path, do="Write section: {name: value}")
    base = settings.get("preset", DEFAULT)
    try:
        config = preset(base)
    except InputError as error:
        raise InputError(f"preset {base}: {error.what}", where=path, do=error.do) from error
    for section, entries in settings.items():
        if section == "preset":
            continue
        if section == "seed":
            if entries != BASE["seed"]:
                raise InputError("this entry of the configuration is not applied", where=f"{path}: seed",
                                 do="Use --seed")
            continue
        if not isinstance(config.get(section), dict):
            raise InputError("the configuration has no such section", where=f"{path}: {section}",
                             do=nearest(str(section), [*(name for name in config if name != "seed"), "preset"]))
        if not isinstance(entries, dict):
            raise InputError("expected entries", where=f"{path}: {section}", do=f"Write {section}: {{name: value}}")
        for key, value in entries.items():
            assign(config, f"{section}.{key}", value, f"{path}: {section}.{key}")
    return check_config(config, path)
