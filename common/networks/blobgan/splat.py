"""Splatting: blobs -> how much of each is seen at each point of a square grid, at every resolution of the generator.

Blob k covers a point by alpha = sigmoid(size - q), with q the squared Mahalanobis distance to its ellipse; the last
blob lies on top. Rectangular pictures take the same square grid; its columns are repeated where they are used. All of
it is float32 (or float64) whatever the networks' precision.

q is a sum of two squares along the ellipse's axes, each the sum of a term of the row and one of the column: no matrix
is inverted, and nothing cancels. The shares of the blobs are composited one blob after the other, so that what one
step reads is still in the cache. Backward needs the shares alone: alphas are computed again.
"""

from typing import NamedTuple, Optional

import torch
import torch.nn.functional as F

from common.networks.blobgan.layout import Blobs

AREA = 0.02  # of an ellipse: the product of its half axes is its square
REGULARISER = 1e-5  # added to the covariances' diagonal
SHORTEST = 1e-30  # squared length of a direction that says something


class Offsets(NamedTuple):
    """What jitter adds. x, y, angle, size: (B, K), or None for a kind that does not jitter."""

    x: Optional[torch.Tensor] = None
    y: Optional[torch.Tensor] = None
    angle: Optional[torch.Tensor] = None
    size: Optional[torch.Tensor] = None


class Jitter(NamedTuple):
    """Half the widths of the uniform jitter of positions, angles (radians) and sizes; 0 for none."""

    xy: float = 0.0
    angle: float = 0.0
    size: float = 0.0

    def draw(self, generators, num_blobs, device="cpu"):
        """Return the Offsets of pictures, one CPU generator each; drawn in the order x, y, angle, size."""
        widths = (self.xy, self.xy, self.angle, self.size)
        if not any(widths):
            return None
        draws = torch.stack([torch.rand(4, num_blobs, generator=generator) for generator in generators], dim=1)
        return self.scaled(draws.to(device))

    def scaled(self, draws):
        """Return the Offsets of uniform draws in [0, 1), (4, B, K)."""
        widths = (self.xy, self.xy, self.angle, self.size)
        return Offsets(*(width * (2 * draw - 1) if width else None for width, draw in zip(widths, draws)))


class Ellipses(NamedTuple):
    """What is splatted: xs, ys, sizes (B, K); axes (B, K, 2), variances along the direction and across it, both times
    the direction's squared length, which is 1; direction (B, K, 2)."""

    xs: torch.Tensor
    ys: torch.Tensor
    sizes: torch.Tensor
    axes: torch.Tensor
    direction: torch.Tensor


class Splatted(NamedTuple):
    """Blobs on the grid. pyramid: {side: (B, K + 1, side, side)}, shares that sum to 1.  features: (B, Df, low, low).
    styles: (B, K + 1, Ds)."""

    pyramid: dict
    features: torch.Tensor
    styles: torch.Tensor


def jitter(blobs, offsets=None, area=AREA):
    """Return the Ellipses of Blobs, moved by Offsets where they are given.

    The jittered direction is used as it is: normalising it again would change its gradient. As in the original, the
    angle comes from an arccos, which loses the sign of the direction's second part, and turns the other way.
    """
    offsets = offsets or Offsets()
    ratio = 0.5 * (F.logsigmoid(blobs.covs[..., 0]) - F.logsigmoid(blobs.covs[..., 1]))  # log sqrt(a / b)
    axes = area * torch.exp(torch.stack([ratio, -ratio], dim=-1))
    direction = F.normalize(blobs.covs[..., 2:], dim=-1)
    if offsets.angle is not None:
        angle = direction[..., 0].detach().clamp(-1, 1).arccos() + offsets.angle
        turned = torch.stack([angle.cos(), -angle.sin()], dim=-1)
        direction = direction + (turned - direction).detach()
    added = [0 if part is None else part for part in (offsets.x, offsets.y, offsets.size)]
    return Ellipses(blobs.xs + added[0], blobs.ys + added[1], blobs.sizes[:, 1:] + added[2], axes, direction)


