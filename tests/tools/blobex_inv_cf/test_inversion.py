"""Inversion: rows apart, best so far, plateau, coarse steps, the terms' own definition."""

import dataclasses
from types import SimpleNamespace

import pytest
import torch

from common.blobs.inversion import InversionWeights
from common.blobs.terms import image_distance, square_distance
from common.networks.blobgan.layout import Blobs, select
from tests.tools.blobex_inv_cf.scenes import blobs, scene
from tools.blobex_inv_cf.inversion import InversionSettings, Matching, first_blobs, invert

WEIGHTS = InversionWeights(lpips=0.0, l2=1.0, decision=0.1, prox=0.01)
SETTINGS = InversionSettings(WEIGHTS, lr=0.05, n_iters=120, halve_every=40)


def features(pictures):
    """Return features (B, 4) of pictures: means of quarters."""
    return torch.nn.functional.avg_pool2d(pictures, pictures.shape[-1] // 2).mean(dim=1).flatten(1)


@pytest.fixture
def made():
    return scene(4)


def test_a_rows_inversion_depends_on_no_other(made):
    start = blobs(4, seed=3)
    whole = invert(made.render, made.pictures, start, SETTINGS, features=features)
    alone = [invert(made.render, made.pictures[row : row + 1], select(start, [row]), SETTINGS, features=features)
             for row in range(4)]
    for row, each in enumerate(alone):
        assert int(each.evaluations[0]) == int(whole.evaluations[row])
        assert all((one[0] - two[row]).abs().max() < 1e-6 for one, two in zip(each.blobs, whole.blobs))


def test_the_objective_falls_and_is_that_of_the_blobs(made):
    start = blobs(4, seed=3)
    found = invert(made.render, made.pictures, start, SETTINGS, features=features)
    rendered = made.render(found.blobs)
    prox = sum((now - then).square().flatten(1).mean(dim=1) for now, then in zip(found.blobs, start))
    expected = image_distance(rendered, made.pictures, "l2") + 0.01 * prox \
        + 0.1 * square_distance(features(rendered), features(made.pictures))
    assert torch.allclose(found.objective, expected)
    assert (image_distance(rendered, made.pictures) < 0.3 * image_distance(made.render(start), made.pictures)).all()


def test_T34_a_rate_far_too_large_never_ends_worse_than_it_began(made):
    start = blobs(4, seed=3)
    found = invert(made.render, made.pictures, start, dataclasses.replace(SETTINGS, lr=3.0), features=features)
    matching = Matching(made.pictures, WEIGHTS, None, features)
    rows = torch.arange(4)
    assert (found.objective <= matching.objective(made.render(start), start, start, rows)).all()


def test_a_row_leaves_on_its_plateau_and_more_steps_go_on(made):
    start = Blobs(*(part.clone() for part in made.start))  # exact from the beginning
    found = invert(made.render, made.pictures, start, dataclasses.replace(SETTINGS, plateau=10), features=features)
    assert (found.evaluations == 11).all()
    assert (found.objective < 1e-12).all()
    patient = invert(made.render, made.pictures, blobs(4, seed=3), dataclasses.replace(SETTINGS, plateau=0),
                     features=features)
    assert (patient.evaluations == SETTINGS.n_iters + 1).all()


def test_coarse_steps_are_not_the_best_of_the_fine_ones(made):
    start = blobs(4, seed=3)
    coarse = dataclasses.replace(SETTINGS, coarse=20)
    found = invert(made.render, made.pictures, start, coarse, features=features)
    matching = Matching(made.pictures, WEIGHTS, None, features)
    expected = matching.objective(made.render(found.blobs), found.blobs, start, torch.arange(4))
    assert torch.allclose(found.objective, expected)


def test_the_published_form_keeps_the_blobs_after_the_last_step(made):
    start = blobs(4, seed=3)
    settings = dataclasses.replace(SETTINGS, n_iters=3, plateau=0, best=False)
    found = invert(made.render, made.pictures, start, settings, features=features)
    longer = invert(made.render, made.pictures, start, dataclasses.replace(settings, n_iters=4), features=features)
    assert not torch.equal(found.blobs.features, longer.blobs.features)
    assert (longer.objective < found.objective).all()


def test_an_inversion_starts_from_what_is_asked_for_or_from_what_is_nearer(made):
    """The encoder is right about the first two pictures, the mean layout about the others."""
    right, wrong = made.start, blobs(4, seed=3)
    encoded, mean = (Blobs(*(torch.cat([one[:2], two[2:]]) for one, two in zip(*both)))
                     for both in ((right, wrong), (wrong, right)))
    blobgan = SimpleNamespace(mean_latent=lambda: torch.zeros(1), render=made.render,
                              decode=lambda latents, index=None: mean if index is None else encoded)
    encoder = SimpleNamespace(network=lambda targets: targets, config=SimpleNamespace(mlp_idx=-1))
    matching = Matching(made.pictures, WEIGHTS, None, features)
    for init, expected in (("mean", mean), ("encoder", encoded), ("best", right)):
        begun = first_blobs(blobgan, encoder, made.pictures, init, matching)
        assert all(torch.equal(one, two) for one, two in zip(begun, expected)), init
