"""The run: find the photos, leave out what is done, share out the rest, report what was skipped."""

import os
import shutil
from collections import Counter
from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.files import TEMPORARY, write_bytes
from common.formats.tables import write_table
from common.job import START_ANEW, Job
from common.record import LOCK, RECORD
from common.threads import Threads
from tools.extract_subimages import findings
from tools.extract_subimages.checks import pair_folders
from tools.extract_subimages.chunks import extract, mask_path
from tools.extract_subimages.flat import extract_single, extract_square
from tools.extract_subimages.options import resolve
from tools.extract_subimages.packed import Shards
from tools.extract_subimages.pairs import extract_pair
from tools.extract_subimages.plan import finished, plan_units, same_inputs
from tools.extract_subimages.published import published_names, write_published
from tools.extract_subimages.records import (
    GEOMETRY,
    SEGMENTS,
    UNFINISHED,
    outputs_in,
    read_about,
    remove_chunk,
    remove_flat,
)
from tools.extract_subimages.sinks import clear_unfinished, flat_geometry
from tools.extract_subimages.sources import drop_duplicates, find_sources, listing, names_of, shuffled
from tools.extract_subimages.workers import WorkerError, Workers

FUNCTIONS = {"multiscale": extract, "single": extract_single, "pair": extract_pair, "square": extract_square}
SKIPPED = "skipped.csv"
PREVIEW = "preview.png"
NOTES = {"icc": "converted from another colour profile to sRGB", "icc_ignored": "with an unusable colour profile",
         "pages": "with further pages or frames, of which the first was taken", "halved": "halved before they were cut",
         "cut_to": "cut to a multiple of the scales"}
PROG = "extract_subimages"
CARD = "README.md"  # by which datasets.load_dataset(folder) finds the shards: else it takes run.json for the data
CARD_TEXT = """---
configs:
- config_name: default
  data_files: "shard-*.{kind}"
---
Tiles of photos, made by extract_subimages; run.json holds its options.
"""


