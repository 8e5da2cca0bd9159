"""Frechet distance between two sets of features (Heusel et al. 2017), from running statistics.

d^2 = |mean1 - mean2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2)

The last trace comes from symmetric problems only. With S1 = F1 F1^T and S2 = F2 F2^T it is the sum of the singular
values of F1^T F2, or of the square roots of the eigenvalues of F1^T S2 F1. A general matrix square root is ten times
slower and turns complex, wrong in the fourth digit, when there are fewer images than features.
"""

from functools import cached_property

import numpy as np

from common.errors import InputError

LARGEST = 1e75  # of means, rows and roots of covariances: products of two covariances stay below 1e308
ROOT_ERROR = 1e-9  # error of the root's trace, relative to both traces, above which singular values are used


class FeatureStatistics:
    """Count, mean and covariance of feature rows that come in batches, float64, in constant memory.

    Sums are taken about the running mean (Chan et al. 1979), so the order and size of batches affect rounding only.
    """

    def __init__(self, num_features):
        self.count = 0
        self.mean = np.zeros(num_features)
        self.scatter = np.zeros((num_features, num_features))  # sum of (f - mean)(f - mean)^T

    def add(self, features):
        """Add features (n, D), any float type. Raises InputError for another width, NaN or infinity."""
        if features.ndim != 2 or features.shape[1] != len(self.mean):
            raise InputError(f"features have shape {tuple(features.shape)}, expected (n, {len(self.mean)})")
        if len(features) == 0:
            return
        batch = FeatureStatistics(0)
        rows = np.asarray(features, dtype=np.float64)
        batch.count, batch.mean = len(rows), rows.mean(axis=0)
        if not np.isfinite(batch.mean).all():  # a single NaN or infinity reaches the mean
            raise InputError("features hold NaN or infinity", do="Find the images that produce them")
        rows = rows - batch.mean
        batch.scatter = rows.T @ rows
        self.merge(batch)

    def merge(self, other):
        """Add the rows of another FeatureStatistics."""
        if other.count == 0:
            return
        total = self.count + other.count
        shift = other.mean - self.mean
        self.scatter += other.scatter
        self.scatter += np.outer(shift, shift * (self.count * other.count / total))
        self.mean = self.mean + shift * (other.count / total)
        self.count = total

    def covariance(self):
        """Return the unbiased covariance (D, D), n - 1 in the denominator. Raises InputError below two rows."""
        if self.count < 2:
            raise InputError(f"too few images for a covariance: {self.count}", do="Use at least two")
        return self.scatter / (self.count - 1)


def frechet_distance(mean1, covariance1, mean2, covariance2):
    """Return the squared Frechet distance between two Gaussians (Heusel et al. 2017, eq. 6).

    mean1, mean2: (D,).  covariance1, covariance2: (D, D), symmetric, singular ones too.  Computed in float64.
    Raises InputError when the sizes differ or a value is not finite.
    """
    means = [np.asarray(mean, dtype=np.float64) for mean in (mean1, mean2)]
    covariances = [np.asarray(covariance, dtype=np.float64) for covariance in (covariance1, covariance2)]
    size = len(means[0])
    if len(means[1]) != size or any(covariance.shape != (size, size) for covariance in covariances):
        shapes = [covariance.shape for covariance in covariances]
        raise InputError(f"statistics differ in size: means {size} and {len(means[1])} wide, covariances {shapes}",
                         do="Compare features of the same network")
    return frechet_distance_between(*(Gaussian(*side) for side in zip(means, covariances)))


class Gaussian:
    """Mean and covariance of one side, the covariance as a matrix or, for fewer rows than features, as centred rows.

    mean: (D,).  covariance: (D, D), or None with rows.  rows: (n, D), (features - mean) / sqrt(n - 1).
    Raises InputError for NaN or infinity, and values beyond LARGEST.
    """

    def __init__(self, mean, covariance=None, rows=None):
        if not all(np.isfinite(array).all() for array in (mean, covariance) if array is not None):
            raise InputError("statistics hold NaN or infinity", do="Compute them again")
        spread = rows if covariance is None else np.sqrt(np.abs(np.diag(covariance)))
        largest = max(np.abs(array).max(initial=0.0) for array in (mean, spread))
        if largest > LARGEST:
            raise InputError(f"features are as large as {largest:.2g}, too large for a Frechet distance",
                             do=f"Scale both sides' features to below {LARGEST:.0g}")
        self.mean, self.covariance, self._rows = mean, covariance, rows

    @classmethod
    def of_few(cls, features):
        """Return the Gaussian of features (n, D), n at most D. Raises InputError below two rows and for NaN."""
        mean, rows = _centre(features)
        return cls(mean, rows=rows)

    @cached_property
    def factor(self):
        """F (D, r) with covariance = F F^T: lower triangular where `is_regular`."""
        return self._factored[0]

    @property
    def is_regular(self):
        """True for a covariance that is regular to working precision."""
        return self._factored[1]

    @cached_property
    def _factored(self):
        return _factor(self.covariance) if self._rows is None else (self._rows.T, False)

    def trace(self):
        """Return the trace of the covariance."""
        return np.trace(self.covariance) if self._rows is None else np.sum(self._rows**2)


