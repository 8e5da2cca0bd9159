"""The search: early stop, rows that do not know of each other, hard decisions."""

import dataclasses

import pytest
import torch

from common.networks.blobgan.layout import Blobs
from tests.tools.blobex_inv_cf.scenes import OBJECTIVES, flips, scene
from tools.blobex_inv_cf.goals import make_pairs
from tools.blobex_inv_cf.problem import Pair, SearchSettings, goal_loss, signed_logits
from tools.blobex_inv_cf.search import FLIPPED, NOT_FLIPPED, SAFE, evaluate, search

SETTINGS = SearchSettings(lr=0.2, n_iters=300)


def difference(one, two):
    """Return the largest difference of two Blobs."""
    return max(float((first - second).abs().max()) for first, second in zip(one, two))


def test_pairs_leave_once_their_decision_has_flipped_for_good():
    made = scene()
    pairs = flips(made)
    found = search(made, pairs, SETTINGS, len(pairs))
    assert all(each.state == SAFE for each in found)
    assert max(each.evaluations for each in found) < 300
    for pair, each in zip(pairs, found):
        pictures, values = evaluate(made, each.blobs, torch.tensor([pair.image]))
        logit = float(signed_logits(values, torch.tensor([pair.goal], dtype=values.dtype)))
        assert logit == pytest.approx(each.logit, abs=1e-9)
        assert logit > SETTINGS.margin
        assert float((pictures - made.pictures[pair.image]).abs().mean()) == pytest.approx(each.distance, abs=1e-9)
        assert each.at == each.evaluations - SETTINGS.patience + 1  # of the safe ones the first is the nearest
        assert each.last_logit >= each.logit


@pytest.mark.parametrize("capacity", [1, 5, 12])
def test_T32_a_pairs_result_depends_on_no_other_pair(capacity):
    made = scene()
    pairs = flips(made)
    whole = search(made, pairs, SETTINGS, len(pairs))
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(1)).tolist()
    shuffled = search(made, [pairs[number] for number in order], SETTINGS, capacity)
    for number, each in zip(order, shuffled):
        assert difference(whole[number].blobs, each.blobs) < 1e-6
        assert whole[number].evaluations == each.evaluations
    alone = search(made, pairs[3:4], SETTINGS, 1)[0]
    assert difference(whole[3].blobs, alone.blobs) < 1e-6


def test_without_early_stop_blobs_and_scores_are_those_after_the_last_step():
    made = scene()
    pair = flips(made)[0]
    settings = dataclasses.replace(SETTINGS, early_stop=False, n_iters=7)
    found = search(made, [pair], settings, 1)[0]
    parts = {name: getattr(made.start, name)[:1].clone().requires_grad_() for name in settings.names}
    adam = torch.optim.Adam([{"params": [part], "lr": rate} for (_, part), rate in zip(parts.items(),
                                                                                     settings.rates().values())])
    goals = torch.tensor([pair.goal], dtype=torch.float64)
    for _ in range(7):
        start = Blobs(*(part[:1] for part in made.start))
        values = made.values(made.render(start._replace(**parts)), None)
        adam.zero_grad()
        goal_loss(values, goals).sum().backward()
        adam.step()
    expected = start._replace(**{name: part.detach() for name, part in parts.items()})
    assert found.evaluations == 8
    assert difference(found.blobs, expected) < 1e-9
    assert torch.allclose(found.values, made.values(made.render(expected), None)[0])


def test_T26_what_is_already_as_wanted_is_listed_and_not_searched():
    decided = torch.tensor([[True, False], [False, True]])
    pairs, already = make_pairs(decided, [0], {0: 1})
    assert [pair.image for pair in pairs] == [1]
    assert [pair.image for pair in already] == [0]
    assert len(make_pairs(decided, [0], {0: 1}, search_anyway=True)[0]) == 2
    joint, there = make_pairs(decided, [0, 1], {0: 1, 1: -1}, joint=True)
    assert [pair.goal for pair in joint] == [(1, -1)]
    assert [pair.image for pair in there] == [0]