class Extraction:
    """One run's state: what there is to do, and what came of it."""

    def __init__(self, options):
        self.options = options
        self.sources, self.passed, self.others = find_sources(options.input_folder, options.compat == "original")
        if not self.sources and not self.passed:
            what = f"no photo in here ({self.others} other files)" if self.others else "this folder is empty"
            raise InputError(what, where=", ".join(options.input_folder),
                             do="Name a folder of jpg, png, webp, tif, bmp, ppm or avif files")
        self.extent = listing(self.sources, self._other_inputs())
        self.doubles = []
        if options.dedup:
            self.sources, self.doubles = drop_duplicates(self.sources)
        if options.shuffle:
            self.sources = shuffled(self.sources, options.seed)
        self.units, self.shards, self.owned = [], None, set()
        self.done, self.skipped, self.broken = {}, {}, {}  # by index
        self.resumed = self.bytes = 0

    def _other_inputs(self):
        """Return the paths of the masks and of the photos of low resolution."""
        if self.options.pair_folder:
            return [source.full for source in find_sources([self.options.pair_folder])[0]]
        return [mask_path(self.options, source) for source in self.sources] if self.options.use_masking else []

    @property
    def is_packed(self):
        """True where tiles go into shards."""
        return self.options.layout in ("packed", "parquet")

    def plan(self, known=None):
        """Make the units."""
        self.units = plan_units(self.options, self.sources, known)

    def scan(self):
        """Return the units that are still to do; those whose outputs are whole are noted as done."""
        self.done, todo = {}, []
        self.shards = Shards(self.options, self.units, self.owned) if self.is_packed else None
        known = {}
        for unit in self.units:
            found = {"about": self.shards.header(unit)} if self.is_packed else finished(self.options, unit)
            known |= {unit.index: found} if found and found["about"] else {}
        with Threads(max(self.options.n_thread, 1)) as pool:
            same = pool.map(lambda index: same_inputs(self.options, self.units[index], known[index]["about"]), known)
            changed = {index for index, is_same in zip(known, same) if not is_same}
        for unit in self.units:
            if unit.index in known and unit.index not in changed:
                self.done[unit.index] = self.shards.finished(unit) if self.is_packed else known[unit.index]
            elif self.is_packed and unit.index < self.shards.next and unit.index in changed:
                raise InputError("has changed since it went into a shard", where=unit.source.full, do=START_ANEW)
            else:
                todo.append(unit)
        return todo

    def work(self, todo, workers):
        """Do the units and note how each ended. Raises InputError when the run cannot go on (a full disk)."""
        # large photos first, so that the workers end together
        if self.options.mode == "multiscale" and not self.is_packed:
            todo = sorted(todo, key=lambda unit: unit.source.bytes, reverse=True)
        with console.progress("Photos", len(self.units), start=len(self.units) - len(todo), unit="photos") as advance:
            for result in workers.run(FUNCTIONS[self.options.mode], self.options, todo):
                unit = self.units[result.index]
                if result.refused:
                    raise InputError(*result.refused)
                if result.broken:
                    self.broken[result.index] = result.broken
                elif result.skipped:
                    self._skip(unit, result.skipped)
                else:
                    self.done[result.index] = result.value
                    self.bytes += result.value["bytes"]
                if self.shards is not None:
                    self.shards.settle(unit, None if result.value else 0)
                advance()

    def _skip(self, unit, why):
        """Note a skipped photo; what an earlier version of it left goes."""
        self.skipped[unit.index] = why
        root = Path(self.options.save_folder)
        if self.options.mode != "multiscale":
            path = flat_geometry(root, unit.stem)
            if (read_about(path) or {}).get("source") == unit.source.path:
                remove_flat(root, path)
        elif self.options.naming == "stable" and not self.is_packed:
            for side in ("left", "right"):
                folder = root / f"{unit.stem}_{side}"
                if (read_about(folder / GEOMETRY) or {}).get("source") == unit.source.path:
                    remove_chunk(folder)

    def surprises(self):
        """Return {path: size or None} of photos whose tiles differ from their header's, if numbers run on."""
        if self.options.naming != "original" or self.options.mode != "multiscale":
            return {}
        return {self.units[index].source.path: None for index in self.skipped if self.units[index].counts}

    def orphans(self):
        """Return the chunk folders here that belong to no photo of this run."""
        if self.options.mode != "multiscale" or self.is_packed:
            return []
        known = {name for found in self.done.values() for name in found["chunks"]}
        root = Path(self.options.save_folder)
        return sorted(path.name for path in root.iterdir() if path.name not in known and (path / GEOMETRY).exists())

    def rows(self):
        """Return [(file, reason, detail)] of all that gave no tiles, in the order of the photos."""
        rows = [(self.units[index].source.path, *why) for index, why in sorted(self.skipped.items())]
        rows += [(path, "duplicate", f"equals {first}") for path, first in self.doubles]
        return rows + [(path, reason, "") for path, reason in self.passed]

    def results(self):
        """Return the results under their stable names."""
        rows = self.rows()
        return {
            "mode": self.options.mode, "layout": self.options.layout, "folder": str(self.options.save_folder),
            "photos": len(self.sources) + len(self.doubles) + len(self.passed), "extracted": len(self.done),
            "chunks": sum(len(found.get("chunks", ())) for found in self.done.values()),
            "tiles": sum(found["tiles"] for found in self.done.values()), "bytes_written": self.bytes,
            "already_there": self.resumed, "num_skipped": len(rows),
            "skipped": dict(sorted(Counter(row[1] for row in rows).items())),
            "skipped_files": [row[0] for row in rows], "other_files": self.others, "notes": self._notes(),
        }

    def _notes(self):
        """Return {what was done to photos, or could not be: how many}."""
        return dict(Counter(NOTES[key] for found in self.done.values() for key in NOTES if found["about"].get(key)))


