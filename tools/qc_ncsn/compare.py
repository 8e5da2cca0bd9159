"""Compare runs: one table with paired differences, samples, loss and asymmetry curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

from common import console
from common.cli import run
from common.errors import InputError
from common.job import Job
from common.options import REQUIRED, CommonOptions, option
from common.record import read_record
from tools.qc_ncsn.work_dir import WorkDir

PROG = "qc_ncsn compare"
OWNS = ("table.csv", "table.md", "samples.png", "loss.png", "asym.png", "nasym.png")

EPILOG = """examples:
  qc_ncsn compare --workdirs digits_u digits_qc digits_c --names U QC C --output_dir out/digits
  qc_ncsn compare --workdirs u qc --output_dir out/table2 --json"""


@dataclass(kw_only=True)
class CompareOptions(CommonOptions):
    """Flags of `qc_ncsn compare`."""

    workdirs: List[str] = option(REQUIRED, "work folders; differences are to the first", nargs="+", type=str)
    names: List[str] = option([], "a name for each (default: the folders' names); runs with the same name are "
                              "repeats, shown as mean and standard error", nargs="*", type=str)
    output_dir: str = option("out/qc_ncsn", "output directory for table.csv, table.md and figures", kind="how")
    title: str = option("QC-NCSN++ runs side by side", "title of the table")


COLUMNS = {  # result name: (heading, format)
    "steps": ("last step", "{:.0f}"), "nll": ("bits/dim", "{:.3f}"),
    "nll_difference": ("  less the first's", "{:+.3f}"),
    "asym": ("Asym", "{:.2e}"), "asym_ratio": ("  over the first's", "{:.3f}"), "nasym": ("NAsym", "{:.2e}"),
    "nasym_change": ("  change to the first's", "{:+.1%}"), "nasym_exact": ("NAsym, whole Jacobian", "{:.2e}"),
    "frechet": ("Frechet distance", "{:.4f}"), "fid": ("FID", "{:.2f}"), "inception_score": ("IS", "{:.2f}"),
    "precision": ("precision", "{:.3f}"), "recall": ("recall", "{:.3f}"), "density": ("density", "{:.3f}"),
    "coverage": ("coverage", "{:.3f}"), "nfe": ("calls/sample", "{:.0f}"),
}
WITH_ERROR = {"nll", "nll_difference", "asym", "nasym", "nasym_change", "nasym_exact"}  # shown for single runs, too
NO_ERROR = {"steps", "nfe"}  # even over repeats


def main(options):
    """Run `qc_ncsn compare`; results: one entry per name with its measurements."""
    works = [WorkDir(name) for name in options.workdirs]
    names = options.names or [work.root.name for work in works]
    if len(names) != len(works):
        raise InputError(f"{len(names)} names for {len(works)} folders", where="--names",
                         do="Give one name per folder")
    places = [work.root.resolve() for work in works]
    for number, (name, place) in enumerate(zip(names, places)):
        if place in places[:number]:
            raise InputError("is given twice", where=works[number].root, do="Name each work folder once")
        if not options.names and name in names[:number]:
            raise InputError(f"two of the folders are called '{name}'", where="--workdirs",
                             do="Tell them apart with --names; the same name makes them repeats")
    for work in works:
        if not work.root.is_dir():
            raise InputError("no such work folder", where=work.root,
                             do="Train or sample there first, or check --workdirs")
    groups = {name: [work for work, own in zip(works, names) if own == name] for name in dict.fromkeys(names)}
    results = {name: merge(entries) for name, entries in measure(groups).items()}
    for name, entry in results.items():
        for kind, what in entry.get("unpaired", {}).items():
            console.say(f"note: {kind} of {name} and {names[0]} differ in {what}: their difference is not shown")
    folder = Path(options.output_dir)
    job = Job(folder, PROG, options, content={"runs": results}, inputs=[work.root for work in works], owns=OWNS,
              show=lambda results: console.show_table(options.title, *table(results)))
    first = {name: group[0] for name, group in groups.items()}
    return job.run(lambda: (results, write(folder, options.title, first, results)),
                   lambda: (f"would compare {len(works)} work folders and write {folder}", results))


def _results(folder):
    """Return the results of a finished run's record in a folder, or {}."""
    record = _record(folder)
    return record.get("results", {}) if record.get("status") == "done" else {}


