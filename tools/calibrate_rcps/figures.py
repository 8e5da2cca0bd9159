"""`calibrate_rcps figures`: pictures of a saved calibration, and the numbers behind each as csv."""

from pathlib import Path

import numpy as np

from common.errors import InputError
from common.files import fingerprint
from common.numerals import counted
from common.paths import ExperimentDir
from tools.calibrate_rcps import findings

PROG = "calibrate_rcps figures"


def draw(options):
    """Run `calibrate_rcps figures`; results: covered_by_calibration_only, for each level."""
    from common.job import Job
    from tools.calibrate_rcps.levels import read_levels
    from tools.calibrate_rcps.stored import open_calibrated, read

    tree = ExperimentDir(options.base_dir, options.exp_name)
    stored = read(Path(options.calibration) if options.calibration else tree.calibration)
    found = find_levels(stored, options, tree)
    opened = open_calibrated(stored, found)
    count = min(outputs.count for outputs in opened)
    if options.image_index >= count:
        raise InputError(f"the outputs have {counted(count, 'image')}", where=f"--image_index {options.image_index}",
                         do=f"Pass 0 to {count - 1}")
    rows = [row_with_truth(outputs, options.image_index) for outputs in opened]
    for outputs in opened:
        ranges(outputs, stored.dims)
    folder, about = Path(options.output_dir), [fingerprint(stored.path), *(fingerprint(path) for _, _, path in found)]
    job = Job(folder, PROG, options, inputs=[stored.path, *(path for _, _, path in found)], about=about,
              content={f"input {number}": entry["sha256"] for number, entry in enumerate(about)},
              owns=owned(stored), summary=findings.figures_drawn)

    def work():
        scheme = str(stored.norm_scheme)
        levels = read_levels(found, opened, stored.dims, scheme, aligned=False, drop_missing=True)
        outputs = _runs(stored, folder) + _levels(levels, folder)
        only = {}
        for place, level in enumerate(levels):
            only[level.name], files = _intervals(stored, place, level, rows[place], folder)
            outputs += files
        return {"covered_by_calibration_only": only}, outputs

    return job.run(work, lambda: (f"would draw {len(found)} levels into {folder}", {}))


def owned(stored):
    """Return the names of the files that are drawn of a calibration."""
    parts = ["set_sizes", "residuals", "risk", *(f"intervals_{level}" for level in stored.levels)]
    return [*(f"{part}.png" for part in parts), *(f"table_{part}.csv" for part in parts)]


def row_with_truth(outputs, index):
    """Return the place of an image among those that have a truth. Raises InputError for one that has none."""
    known = outputs.has_truth()
    if not known[index]:
        raise InputError(f"image {index} has no truth", where=outputs.path,
                         do=f"Pass another --image_index, such as {int(known.argmax())}")
    return int(known[:index].sum())


def find_levels(stored, options, tree):
    """Return [(level, factor, path)] of a calibration's levels, in its order."""
    from tools.calibrate_rcps.levels import find_outputs

    if options.outputs:
        named = {level: path for level, _, path in find_outputs(options)}
        unknown = [level for level in named if level not in stored.levels]
        if unknown or len(named) < len(stored.levels):
            raise InputError(f"the calibration has the levels {', '.join(stored.levels)}", where="--outputs",
                             do="Pass LEVEL=FILE for each of them")
        return [(str(level), None, named[level]) for level in stored.levels]
    if not np.all(stored.factors):
        raise InputError("required: the calibration was made of files named by --outputs", where="--outputs",
                         do=f"Pass LEVEL=FILE for each of its levels: {', '.join(stored.levels)}")
    return [(str(level), int(factor), tree.outputs(factor)) for level, factor in zip(stored.levels, stored.factors)]


def ranges(outputs, dims):
    """Return (minimum, span) of some dims, in which intervals are drawn; the span of a dim that never changes is 1."""
    low, high = (outputs.vector(name, dims) for name in ("min", "max"))
    return low, np.where(high > low, high - low, 1)


def _runs(stored, folder):
    """Draw the test risks of the splits."""
    from common.images.figures import save_figure
    from tools.calibrate_rcps.plots import risk_histogram
    from tools.calibrate_rcps.tables import write_table

    after, before = np.atleast_2d(stored.mean_emp_risks), np.atleast_2d(stored.uncalibrated_risks)
    kept = ~np.isnan(after)
    save_figure(folder / "risk.png", risk_histogram(before[kept], after[kept], float(stored.alpha))[0])
    rows = [{"group": group, "run": run, "uncalibrated": float(before[group, run]),
             "calibrated": None if np.isnan(after[group, run]) else float(after[group, run])}
            for group in range(len(after)) for run in range(after.shape[1])]
    return [folder / "risk.png", write_table(folder / "table_risk.csv", rows)]


def _levels(levels, folder):
    """Draw widths and residuals of the levels."""
    from common.images.figures import save_figure
    from tools.calibrate_rcps.plots import residuals, set_sizes
    from tools.calibrate_rcps.tables import write_table

    widths = {level.name: level.intervals.widths() * level.scale for level in levels}
    errors = {level.name: level.intervals.residual for level in levels}
    save_figure(folder / "set_sizes.png", set_sizes(widths)[0])
    save_figure(folder / "residuals.png", residuals(errors)[0])
    files = [folder / "set_sizes.png", folder / "residuals.png"]
    for name, values in (("set_sizes", widths), ("residuals", errors)):
        rows = [{"level": level, **{f"quantile_{share:g}": float(np.quantile(array, share))
                                    for share in (0.05, 0.25, 0.5, 0.75, 0.95)}, "mean": float(array.mean())}
                for level, array in values.items()]
        files.append(write_table(folder / f"table_{name}.csv", rows))
    return files


def _intervals(stored, place, level, index, folder):
    """Draw one image's intervals; return (coordinates that only the calibrated interval covers, files)."""
    from common.images.figures import save_figure
    from tools.calibrate_rcps.plots import interval_rows, intervals
    from tools.calibrate_rcps.tables import write_table

    row = interval_rows(level, index, stored.lambda_hat[place], stored.shape[place])
    covered = (row["lower"] < row["truth"]) & (row["truth"] < row["upper"])
    only = int(((row["low"] < row["truth"]) & (row["truth"] < row["high"]) & ~covered).sum())
    low, span = ranges(level.outputs, stored.dims)
    drawn = {name: 2 * ((values - low) / span - 0.5) for name, values in row.items()}
    path = folder / f"intervals_{level.name}.png"
    save_figure(path, intervals(drawn, list(map(str, stored.dim_names)))[0])
    rows = [{"dim": int(dim), "name": str(stored.dim_names[number]),
             **{name: float(values[number]) for name, values in row.items()}} for number, dim in enumerate(stored.dims)]
    return only, [path, write_table(folder / f"table_intervals_{level.name}.csv", rows)]
