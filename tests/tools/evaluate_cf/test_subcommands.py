"""evaluate_cf encoder, inversion and compare."""

import json

import numpy as np
import pytest
import torch

from common.networks.blobgan.encoder_files import EncoderConfig, write_encoder
from common.networks.blobgan.layout import select
from tests.tools.commands import refusal_of, results_of
from tests.tools.evaluate_cf.made import NAMES, change, make, write_batch
from tests.tools.evaluate_cf.test_measures import pairs_of


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two batches without a record."""
    return make(tmp_path_factory.mktemp("subcommands"))


def flags(made):
    """Return the flags that both measures of reconstructions share."""
    return ["--blobgan_weights", made.files["gan"], "--decision_model_weights", made.files["model"], "--dataset_path",
            made.files["images"], "--perceptual", made.files["model"], "--extractor", "small"]


def check(results, made, pictures):
    """Compare the results with numbers of the pictures themselves."""
    real = made.targets
    with torch.no_grad():
        then, now = (made.model(part) > 0.5 for part in (real, pictures))
    assert results["quality_images"] == results["fid_images"] == 5
    assert results["l1"] == pytest.approx(float((pictures - real).abs().mean()), abs=1e-5)
    assert results["l2"] == pytest.approx(float((pictures - real).square().mean()), abs=1e-5)
    for place, name in enumerate(NAMES):
        assert results[f"agreement_{name}"] == pytest.approx(float((then == now)[:, place].float().mean()))
    assert results["all_decisions_kept"] == pytest.approx(float((then == now).all(dim=1).float().mean()))
    assert results["frechet"] > 0


def test_inversion_gives_the_numbers_of_fid_inv_and_appends_them_once(made):
    words = ["inversion", "--inv_path", made.folder / "all_inversions.pt", *flags(made), "-bs", 2]
    results = results_of("evaluate_cf", *words)
    with torch.no_grad():
        check(results, made, made.pictures)
    text = (made.folder / "all_inversions.txt").read_text()
    assert f"agreement_{NAMES[0]}: {results[f'agreement_{NAMES[0]}']}" in text.splitlines()
    results_of("evaluate_cf", *words)
    assert (made.folder / "all_inversions.txt").read_text() == text
    rows = json.loads((made.folder / "all_inversions_evaluation" / "images_results.json").read_text())
    assert sorted(rows) == made.names


def test_encoder_gives_the_numbers_of_compute_encoder_quality(made, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = EncoderConfig(16, 2, 12, channels=(8, 8, 8))
        network = config.build().eval()
    write_encoder(tmp_path / "encoder.pt", config, network.state_dict(), None, None, 1)
    results = results_of("evaluate_cf", "encoder", "--encoder_weights", tmp_path / "encoder.pt", *flags(made),
                         "--output_dir", tmp_path / "out")
    with torch.no_grad():
        check(results, made, made.gan.render(made.gan.layout_net.decode(network(made.targets))))


def test_inversion_refuses_images_that_are_not_there_and_blobs_of_another_network(made, tmp_path):
    words = ["inversion", "--inv_path", made.folder / "all_inversions.pt", *flags(made)]
    empty = tmp_path / "images"
    empty.mkdir()
    (empty / "x.png").write_bytes((made.files["images"] / "00.png").read_bytes())
    words[words.index("--dataset_path") + 1] = empty
    assert "'00.png' is not in it" in refusal_of("evaluate_cf", *words, "--output_dir", tmp_path / "out")


def test_T35_inversions_that_are_not_finite_are_named(made, tmp_path):
    value = torch.load(made.folder / "all_inversions.pt", weights_only=True)
    value["02.png"]["covs"][0, 1] = torch.nan
    torch.save(value, tmp_path / "all_inversions.pt")
    said = refusal_of("evaluate_cf", "inversion", "--inv_path", tmp_path / "all_inversions.pt", *flags(made))
    assert "'covs' of 02.png holds NaN or infinite values" in said


def test_compare_lays_the_same_pairs_side_by_side(made, tmp_path):
    results_of("evaluate_cf", *made.words("--output_dir", tmp_path / "a"))
    other = make(tmp_path / "other")
    other.changed = {attribute: change(other.layouts, 10 + attribute, 0.6) for attribute in range(2)}
    other.layouts = select(other.layouts, slice(0, 4))
    other.names = other.names[:4]
    (other.folder / "metadata_1.pt").unlink()
    write_batch(other, 0, slice(0, 4))
    (other.files["images"] / "04.png").unlink()
    results_of("evaluate_cf", *other.words("--output_dir", tmp_path / "b"))
    results = results_of("evaluate_cf", "compare", tmp_path / "a", tmp_path / "b", "--output_dir", tmp_path / "out")
    one, two = pairs_of(tmp_path / "a"), pairs_of(tmp_path / "b")
    assert (results["pairs"], results["only_a"], results["only_b"]) == (8, 2, 0)
    entry = results["attributes"]["all"]["success"]
    first, second = ([int(each[key]["flip"]) for key in two] for each in (one, two))
    assert (entry["a"], entry["b"], entry["pairs"]) == (np.mean(first), np.mean(second), 8)
    assert entry["low"] <= entry["difference"] <= entry["high"]
    both = [key for key in two if one[key]["flip"] == two[key]["flip"] == "1"]
    distance = results["attributes"]["all"]["l1"]
    expected = np.mean([float(two[key]["l1"]) - float(one[key]["l1"]) for key in both])
    assert distance["difference"] == pytest.approx(expected)
    assert distance["pairs"] == len(both)


def test_compare_refuses_a_folder_that_is_not_evaluated(made, tmp_path):
    assert "it is not evaluated" in refusal_of("evaluate_cf", "compare", made.folder.parent, made.folder.parent)
