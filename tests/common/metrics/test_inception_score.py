"""Inception score against its definition, for any batches and numbers of splits."""

import numpy as np
import pytest

from common.errors import InputError
from common.metrics.inception_score import InceptionScore, inception_score

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
    assert inception_score(LOGITS, num_splits) == pytest.approx(expected, rel=1e-12, abs=1e-12)
    for size in (1, 10, 64):
        score = InceptionScore(len(LOGITS), num_splits)
        for start in range(0, len(LOGITS), size):
            score.add(LOGITS[start : start + size])
        assert score.result() == pytest.approx(expected, rel=1e-12, abs=1e-12)


def test_large_logits_neither_overflow_nor_give_nan():
    certain = 1e4 * np.eye(5, dtype=np.float32)
    assert inception_score(certain)[0] == pytest.approx(5.0, rel=1e-12)
    assert inception_score(np.repeat(certain[:1], 5, axis=0))[0] == pytest.approx(1.0, rel=1e-12)


def test_input_errors():
    with pytest.raises(InputError, match="splits"):
        InceptionScore(5, 6)
    with pytest.raises(InputError, match="NaN"):
        inception_score(np.full((3, 2), np.nan))
    score = InceptionScore(10)
    score.add(LOGITS[:4])
    with pytest.raises(InputError, match="expected 10"):
        score.result()
