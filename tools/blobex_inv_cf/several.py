"""Several counterfactuals of each pair at once: what --num_diverse adds to a batch."""

import torch

from common.blobs.metadata import Counterfactuals
from common.blobs.spread import spread_numbers
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, select
from tools.blobex_inv_cf.collect import ALREADY, FLIPPED, NOT_FOUND
from tools.blobex_inv_cf.diverse import RESTARTS, Diversity, search_diverse
from tools.blobex_inv_cf.problem import blob_offsets

EXTRA_COLUMNS = ("number", "pixel_distance", "relative_distance", "cosine", "blob_overlap")


def explain_several(explainer, batch, scene, values, pairs, already, extra, rows, advance):
    """Search n counterfactuals of each pair; return ({number: Counterfactuals}, lines of pairs.csv), one line for each
    counterfactual. Adds to `extra` and to the snapshot's rows."""
    options, settings = explainer.options, explainer.settings
    diversity = Diversity(options.num_diverse, gate=options.gate == "on")
    if options.diversity == "restarts":
        diversity = Diversity(options.num_diverse, **RESTARTS)
    found = search_diverse(scene, pairs, settings, diversity, options.bs, options.seed, batch.labels, advance)
    lines, attributes, n = [], {}, options.num_diverse
    for attribute in sorted({pair.attribute for pair in [*pairs, *already]}):
        members = [(pair, each) for pair, each in zip(pairs, found) if pair.attribute == attribute]
        blobs = Blobs(*(part.expand(n, *part.shape).clone() for part in scene.start))
        scores = explainer.explained.scores(values).expand(n, *values.shape).clone()
        pictures = scene.pictures.expand(n, *scene.pictures.shape).clone()
        assignment = None
        if diversity.gate:
            assignment = torch.full((n, *scene.start.sizes.shape), 1 / n, device=values.device)
        for pair, each in members:
            with torch.no_grad():
                shown = explainer.render(each.blobs)
            for whole, part in zip((*blobs, scores, pictures), (*each.blobs, explainer.explained.scores(each.values),
                                                                shown)):
                whole[:, pair.image] = part
            if assignment is not None:
                assignment[:, pair.image] = each.assignment
            start = select(scene.start, [pair.image])
            offsets = blob_offsets(each.blobs, Blobs(*(part.expand(n, *part.shape[1:]) for part in start)), settings)
            lines += _lines(explainer, batch, scene, values, pair, each, shown, offsets)
        lines += [_unsearched(explainer, batch, values, pair) for pair in already if pair.attribute == attribute]
        attributes[attribute] = Counterfactuals(scores, blobs, _distances(explainer, batch, pictures), assignment)
        rows += [(f"CF_{attribute} {number}", pictures[number]) for number in range(n)]
        extra["attributes"][attribute] = {"pairs": [line for line in lines if line["attribute"] == attribute]}
    return attributes, lines


def _distances(explainer, batch, pictures):
    """Return the perceptual distances (n, B) to the target images, or None."""
    found = [explainer.lpips(part, batch) for part in pictures]
    return None if found[0] is None else torch.stack(found)


def _base(explainer, batch, values, pair):
    """Return the cells that all lines of a pair share."""
    start, attribute = values[pair.image : pair.image + 1], pair.attribute
    return {"image": batch.labels[pair.image], "attribute": attribute,
            "name": explainer.explained.names[attribute], "start": int(start[0, attribute] > 0),
            "target": int(pair.goal[attribute] > 0),
            "start_score": float(explainer.explained.scores(start)[0, attribute])}


def _unsearched(explainer, batch, values, pair):
    base = _base(explainer, batch, values, pair)
    return base | {"outcome": ALREADY, "end": base["start"], "score": base["start_score"], "evaluations": 0, "l1": 0.0,
                   "blobs_changed": 0, "number": 0}


def _lines(explainer, batch, scene, values, pair, each, pictures, offsets):
    """Return a line of pairs.csv for each counterfactual of a pair."""
    spread = spread_numbers(pictures, scene.pictures[pair.image], offsets) if len(pictures) > 1 else {}
    scores = explainer.explained.scores(each.values)[:, pair.attribute].tolist()
    distances = image_distance(pictures, scene.pictures[pair.image : pair.image + 1]).tolist()
    return [_base(explainer, batch, values, pair) | {
        "outcome": FLIPPED if logit > 0 else NOT_FOUND, "end": int(each.values[number, pair.attribute] > 0),
        "score": scores[number], "logit": logit, "evaluations": each.evaluations, "l1": distances[number],
        "blobs_changed": int((offsets[number] > 0).sum()), "number": number, **spread}
        for number, logit in enumerate(each.logits)]
