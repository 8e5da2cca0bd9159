"""What evaluate_cf reads: partial sets, files of the original, other weights, several counterfactuals, goals."""

import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
from PIL import Image

from common.blobs.metadata import read_metadata
from common.networks.blobgan.layout import Blobs
from tests.tools.blobgan_networks import save_blobgan
from tests.tools.commands import call_tool, refusal_of, results_of
from tests.tools.evaluate_cf.made import NAMES, add_extra, change, make, save_decision, scores_of, write_record
from tests.tools.evaluate_cf.test_measures import pairs_of

FIRST = [[0.5, 0.5118246, 0.16229463, 0.25425273], [0.8290047, 0.57919365, 0.1110546, 0.7918718],
         [0.9835093, 0.48569888, 0.7625715, 0.9977787], [0.15870577, 0.41998821, 0.80800545, 0.9852884],
         [0.6814343, 0.07113868, 0.5766134, 0.7373992], [0.979823, 0.48877507, 0.3490976, 0.95146555],
         [0.37737262, 0.69755596, 0.5207596, 0.7850529], [0.56312877, 0.28163433, 0.51013684, 0.22087121]]
LAST = [[0.65344703, 0.969588, 0.7416664, 0.24003321], [0.09559578, 0.5, 0.5190112, 0.9701761],
        [0.8072375, 0.29115188, 0.40950602, 0.06855434], [0.6525058, 0.45779985, 0.35481536, 0.10927063],
        [0.81442904, 0.55130327, 0.5229238, 0.28411186], [0.35283387, 0.1259743, 0.06951827, 0.43030536],
        [0.8342057, 0.9813364, 0.23089355, 0.78419834], [0.08077013, 0.18178433, 0.3193465, 0.9843389]]


def edit(path, change_of):
    """Change a stored file."""
    value = torch.load(path, weights_only=True)
    change_of(value)
    torch.save(value, path)


def test_the_published_rule_counts_8_4_7_7_where_the_correct_one_counts_5_1_6_5(tmp_path):
    made = make(tmp_path, number=8)
    model = save_decision(tmp_path / "four.tar", made.gan, ("Forward", "Stop", "Left", "Right"))
    path = made.folder / "metadata_0.pt"

    def golden(value):
        value["init_scores"] = torch.tensor(FIRST)
        for number in range(4):
            value[f"att_{number}"] = {"final_scores": torch.tensor(LAST), "blob_cf": value["att_0"]["blob_cf"],
                                      "lpips": torch.zeros(8)}

    edit(path, golden)
    made.files["model"] = model
    names = ("Forward", "Stop", "Left", "Right")
    found = results_of_noted(*made.words("--rule", "published"))["attributes"]
    assert [found[name]["success_count"] for name in names] == [8, 4, 7, 7]
    assert {found[name]["success_total"] for name in names} == {8}
    assert [found[name]["stored_success_count"] for name in names] == [5, 1, 6, 5]
    found = results_of_noted(*made.words("--output_dir", tmp_path / "correct"))["attributes"]
    assert [found[name]["stored_success_count"] for name in names] == [5, 1, 6, 5]


def results_of_noted(*words):
    """Return the results of an evaluation that says something in notes."""
    ended = call_tool("evaluate_cf", *words, "--json")
    assert ended.status == 0, ended.err
    return ended.results


def test_T33_a_set_with_missing_batches_is_refused_with_the_numbers_or_partial(tmp_path):
    made = make(tmp_path)
    write_record(made)
    (made.folder / "metadata_1.pt").rename(tmp_path / "metadata_1.pt")
    refused = refusal_of("evaluate_cf", made.folder)
    assert "3 of 5 images are in it, 1 of 2 batches" in refused
    ended = call_tool("evaluate_cf", made.folder, "--partial", "--json")
    assert "note: a part of the run: 1 of 2 batches, 3 of 5 images" in ended.err
    assert {name: ended.results[name] for name in ("batches", "batches_expected", "images", "images_expected")} == {
        "batches": 1, "batches_expected": 2, "images": 3, "images_expected": 5}
    shutil.copy(tmp_path / "metadata_1.pt", made.folder)
    (made.folder / "metadata_0.pt").unlink()
    assert "1 of 2 batches are in it" in refusal_of("evaluate_cf", made.folder)