def covariances(ellipses):
    """Return the covariance matrices (B, K, 2, 2) of Ellipses."""
    along = ellipses.direction
    across = torch.stack([-along[..., 1], along[..., 0]], dim=-1)
    first, second = (axis[..., None, None] * vector[..., :, None] * vector[..., None, :]
                     for axis, vector in zip(ellipses.axes.unbind(-1), (along, across)))
    return first + second + REGULARISER * torch.eye(2, dtype=along.dtype, device=along.device)


def terms(ellipses, grid):
    """Return (rows, columns), each (2, B, K, grid): q at (i, j) is the sum over both of (row_i + column_j)^2."""
    axes, along = ellipses.axes, ellipses.direction
    length = along.square().sum(dim=-1, keepdim=True)  # 1, but for its gradient, and 0 for a direction of zeros
    unit = torch.where(length > SHORTEST, along * torch.rsqrt(length.clamp(min=SHORTEST)), along.new_tensor([1.0, 0.0]))
    scale = torch.rsqrt(axes * length + REGULARISER)  # (B, K, 2)
    across = torch.stack([-unit[..., 1], unit[..., 0]], dim=-1)
    vectors = torch.stack([unit, across]) * scale.movedim(-1, 0)[..., None]  # (2, B, K, 2)
    places = torch.arange(grid, dtype=axes.dtype, device=axes.device) / grid
    columns = vectors[..., :1] * (places - ellipses.xs[..., None])
    rows = vectors[..., 1:] * (places - ellipses.ys[..., None])
    return rows, columns


def logits(ellipses, grid):
    """Return size - q at all points, (B, K, grid, grid)."""
    return _logits(*terms(ellipses, grid), ellipses.sizes)


def _logits(rows, columns, sizes):
    first, second = (row[..., :, None] + column[..., None, :] for row, column in zip(rows, columns))
    return sizes[..., None, None] - first.square() - second.square()


def alphas(ellipses, grid):
    """Return how much each blob covers each point, the background first: (B, K + 1, grid, grid)."""
    cover = torch.sigmoid(logits(ellipses, grid))
    return torch.cat([torch.ones_like(cover[:, :1]), cover], dim=1)


def composite(alpha):
    """Return the shares (B, K + 1, ...) that are seen of layers of these alphas, the last on top."""
    above = torch.cumprod(1 - alpha.flip(1), dim=1).flip(1)[:, 1:]  # all that lie above let through
    return torch.cat([alpha[:, :-1] * above, alpha[:, -1:]], dim=1)


class _Shares(torch.autograd.Function):
    """Shares (B, K + 1, grid, grid) of what `terms` gives and sizes (B, K): see `composite`.

    With w the shares and g their gradient, the gradient of blob k's logit is g_k w_k - alpha_k sum_{j <= k} g_j w_j:
    nothing is divided, and only w is kept.
    """

    @staticmethod
    def forward(ctx, rows, columns, sizes):
        blobs, grid = rows.shape[2:]
        seen = rows.new_empty(len(sizes), blobs + 1, grid, grid)
        left = torch.ones_like(seen[:, 0])  # what the blobs so far let through
        for index in reversed(range(blobs)):
            torch.mul(_alpha(rows, columns, sizes, index), left, out=seen[:, index + 1])
            left -= seen[:, index + 1]
        seen[:, 0] = left
        ctx.save_for_backward(rows, columns, sizes, seen)
        return seen

    @staticmethod
    def backward(ctx, gradient):
        rows, columns, sizes, seen = ctx.saved_tensors
        if torch.is_grad_enabled():  # it is differentiated itself
            alpha = torch.sigmoid(_logits(rows, columns, sizes))
            part = gradient * seen
            part = part[:, 1:] - alpha * part.cumsum(dim=1)[:, 1:]
            return _summed(part, rows, columns)
        parts, below = [], gradient[:, 0] * seen[:, 0]
        for index in range(sizes.shape[1]):
            part = gradient[:, index + 1] * seen[:, index + 1]
            below += part
            part.addcmul_(_alpha(rows, columns, sizes, index), below, value=-1)
            parts.append(_summed(part[:, None], rows[:, :, index, None], columns[:, :, index, None]))
        return tuple(torch.cat(part, dim=dim) for part, dim in zip(zip(*parts), (2, 2, 1)))


