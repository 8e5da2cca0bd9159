"""Negative log-likelihood in bits/dim through the probability-flow ODE (run_lib_evaluation_nll.py)."""

from dataclasses import dataclass

from common.cli import Outcome, run
from common.options import option
from tools.qc_ncsn.evaluate.model import EvalOptions, evaluate
from tools.qc_ncsn.series import run_series, series_folder, several, show_any
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn eval nll"

EPILOG = """examples:
  qc_ncsn eval nll --workdir digits_u --num_images 100 --weights ema
  qc_ncsn eval nll --workdir qc --config qc_cifar10 --checkpoint_idx 70 --data_dir data --bs 500"""


@dataclass(kw_only=True)
class NllOptions(EvalOptions):
    """Flags of `qc_ncsn eval nll`."""

    rtol: float = option(1e-3, "relative tolerance of the ODE solver", above=0, below=1)
    atol: float = option(1e-5, "absolute tolerance of the ODE solver", above=0, below=1)


def main(options):
    """Run `qc_ncsn eval nll`; results: nll (bits/dim), nll_se, nfe, num_images, weights."""
    if several(options):
        return run_series(options, PROG, "nll", main, lambda part: WorkDir(part.workdir).nll)
    work = WorkDir(options.workdir)
    if options.read and not options.calculate:
        return _read(work)
    return evaluate(options, PROG, work.nll, _run, show, ["bpd_*.npz", "bpd.png", "table.csv"])


def record_folder(options):
    """Return the folder of the measurement's record, None for --read."""
    if options.read:
        return None
    return series_folder(options, "nll") if several(options) else WorkDir(options.workdir).nll


def _read(work):
    from common import console
    from tools.qc_ncsn.evaluate.stored import read_nll

    stored = read_nll(work.nll)
    error = stored["bits_per_dim_stderr"]
    shown = f"{stored['bits_per_dim']:.3f}" + (f" +- {error:.3f}" if error is not None else "")
    row = [stored["num_images"], shown, stored["nfe"]]
    console.show_table(str(work.nll), ["images", "bits/dim", "NFE"], [row])
    return Outcome({"nll": stored["bits_per_dim"], "nll_se": stored["bits_per_dim_stderr"], "nfe": stored["nfe"],
                    "num_images": stored["num_images"], "num_files": stored["num_files"]})


def _batches(options):
    """Return [(repeat, image numbers)] of the files bpd_<k>.npz, the batches of each repeat in turn."""
    from tools.qc_ncsn.sample.rounds import rounds_of

    return [(repeat, indices) for repeat in range(options.total_repeat)
            for indices in rounds_of(0, options.num_images, options.bs)]


def _run(options, model, images, folder, device, made_by):
    """Write every missing bpd_<k>.npz; return (results over all of them, the files)."""
    import numpy as np

    from common import parallel
    from common.files import write_npz
    from common.formats.tables import write_table
    from common.units import make_missing, remove_numbered, stored_arrays
    from tools.qc_ncsn.data import dequantised_batch
    from tools.qc_ncsn.evaluate.stored import read_numbers
    from tools.qc_ncsn.likelihood import bits_per_dim
    from tools.qc_ncsn.pictures import histogram

    batches = _batches(options)
    paths = [folder / f"bpd_{number}.npz" for number in range(len(batches))]

    def is_complete(number):
        repeat, indices = batches[number]
        stored = stored_arrays(paths[number], ("bpd", "index", "repeat", "nfe_per_image"), ("made_by",))
        return stored is not None and int(stored["repeat"]) == repeat and np.array_equal(stored["index"], indices) \
            and str(stored.get("made_by", made_by)) == made_by

    def make(number, advance):
        repeat, indices = batches[number]
        x, epsilon = dequantised_batch(images, indices, options.seed, device, repeat)
        bpd, _, calls = bits_per_dim(model.score, model.sde, x, epsilon, options.rtol, options.atol, options.coupling)
        calls = calls.cpu().numpy()
        write_npz(paths[number], bpd=bpd.float().cpu().numpy(), nfe=np.int64(round(calls.mean())), index=indices,
                  repeat=np.int64(repeat), nfe_per_image=calls, made_by=np.array(made_by))
        advance(len(indices))

    make_missing(range(len(batches)), is_complete, make, "likelihood", lambda number: len(batches[number][1]))
    stored = [read_numbers(path, ("bpd", "nfe_per_image")) for path in paths]
    bpd = np.concatenate([part["bpd"] for part in stored]).astype(np.float64)
    calls = np.concatenate([part["nfe_per_image"] for part in stored])
    by_image = bpd.reshape(options.total_repeat, options.num_images).mean(axis=0)  # repeats of an image are one value
    error = float(by_image.std(ddof=1) / len(by_image) ** 0.5) if len(by_image) > 1 else None
    results = {"nll": float(bpd.mean()), "nll_se": error,
               "nfe": float(calls.mean()), "num_images": options.num_images, "repeats": options.total_repeat,
               "weights": model.weights, "checkpoint": str(model.path), "step": model.step}
    if parallel.is_main():
        remove_numbered(folder, "bpd_", len(batches))
        histogram(folder / "bpd.png", bpd, "bits/dim")
        write_table(folder / "table.csv", None, results.items())
    return results, paths


def show(results):
    """Print the results as a table."""
    from common import console

    error = f" +- {results['nll_se']:.3f}" if results["nll_se"] is not None else ""
    console.show_table("Negative log-likelihood", ["weights", "images", "bits/dim", "NFE"],
                       [[results["weights"], results["num_images"], f"{results['nll']:.3f}{error}",
                         f"{results['nfe']:.1f}"]])


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, NllOptions, PROG, "Measure the negative log-likelihood of a data set.", EPILOG, words, "eval nll",
               record_folder, show_any(show))
