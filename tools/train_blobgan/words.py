"""The original's words on the command line, `+experiment=blobgan40 model.lr=0.001`, and its YAML files, as flags.

What counts, from the weakest: presets, --config FILE, key=value words, flags.
"""

import dataclasses
import itertools
import re

from common import console
from common.errors import InputError
from common.parser import switches
from tools.train_blobgan.experiments import GROUPS, groups_of, presets_of
from tools.train_blobgan.keys import KEYS, NOTED, canonical, sections
from tools.train_blobgan.translation import REPLACED, Translation, say, text_of

WORD = re.compile(r"(?P<plus>\+\+|\+|~)?(?P<key>[A-Za-z_λ][\w.λ/@-]*)=(?P<value>.*)", re.DOTALL)
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
DEEPEST, MOST = 32, 10_000  # references that lead to references, and all that are followed
HIDDEN = ("defaults", "hydra")  # parts of a file that are Hydra's own


def translate(words, options_class, presets):
    """Return the command's words with the original's as flags, before the user's own flags, and say what was noted.

    presets: {name of --preset: {option: value}}, the values that stand where nothing is given.
    Raises InputError for an unknown or ambiguous key, and for a value that cannot be had.
    """
    if {"-h", "--help"} & set(words):
        return words
    own, entries, flags = _split(words, options_class)
    if not entries and "config" not in flags:
        return words
    defaults = {item.name: item.default for item in dataclasses.fields(options_class)}
    defaults |= presets.get(flags.get("preset", defaults["preset"]), {})
    presets, told = _merged(entries, flags.get("config"))
    given = _resolved({**presets, **told}, defaults)
    values = Translation(given, defaults, words).options()
    for flag, implied in (("output_dir", "log_dir"), ("batch_size", "stddev_rows"), ("reference", "fid_stats_name")):
        if flag in flags:
            values.pop(implied, None)
    noted = [f"{key}={text_of(given[key])}" for key in told if KEYS[key].fate == NOTED and given[key] is not None]
    if noted:
        say(words, f"note: without a meaning here: {', '.join(noted)}")
    return [f"--{name}={text_of(value)}" for name, value in values.items() if name not in flags] + own


def effective(options):
    """Return {section: {key: value}} of settled options by the original's names, "" for keys without a section.

    Values that a flag without a key replaces are left out.
    """
    found = {}
    for key, entry in KEYS.items():
        is_replaced = entry.flag in REPLACED and bool(getattr(options, REPLACED[entry.flag]))
        value = getattr(options, entry.flag, None) if entry.flag is not None and not is_replaced else None
        if value is not None and entry.fate != NOTED:
            section, _, name = key.rpartition(".")
            found.setdefault(section, {})[name] = value
    return found


def say_effective(options):
    """Print the values that a training has in the end, a line for each section."""
    for section, values in effective(options).items():
        console.say(f"{section or 'run'}: {', '.join(f'{name} {text_of(value)}' for name, value in values.items())}")


def _split(words, options_class):
    """Return (the words that are not the original's, [(key, value)] of those that are, {name: value} of the flags)."""
    booleans = switches(options_class)
    own, entries, flags, expected = [], [], {}, None
    for word in words:
        found = WORD.fullmatch(word)
        if expected is not None and not word.startswith("--"):
            flags[expected], expected = word, None
            own.append(word)
        elif word.startswith("-"):
            name, equals, value = word.lstrip("-").partition("=")
            name = name.replace("-", "_")
            positive = name.removeprefix("no").lstrip("_")
            flags[positive if name not in booleans and positive in booleans else name] = value
            expected = None if equals or name in booleans or positive in booleans else name
            own.append(word)
        elif found and found["plus"] == "~":
            raise InputError("a key cannot be taken out", where=word, do="Give it another value")
        elif found:
            entries.append((found["key"], found["value"]))
        else:
            own.append(word)
    return own, entries, flags


def _merged(entries, config):
    """Return {key: value} of presets, and of file and words, which override them."""
    words, groups = {}, []
    for key, text in entries:
        value = _value(text, key)
        if key in GROUPS and not isinstance(value, dict):
            groups.append((key, value))
        else:
            words.update(_flat(value, key) if isinstance(value, dict) else {canonical(key): value})
    file, in_file = _read(config) if config else ({}, [])
    return presets_of([*in_file, *groups]), {**file, **words}


def _read(path):
    """Return ({key: value}, [(group, presets)]) of a YAML file."""
    from common.formats.settings import read_settings

    stored = read_settings(path)
    if not isinstance(stored, dict) or not all(isinstance(key, str) for key in stored):
        raise InputError("expected keys and values", where=path, do="Give a configuration such as blobgan40.yaml")
    groups = groups_of(stored.get("defaults"), path)
    groups += [(group, stored.pop(group)) for group in GROUPS if isinstance(stored.get(group), (str, list))]
    return _joined([_flat(value, key, path) for key, value in stored.items() if key not in HIDDEN], path), groups


def _flat(value, key, where=None):
    """Return {key: value} of nested dictionaries."""
    if isinstance(value, dict) and (value or key in sections()):
        return _joined([_flat(item, f"{key}.{name}", where) for name, item in value.items()], where)
    if value is None and key in sections():
        return {}
    return {canonical(key, where=f"{where}: {key}" if where else None): value}


def _joined(parts, where):
    """Return the dictionaries as one; InputError for a key that several have: it was written in two ways."""
    flat = {}
    for part in parts:
        for key in part.keys() & flat.keys():
            raise InputError("given twice, by two of its names", where=f"{where}: {key}" if where else key,
                             do="Give it once")
        flat |= part
    return flat


def _value(text, key):
    """Return the value of a word's text: YAML's, except that a number keeps its text (an ID may look like one)."""
    from common.formats.settings import yaml_value

    try:
        value = yaml_value(text) if len(text) <= 10_000 and not REFERENCE.search(text) else text
    except ValueError as error:
        raise InputError(f"not a value as YAML has them ({error})", where=f"{key}={text}", do="Quote it") from error
    return value if value is None or isinstance(value, (bool, list, dict, str)) else text.strip()


def _resolved(given, defaults):
    """Return {key: value} with ${...} replaced by what it refers to."""
    followed = itertools.count()

    def look_up(name, key, depth):
        name = _absolute(name, key)
        if depth > DEEPEST or next(followed) > MOST:
            raise InputError("its references go round in a circle, or are too many", where=key, do="Give it a value")
        found = canonical(name, where=f"{key}: ${{{name}}}")
        value = given[found] if found in given else defaults.get(KEYS[found].flag)
        return replaced(value, found, depth + 1)

    def replaced(value, key, depth=0):
        if not isinstance(value, str) or "${" not in value:
            return value
        whole = REFERENCE.fullmatch(value)
        if whole:
            return look_up(whole[1], key, depth)
        return REFERENCE.sub(lambda found: text_of(look_up(found[1], key, depth)), value)

    return {key: replaced(value, key) for key, value in given.items()}


def _absolute(name, key):
    """Return the full name of a reference, which may begin with dots as OmegaConf has them.

    Raises InputError for a resolver, such as ${env:HOME}.
    """
    name = name.strip()
    if ":" in name:
        raise InputError(f"${{{name}}} asks for something outside the configuration", where=key, do="Give it a value")
    ups = len(name) - len(name.lstrip("."))
    return ".".join([*key.split(".")[:-ups], name.lstrip(".")]) if ups else name
