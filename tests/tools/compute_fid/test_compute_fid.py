"""compute_fid: the numbers of common.metrics from every kind of input, told with what they can be compared."""

import json

import numpy as np
import pytest
import torch

from common.features.small_features import small_features
from common.features.sources import open_images
from common.metrics.kid import kid
from common.metrics.prdc import prdc
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder, write_odd_folder, write_zip
from tests.tools.commands import call_tool, refusal_of, results_of

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
SMALL = ("--extractor", "small", "--device", "cpu")


@pytest.fixture(autouse=True)
def here(own_folder):
    """Each test in a folder of its own, with 12 images in real/ and 10 others in fake/."""
    write_folder(own_folder / "real")
    write_folder(own_folder / "fake", 10, first=20)
    return own_folder


def score(*words):
    return results_of("compute_fid", "clean", *words, *SMALL)


def features(place):
    images = open_images(place)
    return np.concatenate([small_features(images.load(index)[None]) for index in range(len(images))])


def test_the_numbers_are_those_of_the_metrics(here):
    results = score("fake", "--reference", "real", "--metrics", "fid,kid", "prdc,mind")
    fake, real = features("fake"), features("real")
    assert results["frechet_distance"] == pytest.approx(frechet_distance_of_rows(fake, real), rel=1e-5)
    assert results["kid"] == pytest.approx(kid(fake, real)[0], rel=1e-4)
    expected = prdc(real, fake)
    assert {name: results[name] for name in expected} == expected
    assert "fid" not in results  # other features than Inception's are never called FID
    assert (results["num_generated"], results["num_reference"], results["features"]) == (10, 12, "small-features-v1")
    low, high = results["frechet_distance_interval"]
    assert low < results["frechet_distance"] < high


def test_statistics_of_setup_fid_are_a_reference(here):
    whole = score("fake", "--reference", "real", "--metrics", "fid,kid,prdc")
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "Real", "--kid", *SMALL)
    named = score("fake", "--dataset_name", "REAL", "--metrics", "fid,kid,prdc")
    for name in ("frechet_distance", "kid", "precision", "recall", "density", "coverage"):
        assert named[name] == pytest.approx(whole[name], rel=1e-6)


def test_kid_needs_features(here):
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "real", *SMALL)
    line = refusal_of("compute_fid", "clean", "fake", "--dataset_name", "real", "--metrics", "kid", "--quiet", *SMALL)
    assert "mean and covariance only, kid needs the features" in line
    assert "frechet_distance" in score("fake", "--dataset_name", "real")


def test_zip_array_and_order_do_not_matter(here):
    first = score("fake", "--reference", "real")["frechet_distance"]
    write_zip(here / "fake.zip", here / "fake")
    images = open_images("fake")
    np.savez(here / "fake.npz", images=np.stack([images.load(index) for index in reversed(range(10))]))
    for place in ("fake.zip", "fake.npz"):
        assert score(place, "--reference", "real")["frechet_distance"] == pytest.approx(first, rel=1e-9)


def test_a_second_metric_makes_no_features_anew(here, monkeypatch):
    score("fake", "--reference", "real")
    monkeypatch.setattr("common.features.spaces.SmallSpace.encode", lambda *words: pytest.fail("encoded again"))
    assert "kid" in score("fake", "--reference", "real", "--metrics", "fid,kid")
    (here / "fake").rename(here / "moved")
    assert "coverage" in score("moved", "--reference", "real", "--metrics", "prdc")


def test_stored_features_are_scored_without_a_network(here):
    fake, real = (np.random.default_rng(seed).standard_normal((80, 16)).astype(np.float32) for seed in (1, 2))
    logits = np.random.default_rng(3).standard_normal((80, 7)).astype(np.float32)
    np.savez(here / "fake_stat.npz", pool_3=fake, logit=logits)
    np.savez(here / "real_kid.npz", feats=real)
    np.savez(here / "real.npz", mu=real.mean(0), sigma=np.cov(real.astype(np.float64), rowvar=False))
    words = ("fake_stat.npz", "--reference", "real.npz", "--metrics", "fid,is,kid", "--splits", "1")
    results = results_of("compute_fid", "clean", *words)
    p = np.exp(logits.astype(np.float64))
    p /= p.sum(1, keepdims=True)
    assert results["inception_score"] == pytest.approx(np.exp((p * np.log(p / p.mean(0))).sum(1).mean()), rel=1e-9)
    assert results["frechet_distance"] == pytest.approx(frechet_distance_of_rows(fake, real), rel=1e-5)
    assert results["kid"] == pytest.approx(kid(fake, real)[0], rel=1e-6)
    assert any("unknown" in note for note in results["notes"])


