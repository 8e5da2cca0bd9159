"""Files that a training run writes periodically, and which of them are retained."""

import math
import re

from common.training.log import read_log


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
