"""Results of a batch's searches, measured: metadata, lines of pairs.csv, rows of the snapshot."""

from functools import partial
from typing import NamedTuple, Optional, Tuple

import torch

from common.blobs.changes import changed_blobs
from common.blobs.metadata import Counterfactuals
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, cat, select
from tools.blobex_inv_cf.goals import pair_name
from tools.blobex_inv_cf.problem import Pair, signed_logits

FLIPPED, NOT_FOUND, ALREADY, FAILED = "flipped", "not_found", "already", "failed"
COLUMNS = ("image", "attribute", "name", "outcome", "start", "target", "end", "start_score", "score", "start_logit",
           "logit", "evaluations", "sparse_evaluations", "l1", "lpips", "blobs_changed", "flip_on_real",
           "score_on_real", "dense_score", "dense_l1", "dense_blobs_changed", "dense_flip_on_real")


class Searched(NamedTuple):
    """A pair and what became of it. found: with `blobs` and `evaluations`, None where it was not searched.
    sparse: (Blobs, evaluations) or None.  outcome: known without a search, or None."""

    pair: Pair
    found: object = None
    sparse: Optional[Tuple[Blobs, int]] = None
    outcome: Optional[str] = None


class Measured:
    """What a set of blobs, one for each pair, comes to.

    pictures (N, 3, H, W), values (N, A) and reached (N,) bool of the pictures that are decided on, logits (N,) signed
    towards the goals, l1 (N,), changed (N,) blobs, lpips (N,) or None; real_values (N, A) and reached_on_real (N,) of
    the change on the real picture, or None.
    """

    def __init__(self, explainer, batch, scene, pairs, blobs):
        device = scene.pictures.device
        self.images = torch.tensor([pair.image for pair in pairs], device=device)
        goals = torch.tensor([pair.goal for pair in pairs], dtype=scene.start.sizes.dtype, device=device)
        explained, parts, real = explainer.explained, [], []
        with torch.no_grad():
            for first in range(0, len(pairs), explainer.options.bs):
                rows = slice(first, first + explainer.options.bs)
                pictures, images = explainer.render(select(blobs, rows)), self.images[rows]
                seen = explainer.seen(pictures, batch, images, scene.pictures)
                parts.append((pictures, explained.values(seen), _reached(explained, seen, goals[rows])))
                if batch.names is not None:
                    shown = explainer.on_real(pictures, batch, images, scene.pictures)
                    real.append((explained.values(shown), _reached(explained, shown, goals[rows])))
        self.pictures, self.values, self.reached = (torch.cat(part) for part in zip(*parts))
        self.logits, self.goals = signed_logits(self.values, goals), goals
        self.l1 = image_distance(self.pictures, scene.pictures[self.images])
        self.changed = changed_blobs(blobs, select(scene.start, self.images)).sum(dim=1)
        self.lpips = explainer.lpips(self.pictures, batch, self.images)
        self.real_values = self.reached_on_real = None
        if real:
            self.real_values, self.reached_on_real = (torch.cat(part) for part in zip(*real))

    def is_finite(self):
        """Return which rows (N,) are finite throughout."""
        good = self.pictures.flatten(1).isfinite().all(dim=1) & self.values.isfinite().all(dim=1)
        for part in (self.lpips, self.real_values):
            good = good if part is None else good & part.reshape(len(good), -1).isfinite().all(dim=1)
        return good


def _reached(explained, pictures, goals):
    """Return whether the decisions on pictures are all as the goals want them, (N,) bool."""
    return ((explained.decided(pictures) == (goals > 0)) | (goals == 0)).all(dim=1)


class Results(NamedTuple):
    """Blobs of all Searched, before (dense) and after (final) they were made sparse, both Measured, and the lines of
    pairs.csv."""

    dense: Blobs
    final: Blobs
    before: Measured
    after: Measured
    lines: list


def measure(explainer, batch, scene, start, searched):
    """Return the Results of [Searched]; nothing in them that is not finite. start: Start of the batch."""
    starts = [select(scene.start, [each.pair.image]) for each in searched]
    pairs = [each.pair for each in searched]
    rows = [first if each.found is None else each.found.blobs for first, each in zip(starts, searched)]
    dense, before = cat(rows), None
    before = Measured(explainer, batch, scene, pairs, dense)
    bad = set((~before.is_finite()).nonzero()[:, 0].tolist())
    if bad:
        dense = cat([starts[number] if number in bad else row for number, row in enumerate(rows)])
        before = Measured(explainer, batch, scene, pairs, dense)
    final, after = _made_sparse(explainer, batch, scene, searched, dense, before, bad)
    lines = []
    for number, each in enumerate(searched):
        outcome = each.outcome or (FAILED if number in bad else FLIPPED if bool(after.reached[number]) else NOT_FOUND)
        lines.append(_line(explainer, batch, start, number, each, before, after, outcome))
    return Results(dense, final, before, after, lines)


