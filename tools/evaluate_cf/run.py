"""From flags to the tables of an evaluation."""

from pathlib import Path

from common import console, parallel
from common.errors import InputError

PROG = "evaluate_cf"
OWNS = ("table.csv", "pairs.csv", "images")
ARRAYS = ("oracle_before", "oracle_after")  # columns of several numbers, not for the table


def evaluate(request):
    """Evaluate a folder; results: pairs, success and, by attribute, `attributes`: {name: its measures}."""
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.evaluate_cf.read import Material

    device = pick_device(request.device, parallel.local_rank())
    set_precision("fp32")
    material = Material(request, device)
    folder = Path(request.output_dir or material.folder.path / "evaluation")
    job = Job(folder, PROG, request, derived=material.derived(), owns=OWNS, show=show)
    pairs = sum(len(each.blobs.xs) * len(each.attributes) for each in material.folder.batches)
    line = f"would measure {pairs:,} pairs of {len(material.folder.files):,} batches into {folder}"
    return job.run(lambda: _measure(request, material, folder), lambda: (line, {"pairs": pairs}), device)


def _measure(options, material, folder):
    """Return (results, files)."""
    from common.features.spaces import open_space
    from tools.evaluate_cf.measure import Measurer, add_truth
    from tools.evaluate_cf.realism import Realism
    from tools.evaluate_cf.summary import ALL, summarise

    names, measurer, lines = material.explained.names, Measurer(material, options), []
    space = None if options.extractor == "none" else open_space(options.extractor, "clean", options.weights,
                                                                material.device)
    realism = Realism(measurer, space)
    with console.progress("pairs", len(material.folder.batches), unit="batches") as advance:
        for metadata in material.folder.batches:
            advance(1)
            if not len(metadata.blobs.xs):
                continue
            targets = material.targets(metadata)
            own, pictures, before = measurer.batch(metadata, targets)
            realism.add(targets, before, pictures, own)
            lines += own
            if options.save_images:
                _save(folder / "images", own, pictures)
    if not lines:
        raise InputError("no counterfactual in it", where=material.folder.path, do="Run blobex_inv_cf")
    if material.truth is not None:
        add_truth(lines, material.truth, names)
    summary = summarise(lines, list(names), material.labels)
    realism.finish(summary, names, options.seed)
    files = _write(folder, lines, summary)
    _append_metrics(material, summary)
    return {"pairs": len(lines), "success": summary[ALL]["success"], "attributes": summary}, files


def _save(folder, lines, pictures):
    """Write counterfactuals as images/att_<c>/NAME.png, of several att_<c>_<number>."""
    from common.files import write_png
    from common.images.pixels import to_uint8

    several = any(number for _, number in pictures)
    for (attribute, number), shown in pictures.items():
        own = [line for line in lines if line["attribute"] == attribute and line["number"] == number]
        below = folder / (f"att_{attribute}_{number}" if several else f"att_{attribute}")
        for line, pixels in zip(own, to_uint8(shown, "dmd2")):
            path = (below / line["image"]).with_suffix(".png")
            path.parent.mkdir(parents=True, exist_ok=True)
            write_png(path, pixels)


def _write(folder, lines, summary):
    from common.formats.tables import write_table

    columns = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in ARRAYS]
    write_table(folder / "pairs.csv", columns, [[_plain(line.get(name)) for name in columns] for line in lines])
    names = list(dict.fromkeys(name for entry in summary.values() for name in entry))
    write_table(folder / "table.csv", ["attribute", *names],
                [[attribute, *(_plain(entry.get(name)) for name in names)] for attribute, entry in summary.items()])
    return [folder / "table.csv", folder / "pairs.csv"]


def _plain(value):
    return int(value) if isinstance(value, bool) else " ".join(map(str, value)) if isinstance(value, list) else value


def _append_metrics(material, summary):
    """Add the original's lines to metrics.txt of the folder: success rate and LPIPS of each attribute."""
    from common.files import append_text

    for attribute, entry in summary.items():
        distance = entry.get("lpips")
        text = f"{attribute}: success rate {entry['success']}" + (f", LPIPS {distance}" if distance is not None else "")
        append_text(material.folder.path / "metrics.txt", text + "\n")


def show(results):
    """Print the table of the attributes."""
    from tools.evaluate_cf.summary import table

    console.show_table("Counterfactuals", *table(results["attributes"]))
