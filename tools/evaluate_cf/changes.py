"""What changes when a decision flips: sums over the flips of each attribute and direction."""

import numpy as np

from common.blobs.changes import BLOBS_ALONE, changed_blobs
from common.networks.blobgan.layout import Blobs

SIGNED = ("xs", "ys", "sizes")


class Change:
    """Sums over flips to one decision. count: how many.  often (K + 1,): flips in which a blob changed.
    tensors: {name: (K + 1,) sums of the mean absolute change of a blob's row; 0 for the background where it has none}.
    signed: {name: (K + 1,)} of positions and sizes.  picture: (3, H, W), sum of the signed changes."""

    def __init__(self):
        self.count, self.often, self.tensors, self.signed, self.picture = 0, 0.0, {}, {}, 0.0

    def add(self, start, blobs, before, after):
        """Take in flips: rows of Blobs and of pictures (n, 3, H, W)."""
        self.count += len(after)
        self.often = self.often + changed_blobs(blobs, start).sum(dim=0).cpu().double().numpy()
        self.picture = self.picture + (after - before).double().sum(dim=0).cpu().numpy()
        for name, now, then in zip(Blobs._fields, blobs, start):
            change = (now - then).double()
            size = change.abs() if change.dim() == 2 else change.abs().mean(dim=2)
            self.tensors[name] = self.tensors.get(name, 0.0) + _whole(name, size.sum(dim=0))
            if name in SIGNED:
                self.signed[name] = self.signed.get(name, 0.0) + _whole(name, change.sum(dim=0))

    def means(self):
        """Return (shares of the flips (K + 1,), {tensor: (K + 1,)}, {tensor: (K + 1,) signed}, (3, H, W))."""
        return (self.often / self.count, {name: part / self.count for name, part in self.tensors.items()},
                {name: part / self.count for name, part in self.signed.items()}, self.picture / self.count)


def _whole(name, row):
    """Return a row of K or K + 1 numbers as K + 1, the background first."""
    row = row.cpu().numpy()
    return np.concatenate([[0.0], row]) if name in BLOBS_ALONE else np.concatenate([[0.0], row[1:]]) \
        if name == "sizes" else row


class Changes:
    """of: {(attribute, wanted decision): Change}."""

    def __init__(self):
        self.of = {}

    def add(self, batch, part):
        """Take in the flips of a Part of a Batch."""
        for wanted in (0, 1):
            rows = [row for row, line in enumerate(part.lines) if line["flip"] and line["target"] == wanted]
            if rows:
                start, blobs = (Blobs(*(each[rows] for each in blobs)) for blobs in (batch.start, part.blobs))
                self.of.setdefault((part.attribute, wanted), Change()).add(start, blobs, batch.before[rows],
                                                                           part.pictures[rows])
