"""Results of a batch's searches, measured: metadata, lines of pairs.csv, rows of the snapshot."""

from functools import partial

import torch

from common.blobs.changes import changed_blobs
from common.blobs.metadata import Counterfactuals
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, cat, select
from tools.blobex_inv_cf.problem import signed_logits

FLIPPED, NOT_FOUND, ALREADY, FAILED = "flipped", "not_found", "already", "failed"
COLUMNS = ("image", "attribute", "name", "outcome", "start", "target", "end", "start_score", "score", "start_logit",
           "logit", "evaluations", "sparse_evaluations", "l1", "lpips", "blobs_changed", "flip_on_real",
           "score_on_real", "dense_score", "dense_l1", "dense_blobs_changed")


class Measured:
    """What a set of blobs, one for each pair, comes to.

    pictures (N, 3, H, W), values (N, A), logits (N,) signed towards the goals, l1 (N,), changed (N,) blobs, lpips (N,)
    or None, real_values (N, A) of the change on the real picture or None.
    """

    def __init__(self, explainer, batch, scene, pairs, blobs):
        device = scene.pictures.device
        self.images = torch.tensor([pair.image for pair in pairs], device=device)
        goals = torch.tensor([pair.goal for pair in pairs], dtype=scene.start.sizes.dtype, device=device)
        size, parts, real = explainer.options.bs, [], []
        with torch.no_grad():
            for first in range(0, len(pairs), size):
                rows = slice(first, first + size)
                pictures = explainer.render(select(blobs, rows))
                parts.append((pictures, scene.values(pictures, self.images[rows])))
                if batch.names is not None:
                    shown = explainer.on_real(pictures, batch, self.images[rows], scene.pictures)
                    real.append((explainer.explained.values(shown), self._reached(explainer, shown, goals[rows])))
        self.pictures, self.values = (torch.cat(part) for part in zip(*parts))
        self.reached, self.reached_on_real = self._reached(explainer, self.pictures, goals), None
        self.logits, self.goals = signed_logits(self.values, goals), goals
        self.l1 = image_distance(self.pictures, scene.pictures[self.images])
        self.changed = changed_blobs(blobs, select(scene.start, self.images)).sum(dim=1)
        self.lpips = explainer.lpips(self.pictures, batch, self.images)
        self.real_values = None
        if real:
            self.real_values, self.reached_on_real = (torch.cat(part) for part in zip(*real))

    @staticmethod
    def _reached(explainer, pictures, goals):
        """Return whether the decisions on pictures are all as the goals want them, (N,) bool."""
        size = explainer.options.bs
        decided = torch.cat([explainer.explained.decided(part) for part in pictures.split(size)])
        return ((decided == (goals > 0)) | (goals == 0)).all(dim=1)

    def is_finite(self):
        """Return which rows (N,) are finite throughout."""
        return self.pictures.flatten(1).isfinite().all(dim=1) & self.values.isfinite().all(dim=1)


def collect(explainer, batch, scene, values, searched, extra, rows):
    """Return ({number: Counterfactuals}, lines of pairs.csv) and add to `extra` and to the snapshot's rows.

    searched: [(Pair, Found or None, (Blobs, evaluations) of the sparse version or None)], also of pairs that needed no
    search, in the order of images and attributes.
    """
    if not searched:
        return {}, []
    starts = [select(scene.start, [pair.image]) for pair, _, _ in searched]
    dense = cat([start if found is None else found.blobs for start, (_, found, _) in zip(starts, searched)])
    final = cat([found.blobs if sparse is None and found is not None else start if sparse is None else sparse[0]
                 for start, (_, found, sparse) in zip(starts, searched)])
    pairs = [pair for pair, _, _ in searched]
    before = Measured(explainer, batch, scene, pairs, dense)
    after = Measured(explainer, batch, scene, pairs, final)
    bad = (~(before.is_finite() & after.is_finite())).nonzero()[:, 0].tolist()
    if bad:  # nothing that is not finite reaches a file
        dense, final = (_replaced(blobs, bad, starts) for blobs in (dense, final))
        before, after = (Measured(explainer, batch, scene, pairs, blobs) for blobs in (dense, final))
    lines = [_line(explainer, batch, values, number, each, before, after, number in bad)
             for number, each in enumerate(searched)]
    return _attributes(explainer, scene, searched, dense, final, before, after, lines, extra, rows), lines


