"""Images for training and evaluation, and their random draws."""

from common.errors import InputError
from common.seeding import rademacher, unit_generator


def open_images(config, data_dir=None, split="train"):
    """Return the data set of a configuration; InputError when its images do not fit the network."""
    from common.datasets import open_dataset

    data = config["data"]
    images = open_dataset(data["dataset"], split, data_dir=data_dir, size=data["image_size"])
    expected = (data["image_size"], data["image_size"], data["num_channels"])
    if tuple(images.image_shape) != expected:
        raise InputError(f"images are {tuple(images.image_shape)}, the configuration expects {expected} (H, W, C)",
                         where=data["dataset"],
                         do="Pass --config.data.image_size and --config.data.num_channels to match")
    return images


def cached_reader(images, memory_gb):
    """Return a function of indices -> uint8 images (n, H, W, C) that keeps decoded images in memory where they fit."""
    from common.datasets.sets.imageset import CompressedImages
    from common.training.pixels import ImageCache

    if not isinstance(images, CompressedImages):
        return images.read
    cache = ImageCache(lambda numbers: (slice(None), images.read(numbers)), len(images), images.image_shape, memory_gb)
    return lambda indices: cache.read(indices)[0]


def to_unit_range(pixels):
    """Return uint8 images (B, H, W, C) as float32 (B, C, H, W) in [0, 1]."""
    import torch

    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255


def dequantise(x0, u):
    """Return images x0 in [0, 1], multiples of 1/255, with uniform noise in [0, 1): (u + 255 x0) / 256, in [0, 1)."""
    return (u + 255 * x0) / 256  # bytes are the bins [k, k + 1) / 256, hence the 8 bits of `bits_per_dim`'s offset


def dequantised_batch(images, indices, seed, device, repeat=0):
    """Return (x, epsilon) for the likelihood: images dequantised uniformly to [0, 1), and Rademacher vectors.

    Image i draws both from (seed, repeat, i) alone. Both (B, C, H, W) float32 on `device`.
    """
    import torch

    x0 = to_unit_range(images.read(list(indices)))
    u, epsilon = [], []
    for index in indices:
        generator = unit_generator(seed, "nll", repeat, int(index))
        u.append(torch.rand(x0.shape[1:], generator=generator))
        epsilon.append(rademacher(tuple(x0.shape[1:]), generator))
    return dequantise(x0, torch.stack(u)).to(device), torch.stack(epsilon).to(device)


def asym_batch(images, indices, seed, device, repeat, level, slices):
    """Return (x0, z, v) for one noise level: clean images, Gaussian noise, and Rademacher vectors.

    Image i draws from (seed, repeat, level, i) alone. v: (slices B, C, H, W), slice-major.
    """
    import torch

    x0 = to_unit_range(images.read(list(indices)))
    shape, z, v = tuple(x0.shape[1:]), [], []
    for index in indices:
        generator = unit_generator(seed, "asym", repeat, level, int(index))
        z.append(torch.randn(shape, generator=generator))
        v.append(rademacher((slices, *shape), generator))
    v = torch.stack(v, dim=1).flatten(0, 1)
    return x0.to(device), torch.stack(z).to(device), v.to(device)
