"""Sample grids: images from the averaged network, one class per row."""

from common import console
from common.errors import InputError
from common.images.grids import save_grid

ROWS = 16  # classes shown
BATCH = 64  # images per forward pass


def row_classes(classes, label_dim):
    """Return the classes of the rows: those that occur, or 16 of them spread evenly; None for a network without
    classes."""
    import numpy as np

    if label_dim == 0:
        return None
    occurring = np.unique(classes[classes >= 0])
    rows = min(len(occurring), ROWS)
    return [int(occurring[row * len(occurring) // rows]) for row in range(rows)]


def draw_samples(path, network, rows, options):
    """Write a grid of samples by Heun's sampler; image i starts from the noise of (seed, i) in every grid.

    rows: the class of each row, or None for eight rows without classes.
    """
    import numpy as np

    from common.diffusion.edm_sampling import Sampling, sample
    from common.images.pixels import to_uint8

    each = options.samples_per_class
    classes = None if rows is None else np.repeat(rows, each)
    count = 8 * each if rows is None else len(classes)
    sampling = Sampling("heun", options.sample_steps, options.sample_sigma_max, options.sample_sigma_min)
    pixels = []
    try:
        for first in range(0, count, BATCH):
            part = slice(first, min(first + BATCH, count))
            images = sample(network, sampling, options.seed, range(count)[part],
                            None if classes is None else classes[part])
            pixels.append(to_uint8(images, "edm"))
    except InputError as error:  # early in training the samples may diverge
        console.say(f"note: {path.name} not written: {error}")
        return
    save_grid(path, np.concatenate(pixels), columns=each, scale=max(1, 64 // options.resolution))
