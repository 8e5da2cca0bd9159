"""Checkpoints of generators and encoders with damage in the file or in what it holds end with status 0 or 2."""

import random
from pathlib import Path

import pytest
import torch

from tests.readers.damage import mutate
from tests.tools.commands import call_tool, refusal_of
from tests.tools.interval_networks import SIDE, save_encoder, save_generator

MODEL = Path("assets/super_resolution/models/superres_alpha_0.1.pt")
VALUES = (None, "text", 3, [], {}, float("nan"), torch.zeros(0), torch.zeros(2, 3), torch.ones(1, dtype=torch.int64),
          torch.zeros(1, 5, 4, 4, dtype=torch.complex64), torch.full((7,), float("nan")))


@pytest.fixture
def here(own_folder):
    save_generator(own_folder / "g.pt")
    save_encoder(own_folder / MODEL)
    assert call_tool("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 1, "--output_base_dir", "data",
                     "--device", "cpu", "--quiet", "--resize_factors", 1, "--encoder_size", SIDE).status == 0
    return own_folder


def changed(value, draws):
    """Return a checkpoint's dictionary with one or two entries renamed, removed, doubled in size or replaced."""
    value = {key: dict(entry) if isinstance(entry, dict) else entry for key, entry in value.items()}
    for _ in range(draws.randint(1, 2)):
        inner = [entry for entry in value.values() if isinstance(entry, dict) and entry]
        target = draws.choice(inner) if inner and draws.random() < 0.8 else value
        if not target:
            continue
        key = draws.choice(list(target))
        old = target.pop(key)
        kind = draws.randrange(4)
        if kind == 0:
            target[f"{key}_"] = old
        elif kind == 1 and isinstance(old, torch.Tensor) and old.ndim:
            target[key] = torch.cat([old, old], dim=draws.randrange(old.ndim))
        elif kind == 2:
            target[key] = draws.choice(VALUES)
    return value


def try_checkpoints(count):
    """Run both readers on so many damaged files of each kind; return the ends."""
    draws, ends = random.Random(0), []
    for path, command in ((Path("g.pt"), ("generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 1, "--dry_run",
                                          "--output_base_dir", "other")),
                          (MODEL, ("generate_outputs_npz", "--resize_factor", 1, "--image_dir", "data/generated/1x",
                                   "--output_path", "out/outputs.npz", "--dry_run"))):
        whole, value = path.read_bytes(), torch.load(path, weights_only=True)
        for number in range(count):
            if number % 2:
                path.write_bytes(mutate(whole, number))
            else:
                torch.save(changed(value, draws), path)
            ended = call_tool(*command, "--device", "cpu", "--quiet")
            assert ended.status in (0, 2), (path, number, ended.err)
            assert ended.status == 0 or ended.err.count("\n") == 1, ended.err
            ends.append(ended.status)
        path.write_bytes(whole)
    return ends


def test_damaged_checkpoints_end_well(here):
    assert try_checkpoints(12).count(2) > 8


def test_complex_weights_are_named(here):
    value = torch.load("g.pt", weights_only=True)
    value["g_ema"]["conv1.conv.weight"] = value["g_ema"]["conv1.conv.weight"] + 1j
    torch.save(value, "g.pt")
    assert "g.pt: 'conv1.conv.weight' holds complex numbers" in refusal_of(
        "generate_ffhq", "--stylegan_path", "g.pt", "--num_images", 1, "--output_base_dir", "other")


@pytest.mark.long
def test_200_damaged_checkpoints_end_well(here):
    assert try_checkpoints(200).count(2) > 150
