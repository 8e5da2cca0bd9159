"""Inversion: blobs whose picture is a given image, for the eye and for a decision model, by steps of Adam."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F

from common.blobs.inversion import InversionWeights, start_distance
from common.blobs.terms import image_distance, square_distance
from common.networks.blobgan.layout import Blobs
from tools.blobex_inv_cf.rows import Rows


@dataclass(frozen=True)
class InversionSettings:
    """Constants of an inversion, the original's by default but for the plateau.

    lr, sizes_factor: the rate, and the factor of it for sizes; halved every `halve_every` steps.
    coarse: so many first steps compare perceptual and decision features at half the resolution.
    plateau: a row leaves when its best objective fell by less than `tolerance` of it in so many steps; 0: never.
    best: keep the best blobs that were seen; False: those after the last step, as published.
    """

    weights: InversionWeights = InversionWeights()
    lr: float = 0.02
    sizes_factor: float = 2.0
    halve_every: int = 100
    n_iters: int = 400
    coarse: int = 0
    plateau: int = 50
    tolerance: float = 1e-3
    best: bool = True

    def rates(self):
        """Return {tensor: learning rate}."""
        return {name: self.lr * (self.sizes_factor if name == "sizes" else 1.0) for name in Blobs._fields}


class Inverted(NamedTuple):
    """Blobs of B pictures; objective (B,), of them; evaluations (B,), forward passes of the generator, int64, one more
    than steps."""

    blobs: Blobs
    objective: torch.Tensor
    evaluations: torch.Tensor


class Matching:
    """How far pictures are from their targets, whose features are computed once.

    perceptual: see common.blobs.perceptual; features: function of pictures -> (R, F); None where the weight is 0.
    """

    def __init__(self, targets, weights, perceptual, features):
        self.targets, self.weights, self.perceptual, self.features = targets, weights, perceptual, features
        self._of_targets = {}

    def _known(self, coarse):
        """Return (maps of the perceptual distance, decision features) of the targets, at full or half resolution."""
        if coarse not in self._of_targets:
            with torch.no_grad():
                seen = self._seen(self.targets, coarse)
                maps = self.perceptual.features(seen) if self.weights.lpips else []
                self._of_targets[coarse] = maps, self.features(seen) if self.weights.decision else None
        return self._of_targets[coarse]

    @staticmethod
    def _seen(pictures, coarse):
        return F.avg_pool2d(pictures, 2) if coarse else pictures

    def objective(self, pictures, blobs, start, rows, coarse=False):
        """Return the weighted sum (R,) of the terms of pictures whose targets are `rows` of all."""
        weights, seen = self.weights, self._seen(pictures, coarse)
        maps, features = self._known(coarse)
        total = weights.l2 * image_distance(pictures, self.targets[rows], "l2") if weights.l2 else 0.0
        if weights.lpips:
            total = total + weights.lpips * self.perceptual.distance(self.perceptual.features(seen),
                                                                     [part[rows] for part in maps])
        if weights.decision:
            total = total + weights.decision * square_distance(self.features(seen), features[rows])
        if weights.prox:
            total = total + weights.prox * start_distance(blobs, start)
        return total


def invert(render, targets, start, settings, perceptual=None, features=None, advance=lambda count: None):
    """Return the Inverted of target pictures (B, 3, H, W), from Blobs `start`.

    render: function of Blobs -> pictures.  Rows do not know of each other; those that reached a plateau leave.
    """
    matching, rows = Matching(targets, settings.weights, perceptual, features), Rows(settings.rates())
    count, like = len(targets), start.sizes
    number = torch.arange(count, device=like.device)
    highest = torch.full((count,), torch.inf, dtype=like.dtype, device=like.device)
    rows.append(start._asdict(), {
        "row": number, "best": highest, "mark": highest, "since": torch.zeros_like(number),
        **{f"{which} {name}": part for which in ("start", "best") for name, part in start._asdict().items()}})
    blobs = Blobs(*(part.clone() for part in start))
    objective, evaluations = torch.full_like(like[:, 0], torch.inf), torch.zeros_like(number)
    for step in range(settings.n_iters + 1):  # steps lie between evaluations
        value = _evaluate(render, matching, rows, settings, coarse=step < min(settings.coarse, settings.n_iters))
        beside = rows.beside
        last = step == settings.n_iters
        done = torch.ones_like(beside["row"], dtype=torch.bool) if last else _plateau(beside, settings)
        evaluations[beside["row"]] += 1
        if bool(done.any()):
            which = beside["row"][done]
            objective[which] = beside["best"][done]
            for name, part in blobs._asdict().items():
                part[which] = beside[f"best {name}"][done]
            advance(int(done.sum()))
        if bool(done.all()):
            break
        rows.step(value, 0.5 ** (step // settings.halve_every))
        if bool(done.any()):
            rows.select((~done).nonzero()[:, 0])
    return Inverted(blobs, objective, evaluations)


def _evaluate(render, matching, rows, settings, coarse):
    """Evaluate all rows once; return their objective and remember the best."""
    beside = rows.beside
    now, start = Blobs(**rows.parts), Blobs(*(beside[f"start {name}"] for name in Blobs._fields))
    value = matching.objective(render(now), now, start, beside["row"], coarse)
    with torch.no_grad():
        if coarse:
            for name in ("best", "mark"):  # another measure: whatever follows at full resolution counts
                beside[name].fill_(torch.inf)
            beside["since"].zero_()
        finite = value.isfinite()
        better = finite & ((value < beside["best"]) | (not settings.best))
        beside["best"] = torch.where(better, value.detach(), beside["best"])
        for name, part in rows.parts.items():
            shape = (-1, *[1] * (part.dim() - 1))
            beside[f"best {name}"] = torch.where(better.reshape(shape), part.detach(), beside[f"best {name}"])
    return value


def _plateau(beside, settings):
    """Return which rows (R,) have not become better by the tolerance for long enough."""
    fell = beside["best"] < beside["mark"] * (1 - settings.tolerance)
    beside["mark"] = torch.where(fell, beside["best"], beside["mark"])
    beside["since"] = torch.where(fell, 0, beside["since"] + 1)
    return (beside["since"] >= settings.plateau) if settings.plateau else torch.zeros_like(fell)


def first_blobs(blobgan, encoder, targets, init, matching=None):
    """Return the Blobs that an inversion of targets (B, 3, H, W) starts from.

    init: "encoder", "mean" (the mean layout), or "best": whichever of both has the lower objective, per row; this needs
    a Matching.  encoder: an EncoderFile, or None with "mean".
    """
    with torch.no_grad():
        mean = blobgan.decode(blobgan.mean_latent()[None].expand(len(targets), -1))
        if init == "mean":
            return mean
        encoded = blobgan.decode(encoder.network(targets), encoder.config.mlp_idx)
        if init == "encoder":
            return encoded
        rows = torch.arange(len(targets), device=targets.device)
        values = [matching.objective(blobgan.render(start), start, start, rows) for start in (encoded, mean)]
        lower = values[0] <= values[1]
        return Blobs(*(torch.where(lower.reshape(-1, *[1] * (one.dim() - 1)), one, two)
                       for one, two in zip(encoded, mean)))

