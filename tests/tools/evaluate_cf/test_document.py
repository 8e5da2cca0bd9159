"""The tool's page: its commands run dry on files of these names, and its flags and keys exist."""

import dataclasses
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from common.features.small_features import NAME
from common.formats.tables import write_table
from common.networks.blobgan.encoder_files import EncoderConfig, write_encoder
from tests.tools.commands import call_tool, results_of
from tests.tools.evaluate_cf.made import NAMES, make, write_record
from tests.tools.evaluate_cf.test_references import Features
from tools.blobex_inv_cf.options import ExplainOptions
from tools.evaluate_cf.compare import CompareOptions
from tools.evaluate_cf.options import EvaluateOptions
from tools.evaluate_cf.reconstructions import EncoderOptions, InversionOptions

PAGE = (Path(__file__).parents[3] / "docs" / "evaluate_cf.md").read_text(encoding="utf-8")
COMMANDS = PAGE.split("```")[1].replace("\\\n", " ").strip().splitlines()
NETWORKS = {"--lpips_weights": "--perceptual", "--extractor": "--extractor"}  # of hundreds of MB: small ones instead


@pytest.fixture(scope="module")
def placed(tmp_path_factory):
    """A folder with files under the names of the page."""
    root = tmp_path_factory.mktemp("document")
    made = make(root)
    for name in ("plain", "cf"):
        shutil.copytree(made.folder, root / "out" / name)
    shutil.move(made.folder, root / "old_folder")
    (root / "bdd100k/seg/images").mkdir(parents=True)
    for name in ("val", "bdd100k/seg/images/val"):
        shutil.copytree(root / "images", root / name)
    for own, names in (("gan.ckpt", ("blobgan.ckpt", "blobgan_256x512.ckpt")),
                       ("decision.tar", ("oracle.tar", "decision_densenet.tar"))):
        for name in names:
            shutil.copy(root / own, root / name)
    made.folder = root / "out" / "cf"
    write_record(made)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = EncoderConfig(16, 2, 12, channels=(8, 8, 8))
        write_encoder(root / "best.pt", config, config.build().state_dict(), None, None, 1)
        torch.jit.save(torch.jit.script(Features().eval()), root / "simsiam.pt")
    (root / "fid_stats").mkdir()
    np.savez(root / "fid_stats" / f"bdd_rect_256_clean_{NAME}_custom_na.npz", mu=np.zeros(128), sigma=np.eye(128))
    write_table(root / "judged.csv", ["image", "attribute", *NAMES], [[name, "", 0, 1] for name in made.names])
    write_table(root / "train_attributes.csv", list(NAMES), [[0, 1], [1, 1], [1, 0]])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        results_of("evaluate_cf", "out/plain", "--blobgan_weights", "gan.ckpt", "--decision_model_weights",
                   "decision.tar", "--dataset_path", "val", "--page_pairs", "0")
    shutil.copytree(root / "out" / "plain", root / "out" / "sparse")
    return root


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_run_dry(line, placed, monkeypatch):
    monkeypatch.chdir(placed)
    tool, *words = shlex.split(line)
    for flag, instead in NETWORKS.items():
        if flag in words:
            place = words.index(flag)
            words[place : place + 2] = [instead, "small" if flag == "--extractor" else "oracle.tar"]
    if "--similarity_model" in words:
        words += ["--similarity_output", "1"]
    ended = call_tool(tool, *words, "--dry_run", "--json")
    assert ended.status == 0, ended.err
    assert "would" in ended.err


def test_every_flag_of_the_page_exists():
    known = {item.name for table in (EvaluateOptions, EncoderOptions, InversionOptions, CompareOptions, ExplainOptions)
             for item in dataclasses.fields(table)}
    extra = {"nosparse", "fit"}  # a switch's other side, and setup_fid's
    assert set(re.findall(r"--(\w+)", PAGE)) <= known | extra
