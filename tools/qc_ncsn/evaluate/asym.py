"""Asym and NAsym over noise levels: how far a score is from a gradient field (run_lib_evaluation_asym.py)."""

from dataclasses import dataclass
from typing import Optional

from common.cli import Outcome, run
from common.options import option
from tools.qc_ncsn.evaluate.model import EvalOptions, evaluate
from tools.qc_ncsn.series import run_series, series_folder, several, show_any
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn eval asym"

EPILOG = """examples:
  qc_ncsn eval asym --workdir digits_u --nl 20 --num_images 200 --weights ema
  qc_ncsn eval asym --workdir qc --config qc_cifar10 --checkpoint_idx 70 --data_dir data --estimator antisymmetric"""


@dataclass(kw_only=True)
class AsymOptions(EvalOptions):
    """Flags of `qc_ncsn eval asym`."""

    slices: int = option(1, "random vectors per image and level", low=1)
    nl: Optional[int] = option(None, "number of noise levels T (default: the preset's; 100 in the paper)", low=1)
    estimator: str = option("paper",
                            "paper: ||J'v||^2 - v.J'J'v; antisymmetric: 0.5||(J - J')v||^2, same mean, less noise",
                            choices=["paper", "antisymmetric"])
    exact: bool = option(False, "exact Jacobian instead of random vectors, for small images")


def main(options):
    """Run `qc_ncsn eval asym`; results: asym, asym_se, nasym, nasym_se, nasym_ratio, and the curves by level."""
    if several(options):
        return run_series(options, PROG, "asym", main, _folder)
    if options.read and not options.calculate:
        return _read(WorkDir(options.workdir))
    return evaluate(options, PROG, _folder(options), _run, show,
                    ["levels_*", "repeat_*.npz", "table.csv", "asym.png", "nasym.png"])


def record_folder(options):
    """Return the folder of the measurement's record, None for --read."""
    if options.read:
        return None
    return series_folder(options, "asym") if several(options) else _folder(options)


def _folder(options):
    work = WorkDir(options.workdir)
    return work.asym_exact if options.exact else work.asym


def _read(work):
    from common import console
    from tools.qc_ncsn.evaluate.stored import read_asym

    stored = read_asym(work.asym)
    missing = "not in the file: the original stores Asym under both names"
    nasym = missing if stored["nasym"] is None else f"{stored['nasym']:.3e}"
    console.show_table(str(work.asym), ["levels", "Asym", "NAsym"],
                       [[stored["num_levels"], f"{stored['asym']:.3e}", nasym]])
    return Outcome({"asym": stored["asym"], "nasym": stored["nasym"], "levels": stored["num_levels"],
                    "asym_by_level": stored["asym_levels"], "nasym_by_level": stored["nasym_levels"]})


def _run(options, model, images, folder, device, made_by):
    """Write every missing level file, then repeat_<r>.npz, the curves and the table; return (results, files)."""
    import numpy as np

    from common import parallel
    from common.files import write_npz
    from common.units import make_missing, stored_arrays
    from tools.qc_ncsn.asymmetry import noise_levels

    levels = noise_levels(options.nl)
    units = [(repeat, number) for repeat in range(options.total_repeat) for number in range(len(levels))]

    def is_complete(unit):
        stored = stored_arrays(_level_path(folder, *unit), ("asym", "norm2", "nasym"), ("made_by",))
        return stored is not None and len(stored["asym"]) == options.num_images \
            and str(stored.get("made_by", made_by)) == made_by

    def make(unit, advance):
        columns = _measure_level(options, model, images, device, *unit, levels[unit[1]], advance)
        write_npz(_level_path(folder, *unit), **columns, made_by=np.array(made_by))

    make_missing(units, is_complete, make, "asymmetry", lambda unit: options.num_images)
    outputs = [folder / f"repeat_{repeat}.npz" for repeat in range(options.total_repeat)] + [folder / "table.csv"]
    return summarise(options, model, folder, levels, made_by, write=parallel.is_main()), outputs


def _level_path(folder, repeat, number):
    return folder / f"levels_{repeat}" / f"level_{number:03d}.npz"


def _measure_level(options, model, images, device, repeat, number, level, advance):
    """Return the per-image values of one noise level: asym (n,), norm2 (n,), nasym (n,), means over the vectors."""
    import numpy as np
    import torch

    from tools.qc_ncsn.asymmetry import asymmetry, normalised
    from tools.qc_ncsn.data import asym_batch
    from tools.qc_ncsn.sample.rounds import rounds_of

    rows = []
    for indices in rounds_of(0, options.num_images, options.bs):
        x0, z, v = asym_batch(images, indices, options.seed, device, repeat, number, options.slices)
        t = torch.full((len(indices),), level * (1 - model.sde.eps) + model.sde.eps, device=device)
        value, norm2 = asymmetry(model.score, model.sde, x0, t, z, v, "exact" if options.exact else options.estimator)
        parts = (value.double(), norm2.double(), normalised(value.double(), norm2.double()))
        rows.append(torch.stack([part.reshape(-1, len(indices)).mean(0) for part in parts]).cpu().numpy())
        advance(len(indices))
    asym, norm2, nasym = np.concatenate(rows, axis=1)
    return {"asym": asym, "norm2": norm2, "nasym": nasym, "index": np.arange(options.num_images),
            "level": np.float64(level)}