def _replaced(blobs, rows, starts):
    parts = [starts[number] if number in rows else select(blobs, [number]) for number in range(len(starts))]
    return cat(parts)


def _line(explainer, batch, values, number, searched, before, after, failed):
    """Return the line of pairs.csv of one pair."""
    pair, found, sparse = searched
    explained, attribute = explainer.explained, pair.attribute
    start = values[pair.image : pair.image + 1]
    flips = bool(after.reached[number])
    outcome = FAILED if failed else ALREADY if found is None and flips else FLIPPED if flips else NOT_FOUND

    def score(numbers):
        return float(explained.scores(numbers)[0, attribute])

    own = slice(number, number + 1)
    real = after.real_values
    return {
        "image": batch.labels[pair.image], "attribute": attribute,
        "name": explained.names[attribute], "outcome": outcome, "start": int(start[0, attribute] > 0),
        "target": int(pair.goal[attribute] > 0), "end": int(after.values[number, attribute] > 0),
        "start_score": score(start), "score": score(after.values[own]),
        "start_logit": float(signed_logits(start, after.goals[own])), "logit": float(after.logits[number]),
        "evaluations": 0 if found is None else found.evaluations,
        "sparse_evaluations": 0 if sparse is None else sparse[1], "l1": float(after.l1[number]),
        "lpips": None if after.lpips is None else float(after.lpips[number]),
        "blobs_changed": int(after.changed[number]),
        "flip_on_real": None if real is None else int(after.reached_on_real[number]),
        "score_on_real": None if real is None else score(real[own]), "dense_score": score(before.values[own]),
        "dense_l1": float(before.l1[number]), "dense_blobs_changed": int(before.changed[number])}


def _attributes(explainer, scene, searched, dense, final, before, after, lines, extra, rows):
    """Return {number: Counterfactuals} with a row for each image; images without a pair keep their reconstruction."""
    found, count = {}, len(scene.pictures)
    numbers = sorted({pair.attribute for pair, _, _ in searched})
    kept = explainer.explained.scores(scene.values(scene.pictures, torch.arange(count, device=after.images.device)))
    for attribute in numbers:
        members = [number for number, (pair, _, _) in enumerate(searched) if pair.attribute == attribute]
        images = after.images[members]
        placed = partial(_placed, images=images, members=members)
        blobs = Blobs(*map(placed, scene.start, final))
        lpips = None
        if after.lpips is not None:
            lpips = placed(torch.zeros(count, device=after.lpips.device), after.lpips)
        found[attribute] = Counterfactuals(placed(kept, explainer.explained.scores(after.values)), blobs, lpips)
        rows.append((f"CF_{attribute}", placed(scene.pictures, after.pictures)))
        by_image = {lines[number]["image"]: lines[number] for number in members}
        entry = {"pairs": list(by_image.values())}
        if explainer.options.sparse != "off":
            whole = Blobs(*map(placed, scene.start, dense))
            entry["blob_cf"] = {name: part.cpu() for name, part in whole._asdict().items()}
            entry["final_scores"] = placed(kept, explainer.explained.scores(before.values)).cpu()
        extra["attributes"][attribute] = entry
    return found


def _placed(usual, values, images, members):
    """Return `usual`, a row for each image, with the members' rows of `values` at their images."""
    whole = usual.detach().clone()
    whole[images] = values[members].to(whole.dtype)
    return whole