def _record(folder):
    """Return the record of a run in a folder, checked, or {}."""
    path = folder / "run.json"
    return read_record(path) if path.exists() else {}


def gather(work):
    """Return what the finished runs in a work folder measured, under COLUMNS' names, with `_se` where known."""
    train, nll, asym, exact = (_results(folder) for folder in (work.root, work.nll, work.asym, work.asym_exact))
    measured = {"steps": train.get("step"), "nll": nll.get("nll"), "nll_se": nll.get("nll_se")}
    for name in ("asym", "nasym"):
        measured |= {name: asym.get(name), f"{name}_se": asym.get(f"{name}_se")}
    measured |= {"nasym_exact": exact.get("nasym"), "nasym_exact_se": exact.get("nasym_se")}
    for suffix in ("", "_ode"):
        quality = {**_results(work.root / f"eval_fidis{suffix}"), **_results(work.root / f"eval_prdc{suffix}")}
        names = ("fid", "inception_score", "precision", "recall", "density", "coverage")
        measured |= {name: quality[name] for name in names if name in quality}
        if "frechet_distance" in quality:
            measured |= {"frechet": quality["frechet_distance"], "features": quality.get("features")}
    sampled = [_results(part) for part in sorted(work.sampling().glob("*"))]
    measured["nfe"] = next((part["nfe"] for part in sampled if "nfe" in part), None)
    for kind in ALIKE:  # what was evaluated, beside the numbers
        settings = evaluated(getattr(work, kind), kind)
        if settings:
            measured[f"{kind}_of"] = f"{settings['weights']}, {settings['num_images']} images, {settings['split']}"
            measured[f"{kind}_of"] += f", {settings['estimator']}" if kind == "asym" else ""
    texts = ("features", *(f"{kind}_of" for kind in ALIKE))
    return {name: value for name, value in measured.items()
            if isinstance(value, str if name in texts else (int, float))}


def measure(groups):
    """Return {name: [what each repeat measured]}; differences are to the first group's run of the same repeat."""
    base_name = next(iter(groups))
    base = [gather(work) for work in groups[base_name]]
    measured = {base_name: base}
    for name, works in list(groups.items())[1:]:
        measured[name] = []
        for index, work in enumerate(works):
            entry = gather(work)
            if index < len(base):
                entry |= paired(groups[base_name][index], work, base[index], entry)
            measured[name].append(entry)
    return measured


def merge(entries):
    """Return a single run's entry unchanged, or the mean over repeats with standard errors and all values."""
    if len(entries) == 1:
        return entries[0]
    merged = {"repeats": len(entries)}
    for name in COLUMNS:
        values = [entry[name] for entry in entries if name in entry]
        if len(values) == len(entries):
            mean = sum(values) / len(values)
            spread = sum((value - mean) ** 2 for value in values) / (len(values) - 1)
            merged |= {name: mean, f"{name}_se": (spread / len(values)) ** 0.5, f"{name}_repeats": values}
    return merged | {key: entries[0][key] for key in ("features", "nll_of", "asym_of") if key in entries[0]}


# What two evaluations must have alike for their images to be paired, and what the table tells of each.
ALIKE = {"nll": ("weights", "data", "split", "seed", "num_images", "total_repeat", "rtol", "atol", "coupling"),
         "asym": ("weights", "data", "split", "seed", "num_images", "total_repeat", "nl", "slices", "estimator",
                  "exact")}


def evaluated(folder, kind):
    """Return {entry of ALIKE: value} of a finished evaluation's record, {} without one."""
    record = _record(folder)
    values = {**(record.get("options") or {}), **(record.get("derived") or {})}
    return {name: values.get(name) for name in ALIKE[kind]} if record.get("status") == "done" else {}


