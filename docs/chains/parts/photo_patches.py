"""Write patches of scikit-learn's two bundled photographs as npz files in the format of the downsampled ImageNet.

    python docs/chains/parts/photo_patches.py FOLDER

FOLDER/train_data_batch_1.npz and FOLDER/val_data.npz hold `data` uint8 (n, 3 * 32 * 32) and `labels` int64, 1 to 8:
all 32 x 32 patches of the photographs at half size, on a grid of 4 pixels. val_data holds those inside a middle strip
of columns, train_data those wholly outside it, so no pixel is in both. A class is a photograph and one of four clusters
of its patches' colours and textures; its number goes by photograph, then by brightness.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.cluster import KMeans
from sklearn.datasets import load_sample_images

SIDE, STRIDE, CLUSTERS = 32, 4, 4
STRIP = (128, 200)  # columns of val_data


def cut(photo):
    """Return (patches uint8 (n, 32, 32, 3), left column of each) of a photograph (H, W, 3)."""
    height, width = photo.shape[:2]
    corners = [(top, left)
               for top in range(0, height - SIDE + 1, STRIDE) for left in range(0, width - SIDE + 1, STRIDE)]
    patches = [photo[top : top + SIDE, left : left + SIDE] for top, left in corners]
    return np.stack(patches), np.array([left for _, left in corners])


def describe(patches):
    """Return (n, 8): each channel's mean and deviation, and how much the grey values change along rows and columns."""
    values = patches / 255
    grey = values.mean(axis=3)
    changes = [4 * np.abs(np.diff(grey, axis=axis)).mean(axis=(1, 2)) for axis in (1, 2)]
    return np.column_stack([values.mean(axis=(1, 2)), values.std(axis=(1, 2)), *changes])


def main(folder):
    """Write the two files."""
    parts = {"train_data_batch_1": ([], []), "val_data": ([], [])}
    for number, photo in enumerate(load_sample_images().images):
        small = Image.fromarray(photo).resize((320, 213), Image.Resampling.LANCZOS)
        patches, left = cut(np.asarray(small))
        held_out = (left >= STRIP[0]) & (left + SIDE <= STRIP[1])
        train = (left + SIDE <= STRIP[0]) | (left >= STRIP[1])
        features = describe(patches)
        found = KMeans(CLUSTERS, n_init=4, random_state=0).fit(features)
        rank = np.argsort(np.argsort(found.cluster_centers_[:, :3].sum(axis=1)))
        labels = 1 + number * CLUSTERS + rank[found.labels_]
        for name, chosen in (("train_data_batch_1", train), ("val_data", held_out)):
            parts[name][0].append(patches[chosen])
            parts[name][1].append(labels[chosen])
    folder.mkdir(parents=True, exist_ok=True)
    for name, (patches, labels) in parts.items():
        rows = np.concatenate(patches).transpose(0, 3, 1, 2).reshape(-1, 3 * SIDE * SIDE)
        np.savez(folder / f"{name}.npz", data=rows, labels=np.concatenate(labels).astype(np.int64))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
