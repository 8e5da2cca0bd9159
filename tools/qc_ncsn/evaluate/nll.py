"""Negative log-likelihood in bits/dim through the probability-flow ODE (run_lib_evaluation_nll.py)."""

from dataclasses import dataclass

from common.cli import Outcome, option, run
from common.errors import InputError
from tools.qc_ncsn.evaluate.model import EvalOptions, check_eval_flags, evaluate

EPILOG = """examples:
  qc_ncsn eval nll --workdir digits_u --num_images 100 --weights ema
  qc_ncsn eval nll --workdir qc --config qc_cifar10 --checkpoint_idx 70 --data_dir data --bs 500"""


@dataclass(kw_only=True)
class NllOptions(EvalOptions):
    """Flags of `qc_ncsn eval nll`."""

    rtol: float = option(1e-3, "relative tolerance of the ODE solver")
    atol: float = option(1e-5, "absolute tolerance of the ODE solver")


def main(options):
    """Run `qc_ncsn eval nll`; results: nll (bits/dim), nll_se, nfe, num_images, weights."""
    from tools.qc_ncsn.work_dir import WorkDir

    check_eval_flags(options)
    for name in ("rtol", "atol"):
        if not 0 < getattr(options, name) < 1:
            raise InputError("must lie between 0 and 1", where=f"--{name} {getattr(options, name)}",
                             do="Correct the value")
    work = WorkDir(options.workdir)
    if options.read and not options.calculate:
        return _read(work)
    return evaluate(options, work, work.nll, _run, _show,
                    lambda done: [f"bpd_{k}.npz" for k in range(len(_batches(done)))])


def _read(work):
    from common import console
    from tools.qc_ncsn.evaluate.stored import read_nll

    found = read_nll(work.nll)
    row = [found["num_images"], f"{found['bits_per_dim']:.3f} +- {found['bits_per_dim_stderr']:.3f}", found["nfe"]]
    console.show_table(str(work.nll), ["images", "bits/dim", "NFE"], [row])
    return Outcome({"nll": found["bits_per_dim"], "nll_se": found["bits_per_dim_stderr"], "nfe": found["nfe"],
                    "num_images": found["num_images"], "num_files": found["num_files"]})


def _batches(options):
    """Return [(repeat, image numbers)] of the files bpd_<k>.npz, the batches of each repeat in turn."""
    from tools.qc_ncsn.sample.rounds import rounds_of

    return [(repeat, indices) for repeat in range(options.total_repeat)
            for indices in rounds_of(0, options.num_images, options.bs)]


def _run(options, model, images, folder, device):
    """Write every missing bpd_<k>.npz and return the results over all of them."""
    import numpy as np

    from common import console, parallel
    from common.files import read_npz, write_npz, write_text
    from tools.qc_ncsn.data import dequantised_batch
    from tools.qc_ncsn.likelihood import bits_per_dim
    from tools.qc_ncsn.pictures import histogram

    batches = _batches(options)
    missing = [number for number, batch in enumerate(batches) if not _is_complete(folder / f"bpd_{number}.npz", batch)]
    mine = parallel.shard(missing)
    with console.progress("likelihood", sum(len(batches[number][1]) for number in mine), unit="images") as advance:
        for number in mine:
            repeat, indices = batches[number]
            x, epsilon = dequantised_batch(images, indices, options.seed, device, repeat)
            offset = 7.0 if model.config["data"]["centered"] else 8.0
            bpd, _, calls = bits_per_dim(model.score, model.sde, x, epsilon, options.rtol, options.atol,
                                         options.coupling, offset)
            calls = calls.cpu().numpy()
            write_npz(folder / f"bpd_{number}.npz", bpd=bpd.float().cpu().numpy(), nfe=np.int64(round(calls.mean())),
                      index=indices, repeat=np.int64(repeat), nfe_per_image=calls)
            advance(len(indices))
    parallel.barrier()
    stored = [read_npz(folder / f"bpd_{number}.npz", required=("bpd", "nfe_per_image"))
              for number in range(len(batches))]
    bpd = np.concatenate([part["bpd"] for part in stored]).astype(np.float64)
    calls = np.concatenate([part["nfe_per_image"] for part in stored])
    results = {"nll": float(bpd.mean()), "nll_se": float(bpd.std(ddof=1) / len(bpd) ** 0.5) if len(bpd) > 1 else None,
               "nfe": float(calls.mean()), "num_images": options.num_images, "repeats": options.total_repeat,
               "weights": options.weights, "checkpoint": str(model.path)}
    if parallel.is_main():
        for path in folder.glob("bpd_*.npz"):  # of another batch size or a larger job
            number = path.stem.removeprefix("bpd_")
            if number.isdigit() and int(number) >= len(batches):
                path.unlink()
        histogram(folder / "bpd.png", bpd, "bits/dim")
        write_text(folder / "table.csv", "".join(f"{name},{value}\n" for name, value in results.items()))
    return results


def _is_complete(path, batch):
    """True when a stored file holds the bits/dim of exactly this batch."""
    import numpy as np

    from common.errors import InputError
    from common.files import read_npz

    if not path.exists():
        return False
    try:
        stored = read_npz(path, required=("bpd", "index", "repeat", "nfe_per_image"))
    except InputError:
        return False
    return int(stored["repeat"]) == batch[0] and np.array_equal(stored["index"], batch[1])


def _show(results):
    from common import console

    error = f" +- {results['nll_se']:.3f}" if results["nll_se"] is not None else ""
    console.show_table("Negative log-likelihood", ["weights", "images", "bits/dim", "NFE"],
                       [[results["weights"], results["num_images"], f"{results['nll']:.3f}{error}",
                         f"{results['nfe']:.1f}"]])


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, NllOptions, "qc_ncsn eval nll", "Measure the negative log-likelihood of a data set.", EPILOG,
               words, "eval nll")