def frechet_distance_between(side1, side2):
    """Return the squared Frechet distance between two `Gaussian`s, in the form that suits their representation.

    Raises InputError when the sizes differ.
    """
    if len(side1.mean) != len(side2.mean):
        raise InputError(f"features are {len(side1.mean)} and {len(side2.mean)} wide",
                         do="Compare features of the same network")
    root = _trace_of_root(side1, side2)
    return _assemble(side1.mean - side2.mean, side1.trace() + side2.trace(), root)


def _centre(features):
    """Return the mean (D,) and (rows - mean) / sqrt(n - 1), float64."""
    rows = np.asarray(features, dtype=np.float64)
    if len(rows) < 2:
        raise InputError(f"too few images for a covariance: {len(rows)}", do="Use at least two")
    mean = rows.mean(axis=0)
    if not np.isfinite(mean).all():
        raise InputError("features hold NaN or infinity", do="Find the images that produce them")
    return mean, (rows - mean) / np.sqrt(len(rows) - 1)


def _assemble(difference, traces, root):
    """Return |difference|^2 + traces - 2 root, clipped at 0: only rounding can make it negative."""
    return float(max(difference @ difference + traces - 2.0 * root, 0.0))


def product_of(side1, side2):
    """Return the lower half of F1^T S2 F1 (D, D), F1 the triangular factor of a regular S1, with 0 above."""
    import scipy.linalg

    product, info = scipy.linalg.lapack.dsygst(side2.covariance.T, side1.factor, itype=2, lower=1)
    assert info == 0
    return product


def _trace_of_root(side1, side2):
    """Return tr (S1 S2)^(1/2) = the sum of the roots of the eigenvalues of F1^T S2 F1."""
    import scipy.linalg

    if side1.is_regular and side2.covariance is not None:
        product = product_of(side1, side2)
        values = scipy.linalg.eigvalsh(product, overwrite_a=True, check_finite=False)
        noise = 4.0 * np.finfo(np.float64).eps * max(values[-1], 0.0)  # error of each eigenvalue
        error = np.sum(noise / (2.0 * np.sqrt(np.maximum(values, noise)))) if noise else 0.0  # first order, of the sum
        if error <= ROOT_ERROR * (side1.trace() + side2.trace()):
            return np.sqrt(np.maximum(values, 0.0)).sum()
    # The root turns rounding noise of 1e-16 into 1e-8 in each null direction; singular values need no root.
    return _sum_of_singular_values(side1.factor, side2.factor)


def _factor(covariance):
    """Return (F, whether S is regular) with S = F F^T: the Cholesky factor, or eigenvectors without null directions."""
    import scipy.linalg

    lower = _cholesky(covariance)
    if lower is not None:
        return lower, True
    values, vectors = scipy.linalg.eigh(covariance, driver="evd", check_finite=False)
    positive = values > max(values[-1], 0.0) * len(values) * np.finfo(np.float64).eps  # numpy's matrix_rank tolerance
    return vectors[:, positive] * np.sqrt(values[positive]), False


def _cholesky(covariance):
    """Return the lower Cholesky factor, or None when the matrix is singular to working precision."""
    import scipy.linalg

    try:
        lower = scipy.linalg.cholesky(covariance, lower=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    floor = len(lower) * np.finfo(np.float64).eps * np.diag(covariance).max()
    return lower if (np.diag(lower) ** 2).min() > floor else None


def _sum_of_singular_values(factor1, factor2):
    """Return the sum of the singular values of F1^T F2; F1 (D, r1), F2 (D, r2)."""
    import scipy.linalg

    product = factor1.T @ factor2
    return scipy.linalg.svdvals(product, overwrite_a=True, check_finite=False).sum() if product.size else 0.0
