"""The one line of progress of several chains: steps done, time, time left, what runs."""

import os
import sys
import time
from pathlib import Path

from common.console import console, overwrites

FOLDERS = ("--output_dir", "--workdir", "--workdirs", "--save_dir", "--save_folder", "--output_base_dir",
           "--output_path", "--output", "--exp_dir")
USUAL = 2.0  # seconds of a step that the table does not have
ANSWERED = 0.2  # of the expected time: a step that takes less did no more than to find its results there
EVERY = 10.0  # seconds between lines where they cannot be written over


def step_name(words, out):
    """Return a step's name, "qc_ncsn train QC", from python's words. out: the folder of the chain's outputs."""
    program = words[1].rpartition(".")[2] if words[0] == "-m" else Path(words[0]).stem
    rest = words[2:] if words[0] == "-m" else words[1:]
    actions = []
    for word in rest:
        if not word or word.startswith("-") or "/" in word:
            break
        actions.append(word)
    places = [value for flag, value in zip(rest, rest[1:]) if flag in FOLDERS] + rest[len(actions) : len(actions) + 1]
    place = os.path.relpath(places[0], out) if places and "/" in places[0] else "."
    return " ".join([program if program != "-" else "script", *actions, *([place] if place != "." else [])])


class Line:
    """Progress of chains, told on stderr: one line written over on a terminal, else a line every ten seconds.

    expected: {chain: {step: seconds}}.  cores: steps that run at a time.  measured: {chain: {step: seconds}} so far.
    """

    def __init__(self, expected, cores):
        self.expected, self.cores = expected, cores
        self.measured = {chain: {} for chain in expected}
        self._began, self._running, self._over, self._shown = time.monotonic(), {}, set(), None
        self._took, self._should = 0.0, 0.0  # seconds that steps took, and those expected of them
        self.say(f"{len(expected)} chains ({', '.join(expected)}), {self.total()} steps, {cores} at a time; "
                 "what each says goes to out/demo/.logs")

    def total(self):
        """Return the number of all steps; those that the table does not have once they have begun."""
        return sum(len({*steps, *self.measured[chain], *self._names(chain)}) for chain, steps in self.expected.items())

    def _names(self, chain):
        return [name for step, (name, _) in self._running.items() if step[0] == chain]

    def began(self, step):
        """Note that a step runs."""
        name = step_name(step.words, Path("out/demo").absolute() / step.chain)
        self._running[step.chain, step.number] = (name, time.monotonic())

    def done(self, step, status, seconds):
        """Note that a step ended. seconds: of the processor."""
        name, began = self._running.pop((step.chain, step.number))
        self.measured[step.chain][name] = round(seconds, 1)
        took, should = time.monotonic() - began, self._expected(step.chain, name)
        if took > ANSWERED * should:
            self._took, self._should = self._took + took, self._should + should

    def ended(self, chain):
        """Note that a chain has ended."""
        self._over.add(chain)

    def _expected(self, chain, name):
        return self.expected[chain].get(name, USUAL)

    def work_left(self, chain):
        """Return the seconds expected of a chain's steps that have not ended, those that run in part."""
        if chain in self._over:
            return 0.0
        left = sum(seconds for name, seconds in self.expected[chain].items() if name not in self.measured[chain])
        now = time.monotonic()
        for (owner, _), (name, began) in self._running.items():
            if owner == chain:
                left -= min((now - began) / self._speed(), 0.95 * self._expected(chain, name))
        return max(left, 0.0)

    def _speed(self):
        """Return how many seconds one of the table takes here."""
        return (self._took + 20) / (self._should + 20)

    def seconds_left(self):
        """Return the time left: all work over the cores, or the longest chain's where that is more."""
        work = [self.work_left(chain) for chain in self.expected]
        return max(sum(work) / self.cores, max(work, default=0.0)) * self._speed()

    def text(self):
        """Return the line."""
        done = sum(map(len, self.measured.values()))
        names = ", ".join(name if name.startswith(chain) else f"{chain}: {name}"
                          for (chain, _), (name, _) in self._running.items())
        return f"{done}/{self.total()} steps, {clock(time.monotonic() - self._began)}, " \
               f"{clock(self.seconds_left())} left; {names or 'waiting'}"

    def show(self):
        """Show the line where it is time to."""
        now = time.monotonic()
        if self._shown is not None and now - self._shown < (0.5 if overwrites() else EVERY):
            return
        self._shown = now
        if overwrites():
            print(f"\r\x1b[K{self.text()[: console().width - 1]}", end="", file=sys.stderr, flush=True)
        else:
            self.say(self.text())

    def say(self, text):
        """Print a text on lines of its own."""
        begun = self._shown is not None and overwrites()
        print(f"\r\x1b[K{text}" if begun else text, file=sys.stderr, flush=True)

    def close(self):
        """Print what was done in which time."""
        done = sum(map(len, self.measured.values()))
        self.say(f"{done} steps in {clock(time.monotonic() - self._began)}")


def clock(seconds):
    """Return a time as minutes and seconds."""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
