"""Batch sizes and divisions change who makes what, not what is made."""

import shutil

import numpy as np
import pytest
import torch

from tests.tools.qc_ncsn.runs import TINY, call, good
from tools.qc_ncsn.data import dequantise

pytestmark = pytest.mark.usefixtures("rough_figures")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work folder with a network after a few steps."""
    folder = tmp_path_factory.mktemp("trained")
    good("train", *TINY, "--workdir", folder, "--n_iters", "15", "--config.optim.warmup=5",
         "--config.training.snapshot_freq=15")
    return folder


def work(trained, path):
    shutil.copytree(trained / "checkpoints", path / "checkpoints")
    return path


def sampled(folder):
    """Return {image number: pixels} of every stored sample; each is there once."""
    images = {}
    for path in sorted(folder.glob("eval_sampling*/*/samples_*.npz")):
        with np.load(path) as stored:
            assert stored["samples"].dtype == np.uint8
            for index, pixels in zip(stored["index"], stored["samples"]):
                assert index not in images
                images[int(index)] = pixels
    return images


METHODS = {
    "pc": ("--method", "pc", "--num_scales", "4"),
    "multistep": ("--method", "multistep", "--num_steps", "5", "--sigma_max", "10"),
    "heun": ("--method", "heun", "--num_steps", "4", "--sigma_max", "10"),
    "ode": ("--ode", "--rtol", "1e-2", "--atol", "1e-2"),
}


@pytest.mark.parametrize("method", METHODS)
def test_batches_and_divisions_make_the_same_images(method, trained, tmp_path):
    words = ("sample", *METHODS[method], "--num_samples", "11", "--device", "cpu")
    whole = work(trained, tmp_path / "whole")
    assert good(*words, "--workdir", whole, "--bs", "11")["num_samples"] == 11
    expected = sampled(whole)
    assert sorted(expected) == list(range(11))
    batches = work(trained, tmp_path / "batches")
    assert good(*words, "--workdir", batches, "--bs", "4")["files"] == 3
    divisions = work(trained, tmp_path / "divisions")
    made = [good(*words, "--workdir", divisions, "--bs", "3", "--num_divisions", "3", "--division_idx",
                 part)["num_samples"]
            for part in range(3)]
    assert sum(made) == 11
    for folder in (batches, divisions):
        found = sampled(folder)
        assert sorted(found) == list(range(11))
        off = np.abs(np.stack([found[index].astype(int) - expected[index] for index in range(11)]))
        if method == "ode":  # where an error norm is close to 1, rounding may choose another step
            assert np.mean(off > 2) < 0.02
        else:  # 255 x may lie within rounding of an integer
            assert off.max() <= 1
            assert np.mean(off > 0) < 0.02


def test_heun_s_calls_are_counted_and_recorded_and_a_dry_run_writes_nothing(trained, tmp_path):
    folder = work(trained, tmp_path / "W")
    words = ("sample", "--method", "heun", "--num_steps", "5", "--num_samples", "6", "--bs", "3", "--device", "cpu",
             "--workdir", folder)
    assert good(*words, "--dry_run") == {"num_samples": 6, "method": "heun"}
    assert not (folder / "eval_sampling").exists()
    results = good(*words)
    assert (results["nfe"], results["method"], results["files"]) == (9.0, "heun", 2)
    paths = sorted((folder / "eval_sampling" / "0").glob("samples_*.npz"))
    before = [path.read_bytes() for path in paths]
    assert np.load(paths[0])["nfe_per_image"].tolist() == [9, 9, 9]
    paths[1].unlink()  # as after a kill
    record = folder / "eval_sampling" / "0" / "run.json"
    record.write_text(record.read_text().replace('"status": "done"', '"status": "running"'))
    good(*words)
    assert [path.read_bytes() for path in paths] == before
    assert good(*words)["nfe"] == 9.0
    ended = call(*words, "--sigma_max", "20")
    assert (ended.status, "sigma_max" in ended.err) == (2, True)


def test_another_seed_makes_other_images_and_another_total_the_same(trained, tmp_path):
    words = ("sample", *METHODS["multistep"], "--device", "cpu", "--bs", "4")
    one = work(trained, tmp_path / "one")
    good(*words, "--num_samples", "4", "--workdir", one)
    more = work(trained, tmp_path / "more")
    good(*words, "--num_samples", "8", "--workdir", more)
    other = work(trained, tmp_path / "other")
    good(*words, "--num_samples", "4", "--workdir", other, "--seed", "1")
    assert all(np.array_equal(sampled(one)[index], sampled(more)[index]) for index in range(4))
    assert not any(np.array_equal(sampled(one)[index], sampled(other)[index]) for index in range(4))


def test_likelihoods_do_not_depend_on_the_batch(trained, tmp_path):
    words = ("eval", "nll", "--num_images", "5", "--device", "cpu", "--rtol", "1e-2", "--atol", "1e-3")
    values = []
    for size in (5, 3):
        folder = work(trained, tmp_path / str(size))
        good(*words, "--workdir", folder, "--bs", size)
        files = sorted((folder / "nll").glob("bpd_*.npz"))
        assert len(files) == -(-5 // size)
        values.append(np.concatenate([np.load(path)["bpd"] for path in files]))
    assert len(values[0]) == 5
    for other in values[1:]:
        np.testing.assert_allclose(other, values[0], atol=0.05)  # the solver's tolerance


def test_asymmetries_do_not_depend_on_the_batch(trained, tmp_path):
    curves = []
    for size in (3, 2):
        folder = work(trained, tmp_path / str(size))
        good("eval", "asym", "--num_images", "3", "--nl", "3", "--slices", "2", "--workdir", folder, "--bs", size,
             "--device", "cpu")
        with np.load(folder / "asym" / "repeat_0.npz") as stored:
            curves.append({name: stored[name] for name in ("asym", "nasym", "norm2")})
    for name, values in curves[0].items():
        np.testing.assert_allclose(curves[1][name], values, rtol=2e-3, atol=1e-5 * np.abs(values).max())


def test_the_configuration_decides_what_no_flag_says(trained, tmp_path):
    folder = work(trained, tmp_path / "W")
    words = ("eval", "asym", "--num_images", "3", "--workdir", folder, "--device", "cpu")
    assert good(*words, "--dry_run", "--nl", "4")  # accepted, nothing written
    assert good(*words, "--config.eval.noise_levels=3", "--config.eval.total_repeat=2")["levels"] == 3
    assert len(list((folder / "asym").glob("repeat_*.npz"))) == 2
    assert good(*words, "--config.eval.noise_levels=3", "--nl", "2", "--overwrite")["levels"] == 2
    good("eval", "nll", *words[2:], "--config.eval.batch_size=2", "--rtol", "0.5", "--atol", "0.5")
    assert len(list((folder / "nll").glob("bpd_*.npz"))) == 2


def test_repeats_draw_anew(trained, tmp_path):
    folder = work(trained, tmp_path / "W")
    good("eval", "asym", "--num_images", "3", "--nl", "2", "--total_repeat", "2", "--workdir", folder, "--device",
         "cpu")
    first, second = (np.load(folder / "asym" / f"repeat_{repeat}.npz")["asym"] for repeat in range(2))
    assert not np.array_equal(first, second)
    results = good("eval", "nll", "--num_images", "3", "--bs", "2", "--total_repeat", "2", "--workdir", folder,
                   "--rtol", "0.5", "--atol", "0.5", "--device", "cpu")
    files = [np.load(folder / "nll" / f"bpd_{number}.npz") for number in range(4)]
    assert [int(file["repeat"]) for file in files] == [0, 0, 1, 1]
    assert [list(file["index"]) for file in files] == [[0, 1], [2], [0, 1], [2]]
    assert not np.array_equal(files[0]["bpd"], files[2]["bpd"])
    assert results["nll"] == pytest.approx(np.concatenate([file["bpd"] for file in files]).mean(), rel=1e-6)


@pytest.mark.long
def test_the_exact_jacobian_confirms_the_estimates(trained, tmp_path):
    folder = work(trained, tmp_path / "W")
    words = ("eval", "asym", "--num_images", "12", "--nl", "3", "--workdir", folder, "--device", "cpu")
    exact = good(*words, "--exact")
    paper = good(*words, "--slices", "40")
    assert (folder / "asym_exact").is_dir()
    for whole, estimate, error in zip(exact["asym_by_level"], paper["asym_by_level"], paper["asym_se_by_level"]):
        assert abs(estimate - whole) < 4 * error + 0.05 * whole
    ours = good(*words, "--slices", "40", "--estimator", "antisymmetric", "--overwrite")
    assert ours["asym"] == pytest.approx(exact["asym"], rel=0.2)


def test_dequantise_is_the_uniform_dequantisation():
    images = torch.arange(256, dtype=torch.uint8).reshape(1, 1, 16, 16)
    for u in (0.0, 0.999):
        got = dequantise(images.float() / 255, torch.full(images.shape, u))
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, (images.float() + u) / 256, rtol=0, atol=1e-7)
        assert got.max() < 1
