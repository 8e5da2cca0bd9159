"""The Vendi score: closed forms, and the definition with the matrix of similarities."""

import numpy as np
import pytest

from common.errors import InputError
from common.metrics.vendi import vendi_score


def test_equal_images_count_as_one_and_orthogonal_ones_each():
    assert vendi_score(np.ones((7, 5))) == pytest.approx(1, abs=1e-9)
    assert vendi_score(3.0 * np.eye(6)) == pytest.approx(6, abs=1e-9)
    assert vendi_score(np.repeat(np.eye(4), 5, axis=0)) == pytest.approx(4, abs=1e-9)  # 20 rows of 4 kinds


@pytest.mark.parametrize("copies", [1, 3])
def test_two_kinds_at_an_angle(copies):
    """K / n has the eigenvalues (1 + cos) / 2 and (1 - cos) / 2."""
    rows = np.repeat([[2.0, 0.0], [np.cos(0.7), np.sin(0.7)]], copies, axis=0)
    p = np.array([1 + np.cos(0.7), 1 - np.cos(0.7)]) / 2
    assert vendi_score(rows) == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-12)


def test_kinds_of_unequal_share_count_by_their_entropy():
    share = np.array([0.5, 0.25, 0.125, 0.125])
    rows = np.repeat(np.eye(4), (share * 16).astype(int), axis=0)
    assert vendi_score(rows) == pytest.approx(np.exp(-(share * np.log(share)).sum()), rel=1e-12)


@pytest.mark.parametrize("shape", [(40, 9), (9, 40), (2500, 6)])
def test_either_matrix_gives_the_definition(shape):
    rows = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    values = np.linalg.eigvalsh((unit @ unit.T).astype(np.float64) / len(rows)) if len(rows) < 100 else \
        np.linalg.svd(unit.astype(np.float64), compute_uv=False) ** 2 / len(rows)
    values = values[values > 1e-12]
    assert vendi_score(rows) == pytest.approx(np.exp(-(values * np.log(values)).sum()), rel=1e-5)


def test_a_row_without_a_direction_is_refused():
    for bad in (0.0, np.nan):
        rows = np.ones((3, 2))
        rows[1] = bad
        with pytest.raises(InputError, match="without a direction"):
            vendi_score(rows)
