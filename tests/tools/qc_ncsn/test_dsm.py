"""eval dsm: the held-out loss by noise level."""

import shutil
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from common.datasets import open_dataset
from common.diffusion.sde import VESDE
from common.score.models import LoadedModel
from common.seeding import unit_generator
from tests.tools.qc_ncsn.runs import good, listing
from tools.qc_ncsn.evaluate.dsm import measure_level, times

SMALL = ("--config", "u_digits", "--config.model.nf=4", "--config.model.ch_mult=1",
         "--config.model.attn_resolutions=()")
CPU = ("--device", "cpu")
DSM = ("eval", "dsm", *CPU, "--num_images", "7", "--nl", "4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dsm") / "w"
    good("train", *SMALL, *CPU, "--bs", "8", "--config.training.snapshot_freq=5", "--workdir", folder, "--n_iters",
         "10")
    return folder


def test_the_loss_of_the_gaussian_with_the_datas_covariance_is_its_closed_form():
    """The score of N(m, C + sigma^2 I) is known; so is the mean loss of data that have this mean and covariance."""
    images = open_dataset("digits", "test")
    x = torch.from_numpy(images.read(list(range(len(images))))).double().reshape(len(images), -1) / 255
    mean, covariance = x.mean(0), torch.cov(x.T, correction=0)

    def score(x, sigma):
        precision = torch.linalg.inv(covariance + float(sigma[0]) ** 2 * torch.eye(64).double())
        return ((mean - x.flatten(1).double()) @ precision).reshape(x.shape).float()

    model = SimpleNamespace(score=score, sde=VESDE(0.01, 50))
    options = SimpleNamespace(num_images=len(images), bs=100, seed=0)
    time = 0.55
    sigma = float(model.sde.sigma(torch.tensor([time], dtype=torch.float64)))
    values = measure_level(options, model, images, "cpu", 0, 0, time)
    precision = torch.linalg.inv(covariance + sigma**2 * torch.eye(64).double())
    expected = 0.5 * float(64 - sigma**2 * torch.trace(precision))
    assert abs(values.mean() - expected) < 4 * values.std() / len(values)**0.5
    assert values.std() / len(values)**0.5 < 0.05 * expected


def test_each_value_is_the_training_loss_of_that_image_with_its_own_noise(trained, tmp_path, rough_figures):
    results = good(*DSM, "--workdir", trained, "--bs", "3", "--weights", "ema", "--seed", "4")
    model = LoadedModel(trained / "checkpoints" / "checkpoint_2.pth", None, "ema")
    images = open_dataset("digits", "test")
    for level, time in enumerate(times(4, model.sde.eps)):
        sigma = 0.01 * 5000**time
        assert results["sigma"][level] == pytest.approx(sigma, rel=1e-6)
        stored = np.load(trained / "dsm" / "levels_0" / f"level_{level:03d}.npz")
        for index in (0, 6):
            x0 = torch.from_numpy(images.read([index])).permute(0, 3, 1, 2).float() / 255
            z = torch.randn(x0.shape[1:], generator=unit_generator(4, "dsm", 0, level, index))[None]
            with torch.no_grad():
                s = model.network((x0 + sigma * z).float(), torch.tensor([sigma]).float())
            assert stored["dsm"][index] == pytest.approx(0.5 * float((sigma * s + z).square().sum()), rel=1e-3)
        assert results["dsm_by_level"][level] == pytest.approx(stored["dsm"].mean())
        assert results["mse_by_level"][level] == pytest.approx(2 * sigma**2 * stored["dsm"].mean() / 64, rel=1e-6)
    values = np.stack([np.load(path)["dsm"] for path in sorted((trained / "dsm" / "levels_0").iterdir())])
    assert results["dsm"] == pytest.approx(values.mean())
    assert results["dsm_se"] == pytest.approx(values.mean(0).std(ddof=1) / 7**0.5)