def summarise(options, model, folder, levels, made_by, write):
    """Return the results over all levels and repeats, and write repeat_<r>.npz, the per-level table and the curve.

    Asym and NAsym are means over images, then over levels, as in the paper; standard errors take images (means over
    their repeats) as independent within a level and levels as independent, and are NaN for one image. nasym_ratio is
    0.5 sum asym / sum norm2 per level, then the mean over levels: the ratio of means, of which the mean of ratios is a
    biased estimate.
    """
    import numpy as np
    import torch

    from common.files import write_npz
    from common.formats.tables import write_table
    from tools.qc_ncsn.evaluate.stored import read_numbers
    from tools.qc_ncsn.pictures import level_curves

    sigmas = model.sde.sigma(torch.tensor(levels, dtype=torch.float64) * (1 - model.sde.eps) + model.sde.eps).numpy()
    curves, values = [], {"asym": [], "nasym": []}
    for repeat in range(options.total_repeat):
        stored = [read_numbers(_level_path(folder, repeat, number), ("asym", "norm2", "nasym"))
                  for number in range(len(levels))]
        columns = {name: np.array([level[name].mean() for level in stored]) for name in ("asym", "nasym", "norm2")}
        for name in ("asym", "nasym"):
            values[name].append([level[name] for level in stored])
            columns[f"{name}_se"] = _error(np.array(values[name][-1]))
        columns["nasym_ratio"] = 0.5 * columns["asym"] / np.maximum(columns["norm2"], 1e-300)
        curves.append(columns)
        if write:
            write_npz(folder / f"repeat_{repeat}.npz", **columns, sigma=sigmas, level=np.array(levels),
                      made_by=np.array(made_by))
    mean = {name: np.mean([columns[name] for columns in curves], axis=0) for name in ("asym", "nasym", "nasym_ratio")}
    error = {name: _error(np.mean(repeats, axis=0)) for name, repeats in values.items()}
    count = len(levels)
    results = {
        "asym": float(mean["asym"].mean()), "asym_se": float(np.sqrt(np.sum(error["asym"] ** 2)) / count),
        "nasym": float(mean["nasym"].mean()), "nasym_se": float(np.sqrt(np.sum(error["nasym"] ** 2)) / count),
        "nasym_ratio": float(mean["nasym_ratio"].mean()),
        "estimator": "exact" if options.exact else options.estimator, "weights": model.weights,
        "num_images": options.num_images, "levels": count, "sigma": sigmas.tolist(),
        "asym_by_level": mean["asym"].tolist(), "nasym_by_level": mean["nasym"].tolist(),
        "asym_se_by_level": error["asym"].tolist(), "nasym_se_by_level": error["nasym"].tolist(),
        "checkpoint": str(model.path), "step": model.step,
    }
    if write:
        rows = zip(sigmas, mean["asym"], error["asym"], mean["nasym"], error["nasym"], mean["nasym_ratio"])
        write_table(folder / "table.csv", ["sigma", "asym", "asym_se", "nasym", "nasym_se", "nasym_ratio"],
                    [[f"{value:.6g}" for value in row] for row in rows])
        level_curves(folder / "asym.png", sigmas, {"Asym": (mean["asym"], error["asym"])}, "Asym")
        level_curves(folder / "nasym.png", sigmas, {"NAsym": (mean["nasym"], error["nasym"])}, "NAsym", log=False)
    return results


def _error(values):
    """Return the standard error over images of each level; values: (levels, images)."""
    import numpy as np

    count = values.shape[1]
    return values.std(axis=1, ddof=1) / count**0.5 if count > 1 else np.full(len(values), np.nan)


def show(results):
    """Print the results as a table."""
    from common import console

    def with_error(name):
        error = results[f"{name}_se"]
        return f"{results[name]:.3e}" + ("" if error is None or error != error else f" +- {error:.1e}")

    console.show_table("Asymmetry of the score's Jacobian",
                       ["weights", "images", "levels", "Asym", "NAsym", "NAsym, ratio of means"],
                       [[results["weights"], results["num_images"], results["levels"],
                         with_error("asym"), with_error("nasym"), f"{results['nasym_ratio']:.3e}"]])


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, AsymOptions, PROG, "Measure how far the score is from a gradient field.", EPILOG, words,
               "eval asym", record_folder, show_any(show))