class ExtractionJob(Job):
    """The job in --save_folder: it owns the files that it names, and those that its geometry and indexes list."""

    def _owned(self, owns=None):
        owns = self.owns if owns is None else owns  # empty where no run has been
        return sorted({*super()._owned(owns), *(outputs_in(self.folder) if owns else ())})

    def owned(self):
        """Return the outputs that are there, sorted."""
        return self._owned()


def main(request, workers=None):
    """Run `extract_subimages`; results: see Extraction.results. workers: Workers that are already started."""
    options = resolve(request)
    extraction, root = Extraction(options), Path(options.save_folder)
    _refuse_foreign(root)
    inputs = [*options.input_folder, *pair_folders(options),
              *([options.mask_path] if options.use_masking else []), *([options.options] if options.options else [])]
    job = ExtractionJob(
        root, PROG, options, request=request, inputs=inputs, extent=extraction.extent,
        owns=[SKIPPED, UNFINISHED, SEGMENTS, *([PREVIEW] if options.preview else []), *published_names(options)],
        derived={"the photos": names_of(extraction.sources)} if extraction.is_packed else {},
        content={"preview": options.preview, **dict.fromkeys(published_names(options), True)},
        about=[{"name": Path(folder).name, **extraction.extent} for folder in options.input_folder],
        show=show, summary=findings.extract)
    return job.run(lambda: extract_all(extraction, job, workers), lambda: _dry_run(extraction))


def extract_all(extraction, job, workers):
    """Extract what is missing and write the reports; returns (results, files)."""
    if not parallel.is_main():  # under torchrun a single process extracts, with workers of its own
        return {}, []
    root = job.folder
    extraction.plan()
    clear_unfinished(root)
    extraction.owned = {path.name for path in job.owned()}
    todo = extraction.scan()
    extraction.resumed = len(extraction.units) - len(todo)
    try:
        _do_all(extraction, todo, workers, extraction.options)
    finally:
        shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    if extraction.broken:
        index, what = min(extraction.broken.items())
        more = f", and {len(extraction.broken) - 1} more" if len(extraction.broken) > 1 else ""
        raise WorkerError(f"{extraction.units[index].source.path}: {what}{more}")
    if not extraction.done:
        shutil.rmtree(root / SEGMENTS, ignore_errors=True)
        raise _nothing(extraction)
    results, files = _finish(extraction, root)
    indexes = [path.with_suffix(".jsonl") for path in files if path.suffix in (".tar", ".parquet")]
    job.owns += [path.name for path in [*files, *indexes] if path.name not in job.owns]
    return results, files


def _do_all(extraction, todo, workers, options):
    if workers is not None:
        _until_settled(extraction, todo, workers)
        return
    count = options.n_thread if len(todo) > 1 else 0
    with Workers(min(count, len(todo))) as own:
        _until_settled(extraction, todo, own)


def _until_settled(extraction, todo, workers):
    """Work until no photo had other tiles than its header promised (running numbers have to be given anew then)."""
    known = {}
    extraction.work(todo, workers)
    while surprises := extraction.surprises():
        known |= surprises
        extraction.plan(known)
        extraction.skipped = {index: why for index,
                       why in extraction.skipped.items()
                       if extraction.units[index].source.path in known or not extraction.units[index].counts}
        extraction.work([unit for unit in extraction.scan() if unit.index not in extraction.skipped], workers)
    if extraction.options.naming == "original":
        for name in extraction.orphans():  # of an earlier numbering: the tree would hold two
            remove_chunk(Path(extraction.options.save_folder) / name)
    if extraction.shards is not None:
        extraction.shards.close()