def test_the_loss_depends_on_the_split_but_not_on_the_batch_size_and_is_read_back(trained, tmp_path):
    words = (*DSM, "--checkpoint", trained / "checkpoints" / "checkpoint_1.pth")
    alone = good(*words, "--workdir", tmp_path / "a", "--bs", "1")
    together = good(*words, "--workdir", tmp_path / "b", "--bs", "7")
    assert alone["dsm_by_level"] == pytest.approx(together["dsm_by_level"], rel=1e-4)
    assert good(*words, "--workdir", tmp_path / "c", "--split", "train")["dsm"] != pytest.approx(together["dsm"])
    before = listing(tmp_path / "b")
    assert good(*words, "--workdir", tmp_path / "b", "--bs", "3") == together
    assert good("eval", "dsm", "--workdir", tmp_path / "b", "--read") == together
    assert listing(tmp_path / "b").keys() == before.keys()
    assert (tmp_path / "b" / "dsm" / "dsm.png").read_bytes().startswith(b"\x89PNG")
    assert len((tmp_path / "b" / "dsm" / "table.csv").read_text().splitlines()) == 5


def test_more_images_and_repeats_extend_and_a_series_gives_one_curve(trained, tmp_path, rough_figures):
    words = (*DSM[:4], "--nl", "2", "--workdir", tmp_path, "--checkpoint", trained / "checkpoints" / "checkpoint_1.pth")
    one = good(*words, "--num_images", "1")
    assert one["dsm_se"] is None
    assert one["dsm_se_by_level"] is None
    more = good(*words, "--num_images", "3", "--total_repeat", "2")
    assert more["repeats"] == 2
    assert len(list((tmp_path / "dsm").glob("levels_*/*.npz"))) == 4
    series = good(*DSM[:4], "--nl", "2", "--workdir", trained, "--checkpoint_idx", "1", "2", "--num_images", "3",
                  "--total_repeat", "2")
    assert series["dsm"][0] == more["dsm"]
    assert (trained / "by_checkpoint" / "dsm" / "curve.png").exists()


def test_compare_pairs_the_losses_of_the_same_images_and_draws(trained, tmp_path, rough_figures):
    for weights in ("raw", "ema"):
        shutil.copytree(trained, tmp_path / weights, ignore=shutil.ignore_patterns("dsm"))
        good(*DSM, "--workdir", tmp_path / weights, "--weights", weights)
    single = good("compare", "--workdirs", tmp_path / "raw", tmp_path / "ema", "--output_dir", tmp_path / "table")
    assert "dsm_difference" not in single["ema"]  # other weights: not paired
    good(*DSM, "--workdir", tmp_path / "ema", "--weights", "raw", "--overwrite")
    losses = [np.stack([np.load(path)["dsm"] for path in sorted((tmp_path / name / "dsm" / "levels_0").iterdir())])
              for name in ("raw", "ema")]
    shifted = losses[1] + np.arange(7) - 3.0  # another model's, image by image
    for number, row in enumerate(shifted):
        path = tmp_path / "ema" / "dsm" / "levels_0" / f"level_{number:03d}.npz"
        np.savez(path, **{**np.load(path), "dsm": row + 0.5})
    entry = good("compare", "--workdirs", tmp_path / "raw", tmp_path / "ema", "--output_dir", tmp_path / "pairs")["ema"]
    assert entry["dsm_difference"] == pytest.approx(0.5)
    assert entry["dsm_difference_se"] == pytest.approx(np.arange(7).std(ddof=1) / 7**0.5)
    assert "DSM loss" in (tmp_path / "pairs" / "table.md").read_text()


def test_the_steps_of_a_comparison_are_those_of_the_snapshot_that_was_measured(trained, tmp_path, rough_figures):
    """A training may end behind its last snapshot, and an earlier one may be named."""
    shutil.copytree(trained, tmp_path / "w", ignore=shutil.ignore_patterns("dsm"))
    compare = ("compare", "--workdirs", tmp_path / "w", "--output_dir")
    assert good(*compare, tmp_path / "before")["w"]["steps"] == 10
    good(*DSM, "--workdir", tmp_path / "w", "--checkpoint", tmp_path / "w" / "checkpoints" / "checkpoint_1.pth")
    assert good(*compare, tmp_path / "after")["w"]["steps"] == 5
