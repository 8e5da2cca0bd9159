"""`calibrate_rcps make-synthetic`: outputs.npz files without a network, whose true risk is known."""


import shutil
from dataclasses import replace

import numpy as np

from common import console
from common.errors import InputError
from common.flags import parse_factors
from common.numerals import byte_count, counted
from common.paths import ExperimentDir
from tools.calibrate_rcps import findings

PROG = "calibrate_rcps make-synthetic"
RISK_AT = (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 3.0)


def make_synthetic(options):
    """Run `calibrate_rcps make-synthetic`; results: true_risk {factor: {lambda: risk}}."""
    from common.job import Job
    from tools.calibrate_rcps.commands import synthetic_folder

    factors = parse_factors(options.resize_factors)
    request, options = options, replace(options, resize_factors=[str(factor) for factor in factors])
    if len(factors) != len(options.scales):
        raise InputError(f"{len(options.scales)} for {counted(len(factors), 'factor')}", where="--scales",
                         do="Pass one for each factor")
    tree = ExperimentDir(options.base_dir, options.exp_name)
    paths = [tree.outputs(factor) for factor in factors]
    check_room(tree.root, len(paths) * 4 * 4 * options.num_images * options.num_dims)
    job = Job(synthetic_folder(options), PROG, options, request=request, inputs=[],
              owns=[path.absolute() for path in paths], show=show, summary=findings.synthetic)

    def work():
        with console.progress("outputs", len(paths) * 4 * options.num_images, unit="rows") as advance:
            for factor, scale, path in zip(factors, options.scales, paths):
                write(path, factor, scale, options, advance)
        risks = {str(factor): true_risks(scale, options) for factor, scale in zip(factors, options.scales)}
        return {"true_risk": risks, "num_images": options.num_images, "num_dims": options.num_dims}, paths

    return job.run(work, lambda: (f"would write {', '.join(map(str, paths))}", {}))


def check_room(folder, size):
    """Raise InputError where the disk of a folder, made or not, has no room for so many bytes."""
    place = next(each for each in (folder.absolute(), *folder.absolute().parents) if each.exists())
    free = shutil.disk_usage(place).free
    if size > free:
        raise InputError(f"the files would take {byte_count(size)}, the disk has {byte_count(free)} left",
                         where=folder, do="Pass fewer --num_images or --num_dims, or another --base_dir")


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
