"""Score stored samples: FID and Inception score, precision/recall/density/coverage, network calls per sample.

(run_lib_evaluation_fidis.py --fidis, --prdc, --nfe.) Each command reads what `qc_ncsn sample` and `qc_ncsn eval encode`
(or the original) left in the work folder, and writes a table and its record into a folder of its own there.
"""

import math
from dataclasses import dataclass
from typing import List, Optional

from common import console, flags, parallel
from common.cli import Outcome
from common.cli import run as run_command
from common.errors import InputError
from common.files import fingerprint, read_json, read_npz, write_bytes
from common.formats.tables import write_table
from common.job import Job
from common.numerals import counted
from common.options import option
from common.score.config_files import configuration_files
from tools.qc_ncsn import findings
from tools.qc_ncsn.evaluate.stored import check_comparable, features_name, find_reference, is_inception, open_generated
from tools.qc_ncsn.model import WorkOptions, data_set_name
from tools.qc_ncsn.series import check_several, run_series, series_folder, several, show_any
from tools.qc_ncsn.work_dir import WorkDir

DESCRIPTIONS = {
    "fidis": """\
Frechet distance between the features of the samples and of the data set, and the Inception score of the samples.
With Inception's pool_3 the distance is the FID; otherwise it is named after the features. Unless --all_rows is given,
only as many generated rows are used as the data set has, as in the original. Memory use is constant.""",
    "prdc": """\
Precision, recall, density and coverage of the samples' features against the data set's (Naeem et al. 2020). Unless
--all_rows is given, only as many generated rows are used as the data set has, as in the original.""",
    "nfe": """\
Mean number of network calls over the sample files of a work folder (the AVG NFE of the original).""",
}
SUMMARIES = {"fidis": findings.fidis, "prdc": findings.prdc, "nfe": findings.nfe}
LABELS = {
    "fid": "FID", "inception_score": "Inception score", "inception_score_std": "  its deviation over splits",
    "precision": "Precision", "recall": "Recall", "density": "Density", "coverage": "Coverage",
    "avg_nfe": "AVG NFE", "mean_nfe": "Mean NFE", "min_nfe": "Lowest NFE", "max_nfe": "Highest NFE",
}


@dataclass(kw_only=True)
class StoredOptions(WorkOptions):
    """Flags of all three commands."""

    ode: bool = option(False, "use the folders with suffix _ode")
    checkpoint_idx: List[int] = option([], "snapshots whose samples a series holds (sample --checkpoint_idx A B): one "
                                       "table and one curve of all", nargs="+", kind="how", metavar="NUMBER")
    calculate: bool = option(False, "compute (the default without --read)", kind="how")
    read: bool = option(False, "show the stored results", kind="how")
    bs: int = flags.batch_size(2500, "--batch_size", "accepted for old commands, without effect here")


@dataclass(kw_only=True)
class FeatureOptions(StoredOptions):
    """Flags of the commands that compare features."""

    stats: Optional[str] = option(None,
                                  "features of the data set, or for fidis any file of statistics (default: see "
                                  "--dataset)")
    dataset: Optional[str] = option(None, "if WORKDIR/stat[_ode]/dataset_stat.npz is missing, use "
                                    "results/DATASET_stats.npz or results/stats/DATASET/stats.npz (default: the data "
                                    "set of --config)", kind="how")
    encode_dataset: bool = option(False, "only take the reference from the work folder", kind="how")
    all_rows: bool = option(False, "use all generated rows, even if there are more than in the data set")


@dataclass(kw_only=True)
class FidisOptions(FeatureOptions):
    """Flags of `qc_ncsn eval fidis`."""

    fidis: bool = option(False, "compute (the default)", kind="how")
    splits: int = option(1, "splits of the Inception score; 1 as in the original, usually 10", low=1)


@dataclass(kw_only=True)
class PrdcOptions(FeatureOptions):
    """Flags of `qc_ncsn eval prdc`."""

    prdc: bool = option(False, "compute (the default)", kind="how")
    nearest_k: int = option(3, "k of the k-NN radius", low=1)
    device: str = flags.device()


def cli_fidis(words=None):
    """Run `qc_ncsn eval fidis` on command-line words and return its exit status."""
    return _cli("fidis", main_fidis, FidisOptions, words)


def cli_prdc(words=None):
    """Run `qc_ncsn eval prdc` on command-line words and return its exit status."""
    return _cli("prdc", main_prdc, PrdcOptions, words)


def cli_nfe(words=None):
    """Run `qc_ncsn eval nfe` on command-line words and return its exit status."""
    return _cli("nfe", main_nfe, StoredOptions, words)


