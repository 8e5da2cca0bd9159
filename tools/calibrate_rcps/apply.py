"""`calibrate_rcps apply`: a saved calibration on new outputs.npz: edges and widths of the calibrated sets."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from common import console
from common.errors import InputError
from common.files import fingerprint
from common.paths import ExperimentDir
from tools.calibrate_rcps import findings

PROG = "calibrate_rcps apply"
SIGNIFICANT = 1e-3  # Holm's test over coordinates, of points and of widths
FAR, MANY = 1.0, 1 / 3  # beyond the calibration's points: by how much of their range, and what share of an image's


def apply(options):
    """Run `calibrate_rcps apply`; results: levels, a list of rows (level, images, width, risk, shifted dims)."""
    from common.job import Job
    from common.rcps.outputs import Outputs
    from tools.calibrate_rcps.levels import find_outputs
    from tools.calibrate_rcps.stored import check_fits, read

    path = Path(options.calibration) if options.calibration else \
        ExperimentDir(options.base_dir, options.exp_name).calibration
    stored = read(path)
    if not options.outputs:
        raise InputError("required", where="--outputs", do="Pass LEVEL=FILE, with a level of the calibration: "
                         f"{', '.join(stored.levels)}")
    found = find_outputs(options)
    opened = [check_fits(stored, level, Outputs(place)) for level, _, place in found]
    about = [fingerprint(stored.path), *(fingerprint(place) for _, _, place in found)]
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, inputs=[stored.path, *(place for _, _, place in found)], about=about,
              content={f"input {number}": entry["sha256"] for number, entry in enumerate(about)},
              derived={"levels": sorted(level for level, _, _ in found)},
              owns=[*(f"sets_{level}.npz" for level, _, _ in found), "table_sets.csv"], show=show,
              summary=findings.sets)

    def work():
        from tools.calibrate_rcps.tables import write_table

        rows, outputs = [], []
        for (level, _, _), each in zip(found, opened):
            sets = make_sets(stored, level, each)
            rows.append(_row(stored, level, each, sets))
            outputs.append(write_sets(folder / f"sets_{level}.npz", stored, each, sets))
        outputs.append(write_table(folder / "table_sets.csv", rows))
        return {"levels": rows}, outputs

    return job.run(work, lambda: (f"would write the sets of {sum(each.count for each in opened)} images into {folder}",
                                  {}))


@dataclass
class Sets:
    """Calibrated sets of N images: point, lower, upper float64 (N, K); missed (M, K) bools of the M images that have a
    truth, None where none has; plain widths (N, K) at lambda 1."""

    point: object
    lower: object
    upper: object
    plain: object
    missed: object


def make_sets(stored, level, outputs):
    """Return the Sets of a file at a level of a calibration."""
    from common.rcps.outputs import LOWER, POINT, TRUTH, UPPER
    from common.rcps.sets import make_intervals, missed_by

    place, dims = list(stored.levels).index(level), stored.dims
    columns = outputs.columns(dims, (POINT, LOWER, UPPER))
    point, lower, upper = (np.float64(columns[key]) for key in (POINT, LOWER, UPPER))
    centre = stored.centre(outputs, dims)
    below, above = np.maximum(point - lower, 0), np.maximum(upper - point, 0)
    low, high = stored.lambda_hat[place][0], stored.lambda_hat[place][-1]
    centred, missed = point + centre, None
    edges = centred - low * stored.shape[place] * below, centred + high * stored.shape[place] * above
    known = outputs.has_truth()
    if known.any():
        truth = outputs.columns(dims, (TRUTH,))[TRUTH][known]
        intervals = make_intervals(truth, point[known], lower[known], upper[known], centre)
        missed = missed_by(intervals, stored.lambda_hat[place], stored.shape[place])
    return Sets(centred, *edges, below + above, missed)


def shifted_dims(stored, level, sets):
    """Return the places of coordinates whose points or widths are not distributed as the calibration's images' are.

    A two-sample Kolmogorov-Smirnov test of each against the stored quantiles (1,000, or the values of fewer images),
    with Holm's correction over all; and points of any image that lie far outside the calibration's.
    """
    from scipy.stats import ks_2samp

    pairs = [(sets.point, stored.arrays[f"point_quantiles_{level}"]),
             (sets.plain, stored.arrays[f"width_quantiles_{level}"])]
    tests = []
    for new, old in pairs:
        tests += [(ks_2samp(new[:, place], old[:, place], method="asymp").pvalue, place)
                  for place in range(new.shape[1])]
    shifted = {int(place) for place in np.flatnonzero(_beyond(*pairs[0], FAR).any(axis=0))}
    if is_blind(stored, level, sets):
        outside = _beyond(*pairs[0])
        shifted |= {int(place) for place in np.flatnonzero(outside[outside.mean(axis=1) > MANY].any(axis=0))}
    for rank, (value, place) in enumerate(sorted(tests)):
        if value >= SIGNIFICANT / (len(tests) - rank):
            break
        shifted.add(place)
    return sorted(shifted)


def is_blind(stored, level, sets):
    """Return whether there are too few images for the test of shifted_dims to find any difference."""
    from scipy.stats import kstwobign

    new, old = len(sets.point), len(stored.arrays[f"point_quantiles_{level}"])
    return bool(kstwobign.sf(np.sqrt(new * old / (new + old))) >= SIGNIFICANT / (2 * sets.point.shape[1]))


def _beyond(new, old, part=0.0):
    """Return bools (N, K): values below the smallest or above the largest of the calibration's quantiles (Q, K), by
    more than a part of the range between them."""
    low, high = old[0], old[-1]
    margin = np.maximum(part * (high - low), 1e-3 * np.maximum(np.abs(low), np.abs(high)))  # a range may be a point
    return (new < low - margin) | (new > high + margin)


def _row(stored, level, outputs, sets):
    shifted = shifted_dims(stored, level, sets)
    names = [str(stored.dim_names[place]) for place in shifted]
    if names:
        shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
        console.say(f"warning: the images of {outputs.path} are not like the calibration's ({shown}): the promise is "
                    "for images like those, and does not hold here")
    elif is_blind(stored, level, sets):
        console.say(f"note: {outputs.path} has too few images ({outputs.count}) to tell whether they are like the "
                    "calibration's; none lies far outside them")
    widths = (sets.upper - sets.lower) * stored.scale(outputs)
    return {"level": level, "num_images": outputs.count, "with_truth": 0 if sets.missed is None else len(sets.missed),
            "mean_width": float(widths.mean()),
            "risk": None if sets.missed is None else float(stored.losses(sets.missed).mean()), "shifted_dims": names}


def write_sets(path, stored, outputs, sets):
    """Write the edges of one file's sets; return the path."""
    from common.files import write_npz

    more = {} if outputs.names is None else {"image_names": outputs.names}
    write_npz(path, dims=stored.dims, dim_names=stored.dim_names, point=np.float32(sets.point),
              lower=outward(sets.lower, -np.inf), upper=outward(sets.upper, np.inf), **more)
    return path


def outward(edges, towards):
    """Return edges as float32, rounded towards -inf or inf, so that no set gets smaller."""
    rounded = np.float32(edges)
    inside = rounded > edges if towards < 0 else rounded < edges
    return np.where(inside, np.nextafter(rounded, np.float32(towards)), rounded)


def show(results):
    """Print widths and risks."""
    from tools.calibrate_rcps.tables import number

    console.show_table("Calibrated sets", ["level", "images", "mean width", "risk", "shifted coordinates"], [
        (row["level"], row["num_images"], number(row["mean_width"]), number(row["risk"]), len(row["shifted_dims"]))
        for row in results["levels"]])