def test_T27_a_flip_that_is_not_reached_keeps_its_best_attempt():
    made = scene(strength=1e-3)
    found = search(made, flips(made), dataclasses.replace(SETTINGS, n_iters=1), 3)
    assert {each.state for each in found} <= {NOT_FLIPPED, FLIPPED}
    assert all(each.evaluations == 2 for each in found)
    assert all(each.logit == each.logit for each in found)


def test_T29_a_decision_that_cannot_change_ends_after_its_steps():
    made = scene(decide=lambda flat: flat[:, :OBJECTIVES] * 0 - 1)
    found = search(made, [Pair(0, 0, (1, 0, 0, 0))], dataclasses.replace(SETTINGS, n_iters=20), 1)[0]
    assert (found.state, found.evaluations) == (NOT_FLIPPED, 21)


@pytest.mark.parametrize("strength", [1e4, 1e6])
def test_T37_saturated_decisions_have_finite_steps(strength):
    made = scene(strength=strength)
    found = search(made, flips(made), SETTINGS, 12)
    assert all(part.isfinite().all() for each in found for part in each.blobs)
    assert all(each.state == SAFE for each in found)


def test_a_row_that_is_not_finite_changes_no_other():
    clean = scene()
    pairs = flips(clean)

    def poisoned(layout):
        pictures = clean.render(layout)
        return torch.where((layout.sizes[:, 1] == clean.start.sizes[0, 1])[:, None, None, None], torch.nan, pictures)

    made = clean._replace(render=lambda layout: poisoned(layout))
    settings = dataclasses.replace(SETTINGS, names=("features", "spatial_style"))
    expected, found = (search(each, pairs, settings, 12) for each in (clean, made))
    for pair, one, two in zip(pairs, expected, found):
        if pair.image == 0:
            assert two.state == NOT_FLIPPED
            assert two.evaluations == 2  # it leaves
            assert all(part.isfinite().all() for part in two.blobs)
        else:
            assert difference(one.blobs, two.blobs) < 1e-9


def test_only_the_blobs_that_may_change_do():
    made = scene()
    settings = dataclasses.replace(SETTINGS, targets=(1, 4), names=("xs", "sizes", "features"))
    for pair, each in zip(flips(made), search(made, flips(made), settings, 12)):
        start = Blobs(*(part[pair.image : pair.image + 1] for part in made.start))
        assert torch.equal(each.blobs.spatial_style, start.spatial_style)
        assert torch.equal(each.blobs.xs[:, [0, 2, 3]], start.xs[:, [0, 2, 3]])
        assert torch.equal(each.blobs.features[:, [0, 1, 3, 4]], start.features[:, [0, 1, 3, 4]])
        assert not torch.equal(each.blobs.features[:, [2, 5]], start.features[:, [2, 5]])


def test_bounds_hold_at_every_step():
    made = scene(strength=1e-2)
    low, high = made.start.sizes.amin(dim=0) - 0.1, made.start.sizes.amax(dim=0) + 0.1
    settings = dataclasses.replace(SETTINGS, names=("xs", "ys", "sizes"), lr=5.0, n_iters=30,
                                   bounds={"xs": (0.0, 1.0), "ys": (0.0, 1.0), "sizes": (low, high)})
    for each in search(made, flips(made), settings, 12):
        assert ((each.last.xs >= 0) & (each.last.xs <= 1)).all()
        assert ((each.last.sizes >= low) & (each.last.sizes <= high)).all()


def test_the_proximity_keeps_the_picture_nearer():
    made = scene()
    pairs = flips(made)
    near = dataclasses.replace(SETTINGS, lambda_prox_cf=3.0, lambda_prox=dict.fromkeys(SETTINGS.names, 1.0))
    distances = [sum(each.distance for each in search(made, pairs, settings, 12)) for settings in (SETTINGS, near)]
    assert distances[1] < distances[0]
