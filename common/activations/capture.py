"""From images to a network's activations: input, class labels, pooling."""

from common import console
from common.diffusion.schedules import check_level
from common.errors import InputError

INPUT_MODES = ("scale", "noise", "clean")
LABEL_MODES = ("own", "none", "uniform")
POOLS = ("none", "mean", "meanmax")
DTYPES = ("float32", "float16")
LEAST_SIGMA = 0.002  # the lowest level of EDM's training


def settle_feeding(mode, sigma):
    """Return the mode in which a network is fed at a noise level; InputError for a level that is none.

    Level 0 is the clean image, whatever the mode: scaled by it the network would see zeros, and the logarithm of the
    level that it is conditioned on would be -infinity.
    """
    if sigma != 0:
        check_level("conditioning_sigma", sigma)
    return mode if sigma > 0 else "clean"


def note_feeding(mode, sigma, config):
    """Say at what level a network is fed where level 0 changes the mode that was asked for."""
    if sigma == 0 and mode != "clean":
        console.say(f"note: conditioning_sigma 0 is the clean image, fed at the lowest level of the training, "
                    f"{level_fed('clean', 0, config):.4g}; the original's arithmetic gives NaN there")


def level_fed(mode, sigma, config):
    """Return the noise level that the network of an AdmConfig is conditioned on."""
    return max(sigma, LEAST_SIGMA, config.sigma_min) if mode == "clean" else sigma


def network_input(images, mode, sigma, seed, numbers, config):
    """Return the network's input (x, noise level) for images (B, 3, R, R) in [-1, 1].

    scale: images times sigma, as in the original tools.  noise: images plus sigma times noise, what networks are
    trained on; image i of `numbers` draws from (seed, i) alone.  clean: unchanged images, at least at the lowest level
    of the training.  config: the network's AdmConfig.
    """
    import torch

    from common.seeding import unit_generator

    if mode == "scale":
        return images * sigma, sigma
    if mode == "clean":
        return images, level_fed(mode, sigma, config)
    shape = tuple(images.shape[1:])
    draws = [torch.randn(shape, generator=unit_generator(seed, "input_noise", int(number))) for number in numbers]
    return images + sigma * torch.stack(draws).to(images), sigma


def label_vectors(labels, mode, label_dim, device):
    """Return class_labels (B, label_dim) for a network: one-hot of the labels (B,), None (zeros), or uniform ones."""
    import numpy as np

    from common.diffusion.labels import UNIFORM, class_vectors

    if mode == "none" or label_dim == 0:
        return None
    return class_vectors(np.full(len(labels), UNIFORM) if mode == "uniform" else labels, label_dim, device)


def layer_widths(config, layers, pool):
    """Return {layer: values per stored row}, in the order of the forward pass; InputError for an unknown layer."""
    import math

    from common.networks.adm_config import check_layers

    parts = check_layers(config, layers)
    width = {"none": lambda shape: math.prod(shape), "mean": lambda shape: shape[0],
             "meanmax": lambda shape: 2 * shape[0]}
    return {name: width[pool](part.shape) for name, part in parts.items()}


def pooled(output, pool):
    """Return (B, D): the flattened output (B, C, H, W), its means over H and W, or means then maxima."""
    import torch

    if pool == "none":
        return output.flatten(1)
    output = output.float()  # means in half precision would lose digits
    mean = output.mean(dim=(2, 3))  # (B, C)
    return mean if pool == "mean" else torch.cat([mean, output.amax(dim=(2, 3))], dim=1)


class Capture:
    """A network with everything that determines the activations of an image.

    images: when False the forward pass ends after the last requested layer (3.5 times less work for the default ones).
    """

    def __init__(self, network, layers, mode="scale", sigma=80.0, seed=10, label_mode="own", pool="none",
                 dtype="float32", images=True):
        self.network, self.layers, self.images = network, list(layers), images
        self.mode, self.sigma, self.seed = mode, sigma, seed
        self.label_mode, self.pool, self.dtype = label_mode, pool, dtype

    def of_pixels(self, pixels, labels, numbers, batch_size):
        """Return ({layer: (n, D)}, reconstructions uint8 (n, R, R, 3) or None) of uint8 pixels (n, 3, R, R).

        labels: (n,) network classes.  numbers: (n,) seeds of each image's noise, see network_input.
        """
        import torch

        def feed(start, stop):
            x = torch.from_numpy(pixels[start:stop]).to(device).float() / 127.5 - 1
            return network_input(x, self.mode, self.sigma, self.seed, numbers[start:stop], self.network.config)

        device = next(self.network.parameters()).device
        return self._passes(feed, len(pixels), labels, batch_size)

    def _passes(self, feed, count, labels, batch_size):
        import numpy as np
        import torch

        from common.images.pixels import to_uint8

        stored, images = {layer: [] for layer in self.layers}, []
        with torch.inference_mode():
            for start in range(0, count, batch_size):
                stop = min(start + batch_size, count)
                x, sigma = feed(start, stop)
                label_dim = self.network.config.label_dim
                class_labels = label_vectors(labels[start:stop], self.label_mode, label_dim, x.device)
                denoised, outputs = self.network.run(x, sigma, class_labels, layers=self.layers, image=self.images)
                for layer, rows in self.stored(outputs).items():
                    stored[layer].append(rows)
                if self.images:
                    if not bool(denoised.isfinite().all()):
                        raise not_finite("the network's images")
                    images.append(to_uint8(denoised, "dmd2"))
        return ({layer: np.concatenate(rows) for layer, rows in stored.items()} if count else stored,
                np.concatenate(images) if images else None)

    def stored(self, outputs):
        """Return {layer: numpy (B, D) in the stored dtype} of a pass's outputs; InputError when they are not finite."""
        import torch

        stored = {}
        for layer, output in outputs.items():
            rows = pooled(output, self.pool).to(getattr(torch, self.dtype))
            if not bool(rows.isfinite().all()):
                raise not_finite(f"the activations of '{layer}'", self.dtype)
            stored[layer] = rows.cpu().numpy()
        return stored


def not_finite(what, dtype="float32"):
    """Return the InputError for NaN or infinity in `what`."""
    broken = "The network may be broken, or the noise level far outside its training range"
    return InputError(f"{what} hold NaN or infinity", do="Use `dtype` float32" if dtype == "float16" else broken)
