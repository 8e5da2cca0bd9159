"""The worked example of the tool's page: a layout loaded, a blob moved, removed and recoloured, rendered."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from common.networks.blobgan.layout_files import read_layouts
from tests.tools.blobgan_networks import save_blobgan
from tests.tools.commands import results_of

PAGE = Path(__file__).parents[3] / "docs" / "generate_blobgan.md"
GENERATOR = "checkpoints/blobgan_256x512.ckpt"


@pytest.fixture
def changed(here):
    """The layout before and after the page's program, which has run in this folder."""
    save_blobgan(here / GENERATOR)
    results_of("generate_blobgan", GENERATOR, "-n", 4, "--device", "cpu")
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    exec(compile(block, str(PAGE), "exec"), {})
    return read_layouts("out/generate_blobgan/layouts/0003.npz")[0].blobs, read_layouts("changed.npz")[0].blobs


def test_the_example_changes_what_it_says_and_nothing_else(changed):
    before, after = changed
    differs = {name: (getattr(after, name) != getattr(before, name)).nonzero()[:, 1].unique().tolist()
               for name in before._fields}
    assert differs == {"xs": [0], "ys": [], "sizes": [2], "covs": [], "features": [], "spatial_style": [3]}
    assert float(after.xs[0, 0] - before.xs[0, 0]) == pytest.approx(0.2)


def test_the_examples_picture_is_what_the_tool_makes_of_its_layout(changed):
    results_of("generate_blobgan", GENERATOR, "--layouts", "changed.npz", "-s", "again", "--device", "cpu")
    pictures = [np.asarray(Image.open(path)).astype(int)
                for path in ("changed.png", "again/imgs/changed.png", "out/generate_blobgan/imgs/0003.png")]
    assert np.abs(pictures[0] - pictures[1]).max() <= 1
    assert np.abs(pictures[0] - pictures[2]).max() > 1


def test_the_pages_picture_can_be_drawn(here):
    from docs.chains.parts.changed_layout import main

    results_of("generate_blobgan", "g.ckpt", "-n", 1, "-s", "out", "--device", "cpu")
    main("g.ckpt", "out/layouts", "picture.png")
    picture = np.asarray(Image.open("picture.png"))
    assert picture.shape[1] > picture.shape[0] > 2 * 160


def test_the_pages_commands_are_checked(here):
    save_blobgan(here / GENERATOR)
    results_of("generate_blobgan", GENERATOR, "-n", 1, "--device", "cpu", "-s", "out/generate_blobgan")
    block = PAGE.read_text(encoding="utf-8").split("```")[1]
    lines = [line.removeprefix("torchrun --nproc_per_node 8 -m tools.") for line in block.strip().splitlines()]
    assert len(lines) == 3
    for number, line in enumerate(lines):
        tool, *words = line.split()
        words += ["-s", f"elsewhere_{number}"] if number == 0 else []
        results = results_of(tool, *words, "--device", "cpu", "--dry_run")
        assert results["num_images"] == (100, 1, 50_000)[number]
