"""What searches found, measured."""

from types import SimpleNamespace

import torch

from common.networks.blobgan.layout import select
from tests.tools.blobex_inv_cf.scenes import flips, scene
from tools.blobex_inv_cf.collect import FAILED, FLIPPED, NOT_FOUND, Searched, measure
from tools.blobex_inv_cf.problem import SearchSettings
from tools.blobex_inv_cf.search import search


def explainer_of(made):
    """Return what `measure` asks of an explainer."""
    explained = SimpleNamespace(values=lambda seen: made.values(seen, None), scores=torch.sigmoid, names=list("abcd"),
                                decided=lambda seen: made.values(seen, None) > 0)
    return SimpleNamespace(explained=explained, options=SimpleNamespace(bs=2), render=made.render,
                           seen=lambda pictures, batch, images, start: pictures,
                           lpips=lambda pictures, batch, images: None)


def test_a_result_that_is_not_finite_becomes_its_start_and_changes_no_other():
    made = scene()
    pairs = flips(made)[:3]
    found = search(made, pairs, SearchSettings(lr=0.3, n_iters=200, margin=8.0), 3)
    broken = found[1].blobs._replace(features=found[1].blobs.features * torch.nan)
    results_of = [found[0], found[1]._replace(blobs=broken), found[2]]
    searched = [Searched(pair, each) for pair, each in zip(pairs, results_of)]
    start = SimpleNamespace(values=made.values(made.pictures, None), decided=made.values(made.pictures, None) > 0)
    results = measure(explainer_of(made), SimpleNamespace(labels=list("xyz"), names=None), made, start, searched)
    expected = [found[0].blobs, select(made.start, [pairs[1].image]), found[2].blobs]
    for number, each in enumerate(expected):
        assert all(torch.equal(one, two) for one, two in zip(select(results.final, [number]), each))
    assert results.before.is_finite().all()
    assert [line["outcome"] for line in results.lines] == [FLIPPED, FAILED, FLIPPED]
    assert results.lines[1]["blobs_changed"] == results.lines[1]["l1"] == 0
    kept = measure(explainer_of(made), SimpleNamespace(labels=list("xyz"), names=None), made, start,
                   [Searched(pairs[0], found[0]._replace(blobs=select(made.start, [pairs[0].image])))])
    assert [line["outcome"] for line in kept.lines] == [NOT_FOUND]
