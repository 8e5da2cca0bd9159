"""The table of evaluate_cf, every column against a computation of its own."""

import csv

import numpy as np
import pytest
import torch

from common.formats.tables import read_records, write_table
from common.metrics.counterfactual import wilson
from common.networks.blobgan.layout import Blobs
from tests.tools.commands import refusal_of, results_of
from tests.tools.evaluate_cf.made import NAMES, make, save_decision, write_record


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder of two batches without a record."""
    return make(tmp_path_factory.mktemp("measures"))


@pytest.fixture(scope="module")
def oracle(made):
    """An oracle's path, with a name more."""
    return save_decision(made.folder.parent / "oracle.tar", made.gan, ("Sky", *NAMES), seed=3)


def pairs_of(folder):
    """Return {(image, attribute, number): {column: number or text}} of an evaluation."""
    with open(folder / "pairs.csv", newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {(row["image"], int(row["attribute"]), int(row["number"])): row for row in rows}


def expectation(made):
    """Return (start pictures, scores, {attribute: (pictures, scores)}), by the networks alone."""
    with torch.no_grad():
        before = made.gan.render(made.layouts)
        after = {attribute: made.gan.render(blobs) for attribute, blobs in made.changed.items()}
        return before, made.model(before), {key: (each, made.model(each)) for key, each in after.items()}


@pytest.fixture(scope="module")
def evaluated(made, oracle):
    """(results, pairs) of an evaluation with all that is measured without files of weights."""
    results = results_of("evaluate_cf", *made.words(
        "--perceptual", made.files["model"], "--oracle", oracle, "--cout", "--redundancy", "--extractor", "small"))
    return results, pairs_of(made.folder / "evaluation")


def test_every_pair_is_there_with_its_outcome(made, evaluated):
    _, pairs = evaluated
    _, scores, changed = expectation(made)
    assert len(pairs) == 10
    flips = 0
    for (image, attribute, _), row in pairs.items():
        place = made.names.index(image)
        then, now = float(scores[place, attribute]), float(changed[attribute][1][place, attribute])
        assert float(row["start_score"]) == pytest.approx(then, abs=1e-4)
        assert float(row["score"]) == pytest.approx(now, abs=1e-4)
        assert row["outcome"] == ("flipped" if (then > 0.5) != (now > 0.5) else "not_found")
        assert int(row["target"]) == (then < 0.5)
        flips += row["outcome"] == "flipped"
    assert 0 < flips < 10  # so that the test sees both


def test_distances_and_changes_are_those_of_pictures_and_blobs(made, evaluated):
    _, pairs = evaluated
    before, _, changed = expectation(made)
    for (image, attribute, _), row in pairs.items():
        place = made.names.index(image)
        difference = (changed[attribute][0][place] - before[place]).numpy()
        assert float(row["l1"]) == pytest.approx(np.abs(difference).mean(), abs=1e-5)
        assert float(row["pixels_changed"]) == pytest.approx((np.abs(difference).sum(axis=0) > 0.01).mean(), abs=2e-3)
        real = made.targets[place].numpy()
        assert float(row["l1_to_real"]) == pytest.approx(np.abs(changed[attribute][0][place].numpy() - real).mean(),
                                                         abs=1e-5)
        moved = set()
        for name in Blobs._fields:
            then, now = getattr(made.layouts, name)[place], getattr(made.changed[attribute], name)[place]
            assert float(row[f"change_{name}"]) == pytest.approx(float((now - then).abs().mean()), abs=1e-5)
            rows = {int(number) for number in (now - then).abs().reshape(len(now), -1).amax(dim=1).gt(1e-6).nonzero()}
            if name in ("xs", "ys", "covs"):
                rows = {number + 1 for number in rows}
            moved |= rows - {0} if name == "sizes" else rows
        assert int(row["blobs_changed"]) == len(moved)


def test_flips_on_real_pictures_are_those_of_the_real_picture_with_the_change(made, evaluated):
    _, pairs = evaluated
    before, scores, changed = expectation(made)
    for (image, attribute, _), row in pairs.items():
        place = made.names.index(image)
        shown = (made.targets[place] + changed[attribute][0][place] - before[place]).clamp(-1, 1)
        with torch.no_grad():
            score = float(made.model(shown[None])[0, attribute])
        assert float(row["score_on_real"]) == pytest.approx(score, abs=1e-4)
        assert bool(int(row["flip_on_real"])) == ((score > 0.5) != (float(scores[place, attribute]) > 0.5))


def test_an_oracle_with_more_attributes_is_asked_by_name(made, evaluated, oracle):
    from common.networks.decision import open_decision_model

    results, pairs = evaluated
    before, scores, changed = expectation(made)
    model = open_decision_model(oracle, "cpu")
    seen, counts = [], []
    for (image, attribute, _), row in pairs.items():
        place = made.names.index(image)
        with torch.no_grad():
            then, now = (model(part[place : place + 1])[0, 1:] > 0.5 for part in (before, changed[attribute][0]))
        wanted = bool(scores[place, attribute] < 0.5)
        assert bool(int(row["oracle_flip"])) == (bool(now[attribute]) == wanted)
        assert int(row["oracle_changed"]) == int((then != now).sum())
        assert bool(int(row["oracle_kept"])) == bool(then[1 - attribute] == now[1 - attribute])
        if row["outcome"] == "flipped":
            seen.append(bool(now[attribute]) == wanted)
            counts.append(int((then != now).sum()))
    entry = results["attributes"]["all"]
    assert (entry["oracle_flip_count"], entry["oracle_flip_total"]) == (sum(seen), len(seen))
    assert (entry["oracle_flip_low"], entry["oracle_flip_high"]) == pytest.approx(wilson(sum(seen), len(seen)))
    assert entry["mnac"] == pytest.approx(np.mean(counts))


def test_redundancy_puts_each_blob_back_alone(made, evaluated):
    _, pairs = evaluated
    _, scores, _ = expectation(made)
    found = 0
    for (image, attribute, _), row in pairs.items():
        place, count = made.names.index(image), 0
        if row["outcome"] == "flipped":
            for blob in range(made.layouts.xs.shape[1]):
                parts = {}
                for name in Blobs._fields:
                    then, now = (getattr(each, name)[place : place + 1].clone()
                                 for each in (made.layouts, made.changed[attribute]))
                    number = blob + (name in ("sizes", "features", "spatial_style"))
                    changed = not torch.equal(then[:, number], now[:, number])
                    now[:, number] = then[:, number]
                    parts[name] = now, changed
                if any(changed for _, changed in parts.values()):
                    with torch.no_grad():
                        score = made.model(made.gan.render(Blobs(*(part for part, _ in parts.values()))))[0, attribute]
                    count += bool((score > 0.5) != (scores[place, attribute] > 0.5))
        assert int(row["redundancy"]) == count
        found += count
    assert found


def test_cout_is_the_area_between_both_curves(made, evaluated):
    _, pairs = evaluated
    before, scores, changed = expectation(made)
    for (image, attribute, _), row in list(pairs.items())[:3]:
        place = made.names.index(image)
        one, two = before[place], changed[attribute][0][place]
        order = np.argsort(-(two - one).abs().sum(dim=0).numpy().ravel(), kind="stable")
        curve = []
        for step in range(51):
            shown = one.clone().reshape(3, -1)
            chosen = order[: step * len(order) // 50].copy()
            shown[:, chosen] = two.reshape(3, -1)[:, chosen]
            with torch.no_grad():
                score = float(made.model(shown.reshape(1, *one.shape))[0, attribute])
            curve.append(score if scores[place, attribute] < 0.5 else 1 - score)
        expected = 2 * np.trapezoid(curve, dx=1 / 50) - 1
        assert float(row["cout"]) == pytest.approx(expected, abs=1e-3)


def test_the_distance_of_sets_has_the_same_transform_on_both_sides_and_the_numbers_of_images(made, evaluated):
    from common.features.small_features import small_features
    from common.images.pixels import rounded_bytes
    from common.metrics.frechet import Gaussian, frechet_distance_between

    results, _ = evaluated
    _, _, changed = expectation(made)
    real = small_features(rounded_bytes(made.targets), "cpu")
    own = small_features(rounded_bytes(changed[0][0]), "cpu")
    entry = results["attributes"][NAMES[0]]
    expected = frechet_distance_between(Gaussian.of_few(real), Gaussian.of_few(own))
    assert entry["frechet"] == pytest.approx(expected, rel=1e-4)
    assert (entry["fid_real"], entry["fid_counterfactual"]) == (5, 5)
    assert "fid" not in entry
    assert entry["sfrechet"] > entry["frechet"] * 0.5


def test_ynn_counts_real_neighbours_of_the_wanted_decision(made, evaluated):
    _, pairs = evaluated
    _, scores, changed = expectation(made)
    with torch.no_grad():
        real = made.model(made.targets) > 0.5
    for (image, attribute, _), row in pairs.items():
        if row["outcome"] == "flipped":  # with five images all of them are the five nearest
            wanted = bool(scores[made.names.index(image), attribute] < 0.5)
            assert float(row["ynn"]) == pytest.approx(float((real[:, attribute] == wanted).float().mean()))
        else:
            assert row["ynn"] == ""


def test_truth_kept_and_measures_come_from_a_table(made, tmp_path):
    _, scores, _ = expectation(made)
    rows, light = [], [0.0, 1.0, 0.0, 1.0, 1.0]
    for place, image in enumerate(made.names):
        first = [int(value > 0.5) for value in scores[place]]
        rows.append([image, "", *first, light[place]])
        rows.append([image, NAMES[0], 1 - first[0], first[1], light[place] + 0.5])
        rows.append([image, 1, first[0], first[1], light[place]])
    write_table(tmp_path / "truth.csv", ["image", "attribute", *NAMES, "light"], rows)
    results = results_of("evaluate_cf", *made.words("--truth", tmp_path / "truth.csv", "--output_dir",
                                                    tmp_path / "out"))
    one, two = (results["attributes"][name] for name in NAMES)
    assert (one["truth"], one["kept"]) == (1.0, 1.0)
    assert (two["truth"], two["kept"]) == (0.0, 1.0)
    assert two["measure_light"] == 0
    flips = [line for line in pairs_of(tmp_path / "out").values() if line["outcome"] == "flipped"]
    up = [1 if line["target"] == "1" else -1 for line in flips if line["attribute"] == "0"]
    assert one["measure_light"] == pytest.approx(0.5 * np.mean(up))


def test_labels_of_the_data_give_the_correlation_difference(made, oracle, tmp_path):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (200, 2))
    write_table(tmp_path / "labels.csv", list(NAMES), labels.tolist())
    results = results_of("evaluate_cf", *made.words("--oracle", oracle, oracle, "--labels", tmp_path / "labels.csv",
                                                    "--output_dir", tmp_path / "out"))
    assert 0 <= results["attributes"][NAMES[0]]["correlation_difference"] <= 2
    entry = results["attributes"]["all"]
    assert entry["oracle_flip_2"] == entry["oracle_flip"]
    assert entry["mnac_2"] == entry["mnac"]


def test_another_oracle_is_refused(made, tmp_path):
    other = save_decision(tmp_path / "other.tar", made.gan, ("x", "y", "z"))
    assert "decides 3 attributes" in refusal_of("evaluate_cf", *made.words("--oracle", other))


def test_metrics_txt_is_appended_to_once_for_each_evaluation(made, evaluated, tmp_path):
    once = (made.folder / "metrics.txt").read_text().splitlines()
    entry = evaluated[0]["attributes"]
    assert [line.partition(":")[0] for line in once] == [*NAMES, "all"]
    assert once[0] == (f"{NAMES[0]}: success rate {entry[NAMES[0]]['success']}, perceptual "
                       f"{entry[NAMES[0]]['perceptual']}, Frechet {entry[NAMES[0]]['frechet']}")
    again = results_of("evaluate_cf", *made.words(), "--perceptual", made.files["model"], "--oracle",
                       made.folder.parent / "oracle.tar", "--cout", "--redundancy", "--extractor", "small")
    assert again == evaluated[0]
    assert (made.folder / "metrics.txt").read_text().splitlines() == once
    for _ in range(2):
        results_of("evaluate_cf", *made.words("--output_dir", tmp_path / "out"))
        assert len((tmp_path / "out" / "metrics.txt").read_text().splitlines()) == 3
    assert (made.folder / "metrics.txt").read_text().splitlines() == once
    results_of("evaluate_cf", *made.words("--output_dir", tmp_path / "out", "--overwrite"))
    assert len((tmp_path / "out" / "metrics.txt").read_text().splitlines()) == 6


@pytest.mark.long
def test_T23_lpips_is_the_packages_on_pictures_from_minus_one_to_one(made, tmp_path):
    from tests.common.networks.test_lpips import reference

    theirs = reference("vgg")
    torch.save(theirs.state_dict(), tmp_path / "vgg.pth")
    results_of("evaluate_cf", *made.words("--lpips_weights", tmp_path / "vgg.pth", "--output_dir", tmp_path / "out"))
    _, _, changed = expectation(made)
    for (image, attribute, _), row in pairs_of(tmp_path / "out").items():
        place = made.names.index(image)
        with torch.no_grad():
            expected = float(theirs(changed[attribute][0][place : place + 1], made.targets[place : place + 1]))
        assert float(row["lpips"]) == pytest.approx(expected, rel=1e-3, abs=1e-6)


def test_batches_of_any_size_give_the_same_numbers(made, tmp_path):
    results = [results_of("evaluate_cf", *made.words("--batch_size", size, "--output_dir", tmp_path / str(size)))
               for size in (1, 5)]
    one, two = (each["attributes"]["all"] for each in results)
    assert one.keys() == two.keys()
    assert all(one[name] == pytest.approx(two[name], abs=1e-4) for name in one if isinstance(one[name], (int, float)))


def test_costs_come_from_the_record(tmp_path):
    made = make(tmp_path)
    write_record(made)
    results = results_of("evaluate_cf", made.folder)
    assert results["seconds_per_flip"] == pytest.approx(12 / results["attributes"]["all"]["flipped"])
    assert read_records(made.folder / "evaluation" / "table.csv")[0][:2] == ["attribute", "pairs"]
