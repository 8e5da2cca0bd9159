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

    def is_complete(number):
        return _is_complete(*paths[number], material.names(*batches[number]), batches[number])

    def make(number, advance):
        result = explainer.explain(explainer.prepare(*batches[number], lambda count: None), lambda count: None)
        write_snapshot(paths[number][1], result.rows)
        write_metadata(paths[number][0], result.metadata)  # last: it marks the batch as complete
        advance(batches[number][1] - batches[number][0])

    make_missing(range(len(batches)), is_complete, make, "images", size=lambda number: batches[number][1]
                 - batches[number][0])
    outputs = [path for pair in paths for path in pair]
    if not parallel.is_main():
        return {}, outputs
    for number, path in metadata_files(folder):  # of a larger job, or of smaller batches
        if number >= len(batches):
            path.unlink()
            path.with_name(f"snapshot_{number}.jpg").unlink(missing_ok=True)
    stored = [read_metadata(path) for path, _ in paths]
    return summarise(folder, stored), [*outputs, folder / "pairs.csv"]


def _is_complete(path, snapshot, names, batch):
    """Return whether a batch's files are there and of the images that belong to it (those that can be read)."""
    if not path.exists() or not snapshot.exists():
        return False
    try:
        stored = read_metadata(path)
    except InputError:
        return False
    return len(stored.blobs.xs) == batch[1] - batch[0] if names is None else set(stored.names or ()) <= set(names)


def write_snapshot(path, rows):
    """Write the grid of a batch: a row for each kind, a column for each image, two black pixels between them."""
    count = len(rows[0][1])
    if count:
        save_grid(path, to_uint8(torch.cat([pictures for _, pictures in rows]), "dmd2"), columns=count)
    else:
        path.touch()


def summarise(folder, stored):
    """Write all_inversions.pt and pairs.csv of Metadata; return the results."""
    names = [name for each in stored for name in each.names or ()]
    if names:
        write_inversions(folder / "all_inversions.pt", names, cat([each.blobs for each in stored]))
    distances = [value for each in stored for value in each.extra["reconstruction_l1"]]
    results = {"images": len(distances), "reconstruction_l1": sum(distances) / max(len(distances), 1)}
    lines = [line for each in stored for entry in each.extra["attributes"].values() for line in entry["pairs"]]
    if not lines:
        return results
    columns = [*COLUMNS, *(name for name in EXTRA_COLUMNS if any(name in line for line in lines))]
    write_table(folder / "pairs.csv", columns, [[line.get(name) for name in columns] for line in lines])
    counts = {outcome: sum(line["outcome"] == outcome for line in lines)
              for outcome in (FLIPPED, ALREADY, NOT_FOUND, FAILED)}
    searched = counts[FLIPPED] + counts[NOT_FOUND] + counts[FAILED]
    flips = [line for line in lines if line["outcome"] == FLIPPED]

    def mean(name, chosen):
        values = [line[name] for line in chosen if line.get(name) is not None]
        return sum(values) / len(values) if values else None

    return results | {"pairs": len(lines), **counts, "success": counts[FLIPPED] / searched if searched else None,
                      **{name: mean(name, flips) for name in ("l1", "lpips", "blobs_changed", "flip_on_real")},
                      "evaluations": mean("evaluations", [line for line in lines if line["outcome"] != ALREADY])}
