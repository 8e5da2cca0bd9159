"""Distances between pictures, their features and their layouts, one number a row: the terms of all objectives.

A loss of the original is the mean of a whole batch: the mean over the rows of what is returned here.
"""

from common.networks.blobgan.splat import covariances, jitter


def rows_mean(values):
    """Return the mean (B,) of each row of (B, ...)."""
    return values.flatten(1).mean(dim=1)


def image_distance(first, second, kind="l1"):
    """Return the mean absolute (l1) or square (l2) difference (B,) of pictures (B, 3, H, W) in [-1, 1]."""
    difference = first - second
    return rows_mean(difference.abs() if kind == "l1" else difference.square())


def square_distance(first, second):
    """Return the mean square difference (B,) of features or latents (B, F)."""
    return rows_mean((first - second).square())


def layout_distance(first, second):
    """Return the mean over the six tensors of two Blobs of the mean square difference (B,).

    Ellipses count as the 2 x 2 matrices that splatting uses, as in the original's `latents_MSE`.
    """
    matrices = [covariances(jitter(blobs)) for blobs in (first, second)]
    pairs = [matrices if name == "covs" else pair for name, *pair in zip(first._fields, first, second)]
    return sum(rows_mean((one - two).square()) for one, two in pairs) / len(pairs)