def unlike(first, work):
    """Return {kind: first entry in which two runs' evaluations differ}, for those that cannot be paired."""
    found = {}
    for kind in ALIKE:
        ours, theirs = evaluated(getattr(work, kind), kind), evaluated(getattr(first, kind), kind)
        differing = [name for name in ours if ours[name] != theirs.get(name)] if theirs else []
        found |= {kind: differing[0]} if differing else {}
    return found


def paired(first, work, base, own):
    """Return differences to the first run, with standard errors from images measured with the same draws; where the
    evaluations differ in more than the model, {"unpaired": {kind: what differs}} in their place."""
    import numpy as np

    differences, differing = {}, unlike(first, work)
    ours, theirs = (_stacked(folder.nll, "bpd_*.npz", "bpd") for folder in (work, first))
    if "nll" not in differing and ours is not None and theirs is not None and ours.shape == theirs.shape:
        repeats = evaluated(work.nll, "nll").get("total_repeat") or 1
        difference = (ours - theirs).reshape(repeats, -1).mean(axis=0)  # repeats of an image are one value
        differences["nll_difference"] = float(difference.mean())
        if len(difference) > 1:
            differences["nll_difference_se"] = float(difference.std(ddof=1) / len(difference) ** 0.5)
    ours, theirs = (_stacked(folder.asym, "levels_*/level_*.npz", "nasym") for folder in (work, first))
    if "asym" not in differing and ours is not None and theirs is not None and ours.shape == theirs.shape \
            and theirs.mean() > 0:
        repeats = evaluated(work.asym, "asym").get("total_repeat") or 1
        difference = ((ours - theirs) / theirs.mean()).reshape(repeats, -1, ours.shape[1]).mean(axis=0)
        differences["nasym_change"] = float(difference.mean())
        if difference.shape[1] > 1:
            error = np.sqrt((difference.var(axis=1, ddof=1) / difference.shape[1]).sum()) / len(difference)
            differences["nasym_change_se"] = float(error)
    if "asym" not in differing and base.get("asym") and own.get("asym") is not None:
        differences["asym_ratio"] = own["asym"] / base["asym"]
    return differences | ({"unpaired": differing} if differing else {})


def _stacked(folder, pattern, name):
    """Return an array of the stored files of a run, one row a file (one long row where they differ in length)."""
    import numpy as np

    from tools.qc_ncsn.evaluate.stored import read_numbers

    rows = [read_numbers(path, (name,))[name].reshape(-1).astype(np.float64) for path in sorted(folder.glob(pattern))]
    if not rows:
        return None
    return np.stack(rows) if len({len(row) for row in rows}) == 1 else np.concatenate(rows)[None]


def table(results):
    """Return (columns, rows) of text: a row for each measure that some run has, a column for each run."""
    used = [name for name in COLUMNS if any(name in entry for entry in results.values())]
    features = sorted({entry["features"] for entry in results.values() if "features" in entry})
    headings = {name: COLUMNS[name][0] for name in used} | {"frechet": f"Frechet distance, {', '.join(features)}"}
    rows = [[headings[name], *(_cell(entry, name) for entry in results.values())] for name in used]
    for name, heading in (("nll_of", "bits/dim of"), ("asym_of", "Asym of")):
        if any(name in entry for entry in results.values()):
            rows.append([heading, *(entry.get(name, "") for entry in results.values())])
    return ["", *results], rows


def _cell(entry, name):
    if name not in entry:
        return ""
    form = COLUMNS[name][1]
    text = form.format(entry[name])
    shown = name in WITH_ERROR or ("repeats" in entry and name not in NO_ERROR)
    error = entry.get(f"{name}_se") if shown else None
    return text if error is None else f"{text} ± {form.replace('+', '').format(error)}"


