"""KID against its definition, against clean-fid's own function, and free of blocks, order and global state."""

import numpy as np
import pytest

from common.errors import InputError
from common.formats.npz import NpzRows
from common.metrics import kid as module
from common.metrics.kid import Gaussian as GaussianKernel
from common.metrics.kid import has_fewer_pairs, kid, kid_both, kid_subsets, subset_rows


def features(count, seed, shift=0.0):
    return np.abs(np.random.default_rng(seed).standard_normal((count, 20)) + shift).astype(np.float32)


REAL, FAKE = features(83, 1), features(61, 2, 0.3)


def by_definition(rows1, rows2):
    """All pairs in full matrices."""
    x, y = rows1.astype(float), rows2.astype(float)
    n, m = len(x), len(y)
    xx, yy, xy = ((a @ b.T / x.shape[1] + 1) ** 3 for a, b in ((x, x), (y, y), (x, y)))
    return (xx.sum() - np.trace(xx)) / (n * (n - 1)) + (yy.sum() - np.trace(yy)) / (m * (m - 1)) - 2 * xy.mean()


def test_value_and_error_are_those_of_the_definition(monkeypatch):
    value, error = kid(REAL, FAKE, num_groups=7)
    assert value == pytest.approx(by_definition(REAL, FAKE), rel=1e-12)
    left = [by_definition(*(rows[np.arange(len(rows)) % 7 != group] for rows in (REAL, FAKE))) for group in range(7)]
    assert error == pytest.approx(np.sqrt(6 / 7 * np.sum((left - np.mean(left)) ** 2)), rel=1e-9)
    for tile in (7, 64):
        monkeypatch.setattr(module, "TILE", tile)
        assert kid(REAL, FAKE, num_groups=7) == pytest.approx((value, error), rel=1e-9)


def test_order_of_rows_is_of_no_consequence():
    generator = np.random.default_rng(3)
    permuted = kid(REAL[generator.permutation(len(REAL))], FAKE[generator.permutation(len(FAKE))])
    assert permuted[0] == pytest.approx(kid(REAL, FAKE)[0], rel=1e-9)


def test_rows_in_a_file_give_the_same_values(tmp_path):
    np.savez(tmp_path / "real.npz", feats=REAL)
    with NpzRows(tmp_path / "real.npz", "feats") as rows:
        assert kid(rows, FAKE) == kid(REAL, FAKE)
        assert kid_subsets(rows, FAKE, 3, 20) == kid_subsets(REAL, FAKE, 3, 20)


def test_standard_error_is_of_the_size_of_the_spread():
    """Over repeated draws; the jackknife of 10 groups is itself known to a quarter of its value."""
    values, errors = zip(*(kid(features(150, 2 * seed), features(150, 2 * seed + 1, 0.2)) for seed in range(40)))
    assert 0.7 < np.mean(errors) / np.std(values) < 1.4


def test_unbiased_for_equal_distributions_and_no_error_from_too_few_rows():
    values = [kid(features(12, 2 * seed), features(15, 2 * seed + 1))[0] for seed in range(200)]
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    assert kid(REAL[:2], FAKE)[1] is None
    assert kid(REAL[:3], FAKE)[1] > 0


def test_subsets_are_those_of_clean_fid():
    from tests.common.torchvision_guard import import_torchvision

    import_torchvision()
    from cleanfid.fid import kernel_distance

    for num, size in ((7, 30), (5, 1000)):
        before = np.random.get_state()
        try:
            np.random.seed(11)
            expected = kernel_distance(REAL, FAKE, num_subsets=num, max_subset_size=size)
        finally:
            np.random.set_state(before)
        mean, deviation = kid_subsets(REAL, FAKE, num, size, seed=11)
        assert mean == pytest.approx(expected, abs=1e-6)
        assert deviation > 0


def test_orders_differ_and_the_global_generator_is_left_alone():
    before = np.random.get_state()[1].copy()
    clean, fidelity = (list(subset_rows(83, 61, 2, 30, seed=4, order=order))
                       for order in ("clean_fid", "torch_fidelity"))
    assert not np.array_equal(clean[0][0], fidelity[0][0])
    generator = np.random.RandomState(4)
    np.testing.assert_array_equal(fidelity[0][0], generator.choice(83, 30, replace=False))
    np.testing.assert_array_equal(fidelity[0][1], generator.choice(61, 30, replace=False))
    np.testing.assert_array_equal(np.random.get_state()[1], before)


