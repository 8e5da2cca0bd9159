"""compute_fid: the numbers of common.metrics from every kind of input, told with what they can be compared."""

import json
import re

import numpy as np
import pytest
import torch
from PIL import Image

from common.features.small_features import small_features
from common.features.sources import open_images
from common.generators import open_generator
from common.metrics.kid import kid
from common.metrics.prdc import prdc
from common.metrics.vendi import vendi_score
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder, write_odd_folder, write_zip
from tests.common.networks.stylegan2_makers import checkpoint, small_generator
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.compute_fid.runs import SMALL, features, score

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


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


def test_the_vendi_score_needs_no_reference(here):
    expected = vendi_score(features("fake"))
    assert score("fake", "--metrics", "vendi")["vendi"] == pytest.approx(expected, rel=1e-6)
    assert score("fake", "--metrics", "fid,vendi", "--reference", "real")["vendi"] == pytest.approx(expected, rel=1e-6)
    np.savez(here / "moments.npz", mu=np.zeros(128), sigma=np.eye(128))
    line = refusal_of("compute_fid", "clean", "moments.npz", "--metrics", "vendi", "--quiet")
    assert "only mean and covariance, vendi needs features" in line
    assert "frechet_distance" in score("fake", "--reference", "moments.npz", "--metrics", "fid,vendi")


def test_statistics_of_setup_fid_are_a_reference(here):
    whole = score("fake", "--reference", "real", "--metrics", "fid,kid,prdc")
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "Real", "--kid", *SMALL)
    named = score("fake", "--dataset_name", "REAL", "--metrics", "fid,kid,prdc")
    for name in ("frechet_distance", "kid", "precision", "recall", "density", "coverage"):
        assert named[name] == pytest.approx(whole[name], rel=1e-6)


def test_kid_needs_features(here):
    results_of("setup_fid", "--action", "compute_new", "--path", "real", "--name", "real", *SMALL)
    line = refusal_of("compute_fid", "clean", "fake", "--dataset_name", "real", "--metrics", "kid", "--quiet", *SMALL)
    assert "only mean and covariance, kid needs features" in line
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
    line = refusal_of("compute_fid", "clean", *words, "--noround", "--quiet", *SMALL)  # small rounds itself
    assert "--noround: acts on generated images with the extractor inception" in line


def test_images_that_are_not_finite_are_counted_and_left_out(here):
    torch.jit.script(Pattern(True)).save("pattern.pt")
    ended = call_tool("compute_fid", "clean", "pattern.pt", "--reference", "real", "--num_gen", "60", "--z_dim", "6",
                      *SMALL, "--json")
    assert ended.status == 0
    assert ended.results["excluded"] > 0
    assert ended.results["num_generated"] == 60 - ended.results["excluded"]
    assert "skipped" in ended.err


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


@pytest.mark.long
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
    ((*WORDS, "--metrics", "fid,is"), "no logits"),
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


STORED = "fid_stats/x_clean_small-features-v1_custom_na"


def test_M1_features_of_other_images_beside_statistics_are_not_used(here):
    """setup_fid clears its companion file; one that came otherwise is refused by name."""
    words = ("--action", "compute_new", "--name", "x", *SMALL)
    results_of("setup_fid", *words, "--path", "fake", "--kid")
    stale = (here / f"{STORED}_kid.npz").read_bytes()
    results_of("setup_fid", *words, "--path", "real", "--overwrite")
    named = ("fake", "--dataset_name", "x", "--metrics")
    assert score(*named, "fid")["frechet_distance"] == pytest.approx(
        score("fake", "--reference", "real")["frechet_distance"], rel=1e-6)
    assert "kid needs features" in refusal_of("compute_fid", "clean", *named, "kid", "--quiet", *SMALL)
    (here / f"{STORED}_kid.npz").write_bytes(stale)
    for metric in ("fid", "kid"):
        line = refusal_of("compute_fid", "clean", *named, metric, "--quiet", *SMALL)
        assert f"{STORED}_kid.npz: these are not the features of the images of {STORED}.npz" in line
    write_folder(here / "other", 12, first=60)  # as many images, too
    results_of("setup_fid", *words[:2], "--name", "y", *SMALL, "--path", "other", "--kid")
    (here / f"{STORED}_kid.npz").write_bytes((here / f"{STORED.replace('x_', 'y_')}_kid.npz").read_bytes())
    assert "not the features" in refusal_of("compute_fid", "clean", *named, "fid", "--quiet", *SMALL)


