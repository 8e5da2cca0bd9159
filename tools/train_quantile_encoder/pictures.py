"""Pictures of predictions: what the encoder sees, the image, and what the generator makes of the three values."""

import numpy as np
import torch

from common.datasets.degradations import network_input
from common.images.grids import save_grid, viewing_scale
from common.images.pixels import rounded_bytes

SHOWN = 8  # images


@torch.no_grad()
def draw_predictions(path, network, generator, folder, centre):
    """Write one column for each of a Folder's first images: input at the largest factor, image, lower, point, upper."""
    was_training, device = network.training, centre.device
    network.eval()
    count, rows = min(SHOWN, len(folder)), []
    places = np.arange(count)
    hardest = int(np.argmax(folder.factors))
    pixels = folder.read(places, np.full(count, hardest))[0]
    rows += [pixels, folder.read(places, np.full(count, -1))[0]]
    for place in range(3):
        made = []
        for image in pixels:  # one by one: pictures of 1024 px need much memory
            values = network(network_input(image[None]).to(device))[:, place]
            drawn = generator.synthesise(values + centre)
            made.append(rounded_bytes(torch.nn.functional.adaptive_avg_pool2d(drawn, folder.size))[0])
        rows.append(np.stack(made))
    network.train(was_training)
    save_grid(path, np.concatenate(rows), columns=count, scale=viewing_scale(folder.size))
