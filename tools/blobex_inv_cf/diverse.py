"""Several counterfactuals of one query at once that change different objects and look different.

The formulation is ours: the note on the original says only that there is a diversity loss and an assignment matrix.
Each blob is assigned softly to one of the n counterfactuals, which moves it at full step, the others at a fraction;
and a determinantal term spreads the changes of the pictures. It is taken on pictures: offsets of blobs can be
orthogonal and the pictures the same.
"""

from dataclasses import dataclass
from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F

from common.blobs.search import proximity
from common.networks.blobgan.layout import Blobs, detach, select
from common.seeding import unit_generator
from tools.blobex_inv_cf.problem import signed_logits
from tools.blobex_inv_cf.rows import Rows

RIDGE = 1e-3  # added to the pictures' Gram matrix
ASSIGNMENT_SPREAD, ASSIGNMENT_RATE = 0.3, 0.1


@dataclass(frozen=True)
class Diversity:
    """Constants of a diverse search.

    count: n.  gate: blobs are assigned.  weight: of the pictures' term, None: 0.3 with the gate, 1 without.
    weight_assignment: of the assignments' overlap.  margin: of the signed logits.  noise: spread of the first offsets
    in units of the rates' factors.
    """

    count: int = 3
    gate: bool = True
    weight: Optional[float] = None
    weight_assignment: float = 1.0
    margin: float = 3.0
    noise: float = 0.05

    @property
    def image_weight(self):
        """Weight of the pictures' term."""
        return (0.3 if self.gate else 1.0) if self.weight is None else self.weight


RESTARTS = {"gate": False, "weight": 0.0, "noise": 0.5}  # the plain comparison: independent starts, no term


class DiverseFound(NamedTuple):
    """The n counterfactuals of a pair.

    blobs: of n pictures.  values: (n, A).  logits: n floats, signed towards the goal.  assignment: (n, K + 1), None
    without the gate.  evaluations: forward passes of the generator, n a step.
    """

    blobs: Blobs
    values: torch.Tensor
    logits: list
    assignment: Optional[torch.Tensor]
    evaluations: int


