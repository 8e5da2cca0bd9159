"""calibration.npz and calibration.json: a calibration that `apply`, scripts and people read again."""

import pickle
from dataclasses import dataclass

import numpy as np

from common import console
from common.errors import InputError
from common.files import atomic_path, read_npz, write_json, write_npz
from common.numerals import byte_count
from common.rcps.choice import GRIDS

QUANTILES = 1000  # of point values and widths, by which `apply` knows images like the calibration's


def write(folder, kept, levels, rules, dims, names, results, figures):
    """Write calibration.npz and calibration.json; return the paths."""
    by_level = {number: found for found in kept for number in found.group.members}
    order = [by_level[number] for number in range(len(levels))]
    grid = GRIDS[rules.grid] if rules.grid else np.array([])
    arrays = {
        "levels": np.array([level.name for level in levels]), "dims": np.array(dims), "dim_names": np.array(names),
        "factors": np.array([level.factor or 0 for level in levels]), "lambda_values": grid,
        "lambda_hat": np.stack([found.setting.lambdas for found in order]),
        "shape": np.stack([found.setting.shape for found in order]),
        "upper_bound": np.array([found.upper_bound for found in order]),
        "n": np.array([len(found.setting.images) for found in order]),
        "num_style_dims": np.array(levels[0].outputs.num_dims), "encoder": np.array(levels[0].outputs.encoder),
        "alpha": np.array(rules.alpha), "delta": np.array(rules.delta), "norm_scheme": np.array(results["norm_scheme"]),
        **{name: np.array(getattr(rules, name)) for name in ("bound", "loss", "sides", "levels_as")},
        "guarantee": np.array("crc" if rules.bound == "crc" else "rcps"),
        **_runs(kept, levels),
    }
    for level, found in zip(levels, order):
        shares = np.linspace(0, 1, min(QUANTILES, level.count))  # no more than there are images: they are a sample
        arrays[f"point_quantiles_{level.name}"] = np.quantile(level.point, shares, axis=0)
        arrays[f"width_quantiles_{level.name}"] = np.quantile(level.intervals.widths(), shares, axis=0)
        arrays[f"set_size_mean_per_dim_{level.name}"] = mean_sizes(level, found.runs.lambdas, found.runs.settings)
    write_npz(folder / "calibration.npz", **arrays)
    write_json(folder / "calibration.json", {**results, "dims": list(map(int, dims)), "dim_names": list(names),
                                             "quarters": figures["quarters"], "per_dim": figures["dims"]})
    return [folder / "calibration.npz", folder / "calibration.json"]


def mean_sizes(level, lambdas, settings):
    """Return the mean width of each coordinate over all images at each run's lambda: float64 (runs, K)."""
    below, above = level.intervals.below.mean(axis=0), level.intervals.above.mean(axis=0)
    shapes = np.stack([np.full(below.shape, np.nan) if setting is None else setting.shape for setting in settings])
    return (lambdas[:, :1] * below + lambdas[:, -1:] * above) * shapes * level.scale


def _runs(kept, levels):
    """Return the arrays of the splits: of one group (runs, ...), of several (groups, runs, ...)."""
    several = len(kept) > 1 and len({found.runs.test.shape for found in kept}) == 1
    if len(kept) > 1 and not several:  # levels of unlike sizes: splits of unlike lengths go into arrays of their own
        split = {f"{name}_{found.group.name}": getattr(found.runs, field) for found in kept
                 for name, field in (("val_idx", "calibration"), ("test_idx", "test"))}
    else:
        split = {"val_idx": _stack([found.runs.calibration for found in kept]),
                 "test_idx": _stack([found.runs.test for found in kept])}
    return {"lambda_calib": _stack([found.runs.lambdas for found in kept], arms=True),
            "idx_lambda_calib": _stack([found.runs.places for found in kept], arms=True),
            "mean_emp_risks": _stack([found.runs.risks for found in kept]),
            "uncalibrated_risks": _stack([found.runs.plain_risks for found in kept]), **split}


def _stack(arrays, arms=False):
    """Return arrays of one group, or of several one behind the other.  arms: the last axis goes where it is one arm."""
    found = np.stack(arrays)
    found = found[0] if len(found) == 1 else found
    return found[..., 0] if arms and found.shape[-1] == 1 else found


