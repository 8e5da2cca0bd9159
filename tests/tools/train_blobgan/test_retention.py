"""Which checkpoints of train_blobgan stay on disk, killed between writing one and removing another."""

import pytest

from tests.tools.train_blobgan.test_runs import TINY
from tools.train_blobgan import loop
from tools.train_blobgan.__main__ import cli


class Killed(BaseException):
    """Stands for SIGKILL."""


def files(folder):
    return sorted(int(path.stem.rpartition("=")[2]) for path in (folder / "checkpoints").iterdir())


@pytest.mark.parametrize(("save_top_k", "steps"), [(-1, [1, 2, 3, 4, 5]), (0, [5]), (1, [5]), (3, [3, 4, 5])])
def test_T5_newest_checkpoints_stay_whatever_happened_before(tmp_path, monkeypatch, save_top_k, steps):
    words = [*TINY, f"--output_dir={tmp_path}", "--every_n_train_steps=1", f"--save_top_k={save_top_k}"]
    remove, removed = loop.remove_checkpoint, []

    def killed(path):
        removed.append(path)
        if len(removed) == 2:
            raise Killed
        remove(path)

    monkeypatch.setattr(loop, "remove_checkpoint", killed)
    try:
        cli([*words, "--max_steps=5"])
    except Killed:
        assert len(files(tmp_path)) == max(save_top_k, 1) + 1  # the next one is complete
        assert cli([*words, "--max_steps=5"]) == 0
    assert files(tmp_path) == steps
    assert (tmp_path / "state.pth").exists()


def test_T7_a_mode_that_keeps_the_worst_is_refused(tmp_path, capsys):
    assert cli([*TINY, f"--output_dir={tmp_path / 'out'}", "checkpoint.monitor=train/fid", "checkpoint.mode=max"]) == 2
    assert "mode=max monitor=train/fid: would keep the worst" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