def search_diverse(scene, pairs, settings, diversity, capacity, seed, names, advance=lambda count: None):
    """Return the DiverseFound of each Pair, in their order.

    capacity: pictures in flight, of which a pair takes n.  names: of the batch's images; the draws of a pair depend on
    the seed, its image's name and its attribute alone.
    """
    rates = {**settings.rates(), **({"assignment": ASSIGNMENT_RATE} if diversity.gate else {})}
    rows, found, waiting = Rows(rates), [None] * len(pairs), list(range(len(pairs)))
    slots = max(1, capacity // diversity.count)
    while waiting or len(rows):
        enter = waiting[: slots - len(rows)]
        if enter:
            del waiting[: len(enter)]
            rows.append(*_entry(scene, pairs, enter, settings, diversity, seed, names))
        objective = _evaluate(scene, rows, settings, diversity)
        beside = rows.beside
        done = beside["evaluations"] > settings.n_iters  # steps lie between evaluations
        if settings.early_stop:
            done |= beside["streak"] >= settings.patience
        for place in done.nonzero()[:, 0].tolist():
            found[int(beside["pair"][place])] = _result(scene, rows, place, settings, diversity)
            advance(1)
        if not bool(done.all()):
            rows.step(objective)
        if bool(done.any()):
            rows.select((~done).nonzero()[:, 0])
    return found


def _entry(scene, pairs, numbers, settings, diversity, seed, names):
    device, like = scene.pictures.device, scene.start.sizes
    images = torch.tensor([pairs[number].image for number in numbers], device=device)
    free, parts = settings.free(select(scene.start, images)), {}
    draws = [unit_generator(seed, "diverse", names[pairs[number].image], pairs[number].attribute) for number in numbers]
    for name in settings.names:
        shape, spread = (diversity.count, *free[name].shape[1:]), diversity.noise * settings.ratio(name)
        parts[name] = torch.stack([torch.randn(shape, generator=draw) * spread for draw in draws]).to(like)
    if diversity.gate:
        shape = (diversity.count, like.shape[1])
        parts["assignment"] = torch.stack([torch.randn(shape, generator=draw) * ASSIGNMENT_SPREAD
                                           for draw in draws]).to(like)
    count = len(numbers)
    whole = torch.zeros(count, dtype=torch.int64, device=device)
    beside = {"pair": torch.tensor(numbers, device=device), "image": images, "evaluations": whole,
              "streak": whole.clone(), "flips": whole - 1,
              "goal": torch.tensor([pairs[number].goal for number in numbers], dtype=like.dtype, device=device),
              "values": torch.zeros(count, diversity.count, len(pairs[numbers[0]].goal), dtype=like.dtype,
                                    device=device)}
    return parts, beside | {f"best {name}": part for name, part in parts.items()}


def gates(assignment):
    """Return (A, g) of logits (R, n, K + 1): the softmax over the n counterfactuals, and that over its largest entry,
    which is held constant: its owner moves a blob at full step."""
    shares = assignment.softmax(dim=1)
    return shares, shares / shares.amax(dim=1, keepdim=True).detach()


def diverse_blobs(start, parts, settings, diversity):
    """Return the Blobs of R n pictures: those of `start` (R pictures) plus gated offsets (R, n, ...)."""
    repeated = Blobs(*(part.repeat_interleave(diversity.count, dim=0) for part in start))
    before, moved = settings.free(repeated), {}
    gate = gates(parts["assignment"])[1].flatten(0, 1) if diversity.gate else None
    for name in settings.names:
        offset = parts[name].flatten(0, 1)
        if gate is not None:
            rows = Blobs(*(gate[:, 1:] if key in ("xs", "ys", "covs") else gate for key in Blobs._fields))
            own = settings.free(rows)[name]
            offset = offset * (own if offset.dim() == 2 else own[..., None])
        moved[name] = before[name] + offset
    settings.project(moved, before)
    return settings.whole(repeated, moved), moved, before


def picture_spread(changes):
    """Return -log det of the Gram matrix (R,) of picture changes (R, n, ...), each divided by its norm."""
    flat = F.normalize(changes.flatten(2), dim=2, eps=1e-12)
    gram = flat @ flat.transpose(1, 2)
    return -torch.logdet(gram + RIDGE * torch.eye(gram.shape[1], dtype=gram.dtype, device=gram.device))


def assignment_overlap(shares):
    """Return the sum over pairs i < j of the mean over blobs of A_i A_j, (R,), of shares (R, n, K + 1)."""
    return (0.5 * (shares.sum(dim=1).square() - shares.square().sum(dim=1))).mean(dim=1)


def _evaluate(scene, rows, settings, diversity):
    """Evaluate all rows once; return their objective (R,)."""
    beside, n = rows.beside, diversity.count
    blobs, moved, before = diverse_blobs(select(scene.start, beside["image"]), rows.parts, settings, diversity)
    images, goals = (beside[name].repeat_interleave(n, dim=0) for name in ("image", "goal"))
    pictures = scene.render(blobs)
    values = scene.values(pictures, images)
    with torch.no_grad():
        _remember(rows, values.detach(), goals, settings, diversity)
    objective = (F.softplus(diversity.margin - values * goals) * (goals != 0)).sum(dim=1)
    if settings.lambda_prox_cf:
        objective = objective + settings.lambda_prox_cf * proximity(moved, before, settings.lambda_prox)
    objective = objective.unflatten(0, (-1, n)).sum(dim=1)
    if diversity.image_weight:
        changes = (pictures - scene.pictures[images]).unflatten(0, (-1, n))
        objective = objective + diversity.image_weight * picture_spread(changes)
    if diversity.gate and diversity.weight_assignment:
        shares = gates(rows.parts["assignment"])[0]
        objective = objective + diversity.weight_assignment * assignment_overlap(shares)
    return objective


def _remember(rows, values, goals, settings, diversity):
    """Count evaluations and streaks, and take over rows with no fewer flips than their best: later ones differ more."""
    beside, n = rows.beside, diversity.count
    logits = torch.nan_to_num(signed_logits(values, goals), nan=-torch.inf).unflatten(0, (-1, n))
    beside["evaluations"] = beside["evaluations"] + 1
    safe = (logits > diversity.margin).sum(dim=1)
    beside["streak"] = torch.where(safe == n, beside["streak"] + 1, 0)
    flips = safe * (n + 1) + (logits > 0).sum(dim=1)
    better = logits.isfinite().all(dim=1) & ((flips >= beside["flips"]) if settings.early_stop else True)
    beside["flips"] = torch.where(better, flips, beside["flips"])
    for name, value in (("values", values.unflatten(0, (-1, n))), *rows.parts.items()):
        key = name if name == "values" else f"best {name}"
        beside[key] = torch.where(better.reshape(-1, *[1] * (value.dim() - 1)), value.detach(), beside[key])


@torch.no_grad()
def _result(scene, rows, place, settings, diversity):
    beside, row = rows.beside, slice(place, place + 1)
    parts = {name: beside[f"best {name}"][row].clone() for name in rows.parts}
    blobs, _, _ = diverse_blobs(select(scene.start, beside["image"][row]), parts, settings, diversity)
    values, goals = beside["values"][place].clone(), beside["goal"][row]
    assignment = gates(parts["assignment"])[0][0] if diversity.gate else None
    logits = signed_logits(values, goals.expand(len(values), -1)).tolist()
    return DiverseFound(detach(blobs), values, logits, assignment,
                        int(beside["evaluations"][place]) * diversity.count)
