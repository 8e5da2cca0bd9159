"""What the tables measured, for docs/reproduce.md.

    python -m docs.chains.parts.measured TABLE FOLDER [OWN]
    python -m docs.chains.parts.measured write FOLDER PAGE

TABLE: reads the finished runs below FOLDER (rcps tables: of the calibrations FOLDER and OWN), prints the rows, and
writes them to FOLDER/measured_TABLE.json with date, machine, seeds and seconds.  write: puts all measured_*.json below
FOLDER into PAGE, between its two marks; tables that are there and not among them stay.
"""

import json
import math
import platform
import sys
from datetime import date
from pathlib import Path

from common.files import write_bytes, write_json
from common.summary import Quantity, summary, write_summary

TEST_IMAGES = 10_000  # of CIFAR-10
PUBLISHED_NLL = 3.38, "best NLL on CIFAR-10 of Chao et al. 2023, by a third-party index of the paper"
BEGIN, END, HEADING = "<!-- measured: begin -->", "<!-- measured: end -->", "### table-"
SCORE = {  # measure: (folder of its record, name in the results)
    "bits/dim": ("nll", "nll"), "Asym": ("asym", "asym"), "NAsym": ("asym", "nasym")}
QUALITY = {"Frechet distance, small": ("eval_fidis", "frechet_distance"), "FID": ("eval_fidis", "fid"),
           "IS": ("eval_fidis", "inception_score"), "precision": ("eval_prdc", "precision"),
           "recall": ("eval_prdc", "recall")}
FLIPS = ("success", "oracle_flip", "lpips", "perceptual", "l1", "blobs_changed", "fid", "frechet")
INVERSION = ("l1", "lpips", "perceptual", "agreement", "all_decisions_kept", "fid", "frechet")
DISTANCE = ("fid", "frechet_distance", "precision", "recall")


def results(folder):
    """Return the results of a finished run, {} where there is none."""
    path = folder / "run.json"
    record = json.loads(path.read_text()) if path.exists() else {}
    return record.get("results", {}) if record.get("status") == "done" else {}


def error_of(values):
    """Return the standard error of the mean of some values; None of one."""
    if len(values) < 2:
        return None
    mean = sum(values) / len(values)
    return math.sqrt(sum((value - mean) ** 2 for value in values) / (len(values) - 1) / len(values))


def over_seeds(found):
    """Return rows (name, measure, mean, standard error, count) of {(name, measure): [a value a seed]}."""
    return [(name, measure, sum(values) / len(values), error_of(values), len(values))
            for (name, measure), values in found.items()]


def by_seed(places, measures):
    """Return rows over seeds of (name, work folder) pairs; measures: {measure: (folder, name in its results)}."""
    found = {}
    for name, place in places:
        for measure, (folder, key) in measures.items():
            value = results(place / folder).get(key)
            if isinstance(value, (int, float)):
                found.setdefault((name, measure), []).append(value)
    return over_seeds(found)


def score_rows(folder, measures):
    """Return the rows of table_qc_2, 3 and 4: FOLDER/seedN/MODEL, at paper scale FOLDER/MODEL."""
    places = sorted(folder.glob("seed*/*")) or sorted(folder.glob("*"))
    return by_seed([(place.name, place) for place in places if place.is_dir() and place.name != "base"], measures)


def sampler_rows(folder):
    """Return the rows of table_qc_samplers: FOLDER/SAMPLER/seedN."""
    return by_seed([(place.parent.name, place) for place in sorted(folder.glob("*/seed*"))], QUALITY)


def flip_rows(folder):
    """Return the rows of table_cf_features: errors are those of shares and means over images."""
    rows = []
    for place in sorted(folder.glob("*/evaluation")):
        entry = results(place).get("attributes", {}).get("all", {})
        for name in (name for name in FLIPS if isinstance(entry.get(name), (int, float))):
            count, error = entry.get(f"{name}_total"), entry.get(f"{name}_error")
            if count:
                error = math.sqrt(entry[name] * (1 - entry[name]) / count)
            elif error is not None:
                error /= 1.96  # half a 95 % interval
            rows.append((place.parent.name, name, entry[name], error, count or entry.get("flipped")))
    return rows


def plain_rows(folder, below, names):
    """Return a row for each number of one run: FOLDER/NAME/BELOW."""
    return [(place.parent.name, name, results(place)[name], None, results(place).get("quality_images"))
            for place in sorted(folder.glob(f"*/{below}")) for name in names if name in results(place)]


def distance_rows(folder):
    """Return the rows of table_blobgan_fid: FOLDER/seedN/distance."""
    return by_seed([("BlobGAN", place) for place in sorted(folder.glob("seed*"))],
                   {name: ("distance", name) for name in DISTANCE})


def risk_rows(folder):
    """Return the rows of table_rcps_histogram: test risks over the splits, the deviation in the error's place."""
    from docs.chains.parts.interval_tables import histogram_rows

    return [(name, "test risk (deviation over splits)", float(mean), float(deviation), int(above.split()[-1]))
            for name, mean, deviation, _, _, above in histogram_rows(folder)]


def level_rows(folder, own):
    """Return the rows of table_rcps_levels."""
    from docs.chains.parts.interval_tables import COLUMNS
    from docs.chains.parts.interval_tables import level_rows as read

    return [(name, measure, float(value), None, None) for name, *values in read(folder, own)
            for measure, value in zip(COLUMNS[1:], values)]


