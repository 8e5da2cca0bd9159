"""The search with networks, in float64: a pair's blobs do not depend on batch, order or partners."""

import dataclasses

import pytest
import torch

from common.blobs.rows import take_rows
from common.networks.blobgan.files import read_blobgan
from common.networks.blobgan.layout import Blobs
from common.networks.decision import open_decision_model
from tools.blobex_inv_cf.diverse import Diversity, search_diverse
from tools.blobex_inv_cf.goals import make_pairs
from tools.blobex_inv_cf.problem import SearchSettings
from tools.blobex_inv_cf.search import Scene, search
from tools.blobex_inv_cf.sparse import sparsify

IMAGES = 5
SETTINGS = SearchSettings(lr=0.5, n_iters=40, margin=1.0, lambda_prox_cf=0.1,
                          names=Blobs._fields, bounds={"xs": (0.0, 1.0), "ys": (0.0, 1.0)})


@pytest.fixture
def double(here):
    """A Scene of five layouts with networks in float64, and its pairs."""
    gan, decision = read_blobgan("gan.ckpt").double(), open_decision_model("decision.tar").double()
    z = torch.randn(IMAGES, gan.layout_net.noise_dim, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    with torch.no_grad():
        start = gan.layouts(z)
        pictures = gan.render(start)
        values = decision.logits(pictures)
    assert values.dtype == torch.float64
    scene = Scene(gan.render, lambda images, numbers: decision.logits(images), start, pictures)
    return scene, make_pairs(values > 0, [0, 1, 2, 3], {})[0]


def differs(one, two):
    return max(float((first - second).abs().max()) for first, second in zip(one, two))


@pytest.mark.parametrize("capacity", [1, 3, 16])
def test_T32_blobs_agree_to_1e_6_in_any_batch_order_and_company(capacity, double):
    scene, pairs = double
    expected = search(scene, pairs, SETTINGS, len(pairs))
    sparse = sparsify(scene, pairs, expected, SETTINGS, 0.5, len(pairs))
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(capacity)).tolist()
    found = search(scene, [pairs[number] for number in order], SETTINGS, capacity)
    again = sparsify(scene, [pairs[number] for number in order], found, SETTINGS, 0.5, capacity)
    for number, each, made in zip(order, found, again):
        assert differs(each.blobs, expected[number].blobs) < 1e-6
        assert differs(made[0], sparse[number][0]) < 1e-6
        assert (each.evaluations, each.state) == (expected[number].evaluations, expected[number].state)
    some = order[:2]  # with others as partners
    for number, each in zip(some, search(scene, [pairs[number] for number in some], SETTINGS, capacity)):
        assert differs(each.blobs, expected[number].blobs) < 1e-6


def test_T32_several_at_once_agree_too(double):
    scene, pairs = double
    settings, labels = dataclasses.replace(SETTINGS, n_iters=10), [str(number) for number in range(IMAGES)]
    whole = search_diverse(scene, pairs[:6], settings, Diversity(2, margin=1.0), 12, 0, labels)
    parts = search_diverse(scene, pairs[5::-1], settings, Diversity(2, margin=1.0), 3, 0, labels)
    for one, two in zip(whole, parts[::-1]):
        assert differs(one.blobs, two.blobs) < 1e-6


def test_the_background_is_free_without_chosen_blobs_alone(double):
    scene, _ = double
    assert take_rows(scene.start, ("features",))["features"].shape[1] == 4
    assert take_rows(scene.start, ("features",), (0, 2))["features"].shape[1] == 2
