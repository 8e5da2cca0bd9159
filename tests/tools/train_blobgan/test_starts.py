"""What a run started from: another file is refused, one that is gone is in nobody's way, a damaged state is named."""

import os
import shutil
from pathlib import Path

import torch

from tests.tools.commands import refusal_of
from tests.tools.train_blobgan.runs import TINY, train


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