class Pattern(torch.nn.Module):
    """z (n, 6) -> images (n, 3, 8, 8) in [-1, 1]; optionally NaN where z[0] is large."""

    def __init__(self, broken: bool):
        super().__init__()
        self.broken = broken
        self.weight = torch.nn.Parameter(torch.randn(6, 192, generator=torch.Generator().manual_seed(0)))

    def forward(self, z):
        images = torch.tanh(z @ self.weight).reshape(-1, 3, 8, 8)
        if self.broken:
            images = torch.where(z[:, :1, None, None] > 1.2, torch.full_like(images, float("nan")), images)
        return images


def test_a_generator_is_scored_by_its_images(here):
    torch.jit.script(Pattern(False)).save("pattern.pt")
    words = ("pattern.pt", "--reference", "real", "--num_gen", "30", "--z_dim", "6")
    results = score(*words)
    assert results["num_generated"] == 30
    assert results["rounded"] is True
    assert score(*words, "-bs", "7", "--overwrite")["frechet_distance"] == pytest.approx(results["frechet_distance"],
                                                                                         rel=1e-6)
    assert score(*words, "--seed", "1")["frechet_distance"] != results["frechet_distance"]
    # small rounds itself
    assert score(*words, "--noround")["frechet_distance"] == pytest.approx(results["frechet_distance"], rel=1e-9)


def test_images_that_are_not_finite_are_counted_and_left_out(here):
    torch.jit.script(Pattern(True)).save("pattern.pt")
    ended = call_tool("compute_fid", "clean", "pattern.pt", "--reference", "real", "--num_gen", "60", "--z_dim", "6",
                      *SMALL, "--json")
    assert ended.status == 0
    assert ended.results["excluded"] > 0
    assert ended.results["num_generated"] == 60 - ended.results["excluded"]
    assert "left out" in ended.err


def test_odd_images_are_named_and_the_rest_is_scored(here):
    readable, broken = write_odd_folder(here / "odd")
    ended = call_tool("compute_fid", "clean", "odd", "--reference", "real", *SMALL, "--json")
    assert (ended.results["num_generated"], ended.results["excluded"]) == (readable, broken)
    assert "broken.jpg" in ended.err


def test_with_an_output_folder_a_record_and_a_table(here):
    words = ("fake", "--reference", "real", "--metrics", "fid,prdc", "--output_dir", "scores")
    first = score(*words)
    table = (here / "scores" / "table.csv").read_text()
    assert "Frechet distance" in table
    record = json.loads((here / "scores" / "run.json").read_text())
    assert record["results"]["frechet_distance"] == first["frechet_distance"]
    assert score(*words) == first
    assert "has metrics" in refusal_of("compute_fid", "clean", "fake", "--reference", "real", "--output_dir", "scores",
                                       *SMALL)
    write_folder(here / "fake", 11, first=20)
    assert "content" in refusal_of("compute_fid", "clean", *words, *SMALL)


def test_without_an_output_folder_nothing_but_the_cache_is_written(here):
    before = {path for path in here.rglob("*") if path.is_file()}
    score("fake", "--reference", "real")
    added = {path for path in here.rglob("*") if path.is_file()} - before
    assert added
    assert all(".genprobe_cache" in path.parts for path in added)


def test_inception_modes_and_what_may_be_compared(here, inception_weights):
    """Fast against clean statistics is noted, other preprocessing refused; the FID is the distance of the features."""
    weights = ("--weights", inception_weights, "--device", "cpu")
    small = ("--num_gen", "3")
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "real", "--n_imgs", "4", "-r", "0",
               *weights)
    clean = results_of("compute_fid", "clean", "fake", *small, "--dataset_name", "real", *weights, "--metrics",
                       "fid,is", "--splits", "1")
    fast = results_of("compute_fid", "fast", "fake", *small, "--dataset_name", "real", *weights)
    assert clean["fid"] != fast["fid"]
    assert clean["features"] == "inception-clean"
    assert any("other fast scores" in note for note in fast["notes"])
    assert any("singular" in note for note in clean["notes"])
    line = refusal_of("compute_fid", "clean", "fake", *small, "--mode", "legacy_pytorch", "--quiet", *weights,
                      "--reference", "fid_stats/real_clean_custom_na.npz")
    assert "resize" in line


WORDS = ("clean", "fake", "--reference", "real", *SMALL)


