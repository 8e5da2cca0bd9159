"""The loss of each row: binary cross-entropy, mean over the attributes, or cross-entropy of classes."""

import torch
import torch.nn.functional as F


class Losses:
    """weighting: auto to weigh positives by negatives over positives in the training images (classes by the inverse of
    their number), none for equal weights."""

    def __init__(self, source, weighting, device):
        self.kind, self.count = source.kind, len(source.names)
        self.weights = None
        if weighting == "auto":
            targets = torch.from_numpy(source.train.targets).double()
            positives, rows = targets.sum(dim=0), len(targets)
            if self.kind == "classes":
                weights = rows / (self.count * positives)
            else:  # a reason that no image has, or all have, keeps its weight
                weights = torch.where((positives > 0) & (positives < rows), (rows - positives) / positives, 1.0)
            self.weights = weights.float().to(device)

    def __call__(self, logits, targets, on_cpu=False):
        """Return (n,) of logits and targets (n, A + R); reasons add their own mean."""
        weights = self.weights.cpu() if on_cpu and self.weights is not None else self.weights
        if self.kind == "classes":
            losses = F.cross_entropy(logits, targets.argmax(dim=1), reduction="none")
            return losses if weights is None else losses * (targets @ weights)
        each = F.binary_cross_entropy_with_logits(logits, targets, pos_weight=weights, reduction="none")
        losses = each[:, : self.count].mean(dim=1)
        return losses + each[:, self.count :].mean(dim=1) if each.shape[1] > self.count else losses
