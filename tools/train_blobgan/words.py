"""The original's words on the command line, `+experiment=blobgan40 model.lr=0.001`, and its YAML files, as flags.

What counts, from the weakest: presets, --config FILE, key=value words, flags.
"""

import dataclasses
import itertools
import os
import re
import shlex

from common import console
from common.errors import InputError
from common.parser import switches
from tools.train_blobgan.experiments import GROUPS, groups_of, presets_of
from tools.train_blobgan.keys import KEYS, NOTED, ONLY, SAME, canonical, sections
from tools.train_blobgan.parts import LARGEST

WORD = re.compile(r"(?P<plus>\+\+|\+|~)?(?P<key>[A-Za-z_λ][\w.λ/@-]*)=(?P<value>.*)", re.DOTALL)
REFERENCE = re.compile(r"\$\{([^{}]*)\}")
DEEPEST, MOST = 32, 10_000  # references that lead to references, and all that are followed
PRECISIONS = {"32": "fp32", "32-true": "fp32", "fp32": "fp32", "tf32": "tf32", "bf16": "bf16", "bf16-mixed": "bf16"}
OFF = re.compile(r"every(_n_\w+)?$")  # intervals, which -1 switches off in the original, 0 here
REPLACED = {"c_model": "generator_channels", "channel_multiplier": "discriminator_channels"}  # by a flag of ours
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
    values = _Translation(given, defaults, words).options()
    for flag, implied in (("output_dir", "log_dir"), ("batch_size", "stddev_rows"), ("reference", "fid_stats_name")):
        if flag in flags:
            values.pop(implied, None)
    noted = [f"{key}={_text(given[key])}" for key in told if KEYS[key].fate == NOTED and given[key] is not None]
    if noted:
        _say(words, f"note: without a meaning here: {', '.join(noted)}")
    return [f"--{name}={_text(value)}" for name, value in values.items() if name not in flags] + own


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
        console.say(f"{section or 'run'}: {', '.join(f'{name} {_text(value)}' for name, value in values.items())}")


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
    import yaml

    try:
        value = yaml.safe_load(text) if len(text) <= 10_000 and not REFERENCE.search(text) else text
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError("not a value as YAML has them", where=f"{key}={text}", do="Quote it") from error
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
        return REFERENCE.sub(lambda found: _text(look_up(found[1], key, depth)), value)

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


