"""PRDC against the formulas on full float64 matrices: exactly, whatever the tiles, duplicates and ties included."""

import numpy as np
import pytest

from common.errors import InputError
from common.formats.npz import NpzRows
from common.metrics import pairs
from common.metrics import prdc as module
from common.metrics.prdc import prdc, squared_radii


def full_matrices(real, fake, k):
    """The published computation in float64, distances from differences."""

    def distances(a, b):
        return np.sqrt(((a.astype(float)[:, None] - b.astype(float)) ** 2).sum(-1))

    def radii(rows):
        return np.sort(distances(rows, rows), axis=1)[:, k]

    cross = distances(real, fake)
    inside = cross < radii(real)[:, None]
    return {
        "precision": inside.any(axis=0).mean(), "recall": (cross < radii(fake)[None]).any(axis=1).mean(),
        "density": inside.sum() / (k * len(fake)), "coverage": (cross.min(axis=1) < radii(real)).mean(),
    }


def sets():
    generator = np.random.default_rng(0)
    real, fake = (generator.standard_normal((n, 16)).astype(np.float32) + 100 for n in (130, 90))
    outlier = real.copy()
    outlier[5] += 1e4
    yield "plain", real, fake
    yield "same", real, real.copy()
    yield "shuffled copies", real, real[generator.permutation(130)]
    yield "collapsed", real, np.repeat(fake[:1], 90, axis=0)
    yield "duplicates", np.repeat(real[:30], 4, axis=0), np.repeat(real[20:50], 3, axis=0)
    yield "outlier", outlier, fake
    yield "far", real, fake + 50
    grid = np.stack(np.meshgrid(*[np.arange(4)] * 3), -1).reshape(-1, 3).astype(np.float32)
    yield "grid of ties", grid, grid[:40] + np.float32([0, 1, 0])


@pytest.mark.parametrize(("real", "fake"), [pytest.param(*pair, id=name) for name, *pair in sets()])
def test_values_are_those_of_the_formulas(monkeypatch, real, fake):
    for tile in (2048, 32):
        monkeypatch.setattr(module, "TILE", tile)
        for k in (1, 3, 5):
            assert prdc(real, fake, k) == pytest.approx(full_matrices(real, fake, k), rel=1e-14, abs=0)


@pytest.mark.parametrize(("real", "fake"), [pytest.param(*pair, id=name) for name, *pair in sets()])
def test_values_of_float64_tiles_and_of_groups_of_near_rows_are_too(monkeypatch, real, fake):
    monkeypatch.setattr(module, "SHARE", -1.0)
    for many in (0, 40):
        for place in (module, pairs):
            monkeypatch.setattr(place, "MANY", many)
        assert prdc(real, fake) == pytest.approx(full_matrices(real, fake, 3), rel=1e-14, abs=0)


@pytest.mark.parametrize("spread", [1e-3, 1e-7, 0.0])
def test_values_of_clusters_that_no_tile_can_resolve_are_too(monkeypatch, spread):
    for place in (module, pairs):
        monkeypatch.setattr(place, "MANY", 50)
    generator = np.random.default_rng(4)
    centres = generator.standard_normal((5, 24)) * 4
    real, fake = ((centres[np.arange(count) % 5] + spread * generator.standard_normal((count, 24))).astype(np.float32)
                  for count in (130, 90))
    assert prdc(real, fake) == pytest.approx(full_matrices(real, fake, 3), rel=1e-14, abs=0)


def test_radii_do_not_depend_on_the_offset_or_the_tiles(monkeypatch):
    rows = np.random.default_rng(1).standard_normal((200, 300)).astype(np.float32)
    expected = np.sort(((rows.astype(float)[:, None] - rows.astype(float)) ** 2).sum(-1), axis=1)[:, 3]
    np.testing.assert_allclose(squared_radii(rows, 3), expected, rtol=1e-12)
    monkeypatch.setattr(module, "TILE", 64)
    np.testing.assert_allclose(squared_radii(rows, 3), expected, rtol=1e-12)