def _refuse_foreign(root):
    """Raise InputError where --save_folder holds something that is no part of a data set, and no run was there."""
    if not root.exists() or (root / RECORD).exists():
        return
    entries = [path for path in root.iterdir() if not (path.name.startswith(".") and path.name.endswith(TEMPORARY))]
    foreign = sorted({path for path in entries if path.name != LOCK} - {*outputs_in(root), root / SKIPPED})
    if foreign:
        raise InputError(f"holds {foreign[0].name}, and no record says what wrote it", where=f"--save_folder {root}",
                         do="Choose a new folder")


def _nothing(extraction):
    kinds = {}
    for path, reason, detail in extraction.rows():
        kinds.setdefault(reason, []).append(f"{path} ({detail})" if detail else path)
    told = "; ".join(f"{len(paths)} {reason}, such as {paths[0]}" for reason, paths in sorted(kinds.items()))
    return InputError(f"none of {len(extraction.rows())} images gave a tile: {told}",
                      where=", ".join(extraction.options.input_folder),
                      do="Smaller --min_size and --crop_sz take smaller photos")


def _finish(extraction, root):
    """Write the report of what was skipped and the preview; returns (results, files)."""
    results = extraction.results()
    orphans = extraction.orphans()
    results["orphans"] = orphans
    write_table(root / SKIPPED, ("file", "reason", "detail"), extraction.rows())
    outputs = [root / SKIPPED, *(extraction.shards.paths if extraction.shards is not None else ())]
    if extraction.options.preview:
        outputs.append(_preview(extraction, root))
    if extraction.shards is not None and not (root / CARD).exists():
        write_bytes(root / CARD, CARD_TEXT.format(kind=extraction.shards.ending).encode())
        outputs.append(root / CARD)
    outputs += write_published(extraction.options, [extraction.done[index]["files"] for index in sorted(extraction.done)
                                                    if published_names(extraction.options)])
    return results, outputs


def _preview(extraction, root):
    from tools.extract_subimages.preview import write_preview

    units = [extraction.units[index] for index in sorted(extraction.done)]
    return write_preview(extraction.options, units, root / "preview.png")


def show(results):
    """Print the table of an extraction, and what was skipped."""
    what = {"multiscale": "chunks"}.get(results["mode"], "files")
    count = results["chunks"] if what == "chunks" else results["tiles"]
    console.show_table(f"{results['folder']} ({results['layout']})", ["photos", what, "tiles", "MB written", "skipped"],
                       [[results["extracted"], count, f"{results['tiles']:,}", f"{results['bytes_written'] / 1e6:.1f}",
                         results["num_skipped"]]])
    for reason, number in results["skipped"].items():
        console.say(f"skipped: {number} {reason} (named in {os.path.join(results['folder'], SKIPPED)})")
    for note, number in results.get("notes", {}).items():
        console.say(f"{number} photos {note}")
    if results.get("orphans"):
        console.say(f"{len(results['orphans'])} folders belong to no photo of the input any more, "
                    f"{results['orphans'][0]} the first")
    if results["mode"] == "multiscale" and results["layout"] in ("folders", "virtual"):
        console.say(f"next: python -m tools.extract_subimages inspect {results['folder']}")


def _dry_run(extraction):
    """Say what would be done, from headers alone."""
    from tools.extract_subimages.preview import expected_tiles

    extraction.plan()
    tiles, unclear = 0, 0
    for unit in extraction.units:
        count = expected_tiles(extraction.options, unit)
        tiles, unclear = tiles + (count or 0), unclear + (count is None)
    seconds = sum(source.bytes for source in extraction.sources) / 20e6 + tiles * 0.0004
    results = {**extraction.results(), "expected_tiles": tiles,
               "expected_seconds": round(seconds / max(extraction.options.n_thread, 1), 1)}
    more = "".join(f", write {name}" for name in published_names(extraction.options))
    return (f"would cut {len(extraction.units) - unclear} photos into {tiles:,} tiles in "
            f"{extraction.options.save_folder}{more}, about {results['expected_seconds']:.0f} s; "
            f"{unclear + results['num_skipped']} would be skipped"), results
