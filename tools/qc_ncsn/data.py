"""Images for training and evaluation, and their random draws."""

from common import console
from common.errors import InputError
from common.seeding import rademacher, unit_generator


def open_images(config, data_dir=None, split="train", absent=None):
    """Return the data set of a configuration, its images brought to the network's size and channels.

    absent: as in common.datasets.open_dataset.
    """
    data = config["data"]
    return fitted(data["dataset"], split, data_dir, data["image_size"], data["num_channels"], absent)


def fitted(dataset, split, data_dir, size, channels, absent=None):
    """Return the ImageSet of a data set with images of a size (one number or (H, W)) and 1 or 3 channels."""
    from common.datasets import open_dataset

    images = open_dataset(dataset, split, data_dir=data_dir, size=size, absent=absent)
    images.set_channels(channels)
    return images


def note_changes(images):
    """Say how the images differ from their files, if they do: what is measured is measured of these pixels."""
    changes, looked = images.changes()
    if changes:
        counts = ", ".join(f"{number:,} {what}" for what, number in changes.items())
        part = f"of the first {looked:,}" if looked < len(images) else f"of {looked:,}"
        console.say(f"note: images of {images.name}, {images.split} split, differ from their files: {part} {counts}")


def cached_reader(images, memory_gb, unreadable=None):
    """Return a function of indices -> (uint8 images (n, H, W, C), which of them could be read (n,)).

    Decoded images stay in memory where they fit.  unreadable: an unreadable.Unreadable that hears of the others;
    without it the first of them is an InputError.
    """
    import numpy as np

    from common.datasets.sets.imageset import CompressedImages
    from common.training.pixels import ImageCache

    if not isinstance(images, CompressedImages):
        return lambda indices: (images.read(indices), np.ones(len(indices), bool))

    def load(numbers):
        try:
            return slice(None), images.read(numbers)
        except InputError:
            if unreadable is None:
                raise
        places, pixels = [], np.empty((len(numbers), *images.image_shape), np.uint8)
        for place, number in enumerate(numbers):
            try:
                pixels[place] = images.read([number])[0]
                places.append(place)
            except InputError as error:
                unreadable.add(number, error)
        return places, pixels[places]

    return ImageCache(load, len(images), images.image_shape, memory_gb).read


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


def noise_batch(images, indices, seed, device, repeat, level):
    """Return (x0, z) for the loss at one noise level: clean images and Gaussian noise, both (B, C, H, W) float32.

    Image i draws from (seed, repeat, level, i) alone.
    """
    import torch

    x0 = to_unit_range(images.read(list(indices)))
    z = [torch.randn(tuple(x0.shape[1:]), generator=unit_generator(seed, "dsm", repeat, level, int(index)))
         for index in indices]
    return x0.to(device), torch.stack(z).to(device)


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
