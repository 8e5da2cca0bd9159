"""What the original's keys come to as options: those of one meaning with a flag, and what several say together."""

import re
import shlex

from common import console, parallel
from common.errors import InputError
from tools.train_blobgan.keys import KEYS, ONLY, SAME
from tools.train_blobgan.parts import LARGEST

PRECISIONS = {"32": "fp32", "32-true": "fp32", "fp32": "fp32", "tf32": "tf32", "bf16": "bf16", "bf16-mixed": "bf16"}
OFF = re.compile(r"every(_n_\w+)?$")  # intervals, which -1 switches off in the original, 0 here
REPLACED = {"c_model": "generator_channels", "channel_multiplier": "discriminator_channels"}  # by a flag of ours


class Translation:
    """From {key: value} to options. words: the command's, for notes."""

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
                raise InputError(what, where=f"{key}={text_of(self.given[key])}", do=f"Only {text_of(only)} can be had")
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
                raise InputError(f"differs from {other}={text_of(wanted)}", where=f"{key}={text_of(value)}",
                                 do="Give both the same value")

    def _channels(self):
        """Refuse a generator that reads another number of channels than a blob's feature has."""
        names = "model.generator.override_c_in", "model.layout_net.feature_dim"
        reads, has = (self.given.get(name) for name in names)
        if reads is not None and has is not None and not _equal(reads, has):
            raise InputError(f"differs from {names[1]}={text_of(has)}", where=f"{names[0]}={text_of(reads)}",
                             do="Give both the same value")
        return {}

    def _precision(self):
        value = self.given.get("trainer.precision")
        if value is None:
            return {}
        if str(value) not in PRECISIONS:
            what = "R1's second derivative is not finite in 16 bits" if "16" in str(value) else "not a precision here"
            raise InputError(what, where=f"trainer.precision={text_of(value)}", do="Give 32 or bf16")
        return {"precision": PRECISIONS[str(value)]}

    def _logger(self):
        if "logger" not in self.given:
            return {}
        value = self.given["logger"]
        if value not in ("wandb", False, None):
            raise InputError("no such logger", where=f"logger={text_of(value)}", do="Give wandb or false")
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
            raise InputError("expected true or false", where=f"{key}={text_of(value)}", do="Give one of them")
        return value

    def _batch(self):
        """Return the options that gpus, batch size, accumulation and overfit_batches come to."""
        names = "dataset.dataloader.batch_size", "trainer.gpus", "trainer.accumulate_grad_batches"
        if all(self.given.get(name) is None for name in (*names, "trainer.overfit_batches")):
            return {}
        rows = self._whole(names[0], self.defaults["batch_size"], high=LARGEST)
        processes, turns = self._gpus(), self._whole(names[2], 1, high=LARGEST)
        here, micro = parallel.world_size(), processes * turns
        if rows * micro > LARGEST:
            raise InputError(f"{rows:,} images, times {processes:,} processes and {turns:,} turns, are more than a "
                             f"batch may have: {LARGEST:,}", where=names[0], do="Use smaller numbers")
        if processes > here:
            again = shlex.join(self.words)
            say(self.words, f"note: trainer.gpus={processes} asks for {processes} processes, here "
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
        here = parallel.world_size()
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
            raise InputError(f"expected a whole number{bounds}", where=f"{key}={text_of(value)}",
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


def text_of(value):
    """Return a value as words have it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"[{','.join(map(text_of, value))}]" if isinstance(value, list) else str(value)


def say(words, text):
    """Print a note, unless the words ask for quiet; of several processes one speaks."""
    if "--quiet" not in words and parallel.is_main():
        console.say(text)
