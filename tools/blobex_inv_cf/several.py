"""Several counterfactuals of each pair at once: what --num_diverse adds to a batch."""

from typing import NamedTuple

import torch

from common.blobs.metadata import Counterfactuals
from common.blobs.spread import spread_numbers
from common.networks.blobgan.layout import Blobs, select
from tools.blobex_inv_cf.collect import FAILED, Searched, measure, place_rows
from tools.blobex_inv_cf.diverse import RESTARTS, Diversity, search_diverse
from tools.blobex_inv_cf.problem import blob_offsets
from tools.blobex_inv_cf.sparse import sparsify

EXTRA_COLUMNS = ("number", "pixel_distance", "relative_distance", "cosine", "blob_overlap")


class One(NamedTuple):
    """One of the counterfactuals of a pair, with the fields of search.Found that sparsifying and measuring read."""

    blobs: Blobs
    logit: float
    evaluations: int
    last: Blobs
    last_logit: float


def explain_several(explainer, batch, scene, start, pairs, passed, extra, rows, advance):
    """Search n counterfactuals of each pair; return ({number: Counterfactuals}, lines of pairs.csv), one line for each
    counterfactual. passed: [Searched] of pairs that are not searched. Adds to `extra` and to the snapshot's rows."""
    options, n = explainer.options, explainer.options.num_diverse
    diversity = Diversity(n, gate=options.gate == "on", margin=options.margin)
    if options.diversity == "restarts":
        diversity = Diversity(n, margin=options.margin, **RESTARTS)
    found = [None] * len(pairs)
    for settings, members in explainer.groups(batch, scene, pairs):
        for member, each in zip(members, search_diverse(scene, [pairs[member] for member in members], settings,
                                                        diversity, options.bs, options.seed, batch.labels, advance)):
            found[member] = each
    searched = []
    for pair, each in zip(pairs, found):
        ones = [None] * n if each is None else [
            One(part, logit, each.evaluations, part, logit)
            for part, logit in ((select(each.blobs, [number]), each.logits[number]) for number in range(n))]
        searched += [Searched(pair, one) for one in ones]
    if options.sparse != "off":
        searched = _sparse(explainer, scene, searched)
    searched += [each for each in passed for _ in range(n)]
    if not searched:
        return {}, []
    results = measure(explainer, batch, scene, start, searched)
    _add_spread(explainer.settings, scene, searched, results, n)
    assignments = [None if each is None else each.assignment for each in found] + [None] * len(passed)
    return _stored(explainer, scene, start, searched, results, assignments if diversity.gate else None, extra,
                   rows), results.lines


def _sparse(explainer, scene, searched):
    """Return the Searched with their sparse versions."""
    options = explainer.options
    chosen = [number for number, each in enumerate(searched) if each.found is not None and each.found.logit > 0]
    made = sparsify(scene, [searched[number].pair for number in chosen], [searched[number].found for number in chosen],
                    explainer.settings, options.sparse_margin, options.bs, options.sparse)
    searched = list(searched)
    for number, each in zip(chosen, made):
        searched[number] = searched[number]._replace(sparse=each)
    return searched


def _add_spread(settings, scene, searched, results, n):
    """Add the number of each counterfactual and, for those searched together, how they differ to the lines."""
    for first in range(0, len(searched), n):
        members = range(first, first + n)
        spread, image = {}, searched[first].pair.image
        if n > 1 and searched[first].found is not None and results.lines[first]["outcome"] != FAILED:
            start = Blobs(*(part[image].expand(n, *part.shape[1:]) for part in scene.start))
            offsets = blob_offsets(select(results.final, list(members)), start, settings)
            spread = spread_numbers(results.after.pictures[first : first + n], scene.pictures[image], offsets)
        for number, member in enumerate(members):
            results.lines[member] |= {"number": number, **spread}


def _stored(explainer, scene, start, searched, results, assignments, extra, rows):
    """Return {number: Counterfactuals} with an axis of n in front and a row for each image."""
    n, stored = explainer.options.num_diverse, {}
    scores = explainer.explained.scores
    for attribute in sorted({each.pair.attribute for each in searched}):
        firsts = [first for first in range(0, len(searched), n) if searched[first].pair.attribute == attribute]
        images = results.after.images[firsts]

        def placed(usual, values, firsts=firsts, images=images):
            return torch.stack([place_rows(usual, values, images, [first + number for first in firsts])
                                for number in range(n)])

        blobs, dense = (Blobs(*map(placed, scene.start, each)) for each in (results.final, results.dense))
        lpips = None if results.after.lpips is None else placed(start.lpips, results.after.lpips)
        assignment = None
        if assignments is not None:
            assignment = torch.full((n, *scene.start.sizes.shape), 1 / n, device=images.device)
            for first in firsts:
                if assignments[first // n] is not None:
                    assignment[:, searched[first].pair.image] = assignments[first // n].to(assignment)
        stored[attribute] = Counterfactuals(placed(scores(start.values), scores(results.after.values)), blobs, lpips,
                                            assignment)
        pictures = placed(scene.pictures, results.after.pictures)
        rows += [(f"CF_{attribute} {number}", pictures[number]) for number in range(n)]
        entry = {"pairs": [results.lines[first + number] for first in firsts for number in range(n)]}
        if explainer.options.sparse != "off":
            entry["blob_cf"] = {name: part.cpu() for name, part in dense._asdict().items()}
            entry["final_scores"] = placed(scores(start.values), scores(results.before.values)).cpu()
        extra["attributes"][attribute] = entry
    return stored
