"""Denoisers, what every sampler calls: `denoise(x, sigma) -> denoised images`, and the adapters around networks.

x: (B, C, H, W).  sigma: a float, or (B,) with one level an image. Score and denoiser are two forms of one function,
D(x, sigma) = x + sigma^2 score(x, sigma) (Karras et al. 2022, eq. 3): `ScoreDenoiser` and `score_of` translate.
"""

import torch

from common.nn.shapes import per_image


class Denoiser:
    """The denoiser of an EDMPrecond network: its labels bound, guided and with layers replaced where asked.

    labels: (B, label_dim) or None.  guidance w: D(x; none) + w (D(x; labels) - D(x; none)), "none" being zero labels;
    it only means something for networks trained with label dropout.  replace: {layer: (1 or B, C, H, W)}.
    """

    def __init__(self, network, labels=None, guidance=1.0, replace=None):
        self.network, self.labels, self.guidance, self.replace = network, labels, guidance, replace

    def __call__(self, x, sigma):
        if self.guidance == 1 or self.labels is None:
            return self.predict(x, sigma, self.labels)
        free = self.predict(x, sigma, None)
        if self.guidance == 0:
            return free
        return free + self.guidance * (self.predict(x, sigma, self.labels) - free)

    def predict(self, x, sigma, labels):
        """Return one network call's denoised images."""
        return self.network.run(x, sigma, labels, replace=self.replace)[0]

    def select(self, rows):
        """See `select`."""
        labels = None if self.labels is None else self.labels[rows]
        replace = {layer: value if len(value) == 1 else value[rows] for layer, value in (self.replace or {}).items()}
        return Denoiser(self.network, labels, self.guidance, replace)


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
    """Return score(x, sigma (B,)) of a denoiser: exactly the one that a ScoreDenoiser holds, else (D - x) / sigma^2."""
    if isinstance(denoise, ScoreDenoiser):
        return denoise.score
    return lambda x, sigma: (denoise(x, sigma) - x) / per_image(sigma, x) ** 2


class CountedCalls:
    """A score or denoiser that counts its calls. calls: (num_images,) int64, of each image."""

    def __init__(self, function, num_images):
        self.function, self.calls, self.rows = function, torch.zeros(num_images, dtype=torch.int64), slice(None)

    def __call__(self, x, sigma):
        self.calls[self.rows] += 1
        return self.function(x, sigma)

    def select(self, rows):
        """See `select`; the calls go to the counts of these images."""
        part = CountedCalls(select(self.function, rows), 0)
        part.calls, part.rows = self.calls, rows.cpu()
        return part


def select(function, rows):
    """Return a score or denoiser for the images `rows` (R,) of its batch; what belongs to each image goes along."""
    return function.select(rows) if hasattr(function, "select") else function
