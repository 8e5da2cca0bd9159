"""From flags to the tables and the page of an evaluation."""

from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.numerals import counted
from tools.evaluate_cf import findings

PROG = "evaluate_cf"
OWNS = ("table.csv", "pairs.csv", "cf.html", "images")
ARRAYS = ("oracle_before", "oracle_after", "scores_before", "scores_after")  # columns of several numbers


def evaluate(request):
    """Evaluate a folder; results: pairs, images, batches, batches_expected, success, score_difference, seconds_per_flip
    and `attributes`: {name, and all: its measures}."""
    from common.device import pick_device, set_precision
    from common.job import Job
    from tools.evaluate_cf.read import Material
    from tools.evaluate_cf.realism import Sets

    device = pick_device(request.device, parallel.local_rank())
    set_precision("fp32")
    material = Material(request, device)
    found, sets = material.folder, Sets(request, material.gan, device)
    folder = Path(request.output_dir or found.path / "evaluation")
    if request.save_images and material.images is not None:
        material.images.images.check_apart(folder)
    inputs = material.inputs()
    job = Job(folder, PROG, request, derived=material.derived() | sets.derived(), content=material.content(), owns=OWNS,
              inputs=inputs and inputs + sets.inputs(), show=show, summary=findings.evaluation)
    if job.answer() is None:
        sets.open()
    batches = counted(len(found.files), "batch", "batches")
    line = f"would measure {counted(found.pairs, 'pair')} of {batches} into {folder}"
    return job.run(lambda: _measure(request, material, sets, job) if parallel.is_main() else ({}, []),
                   lambda: (line, {"pairs": found.pairs}), device)


def _measure(options, material, sets, job):
    """Return (results, files), written into the job's folder."""
    from common.images.suffixes import file_stems
    from tools.evaluate_cf.changes import Changes
    from tools.evaluate_cf.gallery import Gallery
    from tools.evaluate_cf.measure import NOT_ASKED, Measurer
    from tools.evaluate_cf.page import write_page
    from tools.evaluate_cf.realism import Realism
    from tools.evaluate_cf.summary import summarise
    from tools.evaluate_cf.truth import add_truth

    folder = job.folder
    names, measurer, lines = list(material.explained.names), Measurer(material, options), []
    realism, changes = Realism(measurer, sets), Changes()
    gallery = Gallery(material, options.page_pairs)
    given = [name for name in material.folder.names if name is not None]
    stems = dict(zip(given, file_stems(given)))
    with console.progress("pairs", material.folder.images, unit="images") as advance:
        for first, path, metadata in material.folder.read():
            batch = measurer.prepare(first, path, metadata)
            realism.add_images(batch)
            for part in measurer.parts(batch):
                realism.add(part)
                changes.add(batch, part)
                gallery.add(batch, part)
                lines += [line for line in part.lines if line["outcome"] != NOT_ASKED]
                if options.save_images:
                    _save(folder / "images", part, stems, material.folder.attributes[part.attribute] > 1)
            advance(len(batch.labels))
    if not lines:
        raise InputError("no counterfactual in it", where=material.folder.path, do="Run blobex_inv_cf")
    if material.truth is not None:
        add_truth(lines, material.truth, names)
    realism.neighbours()
    summary = summarise(lines, names, options.rule, material.labels,
                        material.oracles[0].columns if material.oracles else None)
    for attribute, entry in realism.distances(options.seed).items():
        summary[names[attribute]] |= entry
    results = _results(material, lines, summary)
    files = [*_write(folder, lines, summary), folder / "cf.html"]
    write_page(folder / "cf.html", material, results, lines, changes, gallery)
    _append_metrics(folder if options.output_dir else material.folder.path, summary, job.resumes)
    return results, files


def _results(material, lines, summary):
    """Return the results, and say in notes what a reader has to know of the folder."""
    from tools.evaluate_cf.summary import ALL, DIFFERS, differing

    folder, flips = material.folder, summary[ALL]["flipped"]
    found = {"pairs": len(lines), "images": folder.images, "images_expected": material.expected,
             "batches": len(folder.files), "batches_expected": folder.expected, "success": summary[ALL]["success"]}
    if found["batches"] < found["batches_expected"] or folder.images < (material.expected or 0):
        console.say(f"note: a part of the run: {found['batches']} of {found['batches_expected']} batches, "
                    f"{folder.images} of {material.expected or 'unknown'} images")
    for column, what in (("start_difference", "reconstructions"), ("difference", "counterfactuals")):
        count, largest = differing(lines, column)
        found[f"{column.replace('difference', '')}score_difference"] = largest
        first = next((line["image"] for line in lines if not line.get(column, 0) <= DIFFERS), None)
        if count and (column == "start_difference" or folder.record):
            console.say(f"note: stored scores of {count} {what} are not those of the pictures rendered here, by up to "
                        f"{largest:.2g}, the first of {first}: other weights?")
    seconds = folder.record.get("seconds")
    if isinstance(seconds, (int, float)) and flips:
        found["seconds_per_flip"] = seconds / flips
    return found | {"attributes": summary}


def _save(folder, part, stems, several):
    """Write counterfactuals as images/att_<c>/NAME.png, of several att_<c>_<number>. stems: {image: NAME}, where it is
    not its own."""
    from common.files import write_png
    from common.images.pixels import rounded_bytes
    from tools.evaluate_cf.measure import NOT_ASKED

    below = folder / (f"att_{part.attribute}_{part.number}" if several else f"att_{part.attribute}")
    for line, pixels in zip(part.lines, rounded_bytes(part.pictures)):
        if line["outcome"] not in ("failed", NOT_ASKED):
            write_png(below / f"{stems.get(line['image'], line['image'])}.png", pixels)


def _write(folder, lines, summary):
    """Write pairs.csv and table.csv; return their paths."""
    from common.formats.tables import write_table

    columns = [name for name in dict.fromkeys(name for line in lines for name in line) if name not in ARRAYS]
    write_table(folder / "pairs.csv", columns, [[_plain(line.get(name)) for name in columns] for line in lines])
    names = list(dict.fromkeys(name for entry in summary.values() for name in entry))
    write_table(folder / "table.csv", ["attribute", *names],
                [[attribute, *(_plain(entry.get(name)) for name in names)] for attribute, entry in summary.items()])
    return [folder / "table.csv", folder / "pairs.csv"]


def _plain(value):
    if isinstance(value, bool):
        return int(value)
    return None if isinstance(value, float) and not abs(value) < float("inf") else value


def _append_metrics(folder, summary, again):
    """Add the original's lines to metrics.txt: success rate, LPIPS and FID of each attribute."""
    from common.files import append_text

    words = (("success", "success rate"), ("lpips", "LPIPS"), ("perceptual", "perceptual"), ("fid", "FID"),
             ("frechet", "Frechet"), ("fid_reference", "FID to the statistics"),
             ("frechet_reference", "Frechet to the statistics"))
    text = "".join(f"{attribute}: " + ", ".join(f"{word} {entry[name]}" for name, word in words
                                                if entry.get(name) is not None) + "\n"
                   for attribute, entry in summary.items())
    append_text(folder / "metrics.txt", text, again)


def show(results):
    """Print the table of the attributes."""
    from tools.evaluate_cf.summary import table

    console.show_table("Counterfactuals", *table(results["attributes"]))