def _alpha(rows, columns, sizes, index):
    """Return one blob's alphas (B, grid, grid)."""
    row, column = rows[:, :, index, :, None], columns[:, :, index, None, :]
    first, second = row[0] + column[0], row[1] + column[1]
    return torch.addcmul(sizes[:, index, None, None], first, first, value=-1).addcmul_(second, second,
                                                                                      value=-1).sigmoid_()


def _summed(part, rows, columns):
    """Return the gradients of rows, columns (2, B, K, grid) and sizes (B, K) from those of the logits."""
    by_row = part @ torch.stack([torch.ones_like(columns[0]), *columns], dim=-1)  # (B, K, grid, 3)
    by_column = part.transpose(2, 3) @ torch.stack([torch.ones_like(rows[0]), *rows], dim=-1)
    of_rows = -2 * (rows * by_row[..., 0] + by_row[..., 1:].movedim(-1, 0))
    of_columns = -2 * (columns * by_column[..., 0] + by_column[..., 1:].movedim(-1, 0))
    return of_rows, of_columns, by_row[..., 0].sum(dim=-1)


def shares(ellipses, grid):
    """Return the shares (B, K + 1, grid, grid) of background and blobs; they sum to 1."""
    return _Shares.apply(*terms(ellipses, grid), ellipses.sizes)


class _Halved(torch.autograd.Function):
    """The mean of each 2 x 2 points."""

    @staticmethod
    def forward(ctx, x):
        return F.interpolate(x, scale_factor=0.5, mode="bilinear", align_corners=False)

    @staticmethod
    def backward(ctx, gradient):
        return F.interpolate(gradient / 4, scale_factor=2, mode="nearest")


def splat(blobs, grid, low, offsets=None, area=AREA):
    """Return the Splatted of Blobs: shares at the sides grid, grid / 2, ..., low, and the features of side `low`.

    offsets: of a jitter, see Jitter.draw.
    """
    with torch.autocast(blobs.xs.device.type, enabled=False):
        seen = shares(jitter(Blobs(*(precise(part) for part in blobs)), offsets, area), grid)
        pyramid = {grid: seen}
        while grid > low:
            grid //= 2
            pyramid[grid] = _Halved.apply(pyramid[2 * grid])
        return Splatted(pyramid, mixed(pyramid[low], precise(blobs.features)), precise(blobs.spatial_style))


def precise(part):
    """Return a tensor in float32, or float64 if it is that."""
    return part if part.dtype == torch.float64 else part.float()


def mixed(seen, vectors):
    """Return the vectors (B, K + 1, C) mixed by shares (B, K + 1, h, w): (B, C, h, w), channels last in memory."""
    return torch.bmm(seen.flatten(2).transpose(1, 2), vectors).unflatten(1, seen.shape[2:]).permute(0, 3, 1, 2)


def width(side, aspect):
    """Return the columns of a picture of so many rows."""
    return int(side * aspect)


