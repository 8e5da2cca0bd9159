"""Files of a run: metadata and snapshot of each batch, then all inversions and the table of pairs."""

import torch

from common import parallel
from common.blobs.metadata import metadata_files, read_metadata, write_inversions, write_metadata
from common.errors import InputError
from common.formats.tables import write_table
from common.images.grids import save_grid
from common.images.pixels import to_uint8
from common.networks.blobgan.layout import cat
from common.units import make_missing
from tools.blobex_inv_cf.collect import ALREADY, COLUMNS, FAILED, FLIPPED, NOT_FOUND
from tools.blobex_inv_cf.several import EXTRA_COLUMNS


def make_batches(folder, explainer):
    """Do the batches that are missing and write the tables of all; return (results, files)."""
    material = explainer.material
    batches = material.batches()
    paths = [(folder / f"metadata_{number}.pt", folder / f"snapshot_{number}.jpg") for number in range(len(batches))]
    each = explainer.work_of_an_image()

    def is_complete(number):
        return _is_complete(*paths[number], material.names(*batches[number]), batches[number])

    def size(number):
        return each * (batches[number][1] - batches[number][0])

    def make(number, advance):
        done = 0

        def count(rows):
            nonlocal done
            done += rows
            advance(rows)

        result = explainer.explain(explainer.prepare(*batches[number], count), count)
        write_snapshot(paths[number][1], result.rows)
        write_metadata(paths[number][0], result.metadata)  # last: it marks the batch as complete
        advance(size(number) - done)  # what needed no search

    make_missing(range(len(batches)), is_complete, make, "inversions and searches", size=size, unit="rows")
    outputs = [path for pair in paths for path in pair]
    if not parallel.is_main():
        return {}, outputs
    for number, path in metadata_files(folder):  # of a larger job, or of smaller batches
        if number >= len(batches):
            path.unlink()
            path.with_name(f"snapshot_{number}.jpg").unlink(missing_ok=True)
    results, files = summarise(folder, [path for path, _ in paths])
    return results, [*outputs, *files]


def _is_complete(path, snapshot, names, batch):
    """Return whether a batch's files are there and of the images that belong to it, with those that were left out."""
    if not path.exists() or not snapshot.exists():
        return False
    try:
        stored = read_metadata(path)
    except InputError:
        return False
    if names is None:
        return len(stored.blobs.xs) == batch[1] - batch[0]
    return {*(stored.names or ()), *stored.extra.get("left_out", ())} == {*names}


def write_snapshot(path, rows):
    """Write the grid of a batch: a row for each kind, a column for each image, two black pixels between them."""
    if rows:
        save_grid(path, to_uint8(torch.cat([pictures for _, pictures in rows]), "dmd2"), columns=len(rows[0][1]))
    else:
        path.touch()


def summarise(folder, paths):
    """Write all_inversions.pt, all_inversions.json and pairs.csv of metadata files; return (results, files)."""
    names, blobs, marks, distances, lines, files = [], [], {}, [], [], []
    left_out = not_finite = 0
    for path in paths:  # one after the other: a file holds several layouts for each image
        stored = read_metadata(path)
        names += stored.names or ()
        blobs.append(stored.blobs)
        marks |= dict(zip(stored.names or (), stored.extra["marks"]))
        distances += stored.extra["reconstruction_l1"]
        left_out, not_finite = left_out + len(stored.extra["left_out"]), not_finite + len(stored.extra["not_finite"])
        lines += [line for entry in stored.extra["attributes"].values() for line in entry["pairs"]]
    if names:
        files.append(folder / "all_inversions.pt")
        write_inversions(files[0], names, cat(blobs), marks)
    results = {"images": len(distances), "left_out": left_out, "not_finite": not_finite,
               "reconstruction_l1": sum(distances) / len(distances) if distances else None}
    if not lines:
        return results, files
    columns = [*COLUMNS, *(name for name in EXTRA_COLUMNS if any(name in line for line in lines))]
    write_table(folder / "pairs.csv", columns, [[line.get(name) for name in columns] for line in lines])
    return results | summary(lines), [*files, folder / "pairs.csv"]


def summary(lines):
    """Return the results of lines of pairs.csv: counts of outcomes, means over flips."""
    counts = {outcome: sum(line["outcome"] == outcome for line in lines)
              for outcome in (FLIPPED, ALREADY, NOT_FOUND, FAILED)}
    searched = counts[FLIPPED] + counts[NOT_FOUND] + counts[FAILED]
    flips = [line for line in lines if line["outcome"] == FLIPPED]

    def mean(name, chosen):
        values = [line[name] for line in chosen if line.get(name) is not None]
        return sum(values) / len(values) if values else None

    return {"pairs": len(lines), **counts, "success": counts[FLIPPED] / searched if searched else None,
            **{name: mean(name, flips) for name in ("l1", "lpips", "blobs_changed", "flip_on_real")},
            "evaluations": mean("evaluations", [line for line in lines if line["outcome"] != ALREADY])}