def _cli(name, main, options_class, words):
    examples = "\n".join(f"  python -m tools.qc_ncsn eval {name} --workdir digits{rest}" for rest in ("", " --read"))
    return run_command(main, options_class, f"qc_ncsn eval {name}", DESCRIPTIONS[name], f"examples:\n{examples}", words,
                       f"eval {name}", lambda options: None if options.read else _place(name, options),
                       show_any(lambda results: _show(name, results)))


def _place(name, options):
    return series_folder(options, name) if several(options) else record_folder(name, options)


def main_fidis(options):
    """Compute the Frechet distance and, where logits are stored, the Inception score."""
    return _evaluate(options, "fidis", lambda: _plan_features(options, measure_fidis), main_fidis)


def main_prdc(options):
    """Compute precision, recall, density and coverage."""
    return _evaluate(options, "prdc", lambda: _plan_features(options, measure_prdc), main_prdc)


def main_nfe(options):
    """Compute the mean number of network calls."""
    return _evaluate(options, "nfe", lambda: _plan_nfe(options), main_nfe)


def measure_fidis(generated, reference, options):
    """Return {"fid" or "frechet_distance", "inception_score", ...} of two Statistics."""
    from common.features.statistics import frechet
    from common.formats.rows import blocks
    from common.metrics.inception_score import InceptionScore

    results = {"fid" if is_inception(generated) else "frechet_distance": frechet(generated, reference)}
    if generated.logits is None:
        console.say(f"{generated.path}: no logits, so no Inception score")
    else:
        score = InceptionScore(generated.count, options.splits)
        for block in blocks(generated.logits):
            score.add(block)
        results["inception_score"], deviation = score.result()
        results |= {"inception_score_std": deviation} if options.splits > 1 else {}
    return results


def measure_prdc(generated, reference, options):
    """Return {"precision", "recall", "density", "coverage", "nearest_k"} of two Statistics with features."""
    from common.device import pick_device, set_precision
    from common.metrics.prdc import prdc

    device = pick_device(options.device)
    set_precision("fp32")
    return {**prdc(reference.features, generated.features, options.nearest_k, device), "nearest_k": options.nearest_k}


def open_pair(options):
    """Return (generated, reference) as Statistics, checked; generated rows cut to as many as count."""
    from common.features.statistics import Statistics, read_statistics
    from common.formats.rows import FirstRows

    work = WorkDir(options.workdir)
    generated_path = work.stat(options.ode) / "generated_stat.npz"
    if not generated_path.exists():
        raise InputError("no encoded samples", where=generated_path, do="Create them with qc_ncsn eval encode")
    generated = open_generated(generated_path)
    reference = read_statistics(find_reference(work, options.ode, options.stats, _dataset(options),
                                               options.encode_dataset))
    check_comparable(generated, reference)
    if hasattr(options, "nearest_k") and reference.features is None:
        raise InputError("has only mean and covariance, prdc needs features", where=reference.path,
                         do="Encode the data set, or pass its features with --stats")
    count = generated.count if options.all_rows else min(generated.count, reference.count or generated.count)
    logits = None if generated.logits is None else FirstRows(generated.logits, count)
    cut = Statistics(features=FirstRows(generated.features, count), logits=logits, meta=generated.meta,
                     path=generated.path)
    _check_numbers(options, cut, reference)
    if count < generated.count:
        console.say(f"{generated.path}: using the first {count} of {generated.count} rows, as many as the "
                    f"reference has")
    return cut, reference


def _plan_features(options, measure):
    """Return (input files, function that computes the results) after checking the inputs."""
    from common.features.comparable import preparation_notes

    generated, reference = open_pair(options)
    notes = preparation_notes(generated, reference)
    for note in notes:
        console.say(f"note: {note}")
    count = counted(reference.count, "image") if reference.count else "unknown number of images"
    console.say(f"reference: {reference.path} ({count}, {features_name(reference)})")

    def compute():
        context = {"num_generated": generated.count, "num_dataset": reference.count,
                   "features": features_name(generated), "reference": str(reference.path), "notes": notes}
        return {**measure(generated, reference, options), **context}

    return [generated.path, reference.path], compute


def _check_numbers(options, generated, reference):
    """Raise InputError when there are too few images for --splits or --nearest_k."""
    nearest_k, splits = getattr(options, "nearest_k", 1), getattr(options, "splits", 1)
    if generated.logits is not None and splits > generated.count:
        raise InputError(f"{splits} splits of {counted(generated.count, 'image')}", where="--splits",
                         do="Encode more images, or use fewer splits")
    for side in (generated, reference):
        if side.count is not None and side.count <= nearest_k:
            raise InputError(f"has {counted(side.count, 'image')}, at least {nearest_k + 1} are required",
                             where=side.path, do="Encode more images")


