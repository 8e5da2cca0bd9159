"""The Frechet distance of a snapshot's samples to training images, in small features: which way a training goes."""

import math
from types import SimpleNamespace

import numpy as np

from common.diffusion.score_sampling import Sampler
from common.errors import InputError
from common.features.small_features import NAME, small_features
from common.features.statistics import Statistics, frechet
from common.files import check_fields, read_json, write_json
from common.formats.tables import write_table
from common.images.figures import new_figure, save_figure
from common.images.grids import save_grid, viewing_scale

REFERENCES = 5000  # training images, evenly spaced: enough for 128 features
SHOWN = 64


class SampleMetric:
    """The measure of one training: samples of the multistep sampler, with the configuration's settings, against the
    same training images at every snapshot.

    read: function of indices -> (uint8 images (n, H, W, C), which of them are good (n,)), of `count` images.
    """

    def __init__(self, config, sde, read, count, seed, device):
        data = config["data"]
        self.shape = (data["num_channels"], data["image_size"], data["image_size"])
        self.settings = {**config["sampling"], "method": "multistep"}
        self.number, self.batch = config["training"]["snapshot_metric"], config["training"]["batch_size"]
        self.sde, self.read, self.count, self.seed, self.device = sde, read, count, seed, device
        self.reference = None

    def measure(self, score, folder, step):
        """Write the metric of a snapshot and the curve of all; return the distance, NaN where the samples are not
        finite, as a half-trained network's may be.

        folder: `samples` of the work folder, with a folder iter_<step> for each snapshot.
        """
        sampler = Sampler(SimpleNamespace(score=score, sde=self.sde, image_shape=self.shape, path=folder),
                          self.settings)
        place, distance = folder / f"iter_{step}", math.nan
        try:
            parts = [sampler(self.seed, np.arange(first, min(first + self.batch, self.number)), self.device)[0]
                     for first in range(0, self.number, self.batch)]
        except InputError:
            parts = None
        if parts is not None:
            pixels = np.concatenate(parts)
            save_grid(place / "multistep.png", pixels[:SHOWN], scale=viewing_scale(pixels.shape[1]))
            distance = frechet(self._of(pixels), self._references())
        write_json(place / "metric.json", {
            "step": step, "frechet_distance": distance if math.isfinite(distance) else None, "features": NAME,
            "num_samples": self.number, "num_dataset": self._references().count})
        draw(folder, step)
        return distance

    def _of(self, pixels):
        return Statistics(features=small_features(pixels, self.device))

    def _references(self):
        """Return the Statistics of the training images, read once."""
        if self.reference is None:
            chosen = np.unique(np.linspace(0, self.count - 1, min(self.count, REFERENCES)).round().astype(np.int64))
            pixels, good = self.read(chosen)
            self.reference = self._of(pixels[good])
        return self.reference


def _row(path):
    """Return (step, distance or None) of a snapshot, None for a file that has them not."""
    try:
        stored = read_json(path)
        check_fields(stored, {"step": int, "frechet_distance": (int, float, type(None))}, path)
        return stored["step"], stored["frechet_distance"]
    except (InputError, KeyError):
        return None


def draw(folder, last):
    """Write metric.csv and metric.png of all snapshots of a training up to a step."""
    rows = sorted(row for row in map(_row, folder.glob("iter_*/metric.json")) if row and row[0] <= last)
    write_table(folder / "metric.csv", ["step", "frechet_distance"], rows)
    known = [(step, value) for step, value in rows if value is not None]
    if known:
        figure, axes = new_figure()
        steps, values = zip(*known)
        axes.plot(steps, values, marker="o", markersize=3)
        wide = min(values) > 0 and max(values) > 5 * min(values)
        axes.set(xlabel="step", yscale="log" if wide else "linear", ylabel=f"Frechet distance in {NAME}")
        save_figure(folder / "metric.png", figure)
