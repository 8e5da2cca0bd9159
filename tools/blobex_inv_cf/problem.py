"""What a counterfactual search changes and what it wants: free tensors, bounds, pairs of an image and a goal."""

from dataclasses import dataclass, field
from typing import NamedTuple, Optional, Tuple

import torch

from common.blobs.changes import scaled_offsets
from common.blobs.rows import put_rows, take_rows
from common.networks.blobgan.layout import Blobs

LOW_RATE = 1 / 8  # of the rate of sizes: the others', as published


class Pair(NamedTuple):
    """A query: the image of this number in its batch, and for each objective +1 (wanted above 0), -1 or 0 (ignored).

    attribute: number of the objective under which the result is stored.
    """

    image: int
    attribute: int
    goal: Tuple[int, ...]


@dataclass(frozen=True)
class SearchSettings:
    """Constants of a search, the original's names where it has them.

    names: tensors that are free.  targets: numbers of the blobs that are free, None for all.
    lr: the rate; lr_ratio: {tensor: factor of it}, 1 for sizes and 1/8 for others where it names none.
    lambda_prox_cf: weight of the proximity; lambda_prox: {tensor: weight in it}.
    margin, patience: a pair leaves when its signed logit exceeds the margin for so many evaluations in a row.
    early_stop: False: all n_iters steps, and the blobs after the last one.
    bounds: {tensor: (low, high)}, each a number or a tensor like one picture's, by projection; {}: none. What lies
    beyond them from the start may stay there.
    """

    names: Tuple[str, ...] = ("sizes", "features", "spatial_style")
    targets: Optional[Tuple[int, ...]] = None
    lr: float = 0.08
    lr_ratio: dict = field(default_factory=dict)
    lambda_prox_cf: float = 0.0
    lambda_prox: dict = field(default_factory=lambda: {"spatial_style": 1.0})
    n_iters: int = 100
    margin: float = 4.0
    patience: int = 3
    early_stop: bool = True
    bounds: dict = field(default_factory=dict)

    def ratio(self, name):
        """Return the factor of the rate of a tensor."""
        return self.lr_ratio.get(name, 1.0 if name == "sizes" else LOW_RATE)

    def rates(self):
        """Return {tensor: learning rate} of the free ones."""
        return {name: self.lr * self.ratio(name) for name in self.names}

    def free(self, blobs):
        """Return {tensor: its free rows} of Blobs."""
        return take_rows(blobs, self.names, self.targets)

    def whole(self, blobs, parts):
        """Return Blobs with the free rows in place."""
        return put_rows(blobs, parts, self.targets)

    @torch.no_grad()
    def project(self, parts, start):
        """Bring the free rows back into their bounds, in place. start: what they were before the search, as parts: a
        blob beyond the bounds must not jump into the picture at the first step."""
        for name, (low, high) in self.bounds.items():
            if name in parts:
                like = parts[name]
                low, high = (torch.as_tensor(end, dtype=like.dtype, device=like.device) for end in (low, high))
                if low.dim():  # one end for each blob
                    rows = [Blobs(**{**dict.fromkeys(Blobs._fields), name: end[None]}) for end in (low, high)]
                    low, high = (take_rows(row, (name,), self.targets)[name] for row in rows)
                like.copy_(like.maximum(low.minimum(start[name])).minimum(high.maximum(start[name])))


def signed_logits(values, goals):
    """Return (R,) the smallest of values (R, A) signed by goals (R, A): positive when every goal is reached."""
    ignored = torch.where(goals == 0, torch.inf, 0.0).to(values.dtype)
    return (values * goals + ignored).amin(dim=1)


def goal_loss(values, goals):
    """Return the cross-entropy (R,) of values (R, A), logits, towards the goals (R, A), summed over them.

    From logits with softplus: the logarithm of a saturated sigmoid would be infinite.
    """
    return (torch.nn.functional.softplus(-values * goals) * (goals != 0)).sum(dim=1)


def blob_offsets(blobs, start, settings):
    """Return how far each blob moved, (B, K + 1), over the free tensors; see common.blobs.changes."""
    return scaled_offsets(blobs, start, {name: settings.ratio(name) for name in settings.names})
