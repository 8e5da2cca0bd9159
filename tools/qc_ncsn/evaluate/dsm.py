"""The denoising score matching loss of a split, as a whole and by noise level."""

from dataclasses import dataclass
from typing import Optional

from common.cli import Outcome, run
from common.errors import InputError
from common.options import option
from tools.qc_ncsn.evaluate.model import EvalOptions, evaluate
from tools.qc_ncsn.series import run_series, series_folder, several, show_any
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn eval dsm"

EPILOG = """examples:
  qc_ncsn eval dsm --workdir digits_u --num_images 200 --weights ema
  qc_ncsn eval dsm --workdir digits_u --split train --num_images 200 --overwrite
  qc_ncsn eval dsm --workdir digits_u --checkpoint_idx 2 4 6 8 10"""
OWNS = ["levels_*", "table.csv", "dsm.png"]


@dataclass(kw_only=True)
class DsmOptions(EvalOptions):
    """Flags of `qc_ncsn eval dsm`."""

    nl: Optional[int] = option(None, "number of noise levels (default: the preset's)", low=1)


def main(options):
    """Run `qc_ncsn eval dsm`; results: dsm, dsm_se, and by level sigma, dsm_by_level, dsm_se_by_level, mse_by_level."""
    if several(options):
        return run_series(options, PROG, "dsm", main, _folder)
    if options.read and not options.calculate:
        return _read(_folder(options))
    return evaluate(options, PROG, _folder(options), _run, show, OWNS)


def record_folder(options):
    """Return the folder of the measurement's record, None for --read."""
    if options.read:
        return None
    return series_folder(options, "dsm") if several(options) else _folder(options)


def _folder(options):
    return WorkDir(options.workdir).dsm


def _read(folder):
    from common.record import read_record

    record = read_record(folder / "run.json") if (folder / "run.json").exists() else {}
    if record.get("status") != "done":
        raise InputError("no stored results", where=folder, do="Compute them first (without --read)")
    show(record["results"])
    return Outcome(record["results"])


def times(count, eps):
    """Return the times (count,) of the levels: the middles of equal parts of [eps, 1], where training draws them.

    The mean over them is the midpoint rule for the training loss, the mean over all times.
    """
    return [(number + 0.5) / count * (1 - eps) + eps for number in range(count)]


def _run(options, model, images, folder, device, made_by):
    """Write every missing level file, the table and the curve; return (results, files)."""
    import numpy as np

    from common import parallel
    from common.files import write_npz
    from common.units import make_missing, stored_arrays

    levels = times(options.nl, model.sde.eps)
    units = [(repeat, number) for repeat in range(options.total_repeat) for number in range(len(levels))]

    def path(repeat, number):
        return folder / f"levels_{repeat}" / f"level_{number:03d}.npz"

    def is_complete(unit):
        stored = stored_arrays(path(*unit), ("dsm",), ("made_by",))
        return stored is not None and len(stored["dsm"]) == options.num_images \
            and str(stored.get("made_by", made_by)) == made_by

    def make(unit, advance):
        values = measure_level(options, model, images, device, *unit, levels[unit[1]], advance)
        write_npz(path(*unit), dsm=values, index=np.arange(options.num_images), time=np.float64(levels[unit[1]]),
                  made_by=np.array(made_by))

    make_missing(units, is_complete, make, "DSM loss", lambda unit: options.num_images)
    paths = [path(*unit) for unit in units]
    results = _summarise(options, model, levels, paths)
    if parallel.is_main():
        _write(folder, results)
    return results, [*paths, folder / "table.csv", folder / "dsm.png"]


def measure_level(options, model, images, device, repeat, number, time, advance=lambda count: None):
    """Return 0.5 ||sigma s(x0 + sigma z) + z||^2 of each image (n,) float64 at one time; image i draws z from (seed,
    repeat, level, i) alone."""
    import numpy as np
    import torch

    from tools.qc_ncsn.data import noise_batch
    from tools.qc_ncsn.losses import training_loss
    from tools.qc_ncsn.sample.rounds import rounds_of

    rows = []
    for indices in rounds_of(0, options.num_images, options.bs):
        x0, z = noise_batch(images, indices, options.seed, device, repeat, number)
        with torch.no_grad():
            loss, _ = training_loss(model.score, model.sde, x0, torch.full((len(indices),), time, device=device), z)
        rows.append(loss.double().cpu().numpy())
        advance(len(indices))
    return np.concatenate(rows)


def _summarise(options, model, levels, paths):
    """Return the results. Standard errors are over images: of each level, and of the images' means over all levels
    (one image's losses at several levels are not independent); None for one image."""
    import numpy as np
    import torch

    from tools.qc_ncsn.evaluate.stored import read_numbers

    sigmas = model.sde.sigma(torch.tensor(levels, dtype=torch.float64)).numpy()
    values = np.stack([read_numbers(path, ("dsm",))["dsm"] for path in paths])
    values = values.reshape(options.total_repeat, len(levels), -1).mean(axis=0)  # (levels, images)
    by_level, size = values.mean(axis=1), int(np.prod(model.image_shape))

    def error(numbers):
        count = numbers.shape[-1]
        return (numbers.std(axis=-1, ddof=1) / count**0.5).tolist() if count > 1 else None

    return {
        "dsm": float(by_level.mean()), "dsm_se": error(values.mean(axis=0)), "num_images": options.num_images,
        "split": options.split, "weights": model.weights, "repeats": options.total_repeat, "levels": len(levels),
        "sigma": sigmas.tolist(), "dsm_by_level": by_level.tolist(), "dsm_se_by_level": error(values),
        "mse_by_level": (2 * sigmas**2 * by_level / size).tolist(),  # of the denoised image: x + sigma^2 s - x0
        "checkpoint": str(model.path), "step": model.step,
    }


def _write(folder, results):
    """Write the table and the curve by noise level."""
    from common.formats.tables import write_table
    from tools.qc_ncsn.pictures import level_curves

    errors = results["dsm_se_by_level"] or [float("nan")] * results["levels"]
    rows = zip(results["sigma"], results["dsm_by_level"], errors, results["mse_by_level"])
    write_table(folder / "table.csv", ["sigma", "dsm", "dsm_se", "mse"],
                [[f"{value:.6g}" for value in row] for row in rows])
    level_curves(folder / "dsm.png", results["sigma"], {"DSM": (results["dsm_by_level"], errors)}, "DSM loss")


def show(results):
    """Print the results as a table."""
    from common import console

    error = f" +- {results['dsm_se']:.2g}" if results["dsm_se"] is not None else ""
    console.show_table("Denoising score matching loss", ["weights", "split", "images", "levels", "DSM loss"],
                       [[results["weights"], results["split"], results["num_images"], results["levels"],
                         f"{results['dsm']:.4g}{error}"]])


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, DsmOptions, PROG, "Measure the denoising score matching loss of a split by noise level.", EPILOG,
               words, "eval dsm", record_folder, show_any(show))
