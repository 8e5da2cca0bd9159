"""Other layers of Inception, and the spatial features of sFID, through the command."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from common.features.resize import normalise, resize_image
from common.features.sources import open_images
from common.networks.inception_weights import build_inception, load_inception_state
from tests.common.metrics.distances import frechet_distance_of_rows
from tests.common.metrics.pictures import write_folder
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.compute_fid.runs import SMALL


@pytest.fixture(scope="module")
def encoded(tmp_path_factory):
    """One cache for all tests here, which encode the same images."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def few(here, encoded, monkeypatch):
    """Four images a side."""
    monkeypatch.setenv("GENPROBE_CACHE", str(encoded))
    write_folder(here / "some", 4, first=40)
    write_folder(here / "others", 4, first=60)


@pytest.fixture(scope="module")
def plain(inception_weights):
    return build_inception(load_inception_state(inception_weights))


def maps(plain, place, until):
    """Return the plain network's maps (n, C, H, W) of a place's images behind the module named `until`."""
    images, found = open_images(place), []
    plain.get_submodule(until).register_forward_hook(lambda module, inputs, output: found.append(output))
    x = np.stack([resize_image(images.load(index), "legacy_tensorflow") for index in range(len(images))])
    with torch.inference_mode():
        plain(normalise(torch.from_numpy(x).permute(0, 3, 1, 2), "legacy_tensorflow"))
    return found[0]


def spatial(plain, place):
    """Return the spatial features as guided-diffusion's evaluator takes them: mixed_6/conv, NHWC, the first 7."""
    return maps(plain, place, "Mixed_6d.branch1x1").permute(0, 2, 3, 1)[..., :7].reshape(4, -1).numpy()


def run(*words, weights):
    return results_of("compute_fid", "clean", *words, "--mode", "legacy_tensorflow", "--weights", weights, "--device",
                      "cpu")


@pytest.mark.long
def test_sfid_is_the_distance_of_seven_channels_of_mixed_6(plain, inception_weights):
    """Against the plain network's maps and a matrix square root, from one pass that gives the FID as well."""
    results = run("some", "--reference", "others", "--metrics", "fid,sfid", weights=inception_weights)
    some, others = (spatial(plain, place).astype(np.float64) for place in ("some", "others"))
    assert some.shape == (4, 2023)
    covariances = [np.cov(rows, rowvar=False) for rows in (some, others)]
    gram = (some - some.mean(0)) @ (others - others.mean(0)).T / 3  # its singular values are the root's eigenvalues
    expected = np.sum((some.mean(0) - others.mean(0)) ** 2) + sum(map(np.trace, covariances))
    expected -= 2 * np.trace(sqrtm(gram @ gram.T)).real
    assert results["sfid"] == pytest.approx(expected, rel=1e-4)
    assert results["sfid_se"] > 0
    assert results["fid"] != pytest.approx(results["sfid"], rel=0.01)
    alone = run("some", "--reference", "others", "--metrics", "sfid", weights=inception_weights)
    assert alone["sfid"] == results["sfid"]


@pytest.mark.long
@pytest.mark.parametrize("names", [("sfid",), ("fid", "sfid")])
def test_sfid_against_the_statistics_of_guided_diffusion(here, plain, inception_weights, names):
    rows = spatial(plain, "others").astype(np.float64)
    stored = {"mu": np.zeros(2048), "sigma": np.eye(2048), "mu_s": rows.mean(0), "sigma_s": np.cov(rows, rowvar=False)}
    if "fid" in names:
        pools = maps(plain, "others", "Mixed_7c").mean((2, 3)).numpy().astype(np.float64)
        stored |= {"mu": pools.mean(0), "sigma": np.cov(pools, rowvar=False)}
    images = open_images("others")
    np.savez(here / "adm.npz", **stored, arr_0=np.stack([images.load(index) for index in range(2)]))
    words = ("--metrics", ",".join(names), "--nointerval")
    expected = run("some", "--reference", "others", *words, weights=inception_weights)
    results = run("some", "--reference", "adm.npz", *words, weights=inception_weights)
    for name in names:
        assert results[name] == pytest.approx(expected[name], rel=1e-4)
    assert not any("of the 2 images" in note for note in results["notes"])
    np.savez(here / "pools.npz", mu=stored["mu"], sigma=stored["sigma"])
    line = refusal_of("compute_fid", "clean", "some", "--reference", "pools.npz", "--metrics", "sfid", "--quiet",
                      "--weights", inception_weights, "--device", "cpu")
    assert "pools.npz: no mu_s and sigma_s in it" in line


