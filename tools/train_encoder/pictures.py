"""Pictures of a step: each sample's own, its reconstruction, and the blobs of both, one column a sample."""

import numpy as np
import torch

from common.images.grids import save_grid, viewing_scale
from common.images.pixels import rounded_bytes
from common.networks.blobgan.splat import blob_picture

SHOWN = 16  # samples
ROWS = {  # as the original orders them
    "pretrain": ("fake", "fake_reconstr", "fake_feats", "fake_reconstr_feats"),
    "train": ("real", "real_reconstr", "fake", "fake_reconstr", "real_reconstr_feats", "fake_reconstr_feats",
              "fake_feats"),
}


@torch.no_grad()
def draw_grid(path, stage, scene, reconstructed):
    """Write the grid of a Scene with both sides (or generated pictures alone).

    reconstructed: {side: (pictures, Blobs)}.
    """
    height, columns = scene.pictures["fake"].shape[2:]
    aspect = columns / height
    found = {side: rounded_bytes(pictures) for side, pictures in scene.pictures.items()}
    for side, (pictures, blobs) in reconstructed.items():
        found[f"{side}_reconstr"] = rounded_bytes(pictures)
        found[f"{side}_reconstr_feats"] = _blobs(blobs, height, aspect)
    found["fake_feats"] = _blobs(scene.blobs, height, aspect)
    rows = [found[name] for name in ROWS[stage] if name in found]
    save_grid(path, np.concatenate(rows), columns=len(rows[0]), scale=viewing_scale(height))


def _blobs(blobs, height, aspect):
    return blob_picture(blobs, height, aspect).permute(0, 2, 3, 1).numpy()
