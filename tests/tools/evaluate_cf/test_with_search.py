"""evaluate_cf on folders that blobex_inv_cf wrote: the same numbers, and the snapshot's pictures."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from common.blobs.metadata import read_metadata
from common.formats.tables import read_records
from common.images.grids import save_grid
from common.images.pixels import to_uint8
from common.networks.blobgan.layout import select
from tests.tools.commands import call_tool, results_of
from tests.tools.evaluate_cf.made import make, save_decision
from tests.tools.evaluate_cf.test_measures import pairs_of
from tools.evaluate_cf.folder import Goals

SAME = {"l1": 1e-5, "score": 1e-4, "start_score": 1e-4, "score_on_real": 1e-4, "blobs_changed": 0}


def search(made, out, *words):
    """Search counterfactuals of the images' own inversions with blobex_inv_cf."""
    ended = call_tool("blobex_inv_cf", "--blobgan_weights", made.files["gan"], "--decision_model_weights",
                      made.files["model"], "--dataset_path", made.files["images"], "--load_inversion",
                      "--inversions_path", made.folder / "all_inversions.pt", "--output_dir", out, "--bs", 3,
                      "--n_iters_cf", 12, "--learning_rate_cf", 0.2, "--preset", "streets", "--quiet", *words)
    assert ended.status == 0, ended.err
    return read_records(out / "pairs.csv")[1]


@pytest.mark.parametrize("words", [(), ("--search_on", "real"), ("--num_diverse", "2"), ("--target", "Forward=1"),
                                   ("--target", "Forward=1", "Stop=0", "--joint"), ("--sparse", "off")])
def test_the_numbers_are_those_of_the_search(tmp_path, words, monkeypatch):
    searched = search(make(tmp_path), tmp_path / "out", *words)
    results = compared(tmp_path / "out", searched)
    monkeypatch.setattr("tools.evaluate_cf.read.Material", None)
    assert results_of("evaluate_cf", tmp_path / "out") == results  # from its record: nothing is opened


def compared(folder, searched):
    """Evaluate a folder, compare its pairs with the search's own lines, and return the results."""
    results = results_of("evaluate_cf", folder)
    pairs = pairs_of(folder / "evaluation")
    listed = {(line["image"], int(line["attribute"]), int(line.get("number") or 0)): line for line in searched}
    assert pairs.keys() == listed.keys()
    for key, line in listed.items():
        row = pairs[key]
        assert (row["outcome"], row["target"]) == (line["outcome"], line["target"])
        for name, tolerance in SAME.items():
            assert float(row[name]) == pytest.approx(float(line[name]), abs=tolerance), name
        assert row["flip_on_real"] == line["flip_on_real"]
        for name in ("relative_distance", "blob_overlap") if line.get("relative_distance") else ():
            assert float(row[name]) == pytest.approx(float(line[name]), rel=1e-3, abs=1e-6)
    assert results["score_difference"] < 1e-3
    assert results["start_score_difference"] < 1e-3
    return results


@pytest.mark.parametrize("words", [pytest.param(("--num_diverse", "2"), marks=pytest.mark.long), ()])
def test_T28_of_many_classes_an_image_counts_for_the_class_that_it_was_searched_for(tmp_path, words):
    """Each image has a runner-up of its own: the rows of the others stay as they were, and are not failures."""
    made = make(tmp_path)
    save_decision(made.files["model"], made.gan, ("a", "b", "c"), seed=1, kind="classes")
    searched = search(made, tmp_path / "out", *words)
    assert len({line["attribute"] for line in searched}) > 1
    said = call_tool("evaluate_cf", tmp_path / "out", "--dry_run").err
    assert f"would measure {len(searched)} pairs" in said
    results = compared(tmp_path / "out", searched)
    assert results["pairs"] == len(searched)
    flipped = sum(line["outcome"] == "flipped" for line in searched)
    assert results["success"] == pytest.approx(flipped / len(searched))


@pytest.mark.parametrize(("names", "words", "expected"), [
    (("light=green", "a=1", "x"), ["light=green=1", "a=1=0"], [1, -1, 0]),
    (("a", "b", "c"), ["class=2", "0=0"], [-1, 0, 1]), (("class", "b", "c"), ["class=1", "c=1"], [1, 0, 1])])
def test_T28_joint_targets_are_read_as_the_search_reads_them(names, words, expected):
    goals = Goals(SimpleNamespace(option=lambda name, _: {"joint": True, "target": words}[name]), names)
    assert goals.of(torch.zeros(2, 3, dtype=torch.bool), 0, [{}, {}]).tolist() == [expected] * 2


class Halves(torch.nn.Module):
    """Two classes for each pixel, by its redness."""

    def forward(self, x):
        """Return logits (B, 2, H, W)."""
        red = 8.0 * (x[:, :1] - x[:, 1:2])
        return torch.cat([-red, red], dim=1)


def test_a_segmentation_is_judged_by_its_own_threshold(tmp_path):
    made = make(tmp_path)
    torch.jit.trace(Halves().eval(), torch.zeros(2, 3, 16, 32)).save(str(tmp_path / "halves.pt"))
    made.files["model"] = tmp_path / "halves.pt"
    searched = search(made, tmp_path / "out", "--objective", "share:1", "--threshold", "0.4", "--lambda_inv_lpips",
                      "0", "--target_features", "features", "spatial_style")
    results_of("evaluate_cf", tmp_path / "out", "--cout")
    pairs = pairs_of(tmp_path / "out" / "evaluation")
    for line in searched:
        row = pairs[line["image"], 0, 0]
        with torch.no_grad():
            now = float((Halves()(made.gan.render(stored_blobs(tmp_path / "out", line["image"]))).argmax(dim=1) == 1)
                        .float().mean())
        assert row["outcome"] == line["outcome"]
        assert (row["outcome"] == "flipped") == ((now > 0.4) == (line["target"] == "1"))
        assert -1 <= float(row["cout"]) <= 1
        assert "stored_flip" not in row


def stored_blobs(folder, image):
    """Return the counterfactual Blobs of an image and the first objective."""
    for number in range(2):
        metadata = read_metadata(folder / f"metadata_{number}.pt")
        if image in metadata.names:
            return select(metadata.attributes[0].blobs, [metadata.names.index(image)])
    raise AssertionError(image)


def test_T35_pictures_rendered_again_are_those_of_the_snapshot(tmp_path):
    made = make(tmp_path)
    search(made, tmp_path / "out")
    metadata = read_metadata(tmp_path / "out" / "metadata_0.pt")
    with torch.no_grad():
        rows = [made.gan.render(metadata.blobs), *(made.gan.render(each.blobs) for each in
                                                   metadata.attributes.values())]
    pictures = torch.cat([made.targets[:3], *rows])
    save_grid(tmp_path / "again.jpg", to_uint8(pictures, "dmd2"), columns=3)
    shown, again = (np.array(Image.open(path)).astype(float) for path in (tmp_path / "out" / "snapshot_0.jpg",
                                                                          tmp_path / "again.jpg"))
    assert shown.shape == again.shape
    assert np.abs(shown - again).mean() <= 1
