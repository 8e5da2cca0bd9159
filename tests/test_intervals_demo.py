"""The demo of the intervals keeps what it promises, for three seeds of the encoder."""

import csv
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from tests.tools.commands import ROOT, results_of

pytestmark = pytest.mark.long
TREE = ("--exp_name", "digits")


def run_chain(folder, seed):
    """Run the chain into a folder."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHON": sys.executable, "OUT": str(folder), "SEED": str(seed),
                 "GENPROBE_CACHE": str(folder / ".cache")}
    subprocess.run(["bash", "docs/chains/intervals.sh", "--quiet"], cwd=ROOT, env=variables, check=True)


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """The folder of the chain with seed 0."""
    folder = tmp_path_factory.mktemp("intervals")
    run_chain(folder, 0)
    return folder


@pytest.fixture(scope="module", params=[0, 1, 2])
def demo(request, first, tmp_path_factory):
    """The folder of the chain with one of the seeds; generator and images are the same."""
    if request.param == 0:
        return first
    folder = tmp_path_factory.mktemp("intervals")
    for name in (".generator", ".images"):
        shutil.copytree(first / name, folder / name)
    run_chain(folder, request.param)
    return folder


def results(folder):
    return json.loads((folder / "run.json").read_text())["results"]


def rows(path):
    with open(path, newline="") as table:
        return list(csv.DictReader(table))


def test_the_promise_is_kept_on_digits_that_lambda_was_not_chosen_on(demo):
    assert results(demo / "digits")["r2_1x"] >= 0.85
    mean = results(demo / "digits/calibration")
    assert 0.13 <= mean["test_risk_uncalibrated"] <= 0.20
    assert 0.07 <= mean["test_risk_mean"] <= 0.11
    assert mean["runs_above_alpha"] / 200 <= mean["delta"] + 0.03
    widths = [level["width_calibrated"] for level in mean["levels"]]
    assert widths == sorted(set(widths))
    assert widths[-1] >= 1.4 * widths[0]
    table = rows(demo / "table_promise.csv")
    assert [row["level"] for row in table] == ["easy", "medium", "hard", "mean over the levels"]
    assert all(float(row["outside there"]) <= 0.105 for row in table)


def test_widths_grow_with_the_corruption_and_the_promise_ends(demo, first):
    table = {row["corruption"]: (float(row["width"]), float(row["outside"])) for row in rows(demo / "table_stress.csv")}
    widths = [table[name][0] for name in ("mild", "moderate", "severe", "extreme")]
    assert widths == sorted(set(widths))
    if demo == first:  # how far widths grow beyond what an encoder was trained on is a matter of its seed
        assert widths[2] >= 1.5 * widths[0]
    assert table["severe"][1] > 0.3


def shifted(demo, images, name, monkeypatch):
    """Return the coordinates in which `apply` finds these images unlike the calibration's."""
    monkeypatch.chdir(ROOT)
    place = demo / ".more" / name
    results_of("generate_outputs_npz", "--base_dir", demo, *TREE, "--resize_factor", 1, "--image_dir", images,
               "--output_path", place / "outputs.npz")
    cli = ("calibrate_rcps", "apply", "--base_dir", demo, *TREE, "--outputs", f"easy={place / 'outputs.npz'}",
           "--output_dir", place / "sets", "--json", "--quiet")
    done = subprocess.run([sys.executable, "-m", f"tools.{cli[0]}", *map(str, cli[1:])], cwd=ROOT, check=True,
                          capture_output=True, text=True)
    return json.loads(done.stdout)["results"]["levels"][0]["shifted_dims"]


def test_a_shift_is_noticed_where_there_is_one(first, monkeypatch):
    corrupted = first / ".stress/stress_test/corrupted/severe"
    assert shifted(first, corrupted, "severe", monkeypatch)
    for sample in range(20):
        results_of("generate_ffhq", "--stylegan_path", first / ".generator/generator.pt", "--num_images", 100, "--seed",
                   100 + sample, "--output_base_dir", first / f".more/fresh_{sample}", "--no_stats")
        assert not shifted(first, first / f".more/fresh_{sample}/generated/1x", f"fresh_{sample}", monkeypatch)


def test_latents_of_other_images_teach_nothing(first, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    source, target = first / ".images/train/generated/1x", tmp_path / "shuffled"
    target.mkdir()
    names = sorted(path.name for path in source.glob("img_*.png"))
    for name, other in zip(names, np.random.default_rng(0).permutation(names)):
        shutil.copy(source / name, target / name)
        shutil.copy(source / other.replace("img_", "latents_").replace(".png", ".npz"),
                    target / name.replace("img_", "latents_").replace(".png", ".npz"))
    found = results_of("train_quantile_encoder", "--generated_train_data_path", target, "--stylegan_weights",
                       first / ".generator/generator.pt", "--encoder_type", "small", "--resize_factors", "1,4,8",
                       "--batch_size", 64, "--max_steps", 200, "--optim_name", "adam", "--learning_rate", "4e-3",
                       "--warmup", 50, "--lr_decay", "cosine", "--image_interval", 0, "--dims",
                       first / ".generator/dims.txt", "--val_data_path", first / ".images/val/generated/1x",
                       "--test_batch_size", 64, "--exp_dir", tmp_path / "out")
    assert found["r2_1x"] <= 0.1


