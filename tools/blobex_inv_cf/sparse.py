"""Fewest objects: blobs of a counterfactual go back to where they were as long as the decision stays flipped.

One blob at a time, the least changed first; at most two passes over all of them, so that the cost is bounded.
"""

from typing import NamedTuple, Optional

import torch

from common.blobs.changes import changed_blobs, revert
from common.networks.blobgan.layout import cat, select
from tools.blobex_inv_cf.problem import blob_offsets, signed_logits
from tools.blobex_inv_cf.search import evaluate

PASSES = 2


class Candidate(NamedTuple):
    """What goes back: a blob's row (0: the background), whole or one of its tensors."""

    row: int
    name: Optional[str] = None


def sparsify(scene, pairs, found, settings, margin, capacity, mode="blobs"):
    """Return [(Blobs, evaluations)] of flipped results with as few changes as keep the signed logit above `margin`.

    It starts from the last blobs of a search where they are further over the margin than the best, and a result whose
    own logit is below the margin keeps that. mode: "blobs" whole, or "tensors", then each tensor of a blob alone,
    too. All results of a round are evaluated together, `capacity` at a time.
    """
    now = [each.last if each.last_logit > each.logit else each.blobs for each in found]
    spent, limits = [0] * len(found), [min(margin, max(each.logit, each.last_logit)) for each in found]
    for _ in range(PASSES):
        queues = [_candidates(blobs, select(scene.start, [pair.image]), settings, mode)
                  for blobs, pair in zip(now, pairs)]
        reverted = False
        while any(queues):
            trials = []
            for number, queue in enumerate(queues):
                trial = None
                while queue and trial is None:
                    trial = revert(now[number], select(scene.start, [pairs[number].image]), *queue.pop(0))
                if trial is not None:
                    trials.append((number, trial))
            for number, trial, logit in _logits(scene, pairs, trials, capacity):
                spent[number] += 1
                if logit >= limits[number]:
                    now[number], reverted = trial, True
        if not reverted:
            break
    return list(zip(now, spent))


def _candidates(blobs, start, settings, mode):
    """Return the Candidates of one picture, least change first."""
    moved = changed_blobs(blobs, start)[0]
    size = blob_offsets(blobs, start, settings)[0]
    order = sorted((row for row in range(len(moved)) if moved[row]), key=lambda row: float(size[row]))
    whole = [Candidate(row) for row in order]
    return whole + [Candidate(row, name) for row in order for name in settings.names] if mode == "tensors" else whole


def _logits(scene, pairs, trials, capacity):
    """Yield (number, blobs, signed logit) of trials, evaluated `capacity` at a time."""
    for first in range(0, len(trials), capacity):
        part = trials[first : first + capacity]
        images = torch.tensor([pairs[number].image for number, _ in part], device=scene.pictures.device)
        _, values = evaluate(scene, cat([blobs for _, blobs in part]), images)
        goals = torch.tensor([pairs[number].goal for number, _ in part], dtype=values.dtype, device=values.device)
        for (number, blobs), logit in zip(part, signed_logits(values, goals).tolist()):
            yield number, blobs, logit