def test_M3_the_inception_score_is_of_logits_without_bias(here, inception_weights):
    """As torch-fidelity's: of the images, through the command."""
    from common.features.resize import normalise, resize_image
    from common.networks.inception import InceptionFeatures
    from common.networks.inception_weights import build_inception
    from tests.common.metrics.distances import inception_score_of

    write_folder(here / "five", 5, first=40)
    state = torch.load(inception_weights, weights_only=True)
    state["fc.bias"][:9] += 5
    torch.save(state, here / "biased.pth")
    words = ("clean", "five", "--metrics", "is", "--splits", "1", "--weights", "biased.pth", "--device", "cpu")
    score = results_of("compute_fid", *words)["inception_score"]
    network = InceptionFeatures(build_inception(state))
    images = open_images("five")
    x = [normalise(resize_image(images.load(index), "clean"), "clean") for index in range(5)]
    pooled = network.features(torch.from_numpy(np.stack(x)).permute(0, 3, 1, 2))
    expected, other = (inception_score_of(network.logits(pooled, bias=bias).numpy())[0] for bias in (False, True))
    assert score - 1 == pytest.approx(expected - 1, rel=0.01)
    assert other - 1 != pytest.approx(expected - 1, rel=0.1)


def test_M4_images_are_prepared_as_the_stored_reference_was(here):
    """Without -r, in the same way; another -r is a note that names both."""
    setup = ("--action", "compute_new", "--path", "real", *SMALL, "-r", "10", "12")
    results_of("setup_fid", *setup, "--name", "x", "--noantialias")
    results = score("real", "--dataset_name", "x")
    assert results["frechet_distance"] == pytest.approx(0, abs=1e-9)
    assert (results["resolution"], results["notes"]) == ([10, 12], [])
    results_of("setup_fid", *setup, "--name", "y")
    assert score("real", "--dataset_name", "y")["frechet_distance"] == pytest.approx(0, abs=1e-9)
    for words, size in ((("-r", "0"), "as they are"), (("-r", "8"), "8 x 8")):
        results = score("real", "--dataset_name", "x", *words)
        (note,) = results["notes"]
        assert f"real (12 images) {size}" in note
        assert f"{STORED}.npz 10 x 12, antialias off" in note
        assert results["frechet_distance"] > 1e-3
    stored = score(f"{STORED}.npz", "--reference", "real")  # whichever side is stored
    assert stored["frechet_distance"] == pytest.approx(0, abs=1e-9)
    (note,) = score(f"{STORED}.npz", "--dataset_name", "y")["notes"]
    assert "not prepared alike" in note


def test_M4_generated_images_of_another_size_than_the_reference_are_a_note(here):
    torch.jit.script(Pattern(False)).save("pattern.pt")
    results_of("setup_fid", "--action", "compute_new", "--path", "real", *SMALL, "-r", "12", "--name", "x")
    results_of("setup_fid", "--action", "compute_new", "--path", "real", *SMALL, "-r", "8", "--name", "same")
    words = ("pattern.pt", "--num_gen", "12", "--z_dim", "6", "--dataset_name")
    (note,) = score(*words, "x")["notes"]
    assert f"{STORED}.npz 12 x 12" in note
    assert "pattern.pt (torchscript, 12 images, seed 0) 8 x 8" in note
    assert score(*words, "same")["notes"] == []
    assert score(*words[:-1], "--reference", "real")["notes"] == []


def test_images_are_squashed_where_the_stored_reference_was(here):
    """Without --fit as the stored side; another one is a note that names both, like another size."""
    setup = ("--action", "compute_new", "--path", "real", *SMALL, "-r", "8", "16")
    for fit in ("squash", "cover"):
        results_of("setup_fid", *setup, "--name", fit, "--fit", fit)
    results = score("real", "--dataset_name", "squash")
    assert results["frechet_distance"] == pytest.approx(0, abs=1e-9)
    assert (results["resolution"], results["notes"]) == ([8, 16], [])
    results = score("real", "--dataset_name", "squash", "--fit", "cover")
    assert results["frechet_distance"] > 1e-3
    (note,) = results["notes"]
    assert "squash_clean_small-features-v1_custom_na.npz 8 x 16 squashed, Lanczos" in note
    assert score("real", "--dataset_name", "cover", "-r", "8", "16", "--fit", "squash")["frechet_distance"] > 1e-3
    assert "--fit: acts on the resize" in refusal_of("compute_fid", "clean", "real", "--reference", "fake", "--fit",
                                                     "squash", *SMALL)


