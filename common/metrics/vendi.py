"""The Vendi score of Friedman & Dieng (2023): how many unlike images a set is worth.

exp(-sum l log l) over the eigenvalues l of K / n, K the cosine similarities of the features (order q = 1). It is 1 for
equal images and n for orthogonal features.
"""

import numpy as np

from common.errors import InputError
from common.formats.rows import blocks


def vendi_score(features):
    """Return the Vendi score of features, rows (n, D): an array or anything with shape and row slices.

    Of n rows and D features the smaller makes the matrix: X X^T and X^T X, of unit rows, have the same eigenvalues but
    for zeros. Raises InputError for a row of zeros, which has no direction, and for NaN.
    """
    import scipy.linalg

    count, width = features.shape
    if count <= width:
        rows = np.concatenate([_unit(block) for block in blocks(features)])
        matrix = rows @ rows.T
    else:
        matrix = np.zeros((width, width))
        for block in blocks(features):
            rows = _unit(block)
            matrix += rows.T @ rows
    values = scipy.linalg.eigvalsh(matrix / count, overwrite_a=True, check_finite=False)
    positive = values[values > 0]
    return float(np.exp(-(positive * np.log(positive)).sum()))


def _unit(block):
    """Return rows of length 1, float64."""
    rows = np.asarray(block, np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if not np.isfinite(lengths).all() or not lengths.all():
        raise InputError("features without a direction (all zero, NaN or infinite), which vendi needs",
                         do="Find the images that produce them")
    return rows / lengths