class _Translation:
    """From {key: value} to options."""

    def __init__(self, given, defaults, words):
        self.given, self.defaults, self.words = given, defaults, words

    def options(self):
        """Return {option: value}; InputError for values that cannot be had."""
        self._check_only()
        self._check_same()
        values = {entry.flag: 0 if OFF.search(key) and _equal(self.given[key], -1) else self.given[key]
                  for key, entry in KEYS.items() if entry.fate == "flag" and self.given.get(key) is not None}
        values |= self._channels() | self._precision() | self._logger() | self._run() | self._jitter()
        values |= self._batch()
        if self._switch("model.accumulate") is False:
            values["ema_decay"] = 0.0
        return values

    def _check_only(self):
        for key, (only, what) in ONLY.items():
            if key in self.given and self.given[key] is not None and not _equal(self.given[key], only):
                raise InputError(what, where=f"{key}={_text(self.given[key])}", do=f"Only {_text(only)} can be had")
        penalty = self.given.get("model.G_reg_every")
        if penalty is not None and self._whole("model.G_reg_every", low=-(1 << 31)) > 0:
            raise InputError("path length cannot be had with a spatial style", where=f"model.G_reg_every={penalty}",
                             do="Give -1, as all published models have")

    def _check_same(self):
        """Let a key stand in for the one that it must equal."""
        for key, other in SAME.items():
            value, wanted = self.given.get(key), self.given.get(other)
            if value is None:
                continue
            if wanted is None:
                self.given[other] = value
            elif not _equal(value, wanted):
                raise InputError(f"differs from {other}={_text(wanted)}", where=f"{key}={_text(value)}",
                                 do="Give both the same value")

    def _channels(self):
        """Refuse a generator that reads another number of channels than a blob's feature has."""
        names = "model.generator.override_c_in", "model.layout_net.feature_dim"
        reads, has = (self.given.get(name) for name in names)
        if reads is not None and has is not None and not _equal(reads, has):
            raise InputError(f"differs from {names[1]}={_text(has)}", where=f"{names[0]}={_text(reads)}",
                             do="Give both the same value")
        return {}

    def _precision(self):
        value = self.given.get("trainer.precision")
        if value is None:
            return {}
        if str(value) not in PRECISIONS:
            what = "R1's second derivative is not finite in 16 bits" if "16" in str(value) else "not a precision here"
            raise InputError(what, where=f"trainer.precision={_text(value)}", do="Give 32 or bf16")
        return {"precision": PRECISIONS[str(value)]}

    def _logger(self):
        if "logger" not in self.given:
            return {}
        value = self.given["logger"]
        if value not in ("wandb", False, None):
            raise InputError("no such logger", where=f"logger={_text(value)}", do="Give wandb or false")
        return {"wandb": value == "wandb"}

    def _run(self):
        if "wandb.id" not in self.given:
            return {}
        value = self.given["wandb.id"]
        if value is None:
            return {"new_run": True} if self.given.get("resume.id") else {}
        return {"wandb_id": value}

    def _jitter(self):
        names = "feature_jitter_xy", "feature_jitter_shift", "feature_jitter_angle"
        return dict.fromkeys(names, 0.0) if self._switch("no_jitter") else {}

    def _switch(self, key):
        """Return True, False or None (not given) of a key's value."""
        value = self.given.get(key)
        if value is not None and not isinstance(value, bool):
            raise InputError("expected true or false", where=f"{key}={_text(value)}", do="Give one of them")
        return value

    def _batch(self):
        """Return the options that gpus, batch size, accumulation and overfit_batches come to."""
        names = "dataset.dataloader.batch_size", "trainer.gpus", "trainer.accumulate_grad_batches"
        if all(self.given.get(name) is None for name in (*names, "trainer.overfit_batches")):
            return {}
        rows = self._whole(names[0], self.defaults["batch_size"], high=LARGEST)
        processes, turns = self._gpus(), self._whole(names[2], 1, high=LARGEST)
        here, micro = int(os.environ.get("WORLD_SIZE", "1")), processes * turns
        if rows * micro > LARGEST:
            raise InputError(f"{rows:,} images, times {processes:,} processes and {turns:,} turns, are more than a "
                             f"batch may have: {LARGEST:,}", where=names[0], do="Use smaller numbers")
        if processes > here:
            again = shlex.join(self.words)
            _say(self.words, f"note: trainer.gpus={processes} asks for {processes} processes, here "
                 f"{'is one' if here == 1 else f'are {here}'}, which takes as many parts one after the other; for all: "
                 f"torchrun --nproc_per_node {processes} -m tools.train_blobgan {again}")
        values = {"batch_size": rows * micro, "accumulate": -(-micro // here)}
        if micro > 1:
            values["stddev_rows"] = rows
        if turns > 1:
            values |= self._sooner(turns)
        batches = self._whole("trainer.overfit_batches", 0, low=0)
        return {**values, "max_images": batches * rows * micro} if batches else values

    def _sooner(self, turns):
        """Return the intervals that the original divides by accumulate_grad_batches."""
        found = {entry.flag: self._whole(key, self.defaults.get(entry.flag) or 0, low=-1)
                 for key, entry in KEYS.items() if "log" in key and "every_n_steps" in key}
        return {flag: max(1, number // turns) for flag, number in found.items() if number > 0}

    def _gpus(self):
        """Return the number of processes: of a number, a list of devices, or its text; -1 is those there are."""
        value = self.given.get("trainer.gpus")
        here = int(os.environ.get("WORLD_SIZE", "1"))
        if isinstance(value, list):
            return max(len(value), 1)
        if isinstance(value, str) and "," in value:
            return max(len([part for part in value.split(",") if part.strip()]), 1)
        number = here if value is None else self._whole("trainer.gpus", low=-1, high=LARGEST)
        return here if number == -1 else max(number, 1)

    def _whole(self, key, default=None, low=1, high=None):
        """Return the whole number of a key's value."""
        from common.flags import whole_number

        value = self.given.get(key)
        if value is None:
            return default
        try:
            number = whole_number(str(value)) if not isinstance(value, bool) else None
        except ValueError:
            number = None
        if number is None or number < low or high is not None and number > high:
            bounds = f", at least {low}" if high is None else f" from {low} to {high:,}"
            raise InputError(f"expected a whole number{bounds}", where=f"{key}={_text(value)}",
                             do="Correct the value")
        return number


def _equal(value, other):
    """Return whether two values, or their texts, are the same: 2 is 2.0 and "2"."""
    def plain(item):
        try:
            return float(item)
        except (TypeError, ValueError):
            return item

    return plain(value) == plain(other)


def _text(value):
    """Return a value as words have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(_text, value))}]" if isinstance(value, list) else str(value)


def _say(words, text):
    """Print a note, unless the words ask for quiet; of several processes one speaks."""
    if "--quiet" not in words and os.environ.get("RANK", "0") == "0":
        console.say(text)
