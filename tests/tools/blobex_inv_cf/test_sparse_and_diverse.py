"""Blobs that go back, and several counterfactuals of one pair."""

import dataclasses

import pytest
import torch

from common.blobs.changes import changed_blobs, revert
from common.blobs.spread import spread_numbers
from common.networks.blobgan.layout import Blobs, cat, select
from tests.tools.blobex_inv_cf.scenes import BLOBS, blobs, flips, scene
from tools.blobex_inv_cf import diverse
from tools.blobex_inv_cf.diverse import (
    RESTARTS,
    RIDGE,
    Diversity,
    assignment_overlap,
    diverse_blobs,
    gates,
    picture_spread,
    search_diverse,
)
from tools.blobex_inv_cf.problem import SearchSettings, blob_offsets
from tools.blobex_inv_cf.rows import Rows
from tools.blobex_inv_cf.search import search
from tools.blobex_inv_cf.sparse import sparsify

SETTINGS = SearchSettings(lr=0.3, n_iters=200, margin=8.0)


def test_changed_blobs_are_counted_with_the_background_and_without_its_size():
    start = blobs(2)
    moved = start._replace(xs=start.xs + torch.tensor([[0, 1, 0, 0, 0]]), sizes=start.sizes.clone(),
                           features=start.features.clone())
    moved.sizes[:, 0] += 1
    moved.features[1, 0] += 1
    assert changed_blobs(moved, start).tolist() == [[False, False, True, False, False, False],
                                                    [True, False, True, False, False, False]]
    one, two = select(moved, [0]), select(start, [0])
    assert not changed_blobs(revert(one, two, 2), two).any()
    assert revert(one, two, 3) is None
    assert revert(one, two, 2, "features") is None


def test_sparse_ones_stay_flipped_with_fewer_blobs_and_a_smaller_change():
    made = scene()
    pairs = flips(made)
    found = search(made, pairs, SETTINGS, 12)
    sparse = sparsify(made, pairs, found, SETTINGS, 1.0, 4)
    start = cat([select(made.start, [pair.image]) for pair in pairs])
    whole = cat([each for each, _ in sparse])
    values = made.values(made.render(whole), None)
    logits = (values * torch.tensor([pair.goal for pair in pairs])).sum(dim=1)
    assert (logits >= 1.0).all()
    before, after = (changed_blobs(each, start).sum(dim=1) for each in (cat([each.blobs for each in found]), whole))
    assert (after <= before).all()
    assert after.sum() < 0.8 * before.sum()
    kept = changed_blobs(whole, start)
    assert torch.equal(whole.features[~kept], start.features[~kept])  # a blob goes back whole
    assert all(spent <= 2 * (BLOBS + 1) for _, spent in sparse)  # T29: two passes at most
    again = sparsify(made, pairs, found, SETTINGS, 1.0, 12)
    assert all(torch.allclose(one.sizes, two.sizes) for (one, _), (two, _) in zip(sparse, again))


def test_single_tensors_go_back_too():
    made = scene()
    pairs = flips(made)
    found = search(made, pairs, SETTINGS, 12)
    start = cat([select(made.start, [pair.image]) for pair in pairs])
    counts = []
    for mode in ("blobs", "tensors"):
        whole = cat([each for each, _ in sparsify(made, pairs, found, SETTINGS, 1.0, 12, mode)])
        counts.append(sum(int(((now - then).abs().flatten(2).amax(dim=2) > 1e-6).sum()) if now.dim() == 3 else
                          int(((now - then).abs() > 1e-6).sum()) for now, then in zip(whole, start)))
    assert counts[1] < counts[0]


def test_the_gate_moves_the_owner_at_full_step_and_shares_sum_to_one():
    logits = torch.randn(2, 3, 6, dtype=torch.float64)
    shares, gate = gates(logits)
    assert torch.allclose(shares.sum(dim=1), torch.ones(2, 6, dtype=torch.float64))
    assert torch.equal(gate.amax(dim=1), torch.ones(2, 6, dtype=torch.float64))
    assert assignment_overlap(torch.eye(3, dtype=torch.float64)[None]).item() == 0
    assert assignment_overlap(torch.full((1, 3, 6), 1 / 3, dtype=torch.float64)).item() == pytest.approx(3 / 9)


def test_the_spread_of_pictures_is_0_where_they_are_orthogonal_and_large_where_two_coincide():
    changes = torch.eye(3, dtype=torch.float64)[None] * 5
    assert picture_spread(changes).item() == pytest.approx(-3 * torch.tensor(1.001).log().item(), abs=1e-6)
    same = torch.tensor([[[1.0, 0, 0], [1.0, 0, 0], [0, 1, 0]]], dtype=torch.float64)
    assert picture_spread(same).item() > 5


