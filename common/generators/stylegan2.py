"""StyleGAN2 checkpoints as generators: z ~ N(0, 1) and fresh noise for each image, as published scores have it."""

from common.generators import Generator
from common.generators.latent import draw_codes

NUM_CODES = 4096  # whose mean w is the centre of truncation where a file has none, as in rosinality's sampling


def open_file(path, device, *, truncation=1.0):
    """Return the generator of a checkpoint. truncation: w is drawn towards the mean w by this factor."""
    from common.networks.stylegan2_weights import load_stylegan2

    return StyleGAN2Generator(load_stylegan2(path, device), path, truncation)


def truncation_centre(file, num_codes=NUM_CODES, seed=0):
    """Return (centre of truncation (1 or num_latents, style_dim), where it is from) for a StyleGAN2File.

    That of the file, else the mean w of `num_codes` codes of the same weights, drawn from the seed.
    """
    from common.style_space import mean_latent

    if file.latent_avg is not None:
        return file.latent_avg, "file"
    codes = draw_codes(range(num_codes), seed, (file.network.config.style_dim,))
    return mean_latent(file.network, codes).to(file.network.device), f"mean of {num_codes} codes, seed {seed}"


class StyleGAN2Generator(Generator):
    """Pictures of a StyleGAN2. On a CPU they are made one at a time: it is quicker, and takes less memory."""

    def __init__(self, file, path, truncation):
        self.network, self.truncation = file.network, truncation
        self.centre, origin = (None, None) if truncation == 1 else truncation_centre(file)
        how = {"weights": file.entry, "truncation": truncation, "noise": "seeded"}
        how |= {"truncation_centre": origin} if origin else {}
        super().__init__("stylegan2", path, (self.network.size,) * 2, **how)

    def generate(self, indices, seed):
        """See Generator."""
        import torch

        indices = list(indices)
        parts = [[index] for index in indices] if self.network.device.type == "cpu" else [indices]
        with torch.no_grad():
            return torch.cat([self._images(part, seed) for part in parts])

    def _images(self, indices, seed):
        from common.networks.stylegan2 import truncate

        network = self.network
        z = draw_codes(indices, seed, (network.config.style_dim,)).to(network.device)
        wplus = truncate(network.wplus(network.mapping(z)), self.centre, self.truncation)
        images = network.synthesise(network.style_vectors(wplus), network.draw_noise(indices, seed))
        return ((images + 1) * 127.5).clamp(0, 255)
