"""Inception score against its definition, for any batches and numbers of splits."""

import numpy as np
import pytest

from common.errors import InputError
from common.metrics.inception_score import InceptionScore
from tests.common.metrics.distances import inception_score_of

LOGITS = (3 * np.random.default_rng(0).standard_normal((103, 12))).astype(np.float32)


def by_definition(logits, num_splits):
    """exp(mean KL(p(y|x) || p(y))) of each consecutive part, written out."""
    p = np.exp(logits.astype(float))
    p /= p.sum(axis=1, keepdims=True)
    scores = []
    for index in range(num_splits):
        part = p[index * len(p) // num_splits : (index + 1) * len(p) // num_splits]
        scores.append(np.exp(np.mean(np.sum(part * (np.log(part) - np.log(part.mean(axis=0))), axis=1))))
    return np.mean(scores), np.std(scores)


@pytest.mark.parametrize("num_splits", [1, 3, 10])
def test_score_is_that_of_the_definition_at_any_batch_size(num_splits):
    expected = by_definition(LOGITS, num_splits)
    assert inception_score_of(LOGITS, num_splits) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for size in (1, 10, 64):
        score = InceptionScore(len(LOGITS), num_splits)
        for start in range(0, len(LOGITS), size):
            score.add(LOGITS[start : start + size])
        assert score.result() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_large_logits_neither_overflow_nor_give_nan():
    certain = 1e4 * np.eye(5, dtype=np.float32)
    assert inception_score_of(certain)[0] == pytest.approx(5.0, rel=1e-12)
    assert inception_score_of(np.repeat(certain[:1], 5, axis=0))[0] == pytest.approx(1.0, rel=1e-12)


def test_input_errors():
    with pytest.raises(InputError, match="splits"):
        InceptionScore(5, 6)
    with pytest.raises(InputError, match="NaN"):
        inception_score_of(np.full((3, 2), np.nan))
    score = InceptionScore(10)
    score.add(LOGITS[:4])
    with pytest.raises(InputError, match="expected 10"):
        score.result()


def test_permutation_is_that_of_the_legacy_generator_at_any_batch_size():
    permuted = LOGITS[np.random.RandomState(2020).permutation(len(LOGITS))]
    expected = inception_score_of(permuted, 10)
    assert inception_score_of(LOGITS, 10, permutation_seed=2020) == pytest.approx(expected, rel=1e-12)
    assert inception_score_of(LOGITS, 10) != pytest.approx(expected, rel=1e-6)
    score = InceptionScore(len(LOGITS), 10, permutation_seed=2020)
    for start in range(0, len(LOGITS), 9):
        score.add(LOGITS[start : start + 9])
    assert score.result() == pytest.approx(expected, rel=1e-12)


def test_order_of_rows_is_of_no_consequence_to_one_split():
    assert inception_score_of(LOGITS[::-1])[0] == pytest.approx(inception_score_of(LOGITS)[0], rel=1e-12)


@pytest.mark.parametrize("num_splits", [1, 3])
def test_standard_error_is_that_of_leaving_groups_out(num_splits):
    score = InceptionScore(len(LOGITS), num_splits, num_groups=4)
    for start in range(0, len(LOGITS), 30):
        score.add(LOGITS[start : start + 30])
    assert score.result() == pytest.approx(by_definition(LOGITS, num_splits), rel=1e-12, abs=1e-12)
    edges = [index * len(LOGITS) // num_splits for index in range(num_splits + 1)]
    left = []
    for group in range(4):
        parts = [[row for row in range(a, b) if row % 4 != group] for a, b in zip(edges[:-1], edges[1:])]
        left.append(np.mean([by_definition(LOGITS[part], 1)[0] for part in parts]))
    assert score.standard_error() == pytest.approx(np.sqrt(3 / 4 * np.sum((left - np.mean(left)) ** 2)), rel=1e-9)
    whole = InceptionScore(len(LOGITS), num_splits)
    whole.add(LOGITS)
    assert whole.standard_error() is None


def test_too_many_rows_are_an_error():
    score = InceptionScore(10)
    score.add(LOGITS[:7])
    score.add(LOGITS[:7])
    with pytest.raises(InputError, match="14 rows of logits, expected 10"):
        score.result()