def _made_sparse(explainer, batch, scene, searched, dense, before, bad):
    """Return (Blobs, Measured) with the sparse versions, but for those that lost a flip in the eyes of the judge, or
    are not finite: a search goes by sums and means where some objectives are judged by counts."""
    if all(each.sparse is None for each in searched):
        return dense, before
    pairs = [each.pair for each in searched]
    rows = [select(dense, [number]) if each.sparse is None or number in bad else each.sparse[0]
            for number, each in enumerate(searched)]
    final = cat(rows)
    after = Measured(explainer, batch, scene, pairs, final)
    lost = (~after.is_finite() | before.reached & ~after.reached).nonzero()[:, 0].tolist()
    if lost:
        final = cat([select(dense, [number]) if number in lost else row for number, row in enumerate(rows)])
        after = Measured(explainer, batch, scene, pairs, final)
    return final, after


def _line(explainer, batch, start, number, searched, before, after, outcome):
    """Return the line of pairs.csv of one pair."""
    pair, found, sparse, _ = searched
    explained, attribute, values = explainer.explained, pair.attribute, start.values[pair.image : pair.image + 1]

    def score(numbers):
        return float(explained.scores(numbers)[0, attribute])

    own = slice(number, number + 1)
    real = after.real_values
    return {
        "image": batch.labels[pair.image], "attribute": attribute, "name": pair_name(pair, explained.names),
        "outcome": outcome, "start": int(start.decided[pair.image, attribute]),
        "target": int(pair.goal[attribute] > 0),
        "end": _end(pair, bool(after.reached[number]), after.values[number, attribute]),
        "start_score": score(values), "score": score(after.values[own]),
        "start_logit": float(signed_logits(values, after.goals[own])), "logit": float(after.logits[number]),
        "evaluations": 0 if found is None else found.evaluations,
        "sparse_evaluations": 0 if sparse is None else sparse[1], "l1": float(after.l1[number]),
        "lpips": None if after.lpips is None else float(after.lpips[number]),
        "blobs_changed": int(after.changed[number]),
        "flip_on_real": None if real is None else int(after.reached_on_real[number]),
        "score_on_real": None if real is None else score(real[own]), "dense_score": score(before.values[own]),
        "dense_l1": float(before.l1[number]), "dense_blobs_changed": int(before.changed[number]),
        "dense_flip_on_real": None if real is None else int(before.reached_on_real[number])}


def _end(pair, reached, value):
    """Return the decision after the search as it is judged; of several at once by the value of the first."""
    if sum(sign != 0 for sign in pair.goal) > 1:
        return int(value > 0)
    return int(reached == (pair.goal[pair.attribute] > 0))


def collect(explainer, batch, scene, start, searched, extra, rows):
    """Return ({number: Counterfactuals}, lines of pairs.csv) and add to `extra` and to the snapshot's rows.

    searched: [Searched], also of pairs that needed no search, in the order of images and attributes.
    """
    if not searched:
        return {}, []
    results, found = measure(explainer, batch, scene, start, searched), {}
    scores = explainer.explained.scores
    for attribute in sorted({each.pair.attribute for each in searched}):
        members = [number for number, each in enumerate(searched) if each.pair.attribute == attribute]
        placed = partial(place_rows, images=results.after.images[members], members=members)
        lpips = None if results.after.lpips is None else placed(start.lpips, results.after.lpips)
        found[attribute] = Counterfactuals(placed(scores(start.values), scores(results.after.values)),
                                           Blobs(*map(placed, scene.start, results.final)), lpips)
        rows.append((f"CF_{attribute}", placed(scene.pictures, results.after.pictures)))
        entry = {"pairs": [results.lines[number] for number in members]}
        if explainer.options.sparse != "off":
            whole = Blobs(*map(placed, scene.start, results.dense))
            entry["blob_cf"] = {name: part.cpu() for name, part in whole._asdict().items()}
            entry["final_scores"] = placed(scores(start.values), scores(results.before.values)).cpu()
        extra["attributes"][attribute] = entry
    return found, results.lines


def place_rows(usual, values, images, members):
    """Return `usual`, a row for each image, with the members' rows of `values` at their images."""
    whole = usual.detach().clone()
    whole[images] = values[members].to(whole.dtype)
    return whole
