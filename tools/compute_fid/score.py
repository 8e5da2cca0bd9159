"""From the flags to the scores, and to notes on what they can be compared with."""

from dataclasses import replace
from pathlib import Path

from common import console, parallel
from common.errors import InputError, nearest
from tools.compute_fid import findings
from tools.compute_fid.names import METRICS
from tools.compute_fid.perform import perform

PARTS = {"precision": "prdc", "recall": "prdc", "density": "prdc", "coverage": "prdc", "prc": "prdc",
         "inception_score": "is", "isc": "is"}  # what users may call a metric
CLASSES = 20  # rows shown
LABELS = {
    "fid": "FID", "frechet_distance": "Frechet distance", "fid_infinity": "FID-infinity",
    "frechet_infinity": "Frechet distance, infinity", "sfid": "sFID", "kid": "KID",
    "kid_subsets": "KID (mean of subsets)",
    "inception_score": "Inception score", "precision": "Precision", "recall": "Recall", "density": "Density",
    "coverage": "Coverage", "mind": "MIND", "vendi": "Vendi score", "class_fid_mean": "FID, mean over classes",
    "class_frechet_distance_mean": "Frechet distance, mean over classes", "class_kid_mean": "KID, mean over classes",
}


def score(request):
    """Run `compute_fid`; results: the metrics asked for, both sides, and how the features were made."""
    from common.device import pick_device, set_precision
    from tools.compute_fid.classes import measure_classes
    from tools.compute_fid.measure import measure
    from tools.compute_fid.plan import Plan

    options = settle(request)
    device = pick_device(options.device, parallel.local_rank())
    set_precision("fp32")
    with parallel.process_group(device.type):
        plan = Plan(options, device)

        def work():
            (generated, excluded), (reference, excluded_reference) = plan.sides()
            rows, notes = plan.rows()
            if not parallel.is_main():
                return {}, []
            spatial = [plan.spatial[which] for which in ("generated", "reference")] if plan.spatial else None
            notes = [*plan.notes, *notes, *_comparisons(generated, reference, rows, spatial)]
            results = measure(generated, reference, options, device, rows, spatial)
            if options.per_class:
                sides = rows.get("generated", generated), rows.get("reference", reference)
                of_classes, more = measure_classes(sides, plan.classes.values(), options, device)
                results, notes = results | of_classes, notes + more
            results |= _circumstances(plan, generated, reference, excluded, list(dict.fromkeys(notes)))
            results["excluded_reference"] = len(excluded_reference) or (
                reference.meta.get("excluded", 0) if reference else 0)
            return results, _write_tables(Path(options.output_dir), results) if options.output_dir else []

        plans = (f"would score {plan.describe('generated')} against {plan.describe('reference')}",
                 {"metrics": options.metrics})
        return perform(options, lambda: _job(request, options, plan), work, plans, device, show)


def _comparisons(generated, reference, rows, spatial):
    """Return notes on the comparability of the sides, of the rows that take the place of one, and of spatial ones."""
    from tools.compute_fid.plan import compare

    pairs = [(generated, reference), *([spatial] if spatial else [])]
    if rows:
        pairs.append((rows.get("generated", generated), rows.get("reference", reference)))
    return [note for pair in pairs for note in compare(*pair)]


def settle(options):
    """Return the options with the metrics' names in a fixed order and a generator's number of images. Raises InputError
    for flags in conflict."""
    from tools.compute_fid.effects import ALONE, check_metric_options
    from tools.compute_fid.sides import NUM_GEN, is_generator

    words = [word.lower() for entry in options.metrics for word in entry.replace(",", " ").split()]
    for word in words:
        if word not in METRICS:
            raise InputError(f"unknown metric '{word}'", where="--metrics", do=nearest(PARTS.get(word, word), METRICS))
    if not words:
        raise InputError("no metric", where="--metrics", do=f"Choose from {', '.join(METRICS)}")
    options = replace(options, metrics=[name for name in METRICS if name in words])
    check_metric_options(options)
    if "sfid" in options.metrics and options.extractor != "inception":
        raise InputError("sfid is of the extractor inception", where=f"--extractor {options.extractor}",
                         do="Leave one of them out")
    if options.num_gen is None and is_generator(options.checkpoint):
        options = replace(options, num_gen=NUM_GEN)
    if options.dataset_name:
        options = replace(options, dataset_name=options.dataset_name.lower())  # as in the files' names
    if options.dataset_name and options.reference:
        raise InputError("mutually exclusive with --dataset_name", where="--reference", do="Pass one of them")
    if not options.dataset_name and not options.reference and not {*options.metrics} <= {*ALONE}:
        raise InputError("no reference", where="--dataset_name",
                         do="Name statistics made by setup_fid, or pass images as --reference")
    return options


def _job(request, options, plan):
    """Return the Job in --output_dir."""
    from common.job import Job

    names = ("generated", "reference")
    derived = {f"{name} content": plan.identity(name) for name in names} if parallel.is_main() else {}
    derived |= {f"features {name}": value for name, value in (plan.space.meta if plan.space else {}).items()}
    return Job(options.output_dir, f"compute_fid {'clean' if hasattr(options, 'mode') else 'fast'}", options,
               request=request, derived=derived, inputs=_inputs(options, plan),
               about=[{"name": plan.describe(name)} for name in names], owns=["table.csv", "classes.csv"], show=show,
               summary=findings.score(options.dataset_name))


