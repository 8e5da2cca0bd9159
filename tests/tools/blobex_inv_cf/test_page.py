"""The tool's page: its commands run dry, its flags exist, its presets are the table's."""

import re
import shlex
from pathlib import Path

import pytest
import torch

from common.parser import parse
from tests.tools.blobex_inv_cf.runs import metadata
from tests.tools.commands import call_tool, results_of
from tools.blobex_inv_cf.numbered import BlobsOptions
from tools.blobex_inv_cf.options import ExplainOptions
from tools.blobex_inv_cf.presets import VALUES
from tools.blobex_inv_cf.sweep import SweepOptions

PAGE = (Path(__file__).parents[3] / "docs" / "blobex_inv_cf.md").read_text(encoding="utf-8")
COMMANDS = PAGE.split("```")[1].replace("\\\n", " ").strip().splitlines()


@pytest.fixture
def placed(here):
    """The files under the names of the page."""
    (here / "checkpoints").mkdir()
    for name, own in (("blobgan_256x512.ckpt", "gan.ckpt"), ("encoder_256x512.pt", "encoder.pt"),
                      ("decision_densenet.tar", "decision.tar")):
        (here / own).rename(here / "checkpoints" / name)
    (here / "out").rename(here / "cf")
    (here / "out").mkdir()
    (here / "cf").rename(here / "out" / "cf")
    return here


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run_dry(line, placed):
    tool, *words = shlex.split(line)
    if "--lpips_weights" in words:  # 553 MB: a small network takes its place
        words[words.index("--lpips_weights") : words.index("--lpips_weights") + 2] = \
            ["--perceptual", "checkpoints/decision_densenet.tar"]
    if words[words.index("--output_dir") + 1] == "out/cf":
        words[words.index("--output_dir") + 1] = "out/other"
    ended = call_tool(tool, *words, "--device", "cpu", "--dry_run")
    assert ended.status == 0, ended.err
    assert "would" in ended.err
    options = {"blobs": BlobsOptions, "sweep": SweepOptions}.get(words[0], ExplainOptions)
    assert parse(options, words[1:] if words[0] in ("blobs", "sweep") else words, "page") is not None


def test_every_flag_of_the_page_exists():
    known = set()
    for table in (ExplainOptions, BlobsOptions, SweepOptions):
        known |= set(table.__dataclass_fields__)
    known |= {"noreal_images", "nproc_per_node"}
    assert set(re.findall(r"--(\w+)", PAGE)) <= known


def test_the_table_of_presets_is_theirs():
    names = [each.strip(" `") for each in re.search(r"\| flag \|(.*)\|\n", PAGE[PAGE.index("## Flags of the"):])[1]
             .split("|")]
    assert names == list(VALUES)
    rows = dict(re.findall(r"\n\| `--(\w+)` \|((?: [^|]+\|){4})(?=\n)", PAGE))
    assert set(rows) == set(VALUES["rect"])
    for flag, row in rows.items():
        for name, cell in zip(names, row.strip("|").split("|")):
            value = VALUES[name][flag]
            assert cell.strip() == (" ".join(value) if isinstance(value, list) else str(value)), (flag, name)


def test_the_program_that_the_page_exports_is_explained(placed):
    class Network(torch.nn.Module):
        """Logits of two classes: how bright, and how dark."""

        def forward(self, x):
            level = x.mean(dim=1, keepdim=True) * 4.0
            return {"out": torch.cat([level, -level], dim=1)}

    (block,) = [part for part in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL) if "Drivable" in part]
    exec(compile(block.replace("256, 512", "16, 16"), "page", "exec"), {"network": Network()})
    results = results_of(
        "blobex_inv_cf", "--decision_model_weights", "drivable.pt2", "--objective", "share:1@0,0,1,0.5",
        "--dataset_path", "val", "--perceptual", "checkpoints/decision_densenet.tar", "--n_iters_inv", "3",
        "--n_iters_cf", "60", "--learning_rate_cf", "1", "--margin", "0.5", "--sparse_margin", "0.1", "--output_dir",
        "out/share", "--device", "cpu")
    assert results["pairs"] == 5
    assert results["flipped"] >= 3
    assert metadata(0, "out/share")["genprobe"]["names"] == ["share:1@0,0,1,0.5"]