def test_subsets_may_be_of_two_images():
    (rows1, rows2), = subset_rows(83, 61, 1, 2)
    expected = by_definition(REAL[rows1], FAKE[rows2])
    assert kid_subsets(REAL, FAKE, 1, 2) == (pytest.approx(expected, rel=1e-9), 0)


def test_input_errors():
    broken = REAL.copy()
    broken[4, 4] = np.inf
    for call, what in (
        (lambda: kid(REAL, FAKE[:, :5]), "20 and 5 wide"),
        (lambda: kid(REAL, FAKE[:1]), "too few images for a kernel distance: 1"),
        (lambda: kid(broken, FAKE), "NaN or infinity"),
        (lambda: kid_subsets(broken, FAKE, 2, 83), "NaN or infinity"),
        (lambda: kid_subsets(REAL, FAKE, order="torch_fidelity"), "too few images for subsets of 1,000: 61"),
        (lambda: kid_subsets(REAL, FAKE, order="other"), "unknown"),
        (lambda: kid_subsets(REAL, FAKE, 0), "too few: 0 subsets of 61 images"),
        (lambda: kid_subsets(REAL, FAKE, 3, 1), "too few: 3 subsets of 1 image"),
        (lambda: kid(REAL[0], FAKE), "expected"),
    ):
        with np.errstate(invalid="ignore"), pytest.raises(InputError, match=what):
            call()


@pytest.mark.parametrize("few", [4096, 10])  # float64 and float32 tiles
def test_one_pass_over_all_pairs_gives_the_subsets_too(monkeypatch, few):
    monkeypatch.setattr(module, "FEW", few)
    for order in ("clean_fid", "torch_fidelity"):
        value, error, mean, deviation = kid_both(REAL, FAKE, 6, 30, seed=5, order=order)
        assert (value, error) == pytest.approx(kid(REAL, FAKE), rel=1e-5)
        assert (mean, deviation) == pytest.approx(kid_subsets(REAL, FAKE, 6, 30, seed=5, order=order), rel=1e-4)
    assert value == pytest.approx(by_definition(REAL, FAKE), rel=1e-5 if few == 10 else 1e-12)


def test_pairs_of_few_images_are_no_more_than_those_of_the_subsets():
    assert has_fewer_pairs(10_000, 10_000, 100, 1000)
    assert not has_fewer_pairs(11_000, 10_000, 100, 1000)
    assert has_fewer_pairs(50, 60, 100, 1000)


def test_large_values_are_not_lost_in_float32(monkeypatch):
    monkeypatch.setattr(module, "FEW", 10)
    rows = [side.astype(np.float64) * 1e19 for side in (REAL, FAKE)]
    assert kid(*rows)[0] == pytest.approx(by_definition(*rows), rel=1e-6)


def test_the_rbf_kernel_is_torch_fidelitys():
    def kernel(a, b):
        return np.exp(-((a[:, None] - b) ** 2).sum(2) / (2 * 3.0**2))

    x, y = REAL.astype(float), FAKE.astype(float)
    xx, yy, xy = kernel(x, x), kernel(y, y), kernel(x, y)
    n, m = len(x), len(y)
    expected = (xx.sum() - n) / (n * (n - 1)) + (yy.sum() - m) / (m * (m - 1)) - 2 * xy.mean()
    assert kid(REAL, FAKE, kernel=GaussianKernel(3.0))[0] == pytest.approx(expected, rel=1e-9)
    mean, deviation = kid_subsets(REAL, FAKE, 4, 30, kernel=GaussianKernel(3.0))
    assert kid_both(REAL, FAKE, 4, 30, kernel=GaussianKernel(3.0))[2:] == pytest.approx((mean, deviation), rel=1e-9)


@pytest.mark.parametrize(("offset", "spread", "sigma"), [(900, 0.1, None), (0, 1e-3, None), (100, 0.1, 10.0)])
def test_M9_features_that_differ_little_for_their_size_are_not_lost_in_float32(monkeypatch, offset, spread, sigma):
    """Against float64 tiles: what float32 tiles and subsets make of them would be off by many standard errors."""
    kernel = {} if sigma is None else {"kernel": GaussianKernel(sigma)}
    rows = [(offset + spread * np.random.default_rng(seed).standard_normal((300, 32))).astype(np.float32)
            for seed in (0, 1)]
    exact = kid(*rows, **kernel), kid_subsets(*rows, 2, 200, **kernel)
    monkeypatch.setattr(module, "FEW", 10)
    assert kid(*rows, **kernel) == pytest.approx(exact[0], rel=1e-6)
    assert kid_subsets(*rows, 2, 200, **kernel) == pytest.approx(exact[1], rel=1e-6)
