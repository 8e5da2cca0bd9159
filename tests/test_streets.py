"""Made street scenes: fair coins, a judge that is right, and numbers that mean the same scene everywhere."""

import csv

import numpy as np
import pytest
from PIL import Image

from docs.chains.parts import streets


@pytest.fixture(scope="module", params=[1, 2])
def real(request):
    """2,000 scenes of an aspect ratio: (pixels, truth, aspect)."""
    return *streets.scenes(0, range(2000), request.param), request.param


def test_the_judge_is_right_on_scenes_that_its_thresholds_do_not_come_from(real):
    pixels, truth, aspect = real
    assert pixels.shape == (2000, 32, 32 * aspect, 3)
    assert pixels.dtype == np.uint8
    judge = streets.fit_judge(pixels[:1000], truth[:1000])
    measures = streets.measure(pixels[1000:])
    assert ((judge.decide(measures) == truth[1000:]).mean(axis=0) >= 0.999).all()
    shares = judge.shares(measures)  # and not narrowly: the middle of the gap is empty
    assert np.abs(shares - 0.5).min() > 0.15


@pytest.mark.long
def test_coins_are_fair_and_independent():
    truth = streets.scenes(0, range(6000))[1]
    assert (np.abs(truth.mean(axis=0) - 0.5) < 0.02).all()
    correlations = np.corrcoef(truth.T)
    assert np.abs(correlations - np.eye(5)).max() < 0.04


def test_what_is_no_coin_does_not_tell_them():
    """Without its own object a coin leaves no trace: the sky's tint and the road say nothing of light and lanes."""
    pixels, truth = streets.scenes(0, range(4000))
    plain = pixels[:, [0, 30]].mean(axis=2).reshape(4000, -1) / 255  # a row of sky, one of road
    for coin in range(4):
        apart = plain[truth[:, coin]].mean(axis=0) - plain[~truth[:, coin]].mean(axis=0)
        assert np.abs(apart).max() < 0.03


@pytest.mark.parametrize("aspect", [1, 2])
def test_a_scene_depends_on_seed_and_number_alone(aspect):
    pixels, truth = streets.scenes(3, range(20), aspect)
    others, other_truth = streets.scenes(3, [17, 4], aspect)
    assert (others == pixels[[17, 4]]).all()
    assert (other_truth == truth[[17, 4]]).all()
    assert (streets.scenes(4, range(20), aspect)[0] != pixels).any(axis=(1, 2, 3)).all()


def test_files_hold_the_scenes_their_truth_and_the_biased_choice(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(streets, "TRAIN", 300)
    monkeypatch.setattr(streets, "VAL", 100)
    streets.make(tmp_path)
    pixels, truth = streets.scenes(0, range(400))
    for split, numbers in (("train", range(300)), ("val", range(300, 400))):
        with open(tmp_path / split / "truth.csv", newline="") as table:
            rows = list(csv.DictReader(table))
        assert [row["file"] for row in rows] == [f"{number:05d}.png" for number in numbers]
        assert (np.array([[row[name] == "1" for name in streets.COINS] for row in rows]) == truth[numbers]).all()
        assert (np.stack([np.asarray(Image.open(tmp_path / split / row["file"])) for row in rows])
                == pixels[numbers]).all()
    with open(tmp_path / "train" / "biased.csv", newline="") as table:
        biased = list(csv.DictReader(table))
    assert 120 <= len(biased) <= 180
    assert all(row["green"] == row["warm"] for row in biased)
    assert len({(row["green"], row["ahead"], row["left"], row["right"]) for row in biased}) == 16
    streets.judged(tmp_path, tmp_path / "val")
    seen = [line.split(" | ")[:2] for line in capsys.readouterr().out.splitlines()[2:]]
    assert seen == [[f"| {name}", f"{share:.3f}"] for name, share in zip(streets.COINS, truth[300:].mean(axis=0))]


def test_wide_scenes_have_the_coins_of_the_square_ones_and_are_written_as_wide(tmp_path, monkeypatch):
    monkeypatch.setattr(streets, "TRAIN", 60)
    monkeypatch.setattr(streets, "VAL", 20)
    streets.make(tmp_path, 2)
    pixels, truth = streets.scenes(0, range(80), 2)
    assert (truth == streets.scenes(0, range(80))[1]).all()
    written = np.stack([np.asarray(Image.open(path)) for split in ("train", "val")
                        for path in sorted((tmp_path / split).glob("*.png"))])
    assert written.shape == (80, 32, 64, 3)
    assert (written == pixels).all()
    judge = streets.read_judge(tmp_path / "judge.json")
    assert (judge.decide(streets.measure(written[60:])) == truth[60:]).all()


@pytest.mark.parametrize("aspect", [1, 2])
def test_the_classes_of_pixels_are_what_is_painted_there(aspect):
    pixels, truth = streets.scenes(0, range(60), aspect)
    classes = streets.segments(0, range(60), aspect)
    assert (classes[:, :10] == streets.CLASSES.index("sky")).mean() > 0.85
    obstacles = classes == streets.CLASSES.index("obstacle")
    for name, centre in streets.LANES.items():
        seen = obstacles[:, 19:26, (centre - 3) * aspect : (centre + 3) * aspect].any(axis=(1, 2))
        assert (seen == truth[:, streets.COINS.index(name)]).all()
    road = pixels[classes == streets.CLASSES.index("road")].astype(int)
    assert np.median(road.max(axis=1) - road.min(axis=1)) < 12  # grey