def test_rows_in_a_file_give_the_same_values(tmp_path):
    _, real, fake = next(sets())
    np.savez(tmp_path / "real.npz", pool_3=real)
    np.savez_compressed(tmp_path / "fake.npz", pool_3=fake)
    with NpzRows(tmp_path / "real.npz", "pool_3") as real_rows, NpzRows(tmp_path / "fake.npz", "pool_3") as fake_rows:
        assert prdc(real_rows, fake_rows) == prdc(real, fake)


def test_input_errors():
    _, real, fake = next(sets())
    with pytest.raises(InputError, match="16 and 8 wide"):
        prdc(real, fake[:, :8])
    with pytest.raises(InputError, match="k = 3 needs at least 4 generated images, there are 3"):
        prdc(real, fake[:3])
    fake[7, 7] = np.nan
    with pytest.raises(InputError, match="NaN"):
        prdc(real, fake)


def test_radii_of_tight_clusters_away_from_the_centre(monkeypatch):
    """float32 products cannot tell neighbours at 1e-7 of the squared distance from the centre."""
    generator = np.random.default_rng(2)
    centres = generator.standard_normal((4, 24)) * 2
    rows = (centres[np.arange(120) % 4] + 1e-3 * generator.standard_normal((120, 24))).astype(np.float32)
    rows[::17] = rows[5]  # and duplicates
    expected = np.sort(((rows.astype(float)[:, None] - rows.astype(float)) ** 2).sum(-1), axis=1)[:, 3]
    np.testing.assert_allclose(squared_radii(rows, 3), expected, rtol=1e-9)
    monkeypatch.setattr(module, "SEARCHED", 1000)
    monkeypatch.setattr(module, "TILE", 50)
    np.testing.assert_allclose(squared_radii(rows, 3), expected, rtol=1e-9)
    fake = rows[generator.permutation(120)] + np.float32(1e-3)
    assert prdc(rows, fake, 3) == pytest.approx(full_matrices(rows, fake, 3), rel=1e-14)


def test_inclusive_counts_points_on_the_radius():
    """On a line with neighbours at 1 the radii are 1 for k = 1; a generated point at 1 from one end is just on it."""
    real, fake = np.arange(6, dtype=np.float32)[:, None], np.array([[-1], [7], [9]], np.float32)
    assert prdc(real, fake, 1)["precision"] == 0
    values = prdc(real, fake, 1, inclusive=True)
    assert values["precision"] == pytest.approx(1 / 3)
    same = np.repeat(real, 2, axis=0)  # radii 0
    assert prdc(same, same.copy(), 1)["precision"] == 0
    assert prdc(same, same.copy(), 1, inclusive=True)["precision"] == 1


def test_order_of_rows_is_of_no_consequence():
    _, real, fake = next(sets())
    generator = np.random.default_rng(3)
    permuted = prdc(real[generator.permutation(130)], fake[generator.permutation(90)])
    assert permuted == pytest.approx(prdc(real, fake), rel=1e-12)


@pytest.mark.parametrize("scale", [1e19, 1e37, 1e-25])
def test_M9_the_size_of_the_features_does_not_matter(scale):
    real, fake = (np.random.default_rng(seed).standard_normal((60, 8)).astype(np.float32) for seed in (1, 2))
    expected = prdc(real, fake)
    assert 0 < expected["precision"] < 1
    factor = np.float32(2.0 ** round(np.log2(scale)))
    assert prdc(real * factor, fake * factor) == expected


@pytest.mark.parametrize("offset", [1e6, 1e9])
def test_M9_digits_that_float32_lacks_are_not_lost(offset):
    """Features of float64 whose common offset is far larger than what they differ by."""
    real, fake = (np.random.default_rng(count).standard_normal((count, 8)) + offset for count in (60, 33))
    assert prdc(real, fake) == full_matrices(real, fake, 3)
