"""`calibrate_rcps validate`: is an outputs.npz whole, and fit to calibrate on?"""


import numpy as np

from common import console
from common.cli import Outcome
from common.errors import InputError
from common.numerals import counted

PROG = "calibrate_rcps validate"


def validate(options):
    """Run `calibrate_rcps validate`; results: files, a list of what each holds."""
    from common.rcps.dims import find_dims
    from common.rcps.outputs import Outputs

    found = []
    for path in options.outputs:
        outputs = Outputs(path)
        dims, names = find_dims(options.dims, outputs.num_dims)
        found.append(examine(outputs, dims, names))
    _show(found)
    return Outcome({"files": found})


def examine(outputs, dims, names):
    """Return what an outputs.npz holds, as plain values. Raises InputError for a damaged file and for bad numbers."""
    from common.rcps.outputs import KEYS, LOWER, POINT, TRUTH, UPPER
    from common.rcps.sets import critical_values, make_intervals

    has_truth = outputs.has_truth()
    dims, count = np.asarray(dims), 0
    crossed, floor = np.zeros(len(dims)), np.zeros(len(dims))
    mean = outputs.small.get("mean_style_space_vector")
    centre = 0 if mean is None else np.float64(mean[dims])
    for block in _blocks(outputs, KEYS):
        for key in KEYS:
            bad = ~np.isfinite(block[key]).all(axis=1)
            if key == TRUTH:
                bad &= has_truth[count : count + len(bad)]
            if bad.any():
                raise InputError(f"row {count + int(bad.argmax())} of '{key}' holds NaN or infinity",
                                 where=outputs.path, do="Look at that image, or write the file again")
        point, lower, upper = (np.float64(block[key][:, dims]) for key in (POINT, LOWER, UPPER))
        crossed += ((lower > upper) | (lower > point) | (upper < point)).sum(axis=0)
        known = has_truth[count : count + len(point)]
        intervals = make_intervals(*(values[known] for values in (block[TRUTH][:, dims], point, lower, upper)), centre)
        floor += np.isinf(critical_values(intervals)).sum(axis=0)
        count += len(point)
    worst = np.argsort(-floor, kind="stable")[:3]
    return {"file": str(outputs.path), "num_images": outputs.count, "num_dims": outputs.num_dims,
            "with_truth": int(has_truth.sum()), "crossed": float(crossed.mean() / count),
            "risk_floor": float(floor.mean() / max(has_truth.sum(), 1)),
            "worst_dims": [names[place] for place in worst if floor[place] > 0],
            "statistics": str(outputs.small.get("statistics", "file" if mean is not None else "none")),
            "image_names": outputs.names is not None, "resize_factor": _factor(outputs)}


def _factor(outputs):
    return int(outputs.small["resize_factor"]) if "resize_factor" in outputs.small else None


def _blocks(outputs, keys):
    """Yield {key: rows (n, D)} over the whole file; check sums are compared on the way."""
    from common.formats.npz import iterate_npz_rows
    from common.rcps.outputs import BLOCK

    for blocks in zip(*(iterate_npz_rows(outputs.path, key, BLOCK) for key in keys), strict=True):
        yield {key: block.reshape(-1, outputs.num_dims) for key, block in zip(keys, blocks)}


def _show(found):
    from tools.calibrate_rcps.report import percent

    columns = ["file", "images", "coordinates", "with truth", "crossed", "risk floor", "statistics"]
    console.show_table("Outputs", columns, [
        (row["file"], row["num_images"], row["num_dims"], row["with_truth"], percent(row["crossed"]),
         f"{row['risk_floor']:.4f}", row["statistics"]) for row in found])
    for row in found:
        if row["with_truth"] < row["num_images"]:
            missing = counted(row["num_images"] - row["with_truth"], "image")
            console.say(f"note: no truth for {missing} of {row['file']}: "
                        "calibrate with --drop_missing")
        if row["worst_dims"]:
            console.say(f"note: no lambda covers {percent(row['risk_floor'])} of the truths of {row['file']}; most "
                        f"of them in {', '.join(row['worst_dims'])}")