def numbers(results):
    """Return rows of the measured numbers in full: a value and its standard error for each run."""
    names = [name for name in COLUMNS if any(name in entry for entry in results.values())]
    rows = [["measure", *(heading for run_name in results for heading in (run_name, f"{run_name} se"))]]
    rows += [[name, *(entry.get(key) for entry in results.values() for key in (name, f"{name}_se"))] for name in names]
    texts = [name for name in ("nll_of", "asym_of", "features") if any(name in entry for entry in results.values())]
    return rows + [[name, *(cell for entry in results.values() for cell in (entry.get(name), None))] for name in texts]


def write(folder, title, works, results):
    """Write the table, in words and in numbers, and the pictures; return their paths."""
    from common.files import write_text
    from common.formats.tables import write_table

    columns, rows = table(results)
    lines = [f"# {title}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    header, *cells = numbers(results)
    write_table(folder / "table.csv", header, cells)
    pictures = [draw_samples(folder / "samples.png", works), draw_losses(folder / "loss.png", works)]
    pictures += [draw_levels(folder / f"{name}.png", works, name) for name in ("asym", "nasym")]
    return [str(folder / "table.csv"), str(folder / "table.md"), *(str(path) for path in pictures if path)]


def draw_samples(path, works, count=32):
    """Draw the first stored samples of each run in a row of its own, under the run's name."""
    from common.files import read_npz
    from common.images.figures import save_figure
    from common.images.grids import make_grid

    rows = {}
    for name, work in works.items():
        files = work.sample_files() or work.sample_files(ode=True)
        if files:
            rows[name] = read_npz(files[0], required=("samples",))["samples"][:count]
    if not rows:
        return None
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 1.4 * len(rows) + 0.3), dpi=130, layout="constrained")
    for axes, (name, pixels) in zip(figure.subplots(len(rows), 1, squeeze=False)[:, 0], rows.items()):
        grid = make_grid(pixels, columns=16, padding=1)
        axes.imshow(grid[..., 0] if grid.shape[-1] == 1 else grid, cmap="gray", interpolation="nearest", vmin=0,
                    vmax=255)
        axes.set_title(name, fontsize=9, loc="left")
        axes.axis("off")
    save_figure(path, figure)
    return path


def draw_losses(path, works):
    """Draw the logged training loss of each run, and the regulariser where there is one."""
    from common.images.figures import new_figure, save_figure
    from common.training.log import read_log

    figure, axes = new_figure()
    drawn = False
    for name, work in works.items():
        logged = [(row["step"], row["loss"]) for row in read_log(work.json_log) if isinstance(row.get("loss"), float)]
        if logged:
            axes.plot(*zip(*logged), label=name, linewidth=1)
            drawn = True
    if not drawn:
        return None
    axes.set(xlabel="step", ylabel="denoising score matching loss", yscale="log")
    axes.legend(frameon=False)
    save_figure(path, figure)
    return path


def draw_levels(path, works, name):
    """Draw Asym or NAsym by noise level for each run that measured it."""
    from tools.qc_ncsn.pictures import level_curves

    measured = {run_name: _results(work.asym) for run_name, work in works.items()}
    measured = {run_name: values for run_name, values in measured.items()
                if all(_is_curve(values.get(key)) for key in ("sigma", f"{name}_by_level", f"{name}_se_by_level"))}
    if not measured:
        return None
    curves = {run_name: (values[f"{name}_by_level"], values[f"{name}_se_by_level"]) for run_name,
              values in measured.items()}
    sigmas = next(iter(measured.values()))["sigma"]
    curves = {run_name: curve for run_name, curve in curves.items() if len(curve[0]) == len(curve[1]) == len(sigmas)}
    level_curves(path, sigmas, curves, {"asym": "Asym", "nasym": "NAsym"}[name], log=name == "asym")
    return path


def _is_curve(values):
    """Return whether a record's value is a list of numbers (None where one was not finite)."""
    return isinstance(values, list) and all(value is None or isinstance(value, (int, float)) for value in values)


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, CompareOptions, PROG, "Compare finished runs side by side.", EPILOG, words, "compare",
               lambda options: options.output_dir,
               lambda results: console.show_table("Runs side by side", *table(results)))