def stretched(x, columns):
    """Return x (..., side) with its columns repeated (or left out) to so many, as nearest interpolation does."""
    side = x.shape[-1]
    if columns == side:
        return x
    if columns % side == 0:
        return x.repeat_interleave(columns // side, dim=-1)
    return x[..., nearest_columns(side, columns, x.device)]


def nearest_columns(side, columns, device="cpu"):
    """Return which of `side` columns stands at each of `columns` places, by torch's nearest interpolation."""
    places = torch.arange(side, dtype=torch.float32, device=device)[None, None]
    return F.interpolate(places, size=columns, mode="nearest")[0, 0].long()


def colour_table(palette):
    """Return a palette's colours (N, 3) float32 in 0..1: row 0 of the background, row k + 1 of blob k."""
    import numpy as np

    digits = bytes.fromhex(PALETTES[palette].replace(" ", ""))
    return torch.from_numpy(np.frombuffer(digits, np.uint8).reshape(-1, 3).astype(np.float32) / np.float32(255))


def blob_colours(ellipses, grid, colours):
    """Return pictures (B, 3, grid, grid) of Ellipses in 0..1; colours: (B or 1, K + 1, 3), or more rows than that.

    Foreground alphas are doubled, and 1 at most, so that each blob has a body.
    """
    alpha = alphas(ellipses, grid)
    alpha = torch.cat([alpha[:, :1], (2 * alpha[:, 1:]).clamp(max=1)], dim=1)
    rows = torch.arange(alpha.shape[1], device=alpha.device)
    last = colours.shape[-2]
    chosen = colours[..., torch.where(rows < last, rows, 1 + (rows - 1) % (last - 1)), :]  # more blobs: colours again
    return mixed(composite(alpha), chosen.to(alpha).expand(len(alpha), -1, -1))


@torch.no_grad()
def blob_picture(blobs, size, aspect=1, palette="default", labels=False, threshold=-3.0):
    """Return pictures of Blobs, (B, 3, size, aspect size) uint8.

    palette: a name of PALETTES, or "default".  labels: write each blob's number at its centre, where its size is above
    the threshold.
    """
    colours = colour_table(palette)[None].to(blobs.xs.device)
    pictures = stretched(blob_colours(jitter(Blobs(*map(precise, blobs))), size, colours), width(size, aspect))
    pictures = (pictures * 255).round().clamp(0, 255).to(torch.uint8).cpu()
    return _labelled(pictures, blobs, threshold) if labels else pictures


def _labelled(pictures, blobs, threshold):
    """Return uint8 pictures with the blobs' numbers written on them."""
    import numpy as np
    from PIL import Image, ImageDraw

    found, (height, columns) = [], pictures.shape[2:]
    for picture, xs, ys, sizes in zip(pictures, blobs.xs.cpu(), blobs.ys.cpu(), blobs.sizes[:, 1:].cpu()):
        image = Image.fromarray(picture.permute(1, 2, 0).numpy())
        draw = ImageDraw.Draw(image)
        for index in (sizes > threshold).nonzero()[:, 0].tolist():
            place = float(xs[index]) * columns, float(ys[index]) * height
            draw.text(place, str(index), fill="black", anchor="mm", stroke_width=1, stroke_fill="white")
        found.append(torch.from_numpy(np.array(image)).permute(2, 0, 1))
    return torch.stack(found)


PALETTES = {  # of the originals: one for driving scenes, one for rooms
    "kld": "faf1ea 8c785d a06177 9c9c5e 68855c af6458 b3b3b3 736f4c d9af6b 625377 855c75 526a83 b497e7 8be0a4 c9db74 "
           "fe88b1 9eb9f3 87c55f dcb0f2 f89c74 f6cf71 66c5cc a5aa99 ed645a 764e9f 2f8ac4 daa51b 24796c cc61b0 99c945 "
           "52bca3 5d69b1 e58606 ffffff 7c7c7c 8c785d a06177 9c9c5e 68855c 625377 526a83 736f4c af6458 d9af6b 855c75 "
           "b3b3b3 b497e7 8be0a4 c9db74 fe88b1 9eb9f3 87c55f dcb0f2 f89c74 f6cf71 66c5cc a5aa99 ed645a 764e9f 2f8ac4 "
           "daa51b 24796c cc61b0 99c945 52bca3 5d69b1 e58606 ffffff",
    "bed_conf": "faf1ea e58606 5d69b1 52bca3 99c945 2f8ac4 a5aa99 daa51b 764e9f cc61b0 ed645a 24796c 66c5cc f6cf71 "
                "f89c74 dcb0f2 87c55f 9eb9f3 fe88b1 c9db74 8be0a4 b497e7 b3b3b3 855c75 d9af6b af6458 736f4c 526a83 "
                "625377 68855c 9c9c5e a06177 8c785d 7c7c7c",
}
PALETTES["default"] = PALETTES["kld"]
