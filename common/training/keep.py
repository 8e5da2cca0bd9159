"""Files that a training writes now and then, and which of them stay."""

import math
import re

from common.training.log import read_log


class Periodic:
    """A file that the main process writes at multiples of `every` (0: never), after the state was saved.

    path: function of the step, whose number is in the name.  write: function of (path, step).
    done: function of the step, true when its file is there: a run that was killed before makes up for it.
    rule: which of the files stay, as `staying` has it; all without.  log, monitor: the entry of the rows of a log.jsonl
    that scores a step.
    """

    def __init__(self, every, path, write, done=None, log=None, monitor=None, **rule):
        self.every, self.path, self.write, self.log, self.monitor, self.rule = every, path, write, log, monitor, rule
        self.done = done or (lambda step: path(step).exists())

    def make(self, step):
        """Write the file of a step and remove those that do not stay."""
        self.write(self.path(step), step)
        if not self.rule:
            return
        scores = {row["step"]: row[self.monitor] for row in read_log(self.log)
                  if type(row.get(self.monitor)) in (int, float)} if self.monitor else {}
        steps = self.steps()
        for gone in set(steps) - staying(steps, scores=scores, **self.rule):
            self.path(gone).unlink()

    def steps(self):
        """Return the steps whose files are there."""
        numbers = {int(number) for path in self.path(0).parent.iterdir() for number in re.findall(r"\d+", path.name)}
        return sorted(step for step in numbers if self.path(step).exists())


def staying(steps, every=0, last=1, best=0, scores=None, mode="min"):
    """Return the set of steps whose files stay.

    every: each of these multiples (0: none).  last: the newest so many.  best: so many of the best by `scores`
    ({step: number}; a step without a finite one is no candidate; of equal ones the older), the lowest with mode
    "min", the highest with "max".
    """
    steps, scores = sorted(steps), scores or {}
    stay = {step for step in steps if every and step % every == 0} | set(steps[max(len(steps) - last, 0):])
    sign = {"min": 1, "max": -1}[mode]
    ranked = sorted((sign * scores[step], step) for step in steps if math.isfinite(scores.get(step, math.nan)))
    return stay | {step for _, step in ranked[:best]}
