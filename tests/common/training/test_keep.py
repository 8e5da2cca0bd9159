"""Which checkpoints stay, against the rules as they are written down in `expected`; kills, resumes, scores that are
equal or no number."""

import math
import random

import pytest

from common.errors import InputError
from common.training.keep import FID, STEP, Checkpoints

RULES = [(-1, STEP, "auto"), (0, STEP, "auto"), (1, STEP, "max"), (3, STEP, "auto"), (2, STEP, "min"),
         (-1, FID, "auto"), (0, FID, "auto"), (1, FID, "min"), (3, FID, "auto")]


def expected(history, save_top_k, monitor, mode):
    """Return the steps whose files are there after a quiet run.

    history: [(step, FID or None)].  The rules: the newest file stays. The file with the lowest FID stays, of equal ones
    the older. -1: all stay. k: the k best by the monitor stay: the newest steps (mode min: the oldest), or the lowest
    FIDs, behind which come files without a FID, the newer first. A file that went does not come back.
    """
    there = []
    for step, score in history:
        there.append((step, math.inf if score is None or not math.isfinite(score) else score))
        if save_top_k == -1:
            continue
        if monitor == STEP:
            order = sorted(there, reverse=mode != "min")
        else:
            order = sorted(there, key=lambda item: (item[1], -item[0] if item[1] == math.inf else item[0]))
        wanted = order[:save_top_k] + there[-1:]
        numbers = [item for item in there if item[1] < math.inf]
        wanted += [min(numbers, key=lambda item: (item[1], item[0]))] if numbers else []
        there = [item for item in there if item in wanted]
    return {step for step, _ in there}


class Killed(Exception):
    """Stands for SIGKILL."""


class Run:
    """A training that writes a file every `every` steps, saves its state every `save_every`, and is killed at will."""

    def __init__(self, folder, rule, scores, every=1, save_every=3):
        self.folder, self.rule, self.scores, self.every, self.save_every = folder, rule, scores, every, save_every
        self.state, self.written = None, False  # (step, list of files) on disk; whether a file was ever complete

    def path(self, step):
        return self.folder / f"epoch={step // 10}-step={step}.ckpt"

    def files(self):
        return {int(path.stem.rpartition("=")[2]) for path in self.folder.iterdir()}

    def go(self, last, kill_at=(None, None)):
        """Run to a step; kill_at: (step, "write" or "remove"), where it stops before the one or the other."""
        def write(path, step):
            if kill_at == (step, "write"):
                raise Killed
            path.write_text(str(step))
            self.written = True
            if kill_at == (step, "remove"):
                raise Killed

        save_top_k, monitor, mode = self.rule
        kept = Checkpoints(self.every, self.path, write, save_top_k, monitor, mode, self.scores.get)
        done = 0
        if self.state is not None:
            done, stored = self.state
            kept.restore(stored, done)
            if kept.due(done) and not kept.done(done):
                kept.make(done)
        for step in range(done + 1, last + 1):
            if step % self.save_every == 0 or step == last:
                self.state = step, kept.stored()
            if kept.due(step):
                kept.make(step)
        return kept


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(8))
def test_T6_files_after_random_kills_are_those_of_the_rules(tmp_path, rule, seed):
    rng = random.Random(f"{rule} {seed}")
    scores = {step: rng.choice([1.0, 2.0, 3.0, rng.random() * 4, math.nan, math.inf, None]) for step in range(1, 25)}
    run = Run(tmp_path, rule, scores, every=rng.choice([1, 2]), save_every=rng.choice([1, 2, 3, 5]))
    for _ in range(rng.randrange(6)):
        try:
            run.go(24, (rng.randrange(1, 25), rng.choice(["write", "remove"])))
        except Killed:
            files = run.files()
            assert files or not run.written  # one is complete before another goes
            if not files:
                continue
            numbers = {step: scores[step] for step in files if scores[step] is not None
                       and math.isfinite(scores[step])}
            seen = [scores[step] for step in range(run.every, max(files) + 1, run.every)
                    if scores[step] is not None and math.isfinite(scores[step])]
            assert not seen or min(seen) == min(numbers.values())  # the best is never gone
    kept = run.go(24)
    history = [(step, scores[step]) for step in range(run.every, 25, run.every)]
    assert run.files() == expected(history, *rule) == set(kept.scores)


@pytest.mark.parametrize("save_every", [1, 2])
def test_T6_a_resume_between_every_two_saves_forgets_nothing(tmp_path, save_every):
    scores = dict(enumerate([5.0, 1.0, 4.0, 2.0, 3.0, 6.0], 1))
    run = Run(tmp_path, (2, FID, "auto"), scores, save_every=save_every)
    for last in range(1, 7):
        run.go(last)
        assert run.files() == expected(list(scores.items())[:last], 2, FID, "auto")
    assert run.files() == {2, 4, 6}


def test_T5_one_file_by_fid_keeps_the_best_and_the_newest(tmp_path):
    kept = Run(tmp_path, (1, FID, "auto"), {1: 3.0, 2: 1.0, 3: 2.0}).go(3)
    assert {path.name for path in tmp_path.iterdir()} == {"epoch=0-step=2.ckpt", "epoch=0-step=3.ckpt"}
    assert kept.best() == 2


def test_T7_the_best_is_known_where_all_files_stay(tmp_path):
    kept = Run(tmp_path, (-1, STEP, "auto"), {1: 3.0, 2: math.nan, 3: 1.0, 4: 1.0, 5: 2.0}).go(5)
    assert kept.best() == 3
    assert len([*tmp_path.iterdir()]) == 5


def test_T7_mode_max_for_fid_is_refused():
    with pytest.raises(InputError, match="would keep the worst: the lower a FID, the better") as error:
        Checkpoints(1, None, None, 1, FID, "max")
    assert error.value.where == "mode=max monitor=train/fid"


def test_files_that_the_run_did_not_write_stay(tmp_path):
    (tmp_path / "epoch=0-step=1.ckpt").write_text("mine")
    run = Run(tmp_path, (1, STEP, "auto"), {}, every=2)
    run.go(6)
    assert run.files() == {1, 6}


def test_files_between_multiples_are_due_where_asked_for(tmp_path):
    kept = Checkpoints(4, lambda step: tmp_path / str(step), lambda path, step: path.write_text(""),
                       also_due=lambda step: step % 3 == 0)
    assert [step for step in range(1, 13) if kept.due(step)] == [3, 4, 6, 8, 9, 12]
