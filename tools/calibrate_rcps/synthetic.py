"""`calibrate_rcps make-synthetic`: outputs.npz files without a network, whose true risk is known."""

from dataclasses import dataclass
from pathlib import Path
from typing import List, Optional

import numpy as np

from common import console
from common.errors import InputError
from common.options import CommonOptions, option
from common.paths import ExperimentDir

PROG = "calibrate_rcps make-synthetic"
DESCRIPTION = """\
Writes outputs.npz for several levels as an encoder would: the truth is standard normal, errors are correlated between
coordinates, intervals vary from image to image. The true risk of every lambda is known and written beside them."""
EPILOG = """\
examples:
  calibrate_rcps make-synthetic --base_dir demo --num_images 500
  calibrate_rcps --base_dir demo --dims ffhq33"""
RISK_AT = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)


@dataclass(kw_only=True)
class SyntheticOptions(CommonOptions):
    """Flags of `calibrate_rcps make-synthetic`."""

    base_dir: str = option("assets", "folder of experiments", kind="how")
    exp_name: str = option("synthetic", "experiment: a folder of --base_dir", kind="how")
    resize_factors: List[str] = option(["1", "16", "32"], "resize factors, separated by blanks or commas", nargs="+")
    scales: List[float] = option([0.85, 1.0, 1.25], "how far the errors outgrow the intervals at each factor", nargs="+", above=0)
    num_images: int = option(500, "images", low=1)
    num_dims: int = option(9088, "coordinates", low=1)
    crossed: float = option(0.0, "share of the images whose quantiles are crossed at every coordinate", low=0, high=1)
    seed: int = option(0, "random seed", low=0, high=2**32 - 1)
    output_dir: Optional[str] = option(None, "output directory of the record (default: {base_dir}/{exp_name}/synthetic)",
                                       kind="how")


def make_synthetic(options):
    """Run `calibrate_rcps make-synthetic`; results: true_risk {factor: {lambda: risk}}."""
    from common.job import Job
    from tools.calibrate_rcps.levels import parse_factors

    factors = parse_factors(options.resize_factors)
    if len(factors) != len(options.scales):
        raise InputError(f"{len(options.scales)} for {len(factors)} factors", where="--scales",
                         do="Pass one for each factor")
    tree = ExperimentDir(options.base_dir, options.exp_name)
    paths = [tree.outputs(factor) for factor in factors]
    job = Job(record_folder(options), PROG, options, inputs=[], owns=[path.absolute() for path in paths], show=show)

    def work():
        with console.progress("outputs", len(paths) * 4 * options.num_images, unit="rows") as advance:
            for factor, scale, path in zip(factors, options.scales, paths):
                write(path, factor, scale, options, advance)
        return {"true_risk": {str(factor): true_risks(scale, options) for factor, scale in zip(factors, options.scales)},
                "num_images": options.num_images, "num_dims": options.num_dims}, paths

    return job.run(work, lambda: (f"would write {', '.join(map(str, paths))}", {}))


def record_folder(options):
    """Return the folder of the record."""
    return Path(options.output_dir or ExperimentDir(options.base_dir, options.exp_name).root / "synthetic")


def true_risks(scale, options):
    """Return {lambda: true risk} of one level."""
    from common.rcps.population import missed_share

    share = options.crossed
    return {f"{value:g}": float((1 - share) * missed_share(value, scale=scale) + share) for value in RISK_AT}


def write(path, factor, scale, options, advance):
    """Write the outputs.npz of one level."""
    from common.rcps.outputs import KEYS, write_outputs

    def rows(key):
        for image in range(options.num_images):
            advance()
            yield draw(image, scale, options)[key][None]

    path.parent.mkdir(parents=True, exist_ok=True)
    zeros = np.zeros(options.num_dims, np.float32)
    write_outputs(path, {key: rows(key) for key in KEYS}, options.num_images, options.num_dims,
                  statistics={"mean": zeros, "min": zeros - 4, "max": zeros + 4}, resize_factor=factor,
                  image_names=[f"img_{image + 1:05d}.png" for image in range(options.num_images)], encoder="synthetic")


def draw(image, scale, options):
    """Return {key: (D,) float32} of one image; its truth and the shape of its errors are the same at every level."""
    from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER
    from common.rcps.population import draw_images
    from common.seeding import unit_numpy

    generator = unit_numpy(options.seed, "synthetic", image)
    truth = generator.standard_normal(options.num_dims)
    errors, half = draw_images(generator, 1, options.num_dims)
    crossed = generator.random() < options.crossed
    arm = scale * (-half[0] if crossed else half[0])
    point = truth - scale**2 * errors[0]  # errors grow faster than the intervals: c is `scale` times the population's
    return {key: value.astype(np.float32) for key, value in
            ((TRUTH, truth), (POINT, point), (LOWER, point - arm), (UPPER, point + arm))}


def show(results):
    """Print the true risks."""
    rows = [(factor, *(f"{risk:.4f}" for risk in risks.values())) for factor, risks in results["true_risk"].items()]
    console.show_table("True risk at lambda", ["factor", *next(iter(results["true_risk"].values()))], rows)


def cli(words):
    """Run the subcommand and return its exit status."""
    from common.cli import run

    return run(make_synthetic, SyntheticOptions, PROG, DESCRIPTION, EPILOG, words, "make-synthetic",
               place=record_folder, show=show)
