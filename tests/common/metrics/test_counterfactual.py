"""Measures of counterfactuals against closed forms and independent computations."""

import numpy as np
import pytest
import scipy.stats
import torch
from sklearn.neighbors import NearestNeighbors

from common.metrics.counterfactual import (
    changed_attributes,
    correlation_difference,
    cout,
    mean_and_error,
    neighbours_agree,
    split_distance,
    wilson,
)


@pytest.mark.parametrize(("count", "total"), [(0, 5), (5, 5), (3, 10), (50, 1000)])
def test_wilson_is_scipys(count, total):
    expected = scipy.stats.binomtest(count, total).proportion_ci(method="wilson")
    assert wilson(count, total) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_nothing_is_the_whole_range():
    assert wilson(0, 0) == (0.0, 1.0)


def test_the_error_of_a_mean_is_over_images_not_pairs():
    values = np.array([1.0, 1.0, 1.0, 5.0, 5.0, 5.0, 9.0, 9.0, 9.0])
    groups = list("aaabbbccc")
    mean, error = mean_and_error(values, groups)
    assert mean == 5
    assert error == pytest.approx(1.959964 * np.array([1, 5, 9]).std(ddof=1) / 3**0.5, rel=1e-6)
    assert mean_and_error([2.0, 4.0], ["a", "a"]) == (3.0, None)
    assert mean_and_error([], []) == (None, None)


def test_mnac_counts_the_wanted_attribute_too():
    before = np.array([[0.9, 0.2, 0.4], [0.1, 0.2, 0.6]])
    after = np.array([[0.1, 0.2, 0.6], [0.9, 0.1, 0.7]])
    assert changed_attributes(before, after).tolist() == [2, 1]


def test_cd_of_changes_that_go_together_as_in_the_data_is_zero_and_counts_the_difference_else():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (4000, 1)).repeat(2, axis=1)  # both attributes are one in the data
    before = np.zeros((50, 2))
    before[:25] = 1
    assert correlation_difference(labels, before, 1 - before, 0) == pytest.approx(0, abs=1e-9)
    alone = before.copy()
    alone[:, 0] = 1 - before[:, 0]
    assert correlation_difference(labels, before, alone, 0) == pytest.approx(1.0)  # r of the second is 0
    expected = np.corrcoef(labels.T)[0, 1]
    assert expected == pytest.approx(1)


@pytest.mark.parametrize("queried", [0, 1, 2])
def test_cd_is_the_difference_of_numpys_correlations(queried):
    rng = np.random.default_rng(1)
    labels, before, after = (rng.random((count, 3)) for count in (200, 40, 40))
    changes = (after > 0.5).astype(float) - (before > 0.5)
    expected = np.abs(np.corrcoef(labels.T)[queried] - np.corrcoef(changes.T)[queried]).sum()
    assert correlation_difference(labels, before, after, queried) == pytest.approx(expected, rel=1e-12)


def test_cout_of_a_decision_by_one_pixel_is_nearly_one_and_of_identical_pictures_the_difference():
    images, after = torch.zeros(1, 3, 10, 10), torch.full((1, 3, 10, 10), 0.1)
    after[0, :, 4, 7] = 1.0  # enters first

    def decide(pictures):
        target = (pictures[:, 0, 4, 7] > 0.5).float()
        return torch.stack([target, 1 - target], dim=1)

    value = cout(decide, images, after)[0]
    assert value == pytest.approx(1 - 1 / 50)  # the first step alone is half on either side
    late = after.clone()
    late[0, :, 4, 7], late[0, :, :4], late[0, :, 5:] = 0.6, 0.9, 0.9
    assert cout(decide, images, late)[0] < 0  # most pixels enter before the one that counts

    def constant(pictures):
        return torch.tensor([[0.7, 0.3]]).expand(len(pictures), -1)

    assert cout(constant, images, images)[0] == pytest.approx(2 * 0.7 - 1)


def test_cout_does_not_depend_on_the_batch():
    generator = torch.Generator().manual_seed(0)
    images, after = (torch.rand(4, 3, 8, 8, generator=generator) for _ in range(2))

    def decide(pictures):
        target = pictures.mean(dim=(1, 2, 3)).sigmoid()
        return torch.stack([target, 1 - target], dim=1)

    whole = cout(decide, images, after)
    alone = [cout(decide, images[row : row + 1], after[row : row + 1])[0] for row in range(4)]
    assert whole == pytest.approx(alone, abs=1e-6)


def test_sfid_of_independent_halves_is_the_frechet_distance_of_both_and_symmetric():
    rng = np.random.default_rng(1)
    real, shifted = rng.standard_normal((4000, 3)), rng.standard_normal((4000, 3)) + [2.0, 0, 0]
    mean, spread = split_distance(real, shifted)
    assert mean == pytest.approx(4.0, abs=0.2)
    assert spread < 0.1
    assert split_distance(real, real)[0] > 0  # halves differ, where the plain distance is 0
    assert split_distance(real, shifted) == split_distance(real, shifted)


def test_ynn_is_that_of_scikit_learns_neighbours():
    rng = np.random.default_rng(2)
    features, real = rng.standard_normal((20, 4)), rng.standard_normal((100, 4))
    decisions, targets = rng.random(100) > 0.5, rng.random(20) > 0.5
    index = NearestNeighbors(n_neighbors=5).fit(real).kneighbors(features, return_distance=False)
    expected = (decisions[index] == targets[:, None]).mean(axis=1)
    assert neighbours_agree(features, real, decisions, targets).tolist() == expected.tolist()
