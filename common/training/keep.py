"""Which checkpoints of a training stay in its folder."""

import math
import re
from pathlib import Path

from common.training.log import read_log


def staying(steps, every=0, last=1, best=0, scores=None, mode="min"):
    """Return the set of those checkpoints' steps that stay.

    every: each of these multiples (0: none).  last: the newest so many.  best: so many of the best by `scores`
    ({step: number}; a step without a finite one is no candidate; of equal ones the older), the lowest with mode
    "min", the highest with "max".
    """
    steps, scores = sorted(steps), scores or {}
    stay = {step for step in steps if every and step % every == 0} | set(steps[max(len(steps) - last, 0):])
    sign = {"min": 1, "max": -1}[mode]
    ranked = sorted((sign * scores[step], step) for step in steps if math.isfinite(scores.get(step, math.nan)))
    return stay | {step for _, step in ranked[:best]}


class Checkpoints:
    """Checkpoints step_0000500.pth in a folder, saved every `period` steps, of which some stay (`staying`).

    save: function of (path, step).  monitor: the entry of the rows of `log` (a log.jsonl) that scores a step.
    It is one of the loop's `Periodic` products.
    """

    def __init__(self, folder, save, period, log=None, monitor=None, **rule):
        self.folder, self.save, self.every = Path(folder), save, period
        self.log, self.monitor, self.rule = log, monitor, rule

    def path(self, step):
        """Return the path of the checkpoint of a step."""
        return self.folder / f"step_{step:07d}.pth"

    def done(self, step):
        """True when the checkpoint of a step is there, or a later one, which may have removed it."""
        return any(there >= step for there in self.steps())

    def steps(self):
        """Return the steps of the checkpoints that are there."""
        found = (re.fullmatch(r"step_(\d+)\.pth", path.name) for path in self.folder.glob("step_*.pth"))
        return sorted(int(match.group(1)) for match in found if match)

    def write(self, step):
        """Save the checkpoint of a step and remove those that do not stay."""
        self.save(self.path(step), step)
        scores = {row["step"]: row.get(self.monitor) for row in read_log(self.log)} if self.monitor else {}
        scores = {step: score for step, score in scores.items() if isinstance(score, (int, float))}
        steps = self.steps()
        for gone in set(steps) - staying(steps, scores=scores, **self.rule):
            self.path(gone).unlink()
