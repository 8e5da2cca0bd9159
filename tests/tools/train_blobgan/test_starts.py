"""What a run started from: another file is refused, one that is gone is in nobody's way, a damaged state is named."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from tests.tools.commands import call_tool, refusal_of
from tests.tools.train_blobgan.runs import TINY, flat, state, train, without_steps
from tools.train_blobgan.loop import BlobGANTraining


def test_other_weights_to_start_from_are_refused_once_a_run_is_there(own_folder):
    few = ("--max_steps", "1", "--start_weights")
    train("--max_steps", "1", out="first")
    source = next((own_folder / "first" / "checkpoints").iterdir())
    shutil.copy(source, "a.ckpt")
    train(*few, "a.ckpt", out="second")
    words = [*TINY, "--output_dir"]
    for out, path in (("second", "absent.ckpt"), ("second", "b.ckpt"), ("first", "b.ckpt")):
        torch.save({**torch.load(source, weights_only=True), "more": 1}, "b.ckpt")
        message = refusal_of("train_blobgan", *words, out, *few, path)
        assert "no such file" in message or "contents of start_weights" in message
    os.remove("a.ckpt")
    train("--max_steps", "2", "--start_weights", "a.ckpt", out="second")
    assert train("--max_steps", "3", out="second")["steps"] == 3


def test_a_damaged_state_is_named_with_what_to_do(own_folder):
    train("--max_steps", "1")
    Path("out/state.pth").write_bytes(b"x")
    message = refusal_of("train_blobgan", *TINY, "--output_dir", "out", "--max_steps", "2")
    assert "out/state.pth" in message
    assert "--overwrite to start over" in message


def changed(source, path, **changes):
    """Write a copy of a checkpoint with other entries."""
    torch.save({**torch.load(source, weights_only=True), **changes}, path)


def test_T38_weights_that_are_another_network_under_these_flags_are_refused(own_folder):
    train("--max_steps", "1", out="first")
    source = str(next((own_folder / "first" / "checkpoints").iterdir()))
    for flags, said in ((("--mlp_lr_mul", "1"), "its mlp_lr_mul is 0.1, that of this training 1.0"),
                        (("--nonorm_features",), "its norm_features is True, that of this training False")):
        for start in ("--start_weights", "--start_state"):
            words = (*TINY, *flags, "--output_dir", "other", "--max_steps", "2", start, source)
            assert said in refusal_of("train_blobgan", *words)
    assert train("--max_steps", "1", "--start_weights", source, "--nodetach_covs", out="third")["steps"] == 1


def test_T16_a_pair_that_is_missing_is_said_and_a_damaged_one_is_refused(own_folder):
    train("--max_steps", "1", out="first")
    source = next((own_folder / "first" / "checkpoints").iterdir())
    state = torch.load(source, weights_only=True)["state_dict"]
    words = (*TINY, "--output_dir", "out", "--max_steps", "1", "--start_weights", "a.ckpt")
    nan = {**state, "generator_ema.conv1.noise.weight": torch.full((1,), torch.nan)}
    changed(source, "a.ckpt", state_dict=nan)
    assert "generator_ema: 'conv1.noise.weight' holds NaN" in refusal_of("train_blobgan", *words)
    changed(source, "a.ckpt", state_dict={name: part for name, part in state.items() if "layout_net_ema" not in name})
    ended = call_tool("train_blobgan", *words)
    assert ended.status == 0
    assert "note: a.ckpt has no averaged weights: both start from the others" in ended.err


def test_T15_a_checkpoint_behind_a_skipped_step_goes_on_with_its_own_rate(own_folder, monkeypatch):
    """Of the steps, fewer were updates, which the fall of the learning rate goes by."""
    without_steps(monkeypatch, {2})
    words = ("--every_n_train_steps", "4", "--max_steps", "6", "--lr_fall", "1", "--log_dir", "logs")
    runs = []
    for more in (("--wandb_id", "one"), ("--wandb_id", "two", "--resume_id", "one", "--resume_step", "4")):
        assert call_tool("train_blobgan", *TINY, *words, *more).status == 0
        runs.append(next(Path("logs").rglob(f"*{more[1]}/files/state.pth")))
    one, two = (torch.load(path, weights_only=True) for path in runs)
    for part in ("networks", "averages", "optimisers"):
        assert torch.equal(flat(one[part]), flat(two[part]))
    assert two["optimisers"]["generator"]["updates"] == 5


def test_T15_a_damaged_record_of_the_steps_is_named(own_folder):
    train("--max_steps", "1")
    whole = state()
    for change in (None, {"recent": [["a"]]}, {"checkpoints": "x"}):
        extra = change and {**whole["extra"], **change}
        torch.save({**whole, "extra": extra}, "out/state.pth")
        assert "its record of the steps is damaged" in refusal_of("train_blobgan", *TINY, "--output_dir", "out",
                                                                  "--max_steps", "2")


@pytest.mark.parametrize(("every", "fid", "said"), [(3, 2, "multiples of 6 alone"), (4, 2, ""),
                                                    (4, 0, "end of an epoch")])
def test_T7_checkpoints_without_a_fid_are_said(every, fid, said, capsys):
    options = SimpleNamespace(monitor="train/fid", every_n_train_steps=every, log_fid_every_n_steps=fid)
    BlobGANTraining._say_ranked(SimpleNamespace(options=options))
    text = capsys.readouterr().err
    assert said in text
    assert bool(text) == bool(said)
