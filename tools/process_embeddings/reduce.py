"""Out-of-core standardisation and principal components: a few passes over blocks of rows.

Memory is that of a few blocks and of a few columns as wide as a row, however many rows there are. Few rows: the
eigenvectors of X X^T. Many: randomised subspace iteration after Halko, Martinsson and Tropp (2011), each pass one
multiplication by X^T X.
"""

import tempfile
from dataclasses import dataclass

import numpy as np

from common.errors import InputError

BLOCK_BYTES = 1 << 26  # float32 bytes of a block of rows
OVERSAMPLING = 14  # directions searched beyond those wanted
MAX_PASSES = 5  # as many multiplications as scikit-learn makes
TOLERANCE = 1e-3  # relative change of the variance found at which the search ends
EXACT = 2048  # rows or columns up to which the decomposition is exact
COLUMNS = 8192  # products of longer rows are summed in float64
SMALLEST, LARGEST = 1e-12, 1e12  # of values that are left as they are without standardisation
CACHED_BYTES = 1 << 28  # a matrix up to this size is kept in memory rather than read for each pass


def blocks(rows, first=0):
    """Yield (first row, float32 block) over all rows from `first` on."""
    step = max(1, BLOCK_BYTES // (4 * rows.shape[1]))
    for start in range(first, rows.shape[0], step):
        yield start, rows[start : min(start + step, rows.shape[0])]


def cache_rows(rows, folder, low_memory=False):
    """Return rows that are cheap to read repeatedly: the same object if it is, else a copy.

    The copy is in memory up to CACHED_BYTES (never with low_memory), else in an unnamed temporary file in `folder`,
    which the system deletes with the process.
    """
    if getattr(rows, "cheap", False) or isinstance(rows, np.ndarray):
        return rows
    if not low_memory and rows.shape[0] * rows.shape[1] * 4 <= CACHED_BYTES:
        return np.concatenate([block for _, block in blocks(rows)])
    folder.mkdir(parents=True, exist_ok=True)
    copy = _ScratchRows(rows.shape, folder)
    for _, block in blocks(rows):
        copy.append(block)
    return copy


class _ScratchRows:
    """Float32 rows in an unnamed file."""

    def __init__(self, shape, folder):
        self.shape, self._stream = shape, tempfile.TemporaryFile(dir=folder)

    def __len__(self):
        return self.shape[0]

    def append(self, block):
        self._stream.write(np.ascontiguousarray(block, np.float32))

    def __getitem__(self, span):
        start, stop, _ = span.indices(len(self))
        block = np.empty((stop - start, self.shape[1]), np.float32)
        self._stream.seek(start * self.shape[1] * 4)
        self._stream.readinto(block.reshape(-1).view(np.uint8))
        return block


@dataclass
class Scaler:
    """v -> (v - mean) / scale per feature, with values that are not finite set to 0 first.

    mean, scale: (D,) float64.  replaced: values that were not finite.
    """

    mean: np.ndarray
    scale: np.ndarray
    replaced: int = 0

    def __call__(self, block):
        """Return a standardised float32 copy of a block (n, D)."""
        block = np.where(np.isfinite(block), block, np.float32(0)) if not np.isfinite(block).all() else block
        block = block - self.mean.astype(np.float32)
        block /= self.scale.astype(np.float32)
        return block


def fit_scaler(rows, normalize=True, centre=True):
    """Return the Scaler of rows (N, D): population standard deviation, 1 for a constant feature.

    normalize False: one scale for all features, see common_scale.  centre False: the mean is 0 everywhere.
    Raises InputError when no value is finite.
    """
    mean, squares, count, replaced = np.zeros(rows.shape[1]), np.zeros(rows.shape[1]), 0, 0
    for _, block in blocks(rows):
        finite = np.isfinite(block)
        replaced += block.size - int(np.count_nonzero(finite))
        block = np.where(finite, block, 0).astype(np.float64)
        block_mean = block.mean(axis=0)
        block -= block_mean
        difference, total = block_mean - mean, count + len(block)
        squares += np.einsum("ij,ij->j", block, block) + difference**2 * (count * len(block) / total)
        mean += difference * (len(block) / total)
        count = total
    if replaced == count * rows.shape[1]:
        raise InputError("every activation is NaN or infinite, as with a conditioning sigma of 0",
                         where="activations",
                         do="Extract them again with --input_mode clean or a sigma above 0")
    variance = squares / count  # merged over blocks as by Chan et al. (1979); "constant" allows for rounding errors
    constant = variance <= count * np.finfo(float).eps * variance + (count * mean * np.finfo(float).eps) ** 2
    scale = np.where(constant, 1.0, np.sqrt(variance)) if normalize else \
        np.full_like(mean, common_scale(np.sqrt(variance.max() if centre else (variance + mean**2).max())))
    return Scaler(mean if centre else np.zeros_like(mean), scale, replaced)


def common_scale(size):
    """Return 1, or for values whose squares float32 cannot hold the power of two that brings their size near 1."""
    return 1.0 if size == 0 or SMALLEST < size < LARGEST else 2.0 ** np.floor(np.log2(size))


@dataclass
class Components:
    """Principal components: orthonormal `axes` (k, D) float32, `variance` (k,) with N - 1, `ratio` (k,)."""

    axes: np.ndarray
    variance: np.ndarray
    ratio: np.ndarray

    def __call__(self, block):
        """Return the coordinates float32 (n, k) of standardised rows."""
        return block @ self.axes.T


def fit_components(rows, scaler, count, seed):
    """Return (Components, coordinates float32 (N, k)) of standardised rows; k = count, at most N - 1 and D.

    Exact for few rows or columns; else accurate to about 1e-3 of each variance, and reproducible from the seed.
    """
    count = min(count, rows.shape[0] - 1, rows.shape[1])
    if rows.shape[1] <= EXACT:
        basis = None
    elif rows.shape[0] <= EXACT:
        basis = _row_space(rows, scaler, count)
    else:
        basis = _subspace(rows, scaler, count, seed)
    return _decompose(rows, scaler, basis, count)


def _row_space(rows, scaler, count):
    """Return an orthonormal basis (D, k + OVERSAMPLING) of few rows' leading directions, from X X^T."""
    import scipy.linalg

    last = len(rows) - 1
    vectors = scipy.linalg.eigh(_gram(rows, scaler), subset_by_index=(max(len(rows) - count - OVERSAMPLING, 0), last),
                                overwrite_a=True, check_finite=False)[1].astype(np.float32)
    columns = np.zeros((rows.shape[1], vectors.shape[1]), np.float32)
    for start, block in blocks(rows):
        columns += scaler(block).T @ vectors[start : start + len(block)]
    return _orthonormal(columns.astype(np.float64)).astype(np.float32)


def _gram(rows, scaler):
    """Return the lower triangle of X X^T (N, N), float64: CACHED_BYTES of rows stay while the later ones pass by."""
    count, width = rows.shape
    gram, step = np.zeros((count, count)), max(1, CACHED_BYTES // (4 * width))
    for first in range(0, count, step):
        held = scaler(rows[first : first + step])
        last = first + len(held)
        _add_products(gram[first:last, first:last], held, held)
        for start, block in blocks(rows, last):
            _add_products(gram[start : start + len(block), first:last], scaler(block), held)
    return gram


def _add_products(total, left, right):
    """Add left right^T to a float64 total; float32 sums of more columns would lose digits."""
    for start in range(0, left.shape[1], COLUMNS):
        span = slice(start, start + COLUMNS)
        total += left[:, span] @ right[:, span].T  # numpy halves the work where both are the same array


def _subspace(rows, scaler, count, seed):
    """Return an orthonormal basis (D, k + OVERSAMPLING) that spans the leading directions of X."""
    width = min(count + OVERSAMPLING, *rows.shape)
    basis = np.random.default_rng(seed).standard_normal((rows.shape[1], width), dtype=np.float32)
    before = 0.0
    for number in range(MAX_PASSES):
        product = np.zeros((rows.shape[1], width))
        for _, block in blocks(rows):
            block = scaler(block)
            product += block.T @ (block @ basis)
        explained = 0.0
        if number:  # the first basis is random, not yet orthonormal
            explained = np.sort(np.linalg.eigvalsh(basis.T.astype(np.float64) @ product))[::-1][:count].sum()
        basis = _orthonormal(product).astype(np.float32)
        if number and abs(explained - before) <= TOLERANCE * explained:
            break
        before = explained
    return basis


def _orthonormal(columns):
    """Return an orthonormal basis of tall columns (D, l) by Cholesky QR, applied twice (CholeskyQR2).

    This takes a fifth of the time of Householder QR; the second round removes the rounding errors of the first. Nearly
    dependent columns, as when the rows span fewer than l directions, go to QR.
    """
    for _ in range(2):
        columns = columns / np.sqrt(np.einsum("ij,ij->j", columns, columns)).clip(1e-300)
        try:
            factor = np.linalg.cholesky(columns.T @ columns)
        except np.linalg.LinAlgError:
            return np.linalg.qr(columns)[0]
        if np.diag(factor).min() < 1e-6:
            return np.linalg.qr(columns)[0]
        columns = columns @ np.linalg.inv(factor).T
    return columns


def _decompose(rows, scaler, basis, count):
    """Return (Components, coordinates) within a basis (D, l), or of all columns without one."""
    width = rows.shape[1] if basis is None else basis.shape[1]
    parts, gram, total = [], np.zeros((width, width)), 0.0
    for _, block in blocks(rows):
        block = scaler(block)
        total += float(np.einsum("ij,ij->", block, block, dtype=np.float64))
        part = block if basis is None else block @ basis
        gram += part.T.astype(np.float64) @ part.astype(np.float64)
        if basis is not None:
            parts.append(part)
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1][:count].clip(0), vectors[:, ::-1][:, :count]
    axes = (vectors if basis is None else basis @ vectors).T
    signs = np.sign(axes[np.arange(count), np.abs(axes).argmax(axis=1)])  # fixes the arbitrary sign of each axis
    axes, vectors = axes * signs[:, None], vectors * signs
    freedom = max(rows.shape[0] - 1, 1)
    components = Components(axes.astype(np.float32), values / freedom, values / max(total, 1e-300))
    if basis is None:
        return components, project(rows, scaler, components)
    return components, (np.concatenate(parts) @ vectors).astype(np.float32)


def project(rows, scaler, components):
    """Return float32 (N, k): rows projected onto fitted components (standardised rows without components)."""
    parts = [scaler(block) if components is None else components(scaler(block)) for _, block in blocks(rows)]
    return np.concatenate(parts)