@pytest.mark.parametrize(("words", "line"), [
    (("clean",), "CHECKPOINT: missing required flag"),
    (("clean", "fake"), "--dataset_name: no reference"),
    ((*WORDS, "--metrics", "fud"), "--metrics: unknown metric 'fud'. Did you mean fid?"),
    ((*WORDS, "--metrics", ","), "--metrics: no metric"),
    ((*WORDS, "--dataset_name", "x"), "--reference: mutually exclusive with --dataset_name"),
    ((*WORDS, "--num_gen", "1"), "--num_gen 1: must be at least 2"),
    ((*WORDS, "--metrics", "prdc", "--nearest_k", "0"), "--nearest_k 0"),
    ((*WORDS, "--metrics", "prdc", "--nearest_k", "11"), "--nearest_k"),
    ((*WORDS, "--metrics", "is"), "no logits"),
    (("clean", "nowhere", "--reference", "real", *SMALL), "nowhere: no such folder, file or data set"),
    (("clean", "fake", "--dataset_name", "typo", *SMALL), "no statistics 'typo'"),
    (("clean", "fake", "--reference", "real", "--weights", "no.pth"), "no Inception weights here"),
    (("clean", "fake", "--reference", "real", "--extractor", "dinov2"), "DINOv2 needs its network"),
    (("quick", "fake"), "unknown subcommand"),
])
def test_bad_input_is_one_line(here, words, line):
    ended = call_tool("compute_fid", *words, "--quiet")
    assert (ended.status, ended.out) == (2, "")
    assert ended.err.count("\n") == 1
    assert line in ended.err


def test_statistics_of_another_network_are_refused(here):
    np.savez(here / "other.npz", mu=np.zeros(4), sigma=np.eye(4))
    assert "128" in refusal_of("compute_fid", "clean", "fake", "--reference", "other.npz", "--quiet", *SMALL)
    (here / "not.npz").write_bytes(b"PK\x03\x04 broken")
    assert "not.npz" in refusal_of("compute_fid", "clean", "fake", "--reference", "not.npz", "--quiet", *SMALL)
    (here / "not.pt").write_bytes(b"broken")
    assert "not.pt" in refusal_of("compute_fid", "clean", "not.pt", "--reference", "real", "--quiet", *SMALL)


def test_a_score_model_is_a_generator(here):
    """Its images are those that qc_ncsn draws."""
    from tests.tools.qc_ncsn.runs import TINY, good

    good("train", *TINY, "--n_iters", "2", "--config.training.snapshot_freq=2", "--workdir", here / "run")
    checkpoint = next((here / "run" / "checkpoints").glob("*.pth"))
    words = ("--reference", "digits", "--metrics", "fid")
    model = score(checkpoint, *words, "--num_gen", "6", "--num_steps", "3", "--seed", "4")
    good("sample", "--workdir", here / "run", "--checkpoint", checkpoint, "--num_samples", "6", "--method", "multistep",
         "--num_steps", "3", "--seed", "4", "--device", "cpu")
    folder = score(here / "run" / "eval_sampling", *words)
    # The tool's files are cut to bytes as the original's, generated images are rounded: half a grey level apart.
    assert model["frechet_distance"] == pytest.approx(folder["frechet_distance"], rel=0.02)
    assert "config" in refusal_of("compute_fid", "clean", checkpoint, *words, "--config", "u_digit", "--quiet", *SMALL)


class Dino(torch.nn.Module):
    """Something that answers as a DINOv2 does: (n, 3, 224, 224) -> (n, 12)."""

    def forward(self, x):
        return torch.nn.functional.adaptive_avg_pool2d(x, 2).flatten(1)


def test_dinov2_features_of_the_users_network(here):
    torch.jit.script(Dino()).save("dino.pt")
    words = ("fake", "--reference", "real", "--extractor", "dinov2", "--weights", "dino.pt", "--device", "cpu",
             "--metrics", "fid,kid")
    results = results_of("compute_fid", "clean", *words)
    assert results["frechet_distance"] > 0
    assert results["features"] == "dinov2"
    torch.jit.script(torch.nn.Identity()).save("identity.pt")
    assert "expected one row per image" in refusal_of("compute_fid", "clean", *words[:6], "identity.pt", "--quiet")


def test_edm_and_edm2_statistics_are_references(here):
    from pathlib import Path

    case = Path(__file__).parents[2] / "golden" / "metrics" / "edm_stats"
    with np.load(case / "case.npz") as arrays:
        np.savez(here / "stored.npz", feats=arrays["feats"])
    for reference in (case / "edm.npz", case / "edm2.pkl"):
        results = results_of("compute_fid", "clean", "stored.npz", "--reference", reference)
        assert results["frechet_distance"] == pytest.approx(0, abs=1e-9)
