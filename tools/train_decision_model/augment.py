"""Augmentation of training pictures: what a decision must not hang on. Each part is off where its strength is 0."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

COARSE = 8  # side of the smooth noise before it is enlarged
BLURS = 2  # passes of a 3 x 3 mean


@dataclass(frozen=True)
class Augmentation:
    """Strengths in the units of pictures in [-1, 1]; of each, a row draws how much of it it gets.

    blur: largest share of a blurred copy.  gain: largest change of a channel's scale.  shift: of its level, the same
    for all channels.  smooth_noise, white_noise: largest standard deviation.  flip: mirror half of the rows.
    """

    blur: float = 0.0
    gain: float = 0.0
    shift: float = 0.0
    smooth_noise: float = 0.0
    white_noise: float = 0.0
    flip: bool = False

    def draw(self, generator, size):
        """Return the draws of a row: uniform numbers (8,), smooth noise (3, 8, 8) and white noise (3, H, W), or (3, 0,
        0) of a noise that is off."""
        coarse = (3, COARSE, COARSE) if self.smooth_noise else (3, 0, 0)
        fine = (3, *size) if self.white_noise else (3, 0, 0)
        return (torch.rand(8, generator=generator), torch.randn(coarse, generator=generator),
                torch.randn(fine, generator=generator))

    def __call__(self, x, uniform, smooth, white):
        """Return pictures (n, 3, H, W) in [-1, 1], clamped again, augmented by the draws of their rows."""
        if self.flip:
            x = torch.where(uniform[:, 7, None, None, None] < 0.5, x.flip(3), x)
        if self.blur:
            x = torch.lerp(x, blurred(x), self.blur * uniform[:, 0, None, None, None])
        if self.gain:
            x = x * (1 + self.gain * (2 * uniform[:, 1:4, None, None] - 1))
        if self.shift:
            x = x + self.shift * (2 * uniform[:, 4, None, None, None] - 1)
        if self.smooth_noise:
            noise = F.interpolate(smooth, size=x.shape[2:], mode="bilinear", align_corners=False)
            x = x + self.smooth_noise * uniform[:, 5, None, None, None] * noise
        if self.white_noise:
            x = x + self.white_noise * uniform[:, 6, None, None, None] * white
        return x.clamp(-1, 1)


def blurred(x):
    """Return x (n, 3, H, W) after BLURS means over 3 x 3 pixels, those at the edge repeated; a side at a time."""
    for _ in range(BLURS):
        x = F.pad(x, (1, 1, 1, 1), mode="replicate")
        x = x[:, :, :-2] + x[:, :, 1:-1] + x[:, :, 2:]
        x = (x[..., :-2] + x[..., 1:-1] + x[..., 2:]) / 9
    return x
