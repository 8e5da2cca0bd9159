"""Flags of the subcommands, apart from what they do, so that --help imports nothing heavy."""

from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import List, Optional

from common import flags
from common.options import REQUIRED, CommonOptions, option
from common.paths import ExperimentDir
from tools.calibrate_rcps.options import BOUNDS, LevelOptions

APPLY = ("""\
Widens the intervals of new images by the lambda of a saved calibration and writes the edges of their sets. Refuses
outputs of another encoder. Warns where the new images are not like the calibration's: then nothing holds.""", """\
examples:
  calibrate_rcps apply --outputs easy=new.npz
  calibrate_rcps apply --calibration out/calibrate_rcps --outputs easy=photos.npz hard=photos_32.npz""")
FIGURES = ("""\
Draws a saved calibration: test risks before and after, widths and residuals by level, and the intervals of one image,
coordinate by coordinate. The numbers behind each figure are written as csv beside it.""", """\
examples:
  calibrate_rcps figures --base_dir assets --exp_name super_resolution
  calibrate_rcps figures --calibration out/calibrate_rcps --outputs easy=easy.npz hard=hard.npz --image_index 7""")
ENDPOINTS = ("""\
Draws the ends of calibrated sets: pictures of the truth, the point, the point with all selected coordinates at their
lower and at their upper ends, where these differ, and the same for each group of coordinates.""", """\
examples:
  calibrate_rcps endpoints --base_dir assets --exp_name super_resolution --image_index 0 7
  calibrate_rcps endpoints --calibration out/calibrate_rcps --outputs easy=easy.npz --stylegan_path generator.pt""")
EXPERIMENTS = ("""\
Ranks coordinates by their calibrated width (importance), moves single ones and measures the change of the picture
(ablation), and corrupts pictures, encodes them and measures widths and risk (stress_test).""", """\
examples:
  calibrate_rcps experiments --experiment importance --compare_levels
  calibrate_rcps experiments --experiment stress_test --image_dir assets/data/generated/1x --num_samples 100""")
VALIDATE = ("""\
Reads outputs.npz files whole (check sums included) and says what they hold: images, coordinates, truths, statistics,
and the share of quantiles that cross. Ends with status 2 at the first thing that forbids a calibration.""", """\
example:
  calibrate_rcps validate --outputs easy.npz hard.npz""")
SYNTHETIC = ("""\
Writes outputs.npz for several levels as an encoder would: the truth is standard normal, errors are correlated between
coordinates, intervals vary from image to image. Their true risk is known and written beside them.""", """\
examples:
  calibrate_rcps make-synthetic --base_dir demo --num_images 500
  calibrate_rcps --base_dir demo --exp_name synthetic""")
SIMULATE = ("""\
Draws calibration images again and again from a population whose risk is known and counts how often the true risk at the
lambda that a bound chooses exceeds alpha. A bound keeps its promise where that share is at most delta.""", """\
examples:
  calibrate_rcps simulate --num_images 200 --num_dims 33
  calibrate_rcps simulate --num_images 500 --scales 0.85 1 1.25 --levels_as each_together --bounds wsr bet""")
ALL = [*BOUNDS, "anytime", "crc"]


@dataclass(kw_only=True)
class StoredOptions(CommonOptions):
    """Flags that name a saved calibration and outputs for its levels."""

    calibration: Optional[str] = option(None, "calibration.npz, or its folder (default: {base_dir}/{exp_name}/"
                                        "calibration)", kind="how")
    base_dir: str = option("assets", "folder of experiments", kind="how")
    exp_name: str = option("super_resolution", "experiment: a folder of --base_dir", kind="how")
    outputs: List[str] = option([], "outputs, each LEVEL=FILE with a level of the calibration (default: those of the "
                                "experiment's tree; apply: required)", nargs="+", metavar="LEVEL=FILE", kind="how")


