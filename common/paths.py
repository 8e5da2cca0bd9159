"""Where cached results are stored."""

import os
from pathlib import Path


def cache_dir():
    """Return the cache folder: GENPROBE_CACHE, default .genprobe_cache below the current folder."""
    return Path(os.environ.get("GENPROBE_CACHE") or ".genprobe_cache")


def is_below(path, folder):
    """Return whether a path is a folder or lies in it, made or not."""
    return Path(folder).resolve() in (Path(path).resolve(), *Path(path).resolve().parents)


class ExperimentDir:
    """The documented tree of an interval experiment, {base_dir}/{exp_name}, counted from the current folder."""

    def __init__(self, base_dir, exp_name):
        self.root = Path(base_dir) / exp_name
        self.pretrained = self.root / "pretrained_models"
        self.separate_images = self.root / "data" / "ffhq_generated"
        self.separate_images = self.root / "data" / "ffhq_generated"
        self.calibration = self.root / "calibration"
        self.results_pickle = self.root / "calibration_results.pkl"

    def model(self, name):
        """Return the path of a quantile encoder, by its name below the experiment (models/superres_alpha_0.1.pt)."""
        return self.root / name

    def images(self, factor):
        """Return the folder of a resize factor: outputs.npz, and images with latents where they lie beside it."""
        return self.root / "data" / "calibration_set_outputs_generated_data" / str(factor)

    def outputs(self, factor):
        """Return the path of the encoder's outputs at a resize factor."""
        return self.images(factor) / "outputs.npz"
