"""MIND against its formula and closed forms."""

import numpy as np
import pytest

from common.errors import InputError
from common.formats import rows as rows_module
from common.metrics import mind as module
from common.metrics.mind import mind


def features(count, seed):
    return np.random.default_rng(seed).standard_normal((count, 12)).astype(np.float32)


def by_definition(rows1, rows2, num, seed):
    import torch

    directions = torch.randn(num, rows1.shape[1], generator=torch.Generator().manual_seed(seed))
    directions = (directions / directions.norm(dim=1, keepdim=True)).double().numpy()
    gaps = np.sort(rows1.astype(float) @ directions.T, axis=0) - np.sort(rows2.astype(float) @ directions.T, axis=0)
    return 3 * rows1.shape[1] * np.mean(gaps**2)


def test_value_is_that_of_the_formula_in_any_order_and_blocks(monkeypatch):
    rows1, rows2 = features(70, 1), features(70, 2) + 1
    expected = by_definition(rows1, rows2, 50, 7)
    assert mind(rows1, rows2, 50, 7) == pytest.approx(expected, rel=1e-12)
    assert mind(rows2, rows1[::-1], 50, 7) == pytest.approx(expected, rel=1e-12)
    monkeypatch.setattr(module, "VALUES", 300)
    monkeypatch.setattr(rows_module, "BLOCK", 9)
    assert mind(rows1, rows2, 50, 7) == pytest.approx(expected, rel=1e-12)


def test_a_shift_costs_three_times_its_square():
    """(u.s)^2 is |s|^2 / D on average over directions."""
    rows = features(40, 3)
    shift = np.float32(0.5)
    assert mind(rows, rows + shift, 20000) == pytest.approx(3 * 12 * 0.25, rel=0.02)
    assert mind(rows, rows[::-1].copy()) == 0


def test_the_larger_side_is_cut_to_some_of_its_rows():
    rows = features(30, 4)
    doubled = np.repeat(rows, 3, axis=0)
    first, second = mind(doubled, rows, 20), mind(rows, doubled, 20)
    assert 0 < first < 3
    assert first == pytest.approx(second, rel=1e-12)
    assert first == mind(doubled, rows, 20)


def test_input_errors():
    rows = features(5, 1)
    broken = rows.copy()
    broken[0, 0] = np.nan
    for call, what in (
        (lambda: mind(rows, rows[:, :3]), "12 and 3 wide"),
        (lambda: mind(rows, rows[:0]), "5 and 0 images"),
        (lambda: mind(rows, broken), "NaN"),
    ):
        with pytest.raises(InputError, match=what):
            call()