@dataclass(kw_only=True)
class ApplyOptions(StoredOptions):
    """Flags of `calibrate_rcps apply`."""

    output_dir: str = option("out/calibrate_rcps/apply", "output directory", kind="how")


@dataclass(kw_only=True)
class FiguresOptions(StoredOptions):
    """Flags of `calibrate_rcps figures`."""

    image_index: int = option(0, "image of the interval plots", low=0)
    output_dir: str = option("out/calibrate_rcps/figures", "output directory", kind="how")


@dataclass(kw_only=True)
class ValidateOptions(CommonOptions):
    """Flags of `calibrate_rcps validate`."""

    outputs: List[str] = option(REQUIRED, "outputs.npz files", nargs="+", metavar="FILE")
    dims: str = option("all", "coordinates: ffhq33, clevr28, all, numbers separated by commas, or a file of numbers")


@dataclass(kw_only=True)
class SyntheticOptions(CommonOptions):
    """Flags of `calibrate_rcps make-synthetic`."""

    base_dir: str = option("assets", "folder of experiments", kind="how")
    exp_name: str = option("synthetic", "experiment: a folder of --base_dir", kind="how")
    resize_factors: List[str] = option(["1", "16", "32"], "resize factors, separated by blanks or commas", nargs="+")
    scales: List[float] = option([0.85, 1.0, 1.25], "how far the errors outgrow the intervals at each factor",
                                  nargs="+", above=0)
    num_images: int = option(500, "images", low=1)
    num_dims: int = option(9088, "coordinates", low=1)
    crossed: float = option(0.0, "share of the images whose quantiles are crossed at every coordinate", low=0, high=1)
    seed: int = option(0, "random seed", low=0, high=2**32 - 1)
    output_dir: Optional[str] = option(None, "output directory of the record (default: {base_dir}/{exp_name}/"
                                       "synthetic)", kind="how")


@dataclass(kw_only=True)
class SimulateOptions(CommonOptions):
    """Flags of `calibrate_rcps simulate`."""

    output_dir: str = option("out/calibrate_rcps/simulate", "output directory", kind="how")
    num_images: int = option(200, "calibration images", short="-n", low=2)
    num_dims: int = option(33, "coordinates", low=1)
    alpha: float = option(0.1, "largest risk", above=0, below=1)
    delta: float = option(0.1, "probability with which the promise may fail", above=0, below=1)
    bounds: List[str] = option([], "bounds to try (default: all that can be used)", nargs="+", choices=ALL)
    loss: str = option("fraction", "loss of an image: fraction, any, or more_than:J")
    scales: List[float] = option([1.0], "size of the errors at each difficulty level", nargs="+", above=0)
    levels_as: str = option("mean", "mean, each, each_together, or pooled",
                            choices=["mean", "each", "each_together", "pooled"])
    shape: str = option("one", "one factor for all coordinates, or per_dim[:SHARE]")
    dim_spread: float = option(0.0, "coordinates' errors differ by factors of exp(-S) to exp(S)", low=0, high=3)
    correlation: float = option(0.3, "correlation of the coordinates' errors", low=0, below=1)
    repetitions: int = option(1000, "draws of calibration images", kind="total", low=1)
    looks: int = option(0, "also look so many times, after 20 up to --num_images images, at a lambda whose risk is "
                        "exactly alpha, and count false claims", low=0)
    seed: int = option(0, "random seed", low=0, high=2**32 - 1)


@dataclass(kw_only=True)
class EndpointsOptions(StoredOptions):
    """Flags of `calibrate_rcps endpoints`."""

    stylegan_path: Optional[str] = option(None, "StyleGAN2 or pSp checkpoint that makes the pictures (default: "
                                          "{base_dir}/{exp_name}/pretrained_models/psp_celebs_super_resolution.pt)",
                                          kind="how")
    image_index: List[int] = option([0], "images, by their place in the outputs", nargs="+", low=0)
    device: str = flags.device()
    output_dir: str = option("out/calibrate_rcps/endpoints", "output directory", kind="how")


