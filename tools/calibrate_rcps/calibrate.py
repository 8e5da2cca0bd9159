"""`calibrate_rcps` without a subcommand: outputs.npz of several levels -> the lambda that keeps the promise."""

from pathlib import Path

from common import console
from common.errors import InputError
from common.files import fingerprint
from common.options import is_given
from common.paths import ExperimentDir
from tools.calibrate_rcps import findings
from tools.calibrate_rcps.options import PARITY_NOTE, settle, settled

PROG = "calibrate_rcps"
TABLES = ("levels", "dims", "quarters", "runs", "alphas", "bounds")
OWNS = ["calibration.npz", "calibration.json", *(f"table_{name}.csv" for name in TABLES)]


def calibrate_command(request):
    """Run the calibration; results: see results_of."""
    from common.job import Job
    from common.rcps.dims import find_dims
    from tools.calibrate_rcps.levels import find_outputs, open_levels, read_levels

    if request.outputs and request.output_dir is None:
        for name in ("base_dir", "exp_name"):
            if is_given(request, name):
                raise InputError("names an experiment, and --outputs names files", where=f"--{name}",
                                 do="Leave out one of them, or add --output_dir")
    found = find_outputs(request)
    opened = open_levels(found)
    dims, names = find_dims(request.dims, opened[0].num_dims)
    rules = settle(request, len(dims))
    options = settled(request, list(rules.values()))
    if options.parity:
        console.say(PARITY_NOTE)
    first = next(iter(rules.values()))
    _check_loss(first.loss, len(dims))
    if options.pickle and (first.levels_as not in ("mean", "pooled") or first.grid is None or first.sides != "one"
                           or first.shape is not None):
        raise InputError("needs one lambda for all levels, from a grid, as the original has it", where="--pickle",
                         do="Add --parity, or leave out --pickle")
    folder = output_folder(options)
    pickle = pickle_path(options) if options.pickle else None
    about = [fingerprint(path) for _, _, path in found]
    _note_copies(found, about)
    job = Job(folder, PROG, options, request=request,
              content={f"outputs of {level}": entry["sha256"] for (level, _, _), entry in zip(found, about)},
              derived={"coordinates": dims, "levels": [level for level, _, _ in found]},
              inputs=[path for _, _, path in found] + ([options.dims] if Path(options.dims).exists() else []),
              about=about, owns=[*OWNS, *([pickle] if pickle else [])], show=show, summary=findings.calibration)

    def work():
        levels = read_levels(found, opened, dims, options.norm_scheme, published=options.parity,
                             aligned=first.levels_as in ("mean", "pooled"), drop_missing=options.drop_missing)
        return run(levels, rules, dims, names, options, folder, pickle)

    return job.run(work, lambda: (
        f"would calibrate {len(dims)} coordinates of {opened[0].count} images at {len(found)} levels into {folder}",
        {"num_images": opened[0].count, "num_dims": len(dims)}))


def _note_copies(found, about):
    """Say where two levels are one file's contents."""
    first = {}
    for (level, _, _), entry in zip(found, about):
        if entry["sha256"] in first:
            console.say(f"note: level {level} has the same contents as level {first[entry['sha256']]}")
        first.setdefault(entry["sha256"], level)


def _check_loss(loss, number):
    if loss.startswith("more_than:") and int(loss.removeprefix("more_than:")) >= number:
        raise InputError(f"there are {number} coordinates", where=f"--loss {loss}", do="Pass a smaller number")


def output_folder(options):
    """Return the folder of the calibration."""
    if options.output_dir is not None:
        return Path(options.output_dir)
    return Path("out") / PROG if options.outputs else ExperimentDir(options.base_dir, options.exp_name).calibration


def pickle_path(options):
    """Return where --pickle writes: where the original's users look for it, or among the outputs."""
    if options.outputs or options.output_dir is not None:
        return output_folder(options) / "calibration_results.pkl"
    return ExperimentDir(options.base_dir, options.exp_name).results_pickle


def run(levels, rules, dims, names, options, folder, pickle):
    """Calibrate at each alpha, write the files, and return (results, files)."""
    from common.rcps.choice import NoLambda
    from tools.calibrate_rcps import report, stored, tables
    from tools.calibrate_rcps.calibration import calibrate

    made = {}
    with console.progress("splits", sum(rule.runs * _num_groups(levels, rule) for rule in rules.values()),
                          unit="runs") as advance:
        for alpha, rule in rules.items():
            try:
                made[alpha] = calibrate(levels, rule, advance)
            except NoLambda as error:
                raise report.explained(error, levels, names) from error
    alpha, rule = next(iter(rules.items()))
    kept = made[alpha]
    figures = report.measure(kept, levels, rule, dims, names)
    results = report.results_of(kept, figures, rule, levels, dims, options.norm_scheme)
    by_alpha = [row for each, found in made.items() for row in report.alpha_row(each, found)]
    results["alphas"] = by_alpha if len(made) > 1 else []
    outputs = stored.write(folder, kept, levels, rule, dims, names, results, figures)
    outputs += tables.write(folder, {**figures, "alphas": results["alphas"]})
    if options.compare_bounds:
        outputs.append(tables.write_bounds(folder, report.compare_bounds(levels, rule)))
    if pickle:
        outputs.append(stored.write_pickle(pickle, kept, levels, rule))
    return results, outputs


def _num_groups(levels, rules):
    return len(levels) if rules.levels_as in ("each", "each_together") else 1


def show(results):
    """Print the levels' table and the promise."""
    from tools.calibrate_rcps.tables import show_results

    show_results(results)
