"""BlobGAN checkpoints as generators: z ~ N(0, 1) and, as published scores have it, fresh noise maps for each image.

Image i is drawn from (seed, i); generate_blobgan makes the same one. On a CPU it is always computed with the same
neighbours, so that its bytes do not depend on what it is asked for with; on a GPU other batches may change its last
bits.
"""

import torch

from common.generators import Generator
from common.generators.latent import draw_codes
from common.seeding import unit_generator

TOGETHER = 1 << 14  # pixels computed at a time on a CPU: more is no quicker, and takes more memory


def open_file(path, device, *, truncation=1.0, weights="ema"):
    """Return the generator of a checkpoint.

    truncation: as StyleGAN2's: the latent is drawn towards the mean latent by this factor, 1 for not at all (1 minus
    BlobGAN's own t).  weights: ema or raw.
    """
    from common.networks.blobgan.files import read_blobgan

    return BlobGANGenerator(read_blobgan(path, device, weights), path, 1 - truncation)


class BlobGANGenerator(Generator):
    """Pictures of a BlobGAN. truncation: BlobGAN's own, 0 for none, 1 for the mean latent alone.

    fit: how the pictures were prepared on which it was trained, see common.images.squash.
    """

    def __init__(self, model, path, truncation):
        self.model, self.truncation, self.fit = model, truncation, model.config.transform.rule
        self._chunk = None, {}
        how = {"weights": model.weights, "truncation": truncation, "noise": "seeded"}
        super().__init__("blobgan", path, (model.config.resolution, model.config.columns), **how)

    def generate(self, indices, seed):
        """See Generator."""
        indices, count = list(map(int, indices)), together(self.model)
        with torch.no_grad():
            if count is None:
                images = self._images(indices, seed)
            else:
                images = torch.stack([self._one(index, seed, count) for index in indices])
        return ((images + 1) * 127.5).clamp(0, 255)

    def _one(self, index, seed, count):
        """Return one image (3, H, W), computed with its neighbours, which are kept for the next call."""
        chunk = index // count
        if self._chunk[0] != (seed, chunk):
            numbers = range(chunk * count, (chunk + 1) * count)
            self._chunk = (seed, chunk), self._images(numbers, seed)
        return self._chunk[1][index % count]

    def _images(self, indices, seed):
        blobs = draw_layouts(self.model, indices, seed, self.truncation)
        return self.model.render(blobs, noise_maps(self.model, [(seed, index) for index in indices]))


def together(model):
    """Return how many images are computed at a time on a CPU, always the same ones; None on another device."""
    pixels = model.config.resolution * model.config.columns
    return max(1, TOGETHER // pixels) if model.device.type == "cpu" else None


def draw_layouts(model, indices, seed, truncation=0.0):
    """Return the Blobs of images by number, on the model's device. truncation: 0 for none, 1 for the mean alone."""
    return model.layouts(draw_codes(indices, seed, (model.config.noise_dim,)).to(model.device), truncation)


def noise_maps(model, draws):
    """Return the noise of images for `BlobGAN.render`: draws holds an image's (seed, number), or None for the fixed
    maps."""
    if not any(draws):
        return "fixed"
    rows = [model.generator.fixed_noise() if draw is None
            else model.generator.fresh_noise([unit_generator(draw[0], "noise", draw[1])]) for draw in draws]
    return [torch.cat(maps) for maps in zip(*rows)]
