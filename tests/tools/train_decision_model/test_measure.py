"""The report's numbers are scikit-learn's, its temperatures the best ones."""

import numpy as np
import pytest
import torch
from sklearn import metrics
from sklearn.calibration import calibration_curve

from tools.train_decision_model.measure import MEASURES, calibration_error, measure, temperatures


def made(count=200, seed=0):
    draws = np.random.default_rng(seed)
    truth = (draws.random((count, 4)) < (0.5, 0.1, 0.9, 0.5)).astype(np.uint8)
    logits = (2 * truth - 1) * (0.5, 1, 2, 0) + draws.normal(0, 1.5, (count, 4))
    scores = 1 / (1 + np.exp(-logits))
    return logits, np.round(scores, 2), truth  # rounded: with ties


def test_every_number_is_that_of_scikit_learn():
    _, scores, truth = made()
    found = measure(scores, truth)
    assert list(found) == list(MEASURES)
    seen = (scores > 0.5).astype(int)
    for place in range(4):
        y, s, p = truth[:, place], seen[:, place], scores[:, place]
        expected = {"prevalence": y.mean(), "accuracy": metrics.accuracy_score(y, s),
                    "balanced_accuracy": metrics.balanced_accuracy_score(y, s), "f1": metrics.f1_score(y, s),
                    "auroc": metrics.roc_auc_score(y, p)}
        for name, value in expected.items():
            assert found[name][place] == pytest.approx(value, abs=1e-6), name


def test_the_calibration_error_is_that_of_scikit_learns_bins():
    draws = np.random.default_rng(1)
    scores = draws.random(500)
    truth = draws.random(500) < scores**2
    share, mean = calibration_curve(truth, scores, n_bins=15)
    counts = np.histogram(scores, 15, (0, 1))[0]
    assert calibration_error(scores, truth) == pytest.approx((counts * abs(share - mean)).sum() / 500, abs=1e-6)


def test_what_has_one_value_only_has_no_ranking():
    found = measure(np.array([[0.2], [0.9]]), np.array([[1], [1]]))
    assert (found["auroc"], found["balanced_accuracy"]) == ([None], [None])
    assert found["accuracy"] == [0.5]
    assert measure(np.array([[0.2], [0.1]]), np.array([[0], [0]]))["f1"] == [0.0]


@pytest.mark.parametrize("kind", ["attributes", "classes"])
def test_no_other_temperature_has_a_smaller_cross_entropy(kind):
    logits, _, truth = made(300)
    if kind == "classes":
        truth = np.eye(4, dtype=np.uint8)[(logits + np.random.default_rng(2).normal(0, 2, logits.shape)).argmax(axis=1)]
    found = temperatures(3 * logits, truth, kind)
    assert found.shape == ((4,) if kind == "attributes" else (1,))

    def loss(scale):
        z, y = torch.from_numpy(3 * logits / scale), torch.from_numpy(truth).double()
        if kind == "classes":
            return torch.nn.functional.cross_entropy(z, y, reduction="none").sum().reshape(1).numpy()
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none").sum(dim=0).numpy()

    inner = found < 19  # a column of chance has the flattest there is
    for factor in (0.98, 1.02):
        assert (loss(found) <= loss(found * factor))[inner].all()


def test_decisions_that_are_all_right_get_the_least_temperature():
    truth = np.array([[1, 0], [0, 1]], np.uint8)
    assert temperatures(np.array([[3.0, -2.0], [-1.0, 5.0]]), truth, "attributes") == pytest.approx([0.05, 0.05])