@pytest.mark.long
def test_setup_fid_stores_what_sfid_needs(here, inception_weights):
    results_of("setup_fid", "--action", "compute_new", "--path", "others", "--name", "o", "-r", "0", "--sfid", "--mode",
               "legacy_tensorflow", "--weights", inception_weights, "--device", "cpu")
    words = ("--metrics", "sfid", "--nointerval")
    expected = run("some", "--reference", "others", *words, weights=inception_weights)
    results = run("some", "--dataset_name", "o", *words, weights=inception_weights)
    assert results["sfid"] == pytest.approx(expected["sfid"], rel=1e-6)


@pytest.mark.long
@pytest.mark.parametrize(("layer", "module"), [
    (64, "Conv2d_2b_3x3"), (768, "Mixed_6e"), (192, "Conv2d_4a_3x3")])
def test_another_layer_of_inception_is_no_fid(plain, inception_weights, layer, module):
    results = run("some", "--reference", "others", "--metrics", "fid,prdc", "--nearest_k", "2", "--layer", layer,
                  weights=inception_weights)
    rows = [maps(plain, place, module) for place in ("some", "others")]
    if layer < 768:
        rows = [torch.nn.functional.max_pool2d(x, 3, 2) for x in rows]
    some, others = (x.mean((2, 3)).numpy() for x in rows)
    assert some.shape == (4, layer)
    assert "fid" not in results
    assert results["features"] == f"inception-{layer}-legacy_tensorflow"
    assert results["frechet_distance"] == pytest.approx(frechet_distance_of_rows(some, others), rel=1e-3)


@pytest.mark.long
def test_statistics_of_a_layer_have_their_own_name(here, inception_weights):
    words = ("--weights", inception_weights, "--device", "cpu", "--layer", "64")
    ended = call_tool("setup_fid", "--action", "compute_new", "--path", "others", "--name", "o", "-r", "0", *words)
    assert ended.status == 0
    assert "--dataset_name o --layer 64" in ended.err
    assert (here / "fid_stats" / "o_clean_inception-64_custom_na.npz").exists()
    results = results_of("compute_fid", "clean", "some", "--dataset_name", "o", *words)
    assert results["frechet_distance"] > 0
    line = refusal_of("compute_fid", "clean", "some", "--reference", "fid_stats/o_clean_inception-64_custom_na.npz",
                      "--quiet", *words[:4])
    assert "2048" in line


@pytest.mark.parametrize(("words", "line"), [
    (("--metrics", "sfid", "--extractor", "small"), "--extractor small: sfid is of the extractor inception"),
    (("--layer", "768", "--extractor", "small"), "--layer: acts on images with the extractor inception"),
    (("--layer", "7"), "--layer"),
])
def test_a_layer_where_there_is_none_is_refused(here, words, line):
    assert line in refusal_of("compute_fid", "clean", "some", "--reference", "others", "--quiet", "--device", "cpu",
                              *words)


@pytest.mark.parametrize("option", ["--sfid", "--layer"])
def test_setup_fid_refuses_a_layer_of_another_extractor(here, option):
    words = (option,) if option == "--sfid" else (option, "64")
    line = refusal_of("setup_fid", "--action", "compute_new", "--path", "some", "--name", "x", *words, "--quiet",
                      *SMALL)
    assert f"{option}: acts on the extractor inception" in line
