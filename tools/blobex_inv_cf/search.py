"""The search for counterfactuals: many pairs side by side, each leaving once its decision has flipped for good."""

from typing import NamedTuple

import torch

from common.blobs.search import proximity
from common.blobs.terms import image_distance
from common.networks.blobgan.layout import Blobs, cat, detach, select
from tools.blobex_inv_cf.problem import goal_loss, signed_logits
from tools.blobex_inv_cf.rows import Rows

NOT_FLIPPED, FLIPPED, SAFE = 0, 1, 2  # by the signed logit: at most 0, above it, above the margin


class Found(NamedTuple):
    """The result of a pair: the best blobs that were seen, or the last ones without early stop.

    blobs: of one picture.  values: (A,), of its picture.  logit: signed towards the goal.  distance: mean absolute
    difference of the picture to the start's.  evaluations: forward passes of the generator, one more than steps.
    at: the number of the one that gave the best.  state: NOT_FLIPPED, FLIPPED or SAFE.  last, last_logit: the last ones
    that were seen, which are further over the margin than the nearest: what sparsifying starts from.
    """

    blobs: Blobs
    values: torch.Tensor
    logit: float
    distance: float
    evaluations: int
    at: int
    state: int
    last: Blobs
    last_logit: float


class Scene(NamedTuple):
    """What all pairs of a batch of pictures share.

    render: function of Blobs -> pictures (R, 3, H, W).  values: function of pictures and their image numbers (R,) ->
    (R, A), the objectives, above 0 for yes; the derivative flows through both.
    start: Blobs of the B pictures.  pictures: (B, 3, H, W), those that `render` gives for them.
    """

    render: object
    values: object
    start: Blobs
    pictures: torch.Tensor


def search(scene, pairs, settings, capacity, advance=lambda count: None):
    """Return the Found of each Pair, in their order. capacity: how many are in flight at a time."""
    rows, found, waiting = Rows(settings.rates()), [None] * len(pairs), list(range(len(pairs)))
    while waiting or len(rows):
        enter = waiting[: capacity - len(rows)]
        if enter:
            del waiting[: len(enter)]
            rows.append(*_entry(scene, pairs, enter, settings))
        done, objective = _evaluate(scene, rows, settings)
        leaving = done.nonzero()[:, 0].tolist()
        if objective is not None:
            rows.beside["stuck"] = ~(rows.step(objective) & objective.isfinite())
            settings.project(rows.parts, settings.free(select(scene.start, rows.beside["image"])))
        for place in leaving:
            found[int(rows.beside["pair"][place])] = _result(scene, rows, place, settings)
            advance(1)
        if leaving:
            rows.select((~done).nonzero()[:, 0])
    return found


def _entry(scene, pairs, numbers, settings):
    """Return (parts, beside) of pairs that begin."""
    device = scene.pictures.device
    images = torch.tensor([pairs[number].image for number in numbers], device=device)
    start = select(scene.start, images)
    count, like = len(numbers), scene.start.sizes
    beside = {
        "pair": torch.tensor(numbers, device=device), "image": images,
        "goal": torch.tensor([pairs[number].goal for number in numbers], dtype=like.dtype, device=device),
        "evaluations": torch.zeros(count, dtype=torch.int64, device=device),
        "streak": torch.zeros(count, dtype=torch.int64, device=device),
        "stuck": torch.zeros(count, dtype=torch.bool, device=device),  # by what is not finite
        "at": torch.zeros(count, dtype=torch.int64, device=device),
        "state": torch.full((count,), -1, device=device),
        "logit": torch.full((count,), -torch.inf, dtype=like.dtype, device=device),
        "distance": torch.full((count,), torch.inf, dtype=like.dtype, device=device),
        "values": torch.zeros(count, len(pairs[numbers[0]].goal), dtype=like.dtype, device=device)}
    free = settings.free(start)
    for which in ("best", "last"):
        beside |= {f"{which} {name}": part for name, part in free.items()}
    return free, beside | {"last logit": beside["logit"]}


def _evaluate(scene, rows, settings):
    """Evaluate all rows once; return (which are done, the objective of all, None where all are done)."""
    beside = rows.beside
    start = select(scene.start, beside["image"])
    pictures = scene.render(settings.whole(start, rows.parts))
    values = scene.values(pictures, beside["image"])
    with torch.no_grad():
        beside["evaluations"] += 1
        _remember(scene, rows, pictures.detach(), values.detach(), settings)
        done = (beside["evaluations"] > settings.n_iters) | beside["stuck"]  # steps lie between evaluations
        if settings.early_stop:
            done |= beside["streak"] >= settings.patience
    if bool(done.all()):
        return done, None
    objective = goal_loss(values, beside["goal"])
    if settings.lambda_prox_cf:
        before = settings.free(start)
        objective = objective + settings.lambda_prox_cf * proximity(rows.parts, before, settings.lambda_prox)
    return done, objective


def _remember(scene, rows, pictures, values, settings):
    """Take over the rows that are better than their best: safely flipped and near, else flipped, else nearly so."""
    beside = rows.beside
    logit = torch.nan_to_num(signed_logits(values, beside["goal"]), nan=-torch.inf)
    distance = image_distance(pictures, scene.pictures[beside["image"]])
    finite = logit.isfinite() & distance.isfinite()
    state = torch.where(finite, (logit > 0).long() + (logit > settings.margin).long(), -1)
    beside["streak"] = torch.where(state == SAFE, beside["streak"] + 1, 0)
    nearer = torch.where(state == SAFE, distance < beside["distance"], logit > beside["logit"])
    better = finite & ((state > beside["state"]) | (state == beside["state"]) & nearer)
    if not settings.early_stop:
        better = finite
    for name, value in (("state", state), ("logit", logit), ("distance", distance), ("values", values),
                        ("at", beside["evaluations"])):
        shape = (-1, *[1] * (value.dim() - 1))
        beside[name] = torch.where(better.reshape(shape), value, beside[name])
    beside["last logit"] = logit
    for name, part in rows.parts.items():
        shape = (-1, *[1] * (part.dim() - 1))
        beside[f"last {name}"] = part.detach().clone()
        beside[f"best {name}"] = torch.where(better.reshape(shape), part.detach(), beside[f"best {name}"])


def _result(scene, rows, place, settings):
    """Return the Found of the row at a place."""
    beside = rows.beside
    start = select(scene.start, beside["image"][place : place + 1])

    def blobs(source):
        parts = {name: source[name].detach()[place : place + 1].clone() for name in settings.names}
        return detach(settings.whole(start, parts))

    kept = {which: {name: beside[f"{which} {name}"] for name in settings.names} for which in ("best", "last")}
    return Found(blobs(kept["best"]), beside["values"][place].clone(),
                 float(beside["logit"][place]), float(beside["distance"][place]), int(beside["evaluations"][place]),
                 int(beside["at"][place]), max(int(beside["state"][place]), NOT_FLIPPED),
                 blobs(kept["last"]), float(beside["last logit"][place]))


@torch.no_grad()
def evaluate(scene, blobs, images):
    """Return (pictures, values (R, A)) of Blobs that belong to images of these numbers (R,)."""
    pictures = scene.render(blobs)
    return pictures, scene.values(pictures, images)


def together(found):
    """Return the Blobs of several Found as one."""
    return cat([each.blobs for each in found])
