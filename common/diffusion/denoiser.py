"""Denoisers, what every sampler calls: `denoise(x, sigma) -> denoised images`, and the adapters around networks.

x: (B, C, H, W).  sigma: a float, or (B,) with one level an image. Score and denoiser are two forms of one function,
D(x, sigma) = x + sigma^2 score(x, sigma) (Karras et al. 2022, eq. 3): `ScoreDenoiser` and `score_of` translate.
"""

import torch

from common.nn.shapes import per_image


class Denoiser:
    """The denoiser of an EDMPrecond network, with class labels bound, optional guidance and replaced layers.

    class_labels: (B, label_dim) or None.  guidance w: D(x; none) + w (D(x; labels) - D(x; none)), "none" being zero
    labels (Ho and Salimans 2022); for networks trained with label dropout.  replace: {layer: (1 or B, C, H, W)}.
    """

    def __init__(self, network, class_labels=None, guidance=1.0, replace=None):
        self.network, self.class_labels, self.guidance, self.replace = network, class_labels, guidance, replace

    def __call__(self, x, sigma):
        if self.guidance == 1 or self.class_labels is None:
            return self.predict(x, sigma, self.class_labels)
        unconditional = self.predict(x, sigma, None)
        if self.guidance == 0:
            return unconditional
        return unconditional + self.guidance * (self.predict(x, sigma, self.class_labels) - unconditional)

    def predict(self, x, sigma, class_labels):
        """Return one network call's denoised images."""
        return self.network.run(x, sigma, class_labels, replace=self.replace)[0]

    def select(self, rows):
        """See `select`."""
        class_labels = None if self.class_labels is None else self.class_labels[rows]
        replace = {layer: value if len(value) == 1 else value[rows] for layer, value in (self.replace or {}).items()}
        return Denoiser(self.network, class_labels, self.guidance, replace)


class ScoreDenoiser:
    """The denoiser of a score network, as NCSN++ on its VE SDE: x + sigma^2 score(x, sigma).

    score: called with float32 x and sigma (B,).
    """

    def __init__(self, score):
        self.score = score

    def __call__(self, x, sigma):
        levels = sigma if torch.is_tensor(sigma) else torch.full((len(x),), sigma, device=x.device)
        square = per_image(sigma, x) ** 2 if torch.is_tensor(sigma) else sigma**2
        return x + square * self.score(x.float(), levels)

    def select(self, rows):
        """See `select`."""
        return ScoreDenoiser(select(self.score, rows))


def score_of(denoise):
    """Return score(x, sigma (B,)) of a denoiser: a ScoreDenoiser's own (no rounding added), else (D - x) / sigma^2."""
    if isinstance(denoise, ScoreDenoiser):
        return denoise.score
    return lambda x, sigma: (denoise(x, sigma) - x) / per_image(sigma, x) ** 2


class CountedCalls:
    """A score or denoiser that counts its calls. calls: (num_images,) int64, per image."""

    def __init__(self, function, num_images):
        self.function, self.calls, self.rows = function, torch.zeros(num_images, dtype=torch.int64), slice(None)

    def __call__(self, x, sigma):
        self.calls[self.rows] += 1
        return self.function(x, sigma)

    def select(self, rows):
        """See `select`; calls are counted for these images."""
        part = CountedCalls(select(self.function, rows), 0)
        part.calls, part.rows = self.calls, rows.cpu()
        return part


def select(function, rows):
    """Return a score or denoiser for the images `rows` (R,) of its batch, with their per-image labels and outputs."""
    return function.select(rows) if hasattr(function, "select") else function
