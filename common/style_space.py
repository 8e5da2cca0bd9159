"""StyleSpace of StyleGAN2 (Wu et al. 2021): where each number lies, the dims with a known meaning, and statistics.

A style vector is the output of one modulation layer; all of them, in the order in which the generator runs (conv1,
to_rgb1, then for each resolution: up-sampling convolution, convolution, to_rgb), make the D numbers of a code.
"""

from bisect import bisect_right
from dataclasses import dataclass
from typing import Optional

from common.errors import InputError

FFHQ_WIDTHS = (*[512] * 15, *[256] * 3, *[128] * 3, *[64] * 3, *[32] * 2)  # of the 1024 px generator, D = 9088


def style_dims(widths):
    """Return the int64 array that files call style_dims: a leading 0, then the widths; its running sum gives the
    offsets."""
    import numpy as np

    return np.array([0, *widths], np.int64)


def style_offsets(widths):
    """Return where each style vector begins among the D numbers, and D itself as the last entry: a list of
    integers."""
    offsets = [0]
    for width in widths:
        offsets.append(offsets[-1] + int(width))
    return offsets


def flat_index(vector, channel, widths=FFHQ_WIDTHS):
    """Return the place among the D numbers of a channel of a style vector; InputError when there is none."""
    if not 0 <= vector < len(widths) or not 0 <= channel < widths[vector]:
        raise InputError("no such channel of a style vector", where=f"({vector}, {channel})",
                         do=f"Vectors are 0 to {len(widths) - 1}, their widths {', '.join(map(str, widths))}")
    return style_offsets(widths)[vector] + channel


def vector_and_channel(flat, widths=FFHQ_WIDTHS):
    """Return (style vector, channel) of a place among the D numbers; InputError when there is none."""
    offsets = style_offsets(widths)
    if not 0 <= flat < offsets[-1]:
        raise InputError("no such number of a StyleSpace code", where=f"dim {flat}",
                         do=f"This StyleSpace has the dims 0 to {offsets[-1] - 1}")
    vector = bisect_right(offsets, flat) - 1
    return vector, flat - offsets[vector]


@dataclass(frozen=True)
class StyleDim:
    """One dim that controls one visible attribute. flat: its place among the D numbers.  group: what it changes, where
    that is published."""

    name: str
    flat: int
    group: Optional[str] = None


def _ffhq():
    """Return the 33 dims of the FFHQ generator in their published order; a name has the group, vector and channel.

    The short names of the original stand on other dims than its groups from position 19 on; the groups are right.
    """
    places = (
        (12, 479), (12, 266), (11, 286), (6, 500), (8, 128), (5, 92), (6, 394), (6, 323), (3, 259), (6, 285), (5, 414),
        (6, 128), (9, 295), (6, 322), (6, 487), (6, 504), (6, 497), (6, 501), (15, 45), (12, 237), (9, 421), (9, 132),
        (8, 81), (3, 288), (2, 175), (3, 120), (2, 97), (9, 441), (8, 292), (11, 358), (6, 223), (5, 200), (9, 6),
    )
    group_of = {position: group for group, positions in FFHQ_GROUPS.items() for position in positions}
    return tuple(StyleDim(f"{group_of.get(position, 'style')}_{vector}_{channel}", flat_index(vector, channel),
                          group_of.get(position)) for position, (vector, channel) in enumerate(places))


# Positions among the 33 dims that are shown together in pictures.
FFHQ_GROUPS = {"hair_color": range(3), "hair_bangs": range(3, 8), "hair_shape": range(8, 16), "mouth": range(17, 19),
               "glasses": range(23, 27), "gender": range(32, 33)}
FFHQ33 = _ffhq()
CLEVR28 = tuple(StyleDim(f"dim_{flat}", flat) for flat in (  # of another generator, whose layers are not published
    7018, 7279, 4557, 3162, 6173, 6263, 2835, 1817, 6220, 6230, 6072, 4695, 3456, 3103, 4932, 4311, 4179, 3066, 6044,
    4926, 2728, 3144, 4512, 7328, 4919, 3071, 5020, 2667))
NAMED_DIMS = {"ffhq33": FFHQ33, "clevr28": CLEVR28}


@dataclass
class StyleStatistics:
    """Mean, minimum, maximum and population standard deviation of D numbers over `num_codes` codes: float32 (D,)."""

    mean: object
    min: object
    max: object
    std: object
    num_codes: int


def style_statistics(network, codes, batch_size=256):
    """Return the StyleStatistics of a generator (common/networks/stylegan2.py) over codes z (N, style_dim) float32.

    Through the mapping and the affine layers alone: nothing is rendered. Sums are float64.
    """
    import numpy as np
    import torch

    count, mean, squares, lowest, highest = 0, 0.0, 0.0, np.inf, -np.inf
    with torch.no_grad():
        for part in codes.split(batch_size):
            w = network.mapping(part.to(network.device))
            rows = network.style_vectors(network.wplus(w)).cpu().numpy()
            lowest, highest = np.minimum(lowest, rows.min(0)), np.maximum(highest, rows.max(0))
            own_mean = rows.mean(0, dtype=np.float64)
            total, shift = count + len(rows), own_mean - mean
            # Chan et al. 1983: two samples' squared deviations, joined without large sums of squares.
            squares = squares + ((rows - own_mean) ** 2).sum(0) + shift**2 * (count * len(rows) / total)
            mean, count = mean + shift * (len(rows) / total), total
    arrays = (mean, lowest, highest, np.sqrt(squares / count))
    return StyleStatistics(*(np.asarray(array, np.float32) for array in arrays), count)


def mean_latent(network, codes, batch_size=1024):
    """Return the mean w (1, style_dim) float32 on the CPU of codes z (N, style_dim), the centre of truncation."""
    import torch

    with torch.no_grad():
        total = sum(network.mapping(part.to(network.device)).sum(0, keepdim=True).cpu()
                    for part in codes.split(batch_size))
    return total / len(codes)