def _inputs(options, plan):
    """Return the paths that are read, None where they are not all known."""
    from common.datasets import dataset_inputs
    from common.features.stats_store import search_places

    if options.extractor != "small" and options.weights is None and plan.space is not None:
        return None  # the weights were searched for
    images = [dataset_inputs(place) for place in (options.checkpoint, options.reference) if place]
    places = search_places(options.stats_dir) if options.dataset_name else []
    files = [options.weights] if options.weights else []
    return None if None in images else [*sum(images, []), *places, *files]


def _circumstances(plan, generated, reference, excluded, notes):
    """Return what goes with the scores: counts, feature space, notes."""
    from tools.compute_fid.measure import is_fid

    bias, metrics = {}, plan.options.metrics
    for name, sides in (("fid", (generated, reference)), ("sfid", plan.spatial.values())):
        if name in metrics and (name == "sfid" or is_fid(generated)):
            excess, note = _bias([side for side in sides if side is not None and side.count])
            notes = list(dict.fromkeys([*notes, *([note] if note else [])]))
            bias |= {f"{name}_bias": excess} if excess is not None else {}
    is_generator = hasattr(plan.generated, "generate")
    return {
        "generated": plan.describe("generated"), "num_generated": generated.count, "excluded": len(excluded),
        "reference": plan.describe("reference") if reference else None,
        "num_reference": reference.count if reference else None,
        "features": _space_name(generated), "antialias": generated.meta.get("antialias"),
        "rounded": plan.options.round if is_generator else None,
        "output_range": plan.generated.output_range if is_generator else None,
        "resolution": generated.meta.get("resolution"), "notes": notes, **bias,
    }


def _bias(sides):
    """Return (by how much the distance of two sides is too high or None, note or None); sides that tell their count."""
    from common.metrics.intervals import bias_note, frechet_excess

    if not sides:
        return None, None
    counts, width = [side.count for side in sides], sides[0].width
    known = min(counts) > width and len(counts) == 2
    excess = frechet_excess(sides[0].covariance, *counts) if known else None
    return excess, bias_note(min(counts), width, excess)


def _space_name(statistics):
    """Return the name of the feature space, such as inception-clean."""
    meta = statistics.meta
    return "-".join(str(meta[name])
                    for name in ("extractor", "resize") if name in meta) or f"unknown, {statistics.width} dimensions"


def _rows(results):
    """Return [(label, value, spread or None, what the spread is, 95 % interval or None, bias or None)] of the
    metrics."""
    rows = []
    for name, label in LABELS.items():
        if name not in results:
            continue
        error, deviation = results.get(f"{name}_se"), results.get(f"{name}_std")
        spread, what = (error, "standard error") if error is not None else (deviation,
                                                                            "" if deviation is None else "over parts")
        rows.append((label, results[name], spread, what, results.get(f"{name}_interval"),
                     results.get(f"{name}_bias")))
    return rows


def show(results):
    """Print the scores and notes."""
    from tools.compute_fid.classes import table_of_classes

    if not results:
        return
    rows, biased = [], any(name in results for name in ("fid_bias", "sfid_bias"))
    for label, value, spread, what, interval, bias in _rows(results):
        rows.append([label, f"{value:.6g}", "" if spread is None else f"+- {spread:.2g} {what}",
                     "" if interval is None else f"{interval[0]:.6g} to {interval[1]:.6g}",
                     *(["" if bias is None else f"about {bias:.2g} too high"] if biased else [])])
    against = f", against {results['reference']}" if results["reference"] else ""
    antialias = {None: "", True: ", antialias on", False: ", antialias off"}[results["antialias"]]
    console.show_table(f"{results['generated']}{against}; features {results['features']}{antialias}",
                       ["metric", "value", "", "95 % interval", *(["bias of so few images"] if biased else [])], rows)
    header, rows = table_of_classes(results)
    if rows:
        more = f", {len(rows) - CLASSES:,} more in --json and classes.csv" if len(rows) > CLASSES else ""
        console.show_table(f"{len(rows):,} classes{more}", [name.replace("_", " ") for name in header],
                           rows[:CLASSES])
    for note in results["notes"]:
        console.say(f"note: {note}")


def _write_tables(folder, results):
    """Write table.csv, and classes.csv with --per_class, and return their paths."""
    from common.formats.tables import write_table
    from tools.compute_fid.classes import table_of_classes

    path, rows = folder / "table.csv", []
    for label, value, spread, what, interval, bias in _rows(results):
        numbers = [value, spread, *(interval or (None, None)), bias]
        value, spread, low, high, bias = ("" if number is None else f"{number:.8g}" for number in numbers)
        rows.append([label, value, spread, what, low, high, bias])
    write_table(path, ["measure", "value", "spread", "of what", "95 % low", "95 % high", "bias"], rows)
    header, rows = table_of_classes(results)
    if not rows:
        return [str(path)]
    write_table(folder / "classes.csv", header, rows)
    return [str(path), str(folder / "classes.csv")]
