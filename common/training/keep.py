"""Files that a training run writes periodically, and which of them are retained."""

import math
import re

from common.errors import InputError
from common.training.log import read_log

STEP, FID = MONITORS = ("step", "train/fid")
MODES = ("auto", "min", "max")
ALL = -1  # save_top_k that removes nothing


class Periodic:
    """A file that the main process writes at multiples of `every` (0: never), after the state is saved.

    path: function of the step, whose number is in the name.  write: function of (path, step).
    done: function of the step, true when its file exists: a resumed run writes one that a killed run missed.
    rule: which files are retained, see `staying`; all by default.  log, monitor: the log.jsonl and the entry of its
    rows that scores a step.
    """

    def __init__(self, every, path, write, done=None, log=None, monitor=None, **rule):
        self.every, self.path, self.write, self.log, self.monitor, self.rule = every, path, write, log, monitor, rule
        self.done = done or (lambda step: path(step).exists())

    def due(self, step):
        """Return whether a file is due after a step."""
        return bool(self.every) and step > 0 and step % self.every == 0

    def make(self, step):
        """Write the file of a step and remove those that are not retained."""
        self.write(self.path(step), step)
        if not self.rule:
            return
        scores = {row["step"]: row[self.monitor] for row in read_log(self.log)
                  if type(row.get(self.monitor)) in (int, float)} if self.monitor else {}
        steps = self.steps()
        for removed in set(steps) - staying(steps, scores=scores, **self.rule):
            self.path(removed).unlink()

    def steps(self):
        """Return the steps whose files exist."""
        numbers = {int(number) for path in self.path(0).parent.iterdir() for number in re.findall(r"\d+", path.name)}
        return sorted(step for step in numbers if self.path(step).exists())


def staying(steps, every=0, last=1, best=0, scores=None, mode="min"):
    """Return the set of steps whose files are retained.

    every: all multiples of it (0: none).  last: how many of the newest.  best: how many of the best by `scores`
    ({step: number}; steps without a finite score are ignored, ties go to the older), the lowest with mode "min", the
    highest with "max".
    """
    steps, scores = sorted(steps), scores or {}
    retained = {step for step in steps if every and step % every == 0} | set(steps[max(len(steps) - last, 0):])
    sign = {"min": 1, "max": -1}[mode]
    ranked = sorted((sign * scores[step], step) for step in steps if math.isfinite(scores.get(step, math.nan)))
    return retained | {step for _, step in ranked[:best]}


class Checkpoints(Periodic):
    """Checkpoints of which the newest, the best by FID, and the best `save_top_k` by a monitor stay.

    save_top_k: -1 for all of them, 0 for the newest alone.  monitor: step or train/fid.  mode: see `direction`.
    score: function of a step -> its FID, or None where none was measured.  also_due: function of a step, true where a
    file is due between multiples of `every`, such as at the end of an epoch.  remove: function of a path that removes
    the file, and what belongs to it.

    Which files there are is a list of its own, which belongs into the state of the training (`stored`, `restore`):
    files that it does not name are never removed, and what is gone from the folder is struck off. A file is removed
    only after the next one is complete.
    """

    def __init__(self, every, path, write, save_top_k=ALL, monitor=STEP, mode="auto", score=lambda step: None,
                 also_due=lambda step: False, remove=lambda path: path.unlink(missing_ok=True)):
        super().__init__(every, path, write)
        self.remove = remove
        self.save_top_k, self.monitor, self.sign = save_top_k, monitor, direction(monitor, mode)
        self.score, self.also_due, self.scores = score, also_due, {}

    def due(self, step):
        """Return whether a file is due after a step."""
        return super().due(step) or bool(self.also_due(step))

    def make(self, step):
        """Write the file of a step, then remove those that have lost their place."""
        self.write(self.path(step), step)
        self._enter(step)

    def stored(self):
        """Return the list of files, as plain values for the state: [[step, FID or None], ...]."""
        return [[step, self.scores[step]] for step in sorted(self.scores)]

    def restore(self, stored, done):
        """Take over the list of a state after step `done`, and finish what a killed run had begun to remove."""
        self.scores = {step: score for step, score in stored if step <= done and self.path(step).exists()}
        if done and done not in self.scores and self.path(done).exists():
            self._enter(done)

    def best(self):
        """Return the step with the lowest FID, or without any FID the newest; None when there is no file."""
        ranked = self._by_fid()
        return ranked[0] if ranked else max(self.scores, default=None)

    def _enter(self, step):
        self.scores[step] = _finite(self.score(step))
        for gone in sorted(self.scores.keys() - self._staying()):
            self.remove(self.path(gone))
            del self.scores[gone]

    def _staying(self):
        """Return the steps whose files stay."""
        if self.save_top_k == ALL:
            return set(self.scores)
        return {max(self.scores), *self._by_fid()[:1], *self._ranked()[: self.save_top_k]}

    def _by_fid(self):
        """Return the steps that have a FID, the lowest first, of equal ones the older."""
        return sorted((step for step, score in self.scores.items() if score is not None),
                      key=lambda step: (self.scores[step], step))

    def _ranked(self):
        """Return all steps, the best by the monitor first; those without a FID are last, the newest of them first."""
        if self.monitor == STEP:
            return sorted(self.scores, key=lambda step: self.sign * step)
        without = sorted((step for step, score in self.scores.items() if score is None), reverse=True)
        return [*self._by_fid(), *without]


def direction(monitor, mode):
    """Return 1 where the lowest of a monitor is the best, -1 where the highest is.

    mode auto: the highest step, the lowest FID. Raises InputError for a mode that would keep the worst.
    """
    if monitor == FID and mode == "max":
        raise InputError("would keep the worst: the lower a FID, the better", where=f"mode=max monitor={FID}",
                         do="Use mode auto or min")
    return 1 if monitor == FID or mode == "min" else -1


def _finite(score):
    return score if score is not None and math.isfinite(score) else None