def test_spread_numbers_of_known_pictures():
    pictures = torch.zeros(2, 1, 2, 2)
    pictures[0, 0, 0, 0], pictures[1, 0, 1, 1] = 1.0, 1.0
    offsets = torch.tensor([[1.0, 0, 2], [0, 3, 2]])
    found = spread_numbers(pictures, torch.zeros(1, 2, 2), offsets)
    assert found["pixel_distance"] == pytest.approx(0.5)
    assert found["relative_distance"] == pytest.approx(2.0)
    assert found["cosine"] == pytest.approx(0)
    assert found["blob_overlap"] == pytest.approx(2 / 6)


@pytest.mark.parametrize("count", [2, 3, 5, 20])
def test_T30_any_number_of_counterfactuals(count):
    made = scene()
    pairs = flips(made)[:3]
    found = search_diverse(made, pairs, dataclasses.replace(SETTINGS, n_iters=60), Diversity(count), 7, 0, list("abc"))
    for each in found:
        assert len(each.blobs.xs) == len(each.logits) == count
        assert each.assignment.shape == (count, BLOBS + 1)
        assert max(each.logits) > 0


@pytest.mark.parametrize("count", [1, 3])
def test_T30_without_early_stop_all_steps_are_done_however_many_there_are(count):
    made = scene()
    pairs, settings = flips(made)[:2], dataclasses.replace(SETTINGS, n_iters=5, early_stop=False)
    alone = search(made, pairs, settings, 4)
    for one, each in zip(alone, search_diverse(made, pairs, settings, Diversity(count), 4, 0, list("abc"))):
        assert each.evaluations == count * one.evaluations == 6 * count  # steps lie between evaluations


def test_the_objective_of_a_diverse_search_is_the_sum_of_its_terms():
    made, diversity = scene(), Diversity(3, weight=0.7, weight_assignment=0.4, margin=2.0)
    pairs, settings = flips(made)[:2], dataclasses.replace(SETTINGS, lambda_prox_cf=0.0)
    rows = Rows({**settings.rates(), "assignment": 0.1})
    rows.append(*diverse._entry(made, pairs, [0, 1], settings, diversity, 0, list("abc")))
    with torch.no_grad():
        objective = diverse._evaluate(made, rows, settings, diversity)
        for number, pair in enumerate(pairs):
            own = {name: part[number : number + 1] for name, part in rows.parts.items()}
            pictures = made.render(diverse_blobs(select(made.start, [pair.image]), own, settings, diversity)[0])
            values = made.values(pictures, None)
            sign = pair.goal[pair.attribute]
            expected = sum(torch.log1p(torch.exp(2.0 - sign * value)) for value in values[:, pair.attribute])
            changes = (pictures - made.pictures[pair.image]).flatten(1)
            changes = changes / changes.norm(dim=1, keepdim=True)
            gram = changes @ changes.T + RIDGE * torch.eye(3, dtype=changes.dtype)
            shares = own["assignment"][0].softmax(dim=0)
            overlap = sum((shares[i] * shares[j]).mean() for i, j in ((0, 1), (0, 2), (1, 2)))
            assert objective[number].item() == pytest.approx((expected - 0.7 * gram.logdet() + 0.4 * overlap).item())


def test_T31_they_move_different_blobs_than_restarts_do_at_equal_success():
    made = scene()
    pairs, settings, overlap = flips(made)[:6], dataclasses.replace(SETTINGS, n_iters=150), {}
    for name, diversity in (("ours", Diversity(3)), ("restarts", Diversity(3, **RESTARTS))):
        found = search_diverse(made, pairs, settings, diversity, 18, 0, list("abc"))
        assert all(logit > 0 for each in found for logit in each.logits)
        numbers = []
        for pair, each in zip(pairs, found):
            start = Blobs(*(part[pair.image].expand(3, *part.shape[1:]) for part in made.start))
            offsets = blob_offsets(each.blobs, start, settings)
            numbers.append(spread_numbers(made.render(each.blobs), made.pictures[pair.image], offsets)["blob_overlap"])
        overlap[name] = sum(numbers) / len(numbers)
    assert overlap["ours"] < 0.6 * overlap["restarts"]


def test_T32_a_diverse_pair_depends_on_no_other():
    made = scene()
    pairs, settings = flips(made)[:4], dataclasses.replace(SETTINGS, n_iters=40)
    whole, parts = (search_diverse(made, pairs, settings, Diversity(2), capacity, 0, list("abc"))
                    for capacity in (8, 2))
    for one, two in zip(whole, parts):
        assert all((first - second).abs().max() < 1e-6 for first, second in zip(one.blobs, two.blobs))