MAKERS = {
    "qc-2": lambda folder: score_rows(folder, SCORE), "qc-3": lambda folder: score_rows(folder, QUALITY),
    "qc-4": lambda folder: score_rows(folder, {measure: (f"{place}_ode", name) for measure, (place, name)
                                               in QUALITY.items()}),
    "qc-samplers": sampler_rows, "cf-features": flip_rows, "blobgan-fid": distance_rows, "rcps-histogram": risk_rows,
    "rcps-levels": level_rows, "cf-inversion": lambda folder: plain_rows(folder, "quality", INVERSION),
}


def machine():
    """Return the processor and the threads, in words."""
    import os

    model = platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
        model = lines[0].partition(":")[2].strip() if lines else model
    return f"{model}, {os.cpu_count()} cores, {os.environ.get('OMP_NUM_THREADS', 'all')} thread(s) a process"


def seeds_of(folder):
    """Return the seeds of the runs below a folder, in order, and the seconds of them all."""
    records = [json.loads(path.read_text()) for path in sorted(Path(folder).rglob("run.json"))]
    seeds = {record.get("options", {}).get("seed") for record in records} - {None}
    return sorted(seeds), round(sum(record.get("seconds") or 0 for record in records))


def shown(value, error):
    """Return a value with its standard error, to the error's second digit."""
    if not error:
        return f"{value:.4g}"
    digits = max(0, 1 - math.floor(math.log10(error)))
    return f"{value:.1e} +- {error:.1e}" if digits > 6 else f"{value:,.{digits}f} +- {error:,.{digits}f}"


def lines_of(made):
    """Return what a table measured as lines of the page: a row a name, a column a measure."""
    cells = {(name, measure): (shown(value, error), count) for name, measure, value, error, count in made["rows"]}
    names, measures = (list(dict.fromkeys(row[place] for row in made["rows"])) for place in range(2))
    counts = {count for _, count in cells.values()}
    of = f"each of {counts.pop():,}; " if len(counts) == 1 and None not in counts else ""
    found = [[cells.get((name, measure), ("", None)) for measure in measures] for name in names]
    rows = [[name, *(f"{text} ({count:,})" if counts and count else text for text, count in line)]
            for name, line in zip(names, found)]
    heads = [measure.replace("_", " ") for measure in measures]
    seeds = f"seeds {' '.join(map(str, made['seeds']))}" if len(made["seeds"]) > 1 else "one seed"
    return [f"{HEADING}{made['table']}, {made['scale']} scale", "",
            f"{made['date']}; {made['machine']}; {seeds}; {of}{made['seconds']:,} s of all runs.", "",
            *(f"| {' | '.join(line)} |" for line in (["", *heads], ["---"] * (len(heads) + 1), *rows)), ""]


def make(table, *folders):
    """Write FOLDER/measured_TABLE.json and print its rows."""
    import os

    folder = Path(folders[0])
    rows = MAKERS[table](*map(Path, folders))
    if not rows:
        print(f"error: {folder}: no finished run of table-{table}. Make the table first.", file=sys.stderr)
        return 2
    seeds, seconds = seeds_of(folder)
    made = {"table": table, "scale": os.environ.get("SCALE") or "small", "date": date.today().isoformat(),
            "machine": machine(), "seeds": seeds, "seconds": seconds, "rows": rows}
    write_json(folder / f"measured_{table}.json", made)
    if made["scale"] == "paper" and table == "qc-2":
        write_best(folder)
    print("\n".join(lines_of(made)))
    return 0


def write_best(folder):
    """Write the summary of table_qc_2 at paper scale: the best NLL of its three models beside the paper's best.

    The index gives the best figure of the paper's table, so it is compared with the best of all its models on all test
    images alone; otherwise nothing is written.
    """
    found = [results(folder / model / "nll") for model in ("u", "qc", "c")]
    if any(each.get("num_images") != TEST_IMAGES or not isinstance(each.get("nll"), (int, float)) for each in found):
        return
    best = Quantity("nll", "NLL", "bits/dim", "lower").of(min(found, key=lambda each: each["nll"]), PUBLISHED_NLL)
    write_summary(folder, summary("Best likelihood of U-, QC- and C-NCSN++ on CIFAR-10's test images", [("", [best])],
                                  "measurement"))


def write(folder, page):
    """Put all measured tables below a folder into a page, in place of those of the same name; the others stay."""
    head, _, rest = Path(page).read_text(encoding="utf-8").partition(BEGIN)
    body, _, tail = rest.partition(END)
    sections = {heading: f"{HEADING}{heading}\n{lines}" for heading, _, lines in
                (section.partition("\n") for section in body.split(HEADING)[1:])}
    for path in sorted(Path(folder).rglob("measured_*.json")):
        lines = lines_of(json.loads(path.read_text()))
        sections[lines[0].removeprefix(HEADING)] = "\n".join([*lines, ""])
    order = {f"{table}, {scale} scale": place for place, (table, scale) in
             enumerate((table, scale) for table in MAKERS for scale in ("paper", "small"))}
    body = "".join(sections[name] for name in sorted(sections, key=lambda name: order.get(name, len(order))))
    write_bytes(page, f"{head}{BEGIN}\n\n{body}{END}{tail}".encode())
    return 0


if __name__ == "__main__":
    sys.exit(write(*sys.argv[2:]) if sys.argv[1] == "write" else make(*sys.argv[1:]))