@dataclass(kw_only=True)
class ExperimentsOptions(LevelOptions):
    """Flags of `calibrate_rcps experiments`."""

    model_name: str = option("models/superres_alpha_0.1.pt", "the quantile encoder, below the experiment", kind="how")
    experiment: str = option("all", "ablation, stress_test, importance, or all",
                             choices=["ablation", "stress_test", "importance", "all"])
    output_dir: str = option("extension_experiments/results", "output directory", kind="how")
    calibration: Optional[str] = option(None, "calibration.npz, or its folder (default: {base_dir}/{exp_name}/"
                                        "calibration, made where it is missing)", kind="how")
    run_index: Optional[int] = option(None, "take the lambda of one of the splits, negative from the end (the "
                                      "original's -1 is the last) (default: the lambda of all images)")
    image_index: int = option(0, "image of the ablation", low=0)
    difficulty_level: Optional[str] = option(None, "level of ablation and importance, whose lambda the stress test "
                                             "takes (default: the first)")
    num_samples: Optional[int] = option(None, "use only the first N images in importance, stress test (default: all)",
                                        low=1)
    compare_levels: bool = option(False, "rank the coordinates of every level")
    dims: str = option("ffhq33", "coordinates, where nothing is calibrated yet")
    total_runs: int = option(100, "splits, where nothing is calibrated yet", low=1)
    image_dir: Optional[str] = option(None, "images with latents for the stress test, 1x", kind="how")
    encoder_size: Optional[int] = option(None, "side of the encoder's pictures in pixels (default: what its file says, "
                                         "else 256)", low=1, high=flags.LARGEST_SIDE)
    from_outputs: bool = option(False, "stress test: the original's mapping of names to levels, nothing is corrupted")
    noise_std: float = option(0.1, "deviation of the ablation's gaussian draws", above=0)
    stylegan_path: Optional[str] = option(None, "StyleGAN2 or pSp checkpoint that makes the ablation's pictures "
                                          "(default: {base_dir}/{exp_name}/pretrained_models/"
                                          "psp_celebs_super_resolution.pt)", kind="how")
    lpips_weights: Optional[str] = option(None, "AlexNet's or VGG-16's weights for LPIPS (default: none, pixels are "
                                          "compared)")
    seed: int = flags.seed("corruptions and draws")
    device: str = flags.device()


def synthetic_folder(options):
    """Return the folder of make-synthetic's record."""
    return Path(options.output_dir or ExperimentDir(options.base_dir, options.exp_name).root / "synthetic")


def output_dir(options):
    """Return the folder of most subcommands' record."""
    return Path(options.output_dir)


SUBCOMMANDS = {  # options, (description, examples), module, function, folder of the record
    "apply": (ApplyOptions, APPLY, "apply", "apply", output_dir),
    "figures": (FiguresOptions, FIGURES, "figures", "draw", output_dir),
    "endpoints": (EndpointsOptions, ENDPOINTS, "endpoints", "draw_endpoints", output_dir),
    "experiments": (ExperimentsOptions, EXPERIMENTS, "experiments", "run_experiments", output_dir),
    "validate": (ValidateOptions, VALIDATE, "validate", "validate", None),
    "make-synthetic": (SyntheticOptions, SYNTHETIC, "synthetic", "make_synthetic", synthetic_folder),
    "simulate": (SimulateOptions, SIMULATE, "simulate", "simulate", output_dir),
}


def run_subcommand(name, words):
    """Run a subcommand on its words and return the exit status."""
    from common.cli import run

    options_class, (description, epilog), module, function, place = SUBCOMMANDS[name]

    def main(options):
        return getattr(import_module(f"tools.calibrate_rcps.{module}"), function)(options)

    def show(results):
        found = import_module(f"tools.calibrate_rcps.{module}")
        if hasattr(found, "show"):
            found.show(results)

    return run(main, options_class, f"calibrate_rcps {name}", description, epilog, words, name, place=place, show=show)