def test_M4_a_stored_resolution_that_is_none_is_refused(here):
    np.savez(here / "odd.npz", mu=np.zeros(128), sigma=np.eye(128), meta=np.array('{"resolution": ["a", 3, 1e9]}'))
    line = refusal_of("compute_fid", "clean", "fake", "--reference", "odd.npz", "--quiet", *SMALL)
    assert "odd.npz: resolution" in line


def test_M5_a_generators_default_number_acts_on_no_other_input(here, monkeypatch):
    monkeypatch.setattr("tools.compute_fid.sides.NUM_GEN", 5)
    np.savez(here / "fake.npz", images=np.stack([open_images("fake").load(index) for index in range(10)]))
    for place in ("fake", "fake.npz"):
        results = score(place, "--reference", "real")
        assert (results["num_generated"], results["notes"]) == (10, [])
        results = score(place, "--reference", "real", "--num_gen", "6")
        assert results["num_generated"] == 6
        assert "the first ones in path order, as many as --num_gen" in results["notes"][0]
        (note,) = score(place, "--reference", "real", "--num_gen", "60")["notes"]
        assert "fewer than --num_gen 60" in note
    torch.jit.script(Pattern(False)).save("pattern.pt")
    assert score("pattern.pt", "--reference", "real", "--z_dim", "6")["num_generated"] == 5


@pytest.mark.parametrize("words", [
    ("fake", "--z_dim", "6"), ("fake", "--output_range", "unit"), ("fake", "--config", "u_digits"),
    ("fake", "--truncation", "0.5"),
    ("fake", "--noround"), ("fake", "--method", "ode"), ("fake", "--num_steps", "3"), ("fake", "--nearest_k", "5"),
    ("fake", "--splits", "1"),
    ("fake", "--kid_subsets", "3"), ("fake", "--kid_subset_size", "3"), ("fake", "--split", "test"),
    ("fake", "--reference_split", "test"), ("stored.npz", "--num_gen", "5"), ("fake", "--seed", "3"),
    ("fake", "--weights", "no.pth"), ("fake", "--mode", "legacy_pytorch"), ("fake", "--num_classes", "3"),
    ("fake", "--nointerval", "--metrics", "prdc"),
])
def test_M14_an_option_that_acts_on_nothing_is_refused(here, words):
    """So that it blocks no resume, and is not thought to act."""
    np.savez(here / "stored.npz", feats=features("fake"))
    line = refusal_of("compute_fid", "clean", *words, "--reference", "real", "--quiet", *SMALL)
    assert f"{words[1]}: acts on" in line


def test_M14_a_resolution_needs_image_files(here):
    np.savez(here / "stored.npz", feats=features("fake"))
    words = ("clean", "stored.npz", "--reference", "stored.npz", "-r", "8", "--quiet", *SMALL)
    assert "--resolution: acts on image files" in refusal_of("compute_fid", *words)


def test_M16_train_and_test_of_one_data_set_are_compared(here):
    results = score("digits", "--reference", "digits", "--reference_split", "test", "--num_gen", "400")
    assert (results["num_generated"], results["num_reference"]) == (400, 297)
    assert results["frechet_distance"] > 0


class Unit(torch.nn.Module):
    """z (n, 6) -> images (n, 3, 8, 8) in 0..1, which a module in -1..1 never gives."""

    def forward(self, z):
        return torch.sigmoid(z).mean(1)[:, None, None, None].expand(-1, 3, 8, 8)


def test_M7_the_range_of_a_generator_is_told_and_an_unlikely_one_refused(here):
    torch.jit.script(Unit()).save("unit.pt")
    words = ("unit.pt", "--reference", "real", "--num_gen", "8", "--z_dim", "6")
    line = refusal_of("compute_fid", "clean", *words, "--quiet", *SMALL)
    assert "its values run from" in line
    assert "--output_range signed or unit or bytes" in line
    assert score(*words, "--output_range", "unit")["output_range"] == "unit"
    assert score(*words, "--output_range", "signed")["output_range"] == "signed"  # the user knows
    torch.jit.script(Pattern(False)).save("pattern.pt")
    assert score("pattern.pt", *words[1:])["output_range"] == "signed"
    assert score("fake", "--reference", "real")["output_range"] is None


@pytest.mark.parametrize(("change", "told"), [(lambda x: x / 255, "to 1"), (lambda x: x / 127.5 - 1, "from -1"),
                                              (lambda x: x * 257, "to 6")])
