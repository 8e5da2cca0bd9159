"""The commands and the program of docs/train_decision_model.md work as they stand there, on made data."""

import re
import shlex
from pathlib import Path

import torch
from PIL import Image

from common.networks.decision_networks import DecisionConfig, build_decision_model
from tests.tools.commands import ROOT, call_tool
from tests.tools.train_decision_model.runs import picture, train, write_bddoia

PAGE = ROOT / "docs" / "train_decision_model.md"


def test_every_command_of_the_page_passes_a_dry_run(here):
    write_bddoia(here / "data" / "bdd_oia")
    for number in range(30):
        folder = here / "animals" / ("cat", "dog")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(number % 2, 0, number)).save(folder / f"{number}.jpg")
    for arch, name in (("densenet121", "densenet121-a639ec97.pth"), ("resnet50", "resnet50-0676ba61.pth")):
        body = build_decision_model(DecisionConfig(arch, ("a", "b"))).body
        torch.save(body.state_dict(), name)
    lines = re.search(r"```\n(train_decision_model.*?)```", PAGE.read_text(), re.DOTALL)[1].splitlines()
    assert len(lines) == 3
    for line in lines:
        ended = call_tool(*shlex.split(line), "--dry_run", "--device", "cpu")
        assert ended.status == 0, ended.err
        assert "would train" in ended.err


def test_the_pages_program_runs(here):
    train("--steps", "3", out="out/train_decision_model")
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[1]
    names = {}
    exec(code, names)
    assert list(names["probabilities"]) == ["red", "green"]
    assert all(0 < value < 1 for value in names["probabilities"].values())
    assert Path("out/train_decision_model/checkpoint.tar").exists()
