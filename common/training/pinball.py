"""The pinball loss (Koenker, Bassett 1978), whose minimiser is a quantile."""

import torch


def pinball(truth, prediction, quantile):
    """Return the loss of each element: q (y - f) where f < y, (1 - q) (f - y) where f > y; 0 where they are equal.

    The gradient at equality is 0 too.
    """
    short = truth - prediction
    return torch.where(short > 0, quantile * short, torch.where(short < 0, (quantile - 1) * short, 0 * short))


def quantile_losses(predictions, truth, alpha):
    """Return the mean pinball losses (lower, upper) of the quantiles alpha / 2 and 1 - alpha / 2.

    predictions: (B, 3, D), lower, point and upper value.  truth: (B, D); rows with NaN (images without latents) are
    left out. Both losses are 0 where no row is left.
    """
    known = ~torch.isnan(truth).any(dim=1)
    predictions, truth = predictions[known], truth[known]
    levels = (alpha / 2, 1 - alpha / 2)
    return tuple(pinball(truth, predictions[:, head], level).sum() / max(1, truth.numel())
                 for head, level in zip((0, 2), levels))
