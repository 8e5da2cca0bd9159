"""Compare runs: one table with paired differences, samples, loss and asymmetry curves."""

from dataclasses import dataclass
from pathlib import Path
from typing import List

from common import console
from common.cli import run
from common.errors import InputError
from common.job import Job
from common.numerals import counted
from common.options import REQUIRED, CommonOptions, option
from tools.qc_ncsn import findings
from tools.qc_ncsn.compare.measures import COLUMNS, NO_ERROR, TEXTS, WITH_ERROR, measure, merge
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


def main(options):
    """Run `qc_ncsn compare`; results: one entry per name with its measurements."""
    works = [WorkDir(name) for name in options.workdirs]
    names = options.names or [work.root.name for work in works]
    if len(names) != len(works):
        raise InputError(f"{len(names)} names for {counted(len(works), 'folder')}", where="--names",
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
              summary=findings.compare(options.title),
              show=lambda results: console.show_table(options.title, *table(results)))
    first = {name: group[0] for name, group in groups.items()}
    return job.run(lambda: (results, write(folder, options.title, first, results)),
                   lambda: (f"would compare {len(works)} work folders and write {folder}", results))


def table(results):
    """Return (columns, rows) of text: a row for each measure that some run has, a column for each run."""
    used = [name for name in COLUMNS if any(name in entry for entry in results.values())]
    features = sorted({entry["features"] for entry in results.values() if "features" in entry})
    headings = {name: COLUMNS[name][0] for name in used} | {"frechet": f"Frechet distance, {', '.join(features)}"}
    rows = [[headings[name], *(_cell(entry, name) for entry in results.values())] for name in used]
    for name, heading in (("nll_of", "bits/dim of"), ("dsm_of", "DSM loss of"), ("asym_of", "Asym of")):
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
    texts = [name for name in TEXTS if any(name in entry for entry in results.values())]
    return rows + [[name, *(cell for entry in results.values() for cell in (entry.get(name), None))] for name in texts]


def write(folder, title, works, results):
    """Write the table, in words and in numbers, and the pictures; return their paths."""
    from common.files import write_text
    from common.formats.tables import write_table
    from tools.qc_ncsn.compare.pictures import draw_levels, draw_losses, draw_samples

    columns, rows = table(results)
    lines = [f"# {title}", "", "| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    write_text(folder / "table.md", "\n".join(lines) + "\n")
    header, *cells = numbers(results)
    write_table(folder / "table.csv", header, cells)
    pictures = [draw_samples(folder / "samples.png", works), draw_losses(folder / "loss.png", works)]
    pictures += [draw_levels(folder / f"{name}.png", works, name) for name in ("asym", "nasym")]
    return [str(folder / "table.csv"), str(folder / "table.md"), *(str(path) for path in pictures if path)]


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, CompareOptions, PROG, "Compare finished runs side by side.", EPILOG, words, "compare",
               lambda options: options.output_dir,
               lambda results: console.show_table("Runs side by side", *table(results)))
