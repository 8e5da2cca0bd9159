"""The page's flags exist, its commands are understood, and its lines of Python run."""

import re
import shlex
from dataclasses import fields

import pytest
import torch

from common.parser import parse
from tests.tools.commands import ROOT
from tests.tools.train_encoder.runs import TRAIN, train
from tools.train_encoder.__main__ import EPILOGS
from tools.train_encoder.options import PretrainOptions, TrainOptions, settled

PAGE = (ROOT / "docs" / "train_encoder.md").read_text()
OPTIONS = {"pretrain": PretrainOptions, "train": TrainOptions}


def commands():
    """Return the commands of the page's first block and of the helps."""
    text = "\n".join([re.search(r"```\n(.*?)```", PAGE, re.DOTALL)[1], *EPILOGS.values()]).replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if "train_encoder " in line]
    return [line.split("train_encoder ", 1)[1] for line in lines]


@pytest.mark.parametrize("line", commands())
def test_commands_are_understood(line):
    stage, *words = shlex.split(line)
    settled(parse(OPTIONS[stage], words, f"train_encoder {stage}"))


def test_every_flag_of_the_page_exists_and_every_weight_is_on_it():
    names = {item.name for options in OPTIONS.values() for item in fields(options)}
    mentioned = set(re.findall(r"--(\w+)", PAGE)) - {"nproc_per_node"}
    assert mentioned <= names
    assert {name for name in names if name.startswith(("real_", "fake_"))} <= mentioned


def test_the_lines_of_python_run(here):
    train(*TRAIN, "--n_iters", "1")
    code = re.search(r"```python\n(.*?)```", PAGE, re.DOTALL)[1]
    code = code.replace("checkpoints/blobgan_256x512.ckpt", "gan.ckpt").replace("encoder_finetuning_l1_lpips", "out")
    found = {"pictures": torch.rand(2, 3, 16, 16)}
    exec(compile(code, "page", "exec"), found)
    assert found["reconstructions"].shape == (2, 3, 16, 16)