def write_pickle(path, kept, levels, rules):
    """Write calibration_results.pkl in the original's nesting, and return its path. Its size is said beforehand."""
    from tools.calibrate_rcps.published import pickle_size, plain_lists, published_results

    runs, lambdas = kept[0].runs, GRIDS[rules.grid]
    size = pickle_size(levels, lambdas, runs)
    console.say(f"{path}: about {byte_count(size, 2)}")
    with atomic_path(path) as temporary, open(temporary, "wb") as stream:
        pickle.dump(plain_lists(published_results(levels, lambdas, runs)), stream, protocol=4)
    return path


@dataclass
class Stored:
    """A calibration.npz that was read: its arrays by name, lambda_hat (L, 1 or 2) and shape (L, K)."""

    path: object
    arrays: dict

    def __getattr__(self, name):
        try:
            return self.__dict__["arrays"][name]
        except KeyError:
            raise AttributeError(name) from None

    def centre(self, outputs, dims):
        """Return what is added to the values of some dims to compare them with the truth: (K,) float64, or 0.

        Raises InputError for a calibration by the published min_max formula, whose intervals have no unit.
        """
        if str(self.norm_scheme) == "min_max_legacy":
            raise InputError("was made with --norm_scheme min_max_legacy, which scales the intervals and not the truth",
                             where=self.path, do="Calibrate with --norm_scheme mean or min_max")
        return 0.0 if str(self.norm_scheme) == "none" else np.float64(outputs.vector("mean", dims))

    def losses(self, missed):
        """Return the calibrated loss of each image, float64 (n,), from bools (n, K): which truths its sets miss."""
        from tools.calibrate_rcps.calibration import share_missed

        return share_missed(missed, str(self.loss))

    def scale(self, outputs):
        """Return by what widths are multiplied: (K,) of a calibration in units of the range (min_max), else 1."""
        if str(self.norm_scheme) != "min_max":
            return 1.0
        return 2 / (outputs.vector("max", self.dims) - outputs.vector("min", self.dims))


NEEDED = ("levels", "factors", "dims", "dim_names", "lambda_hat", "shape", "alpha", "delta", "bound", "num_style_dims",
          "encoder", "norm_scheme", "sides", "loss")


def read(path):
    """Return the Stored calibration of a calibration.npz, or of the folder that holds one. Raises InputError."""
    path = path / "calibration.npz" if path.is_dir() else path
    arrays = read_npz(path)
    missing = [name for name in NEEDED if name not in arrays]
    if missing:
        raise InputError(f"has no array '{missing[0]}'", where=path, do="Pass a calibration.npz of calibrate_rcps")
    levels, count = len(arrays["levels"]), len(arrays["dims"])
    if arrays["lambda_hat"].shape[:1] != (levels,) or arrays["shape"].shape != (levels, count):
        raise InputError("lambda_hat and shape are not those of its levels and dims", where=path,
                         do="Calibrate again")
    return Stored(path, arrays)


def check_fits(stored, level, outputs):
    """Return an Outputs. Raises InputError unless level, coordinates and encoder are those of the calibration."""
    if level not in stored.levels:
        raise InputError("no such level in the calibration", where=f"--outputs {level}",
                         do=f"Use {', '.join(stored.levels)}")
    if outputs.num_dims != int(stored.num_style_dims):
        raise InputError(f"has {outputs.num_dims} coordinates, the calibration is for {int(stored.num_style_dims)}",
                         where=outputs.path, do="Pass outputs of the calibrated encoder")
    if "" not in (outputs.encoder, str(stored.encoder)) and outputs.encoder != str(stored.encoder):
        raise InputError("was made by a different encoder than the calibration's", where=outputs.path,
                         do="Pass outputs of the calibrated encoder, or calibrate this one")
    return outputs


def open_calibrated(stored, found):
    """Return [Outputs] of [(level, factor, path)] that fit a calibration. Raises InputError for one that does not."""
    from tools.calibrate_rcps.levels import open_levels

    return [check_fits(stored, level, outputs) for (level, _, _), outputs in zip(found, open_levels(found))]