def test_T33_a_set_of_the_original_is_compared_with_the_folder_of_images(tmp_path):
    made = make(tmp_path)
    (made.folder / "metadata_1.pt").unlink()
    assert "3 of 5 images are in it, 1 of 2 batches" in refusal_of("evaluate_cf", *made.words())
    assert results_of_noted(*made.words("--partial"))["pairs"] == 6


def test_an_unfinished_run_is_refused(tmp_path):
    made = make(tmp_path)
    write_record(made, status="running")
    assert "the run is not finished" in refusal_of("evaluate_cf", made.folder)


def test_a_grown_folder_is_measured_again(tmp_path):
    made = make(tmp_path)
    write_record(made)
    (made.folder / "metadata_1.pt").rename(tmp_path / "metadata_1.pt")
    assert results_of_noted(made.folder, "--partial")["pairs"] == 6
    shutil.copy(tmp_path / "metadata_1.pt", made.folder)
    assert results_of_noted(made.folder, "--partial")["pairs"] == 10


def store_as_of_a_gpu(path):
    """Change the place that each tensor of a file says it lay at."""
    with zipfile.ZipFile(path) as archive:
        entries = [(entry, archive.read(entry)) for entry in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in entries:
            changed = data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            assert not name.endswith("data.pkl") or changed != data
            archive.writestr(name, changed if name.endswith("data.pkl") else data)


def test_files_of_the_original_are_read_with_flags_in_place_of_a_record(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.tools.evaluate_cf.made.SIZES", (4, 1))
    made = make(tmp_path, foreign=True)
    path = made.folder / "metadata_1.pt"
    stored = torch.load(path, weights_only=True)
    assert stored["lpips"].dim() == 0
    assert "genprobe" not in stored
    store_as_of_a_gpu(path)
    results = results_of("evaluate_cf", *made.words())
    assert (results["pairs"], results["batches"]) == (10, 2)
    assert results["score_difference"] < 1e-4
    assert "names it" in refusal_of("evaluate_cf", made.folder)


def test_T35_stored_scores_that_other_weights_do_not_give_are_named(tmp_path):
    made = make(tmp_path)
    other = save_blobgan(tmp_path / "other.ckpt", seed=9)
    words = made.words("--output_dir", tmp_path / "out")
    words[2] = other
    ended = call_tool("evaluate_cf", *words, "--json")
    assert ended.status == 0
    assert "reconstructions are not those of the pictures rendered here" in ended.err
    assert ended.results["start_score_difference"] > 0.02
    fine = results_of("evaluate_cf", *made.words())
    assert fine["start_score_difference"] < 1e-4


def test_another_networks_blobs_and_another_models_scores_are_refused(tmp_path):
    made = make(tmp_path)
    words = made.words()
    words[2] = save_blobgan(tmp_path / "other.ckpt", n_features=7)
    assert "its blobs are 4 of 5 and 6 numbers, the BlobGAN's 7" in refusal_of("evaluate_cf", *words)
    words = made.words()
    words[4] = save_decision(tmp_path / "other.tar", made.gan, ("a", "b", "c"))
    assert "its scores are of 2 attributes, the model has 3" in refusal_of("evaluate_cf", *words)


def test_an_inversion_alone_is_sent_to_evaluate_cf_inversion(tmp_path):
    made = make(tmp_path)
    for path in made.folder.glob("metadata_*.pt"):
        edit(path, lambda value: [value.pop(f"att_{number}") for number in range(2)])
    assert "evaluate_cf inversion" in refusal_of("evaluate_cf", *made.words())


def test_a_changed_image_is_named(tmp_path):
    made = make(tmp_path)
    add_extra(made, 0, {"marks": ["00000000"] * 3, "labels": made.names[:3]})
    ended = call_tool("evaluate_cf", *made.words(), "--json")
    assert "images that have changed since they were inverted: 00.png, 01.png, 02.png" in ended.err
    shutil.move(made.files["images"] / "03.png", tmp_path)
    assert "'03.png' is not in it" in refusal_of("evaluate_cf", *made.words("--overwrite"))


def test_pairs_that_were_as_wanted_are_no_successes(tmp_path):
    made = make(tmp_path)
    with torch.no_grad():
        yes = made.model(made.pictures)[:, 0] > 0.5
    lines = [{"image": name, "attribute": 0, "target": 1, "outcome": "already" if there else "flipped",
              "evaluations": 7, "sparse_evaluations": 2} for name, there in zip(made.names, yes)]
    for batch, rows in enumerate((slice(0, 3), slice(3, 5))):
        add_extra(made, batch, {"attributes": {0: {"pairs": lines[rows]}}, "labels": made.names[rows]})
    results = results_of("evaluate_cf", *made.words())
    entry, pairs = results["attributes"][NAMES[0]], pairs_of(made.folder / "evaluation")
    assert entry["already"] == int(yes.sum())
    assert entry["success_total"] == 5 - int(yes.sum())
    assert entry["evaluations"] == 9
    for name, there in zip(made.names, yes):
        assert (pairs[name, 0, 0]["outcome"] == "already") == bool(there)
        assert pairs[name, 0, 0]["target"] == "1"
    plain = results_of("evaluate_cf", *made.words("--nosparse", "--output_dir", tmp_path / "out"))
    assert plain["attributes"][NAMES[0]]["evaluations"] == 7


def test_nosparse_measures_the_version_before_blobs_went_back(tmp_path):
    made = make(tmp_path)
    dense = change(made.layouts, 77)
    for batch, rows in enumerate((slice(0, 3), slice(3, 5))):
        entry = {"blob_cf": {name: part[rows] for name, part in dense._asdict().items()},
                 "final_scores": scores_of(made, Blobs(*(part[rows] for part in dense))).detach(), "pairs": []}
        add_extra(made, batch, {"attributes": {0: entry}})
    results = results_of("evaluate_cf", *made.words("--nosparse"))
    pairs = pairs_of(made.folder / "evaluation")
    with torch.no_grad():
        expected = (made.gan.render(dense) - made.pictures).abs().flatten(1).mean(dim=1)
    assert [float(pairs[name, 0, 0]["l1"]) for name in made.names] == pytest.approx(expected.tolist(), abs=1e-5)
    assert results["score_difference"] < 1e-4
    sparse = results_of("evaluate_cf", *made.words("--output_dir", tmp_path / "out"))
    assert sparse["attributes"][NAMES[1]] == results["attributes"][NAMES[1]]
    edit(made.folder / "metadata_0.pt", lambda value: value["genprobe"]["attributes"][0]["blob_cf"].pop("xs"))
    assert "is not of the shape" in refusal_of("evaluate_cf", *made.words("--nosparse", "--output_dir", tmp_path / "x"))


def test_several_counterfactuals_have_their_four_numbers_and_success_of_each_and_of_all(tmp_path):
    made = make(tmp_path, several=3)
    results = results_of("evaluate_cf", *made.words("--perceptual", made.files["model"], "--extractor", "small"))
    pairs = pairs_of(made.folder / "evaluation")
    assert len(pairs) == 5 * 2 * 3
    with torch.no_grad():
        before = made.pictures
        start = made.model(before) > 0.5
    flips, everyone = [], []
    for place, name in enumerate(made.names):
        own = Blobs(*(part[:, place] for part in made.changed[0]))
        with torch.no_grad():
            pictures = made.gan.render(own)
            now = made.model(pictures)[:, 0] > 0.5
        flips += (now != start[place, 0]).tolist()
        everyone.append(bool((now != start[place, 0]).all()))
        shown = pictures.numpy().reshape(3, -1)
        changes = shown - before[place].numpy().ravel()
        two = [(0, 1), (0, 2), (1, 2)]
        distance = np.mean([np.abs(shown[i] - shown[j]).mean() for i, j in two])
        row = pairs[name, 0, 1]
        assert float(row["pixel_distance"]) == pytest.approx(distance, abs=1e-5)
        if place < 4:  # the last has no change
            unit = changes / np.linalg.norm(changes, axis=1, keepdims=True)
            assert float(row["cosine"]) == pytest.approx(np.mean([unit[i] @ unit[j] for i, j in two]), abs=1e-4)
            assert float(row["relative_distance"]) == pytest.approx(distance / np.abs(changes).mean(), rel=1e-4)
            assert float(row["blob_overlap"]) == pytest.approx(overlap(made, own, place, two), abs=1e-4)
            assert float(row["pairwise_perceptual"]) > 0
    entry = results["attributes"][NAMES[0]]
    assert (entry["success_count"], entry["success_total"]) == (sum(flips), 15)
    assert (entry["all_success_count"], entry["all_success_total"]) == (sum(everyone), 5)
    assert entry["fid_counterfactual"] == 15


def overlap(made, own, place, two):
    """Return the blob overlap of several counterfactuals of one picture."""
    moved = np.zeros((3, made.layouts.xs.shape[1] + 1))
    for name in Blobs._fields:
        offset = (getattr(own, name) - getattr(made.layouts, name)[place]).numpy()
        square = (offset / (1 if name == "sizes" else 1 / 8)) ** 2
        square = square.reshape(3, square.shape[1], -1).sum(axis=2)
        moved[:, moved.shape[1] - square.shape[1] :] += square
    radius = np.sqrt(moved)
    return np.mean([np.minimum(radius[i], radius[j]).sum() / np.maximum(radius[i], radius[j]).sum() for i, j in two])


def test_generated_images_are_compared_with_their_own_pictures(tmp_path):
    made = make(tmp_path, generated=True)
    words = [*made.words()[:5], "--perceptual", made.files["model"]]
    results = results_of("evaluate_cf", *words)
    pairs = pairs_of(made.folder / "evaluation")
    assert sorted({image for image, _, _ in pairs}) == ["0", "1", "2", "3", "4"]  # of both batches
    assert "flip_on_real" not in results["attributes"]["all"]
    assert float(pairs["4", 0, 0]["perceptual"]) == 0


def test_images_are_saved_where_asked(tmp_path):
    made = make(tmp_path)
    results_of("evaluate_cf", *made.words("--save_images"))
    saved = np.array(Image.open(made.folder / "evaluation" / "images" / "att_1" / "02.png"))
    with torch.no_grad():
        expected = made.gan.render(made.changed[1])[2].permute(1, 2, 0).add(1).mul(127.5).clamp(0, 255)
    assert np.abs(saved - expected.numpy()).max() <= 0.51


def test_a_picture_that_is_not_finite_fails_and_spoils_no_other(tmp_path):
    made = make(tmp_path)

    def spoil(value):
        value["att_0"]["blob_cf"]["features"][1] = torch.nan

    edit(made.folder / "metadata_0.pt", spoil)
    results = results_of_noted(*made.words("--extractor", "small", "--cout", "--redundancy"))
    entry = results["attributes"][NAMES[0]]
    assert (entry["failed"], entry["fid_counterfactual"]) == (1, 4)
    row = pairs_of(made.folder / "evaluation")["01.png", 0, 0]
    assert (row["outcome"], row["l1"]) == ("failed", "")
    assert "NaN" not in json.dumps(results)


def test_joint_goals_of_the_record_have_to_be_reached_together(tmp_path):
    made = make(tmp_path)
    write_record(made, joint=True, target=["Forward=1", "Stop=0"])
    results_of("evaluate_cf", made.folder)
    with torch.no_grad():
        start, end = (made.model(made.gan.render(blobs)) > 0.5 for blobs in (made.layouts, made.changed[0]))
    wanted = torch.tensor([True, False])
    for place, name in enumerate(made.names):
        row = pairs_of(made.folder / "evaluation")[name, 0, 0]
        there = bool((start[place] == wanted).all())
        flip = bool((end[place] == wanted).all())
        assert row["outcome"] == ("already" if there else "flipped" if flip else "not_found")


def test_a_search_on_the_real_picture_is_judged_there(tmp_path):
    made = make(tmp_path)
    write_record(made, search_on="real")
    results_of_noted(made.folder)
    pairs = pairs_of(made.folder / "evaluation")
    with torch.no_grad():
        start = made.model(made.targets)
    for (image, attribute, _), row in pairs.items():
        assert float(row["start_score"]) == pytest.approx(float(start[made.names.index(image), attribute]), abs=1e-4)
        assert row["score"] == row["score_on_real"]
        assert (row["outcome"] == "flipped") == (row["flip_on_real"] == "1")


def test_a_dry_run_writes_nothing(tmp_path):
    made = make(tmp_path)
    before = sorted(path.name for path in made.folder.iterdir())
    assert results_of_noted(*made.words("--dry_run"))["pairs"] == 10
    assert sorted(path.name for path in made.folder.iterdir()) == before


def test_metadata_is_read_a_batch_at_a_time(tmp_path, monkeypatch):
    from tools.evaluate_cf.folder import Folder

    made, alive = make(tmp_path), []
    folder = Folder(made.folder)
    assert not any(isinstance(value, Blobs) for value in vars(folder).values())
    for first, path, metadata in folder.read():
        alive.append((first, path.name, len(metadata.blobs.xs)))
    assert alive == [(0, "metadata_0.pt", 3), (3, "metadata_1.pt", 2)]
    assert read_metadata(made.folder / "metadata_1.pt").names == made.names[3:]