def read_nfe(work, ode=False):
    """Return ({"avg_nfe", "mean_nfe", "min_nfe", "max_nfe", "num_files"}, files): means over the stored sample files.

    avg_nfe is the integer part of the mean, as the original prints. Raises InputError when there is no file, or no NFE.
    """
    files = work.sample_files(ode)
    if not files:
        raise InputError("no <division>/samples_<round>.npz here", where=work.sampling(ode),
                         do="Generate samples first: qc_ncsn sample")
    calls = []
    for path in files:
        nfe = read_npz(path, required=("nfe",))["nfe"]
        if nfe.size != 1 or nfe.dtype.kind not in "iuf" or not math.isfinite(nfe.item()):
            raise InputError(f"'nfe' is {nfe.dtype} {nfe.shape}, expected one finite number", where=path,
                             do="Generate these samples again")
        calls.append(nfe.reshape(-1)[0].item())
    mean = sum(calls) / len(calls)
    results = {"avg_nfe": int(mean), "mean_nfe": mean, "min_nfe": min(calls), "max_nfe": max(calls),
               "num_files": len(calls)}
    return results, files


def _plan_nfe(options):
    results, files = read_nfe(WorkDir(options.workdir), options.ode)
    return files, lambda: results


def _evaluate(options, command, plan, main):
    """Answer from the record, or compute and write table, picture and record."""
    check_several(options)
    if several(options):
        return run_series(options, f"qc_ncsn eval {command}", command, main, lambda part: record_folder(command, part))
    folder = record_folder(command, options)
    if options.read and not options.calculate:
        results = _read_results(folder)
        _show(command, results)
        return Outcome(results)
    inputs, compute = plan()
    outputs = [folder / f"{command}.csv"] + ([folder / "prdc.png"] if command == "prdc" else [])
    prints = [fingerprint(path) for path in inputs]
    job = Job(folder, f"qc_ncsn eval {command}", options, content={"inputs": prints}, about=prints,
              inputs=_watched(command, options, inputs), owns=[path.name for path in outputs],
              show=lambda results: _show(command, results), summary=SUMMARIES[command])

    def work():
        if not parallel.is_main():  # a single process computes
            return {}, []
        results = compute()
        _write(command, results, outputs)
        return results, outputs

    return job.run(work, lambda: (
        f"would read {', '.join(map(str, inputs))} and write {', '.join(map(str, outputs))}", {}))


def record_folder(command, options):
    """Return the folder of a command's table and record."""
    return WorkDir(options.workdir).root / f"eval_{command}{'_ode' if options.ode else ''}"


def _dataset(options):
    """Return the name of the data set whose features are searched for."""
    return options.dataset or (data_set_name(options) if options.config else None)


def _watched(command, options, inputs):
    """Return the paths whose change may change the results: the inputs and the places searched for them."""
    work = WorkDir(options.workdir)
    if command == "nfe":
        return [work.sampling(options.ode)]
    dataset = _dataset(options)
    places = [] if dataset is None else [f"results/{dataset}_stats.npz", f"results/stats/{dataset}/stats.npz"]
    return [*inputs, *work.reference_places(options.ode), *places, *configuration_files(options.config)]


def _read_results(folder):
    """Return the results that an earlier run recorded. Raises InputError when there are none."""
    path = folder / "run.json"
    if not path.exists() or read_json(path).get("status") != "done":
        raise InputError("no stored results", where=folder, do="Compute them first (without --read)")
    return read_json(path)["results"]


def _values(results):
    """Return [(label, value)] of the measured numbers."""
    labels = {**LABELS, "frechet_distance": f"Frechet distance in {results.get('features')}"}
    return [(labels[name], value) for name, value in results.items() if name in labels]


def _show(command, results):
    rows = [(label, value if isinstance(value, int) else f"{value:.4f}") for label, value in _values(results)]
    counts = counted(results["num_files"], "sample file") if "num_files" in results else (
        f"{results['num_generated']} samples against {results['num_dataset']} images, features {results['features']}")
    console.show_table(f"{command}: {counts}", ("measure", "value"), rows)


def _write(command, results, outputs):
    """Write the table, and for prdc a bar chart."""
    write_table(outputs[0], ["measure", "value"], [(label.strip(), value) for label, value in _values(results)])
    if command == "prdc":
        write_bytes(outputs[1], _bar_chart(results))


def _bar_chart(results):
    """Return a PNG of the four values as bars."""
    import io

    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    names = ("precision", "recall", "density", "coverage")
    figure = Figure(figsize=(6, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    bars = axes.bar([LABELS[name] for name in names], [results[name] for name in names], color="#4477aa")
    axes.bar_label(bars, fmt="%.3f", fontsize=13)
    axes.set_ylim(0, max(1.1, 1.15 * results["density"]))
    axes.tick_params(labelsize=13)
    axes.set_title(f"{results['num_generated']} samples, {results['num_dataset']} images\n{results['features']}",
                   fontsize=13)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, metadata={"Software": None})
    return stream.getvalue()
