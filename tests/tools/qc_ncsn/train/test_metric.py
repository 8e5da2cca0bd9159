"""Samples and their metric at each snapshot of a training."""

import numpy as np
import pytest
import torch
from PIL import Image

from common.features.small_features import small_features
from common.files import read_json
from common.formats.checkpoints import load_torch
from common.metrics.frechet import frechet_distance
from tests.tools.qc_ncsn.runs import call, contents, good

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()", "--config.training.snapshot_freq=2", "--config.sampling.num_steps=3")
TRAIN = ("train", *SMALL, "--device", "cpu", "--bs", "8")
METRIC = ("--config.training.snapshot_metric=20",)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    folder = tmp_path_factory.mktemp("metric") / "w"
    good(*TRAIN, *METRIC, "--workdir", folder, "--n_iters", "4")
    return folder


def test_the_metric_is_the_distance_of_what_sample_makes_of_that_checkpoint(measured, tmp_path):
    for step, number in ((2, 1), (4, 2)):
        stored = read_json(measured / "samples" / f"iter_{step}" / "metric.json")
        good("sample", *SMALL[:-2], "--checkpoint", measured / "checkpoints" / f"checkpoint_{number}.pth", "--method",
             "multistep", "--num_steps", "3", "--num_samples", "20", "--workdir", tmp_path / str(step))
        pixels = np.load(tmp_path / str(step) / "eval_sampling" / "0" / "samples_0.npz")["samples"]
        good("eval", "encode", "--features", "small", "--encode_dataset", "--dataset", "digits", "--config", "u_digits",
             "--workdir", tmp_path / str(step), "--device", "cpu")
        reference = np.load(tmp_path / str(step) / "stat" / "dataset_stat.npz")["pool_3"].astype(float)
        features = small_features(pixels).astype(float)
        expected = frechet_distance(features.mean(0), np.cov(features.T), reference.mean(0), np.cov(reference.T))
        assert stored["frechet_distance"] == pytest.approx(expected, rel=0.02)
        assert stored["num_dataset"] == 1500
        grid = Image.open(measured / "samples" / f"iter_{step}" / "multistep.png")
        assert grid.size[0] == (4 * 10 + 2) * 4  # four images a row, enlarged four times


@pytest.mark.long
def test_the_curve_holds_every_snapshot_and_the_training_is_as_without_it(measured, tmp_path):
    lines = (measured / "samples" / "metric.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in lines] == ["step", "2", "4"]
    assert (measured / "samples" / "metric.png").exists()
    assert (measured / "stdout.txt").read_text().count("frechet_distance: ") == 2
    good(*TRAIN, "--workdir", tmp_path / "without", "--n_iters", "4")
    weights = [load_torch(folder / "checkpoints-meta" / "checkpoint.pth")["model"]
               for folder in (measured, tmp_path / "without")]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    good(*TRAIN, *METRIC, "--workdir", tmp_path / "two", "--n_iters", "2")
    good(*TRAIN, *METRIC, "--workdir", tmp_path / "two", "--n_iters", "4")
    found = [{name: digest for name, digest in contents(folder).items() if name.startswith("samples")}
             for folder in (measured, tmp_path / "two")]
    assert found[0] == found[1]


def test_one_sample_has_no_distance():
    ended = call(*TRAIN, "--config.training.snapshot_metric=1", "--workdir", "unused")
    assert ended.status == 2
    assert "must be 0, or at least 2 samples" in ended.err