def test_M7_floats_that_are_no_grey_levels_are_left_out_by_name(here, change, told):
    images = [open_images("fake").load(index).astype(np.float32) for index in range(6)]
    for folder, count in (("all", 6), ("some", 3)):
        (here / folder).mkdir()
        for number, image in enumerate(images):
            image = image - image.min() + 255 * (image == image.max()) if number < count else image
            np.save(here / folder / f"{number}.npy", change(image.clip(0, 255)) if number < count else image)
    line = refusal_of("compute_fid", "clean", "all", "--reference", "real", "--quiet", *SMALL)
    assert "0 of 6 images" in line
    assert told in line
    results = score("some", "--reference", "real")
    assert (results["num_generated"], results["excluded"]) == (3, 3)


@pytest.mark.parametrize(("tool", "words", "flag"), [
    ("compute_fid", ("clean", "", "--reference", "real"), "CHECKPOINT"),
    ("compute_fid", ("clean", "fake", "--reference", ""), "--reference"),
    ("compute_fid", ("clean", "fake", "--reference", "real", "--output_dir", ""), "--output_dir"),
    ("setup_fid", ("--action", "compute_new", "--path", "real", "--name", "x", "--stats_dir", ""), "--stats_dir"),
    ("extract_subimages", ("--input_folder", "", "--save_folder", "out"), "--input_folder"),
    ("train_edm", ("--data", ""), "--data"),
    ("process_embeddings", ("--models", ""), "--models"),
])
def test_M6_an_empty_path_is_not_the_current_folder(here, tool, words, flag):
    before = sorted(here.rglob("*"))
    assert f"error: {flag}: is empty" in refusal_of(tool, *words, "--quiet")
    assert sorted(here.rglob("*")) == before


def test_M11_features_and_images_in_the_forms_of_others(here):
    """Features as .npy, images with one-hot labels, and EDM2's other entry."""
    import pickle

    rows = features("fake")
    np.save(here / "rows.npy", rows)
    assert score("rows.npy", "--reference", "real")["frechet_distance"] == pytest.approx(
        score("fake", "--reference", "real")["frechet_distance"], rel=1e-6)
    images = np.stack([open_images("fake").load(index) for index in range(10)])
    np.savez(here / "labelled.npz", images=images, labels=np.eye(10, dtype=np.float32)[::-1])
    assert score("labelled.npz", "--reference", "fake")["frechet_distance"] == pytest.approx(0, abs=1e-9)
    few = rows[:, :12].astype(np.float64)
    moments = {"mu": few.mean(0), "sigma": np.cov(few, rowvar=False)}
    (here / "edm2.pkl").write_bytes(pickle.dumps({"num_images": 10, "fd_dinov2": moments,
                                                  "fid": {"mu": np.zeros(4), "sigma": np.eye(4)}}))
    np.savez(here / "few.npz", feats=few.astype(np.float32))
    words = ("clean", "few.npz", "--reference", "edm2.pkl", "--extractor", "dinov2", "--device", "cpu")
    assert results_of("compute_fid", *words)["frechet_distance"] == pytest.approx(0, abs=1e-6)


class Rows(torch.nn.Module):
    """z to an image, with an error that is not a RuntimeError."""

    def forward(self, z):
        return z.flatten(1)[:, torch.tensor([10**7])]


def test_M13_a_module_of_another_kind_is_no_internal_error(here):
    torch.jit.script(Rows()).save("rows.pt")
    torch.jit.script(Pattern(False)).save("pattern.pt")
    for name in ("rows.pt", "pattern.pt"):
        words = ("clean", "fake", "--reference", "real", "--device", "cpu", "--quiet")
        line = refusal_of("compute_fid", *words, "--extractor", "dinov2", "--weights", name)
        assert "--weights: the network fails" in line
    assert "--seed -1" in refusal_of("compute_fid", *words, "--extractor", "small", "--metrics", "kid", "--seed", "-1")


def test_M14_one_place_spelled_in_two_ways_is_one_input(here):
    words = ("--output_dir", "scores")
    first = score("fake", "--reference", "real", *words)
    assert score("./fake/", "--reference", here / "real", *words) == first
    Image.fromarray(open_images("real").load(0)).save(here / "fake" / "020.png")
    line = refusal_of("compute_fid", "clean", "fake", "--reference", "real", *words, *SMALL)
    assert re.search(r"has generated content \w{8}\.\.\., this command has \w{8}\. ", line)


def test_M15_M16_equal_runs_tell_the_same_of_images_that_are_left_out(here):
    write_odd_folder(here / "odd")
    results, kept = [], []
    for cache in ("one", "two"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("GENPROBE_CACHE", str(here / cache))
            results.append(score("fake", "--reference", "odd"))
        kept += [path.read_bytes() for path in (here / cache).rglob("set.json") if b"odd" in path.read_bytes()]
    assert results[0] == results[1]
    assert results[0]["excluded_reference"] == 2
    assert kept[0] == kept[1]
    assert b" at 0x" not in kept[0]


def test_names_that_mean_something_else_are_answered(here):
    words = ("clean", "fake", *SMALL, "--quiet")
    assert "Did you mean prdc?" in refusal_of("compute_fid", *words, "--reference", "real", "--metrics", "precision")
    np.savez(here / "stats.npz", mu=np.zeros(128), sigma=np.eye(128))
    assert "Pass it as --reference" in refusal_of("compute_fid", *words, "--dataset_name", "./stats.npz")


def test_kid_of_all_pairs_or_of_the_subsets_alone(here):
    words = ("fake", "--reference", "real", "--metrics", "kid", "--kid_subsets", "5", "--kid_subset_size", "6")
    every = score(*words, "--kid_pairs", "all")
    assert every["kid_pairs"] == "all"
    subsets = score(*words, "--kid_pairs", "subsets")
    assert (subsets["kid_pairs"], subsets["kid"]) == ("subsets", subsets["kid_subsets"])
    assert subsets["kid"] == pytest.approx(every["kid_subsets"], rel=1e-6)
    assert "kid_se" not in subsets
    assert score(*words, "--kid_order", "torch_fidelity")["kid_subsets"] != every["kid_subsets"]
    assert score(*words, "--kid_kernel", "rbf", "--kid_sigma", "2")["kid"] != every["kid"]
    assert "--kid_sigma: acts on" in refusal_of("compute_fid", "clean", *words, "--kid_sigma", "2", "--quiet", *SMALL)


def test_a_stylegan2_checkpoint_is_scored(here):
    """The score is that of its pictures, and truncation changes it."""
    network = small_generator((8, 6))
    checkpoint(here / "g.pt", network, latent_avg=torch.zeros(6))
    words = ("g.pt", "--reference", "real", "--num_gen", "9", "--seed", "4")
    results = score(*words)
    pictures = open_generator(here / "g.pt").generate(range(9), 4).round().to(torch.uint8)
    rows = small_features(pictures.permute(0, 2, 3, 1).numpy())
    expected = frechet_distance_of_rows(rows, features("real"))
    assert results["frechet_distance"] == pytest.approx(expected, rel=1e-4)
    assert results["num_generated"] == 9
    flat = score(*words, "--truncation", "0.2")["frechet_distance"]
    assert flat != pytest.approx(expected, rel=1e-3)
    assert score(*words, "--truncation", "1")["frechet_distance"] == results["frechet_distance"]


def test_more_generated_images_are_only_those_beyond_the_first(here, monkeypatch):
    from common.generators.latent import LatentGenerator

    made, generate = [], LatentGenerator.generate

    def counted(generator, indices, seed):
        made.extend(indices)
        return generate(generator, indices, seed)

    monkeypatch.setattr(LatentGenerator, "generate", counted)
    torch.jit.script(Pattern(False)).save("pattern.pt")
    words = ("pattern.pt", "--reference", "real", "--z_dim", "6", "--num_gen")
    score(*words, "20")
    assert made == list(range(20))
    more = score(*words, "30")
    assert made[20:] == list(range(20, 30))
    again = score(*words, "30", "--overwrite")
    assert again["frechet_distance"] == pytest.approx(more["frechet_distance"], rel=1e-6)


def test_the_cache_is_listed_and_pruned(here):
    score("fake", "--reference", "real")
    results = results_of("setup_fid", "cache")
    assert {entry["what"] for entry in results["sets"]} == {"fake (10 images)", "real (12 images)"}
    assert results_of("setup_fid", "cache", "--cache_gb", "0", "--dry_run")["removed"] == 0
    size = sum(entry["mb"] for entry in results["sets"]) * 1e3
    removed = re.search(r"removed 2 sets, ([\d.]+) kB", call_tool("setup_fid", "cache", "--cache_gb", "0").err)
    assert float(removed[1]) == pytest.approx(size, abs=1.5)  # each set is listed to a kB
    assert results_of("setup_fid", "cache")["sets"] == []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENPROBE_CACHE_GB", "much")
        assert "GENPROBE_CACHE_GB=much" in refusal_of("compute_fid", "clean", "fake", "--reference", "real", *SMALL)
