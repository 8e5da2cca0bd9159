"""The run: find the photos, leave out what is done, share out the rest, report what was skipped."""

import csv
import io
import os
import shutil
from collections import Counter
from pathlib import Path

from common import console
from common.cli import Outcome
from common.errors import InputError
from common.files import check_writable, write_bytes
from tools.extract_subimages.chunks import extract
from tools.extract_subimages.flat import extract_pair, extract_single, extract_square
from tools.extract_subimages.options import resolve
from tools.extract_subimages.packed import Shards
from tools.extract_subimages.plan import finished, plan_units, read_about
from tools.extract_subimages.sinks import GEOMETRY, SEGMENTS, UNFINISHED
from tools.extract_subimages.sources import drop_duplicates, find_sources, listing
from tools.extract_subimages.workers import WorkerError, Workers

FUNCTIONS = {"multiscale": extract, "single": extract_single, "pair": extract_pair, "square": extract_square}
SKIPPED = "skipped.csv"
OWN_FILES = ("run.json", SKIPPED, "preview.png", "inspect.png", "cache.pth", "geometry", "HR", "LR", UNFINISHED,
             SEGMENTS)


class Job:
    """One run's state: what there is to do, and what came of it."""

    def __init__(self, options):
        self.options = options
        self.sources, self.passed, self.others = find_sources(options.input_folder, options.compat == "original")
        if not self.sources and not self.passed:
            what = f"no photo in here ({self.others} other files)" if self.others else "this folder is empty"
            raise InputError(what, where=", ".join(options.input_folder),
                             do="Name a folder of jpg, png, webp, tif, bmp, ppm or avif files")
        self.extent = listing(self.sources)
        self.doubles = []
        if options.dedup:
            self.sources, self.doubles = drop_duplicates(self.sources)
        self.units, self.shards = [], None
        self.done, self.skipped, self.broken = {}, {}, {}  # by index
        self.resumed = self.bytes = 0

    @property
    def is_packed(self):
        return self.options.layout in ("packed", "parquet")

    def plan(self, known=None):
        """Make the units."""
        self.units = plan_units(self.options, self.sources, known)

    def scan(self, skipped_before=()):
        """Return the units that are still to do; those whose outputs are whole are noted as done."""
        self.done, todo = {}, []
        self.shards = Shards(self.options, self.units) if self.is_packed else None
        for unit in self.units:
            found = self.shards.finished(unit) if self.is_packed else finished(self.options, unit)
            if found is not None:
                self.done[unit.index] = found
            elif unit.source.path not in skipped_before:
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
        if self.options.mode == "multiscale" and self.options.naming == "stable" and not self.is_packed:
            for side in ("left", "right"):
                folder = Path(self.options.save_folder) / f"{unit.stem}_{side}"
                if (read_about(folder / GEOMETRY) or {}).get("source") == unit.source.path:
                    shutil.rmtree(folder)

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
            "skipped_files": [row[0] for row in rows], "other_files": self.others,
        }


def main(options, workers=None):
    """Run `extract_subimages`; results: see Job.results. workers: Workers that are already started."""
    options = resolve(options)
    check_writable(options.save_folder)
    job = Job(options)
    record, root = _record(options, job), Path(options.save_folder)
    _refuse_foreign(root, record, options)
    existed, earlier = root.exists(), record.answer()
    if options.dry_run:
        return _dry_run(job)
    job.plan()
    if earlier is not None and not job.scan(set(earlier["skipped_files"])):
        if options.preview and not (root / "preview.png").exists():
            _preview(job, root)
        _show(earlier, options)
        return Outcome(earlier, record=record)
    record.begin(clear=[path for path in root.iterdir() if _is_own(path) and path != record.path] if root.exists()
                 else [])
    record.finished = None  # photos whose outputs went missing are made again, whatever the record says
    shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    todo = job.scan()
    job.resumed = len(job.units) - len(todo)
    try:
        _do_all(job, todo, workers, options)
    finally:
        shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    if job.broken:
        index, what = min(job.broken.items())
        more = f", and {len(job.broken) - 1} more" if len(job.broken) > 1 else ""
        raise WorkerError(f"{job.units[index].source.path}: {what}{more}")
    if not job.done:
        _leave_nothing(root, existed)
        raise _nothing(job)
    return _finish(job, record, root)


def _do_all(job, todo, workers, options):
    if workers is not None:
        _until_settled(job, todo, workers)
        return
    count = options.n_thread if len(todo) > 1 else 0
    with Workers(min(count, len(todo))) as own:
        _until_settled(job, todo, own)


def _until_settled(job, todo, workers):
    """Work until no photo had other tiles than its header promised (running numbers have to be given anew then)."""
    known = {}
    job.work(todo, workers)
    while surprises := job.surprises():
        known |= surprises
        job.plan(known)
        job.skipped = {index: why for index,
                       why in job.skipped.items()
                       if job.units[index].source.path in known or not job.units[index].counts}
        job.work([unit for unit in job.scan() if unit.index not in job.skipped], workers)
    if job.options.naming == "original":
        for name in job.orphans():  # of an earlier numbering: the tree would hold two
            shutil.rmtree(Path(job.options.save_folder) / name)
    if job.shards is not None:
        job.shards.close()


def _record(options, job):
    from common.job import RunRecord

    derived = {"the photos": job.extent} if job.is_packed else {}
    inputs = [{"name": Path(folder).name, **job.extent} for folder in options.input_folder]
    return RunRecord(options.save_folder, "extract_subimages", options, derived, inputs, extent=job.extent)


def _is_own(path):
    """True for what an extractor, this one or the original, writes into a data set."""
    if path.name in OWN_FILES or (path.name.startswith("shard-") and path.suffix in (".tar", ".jsonl", ".parquet")):
        return True
    return path.is_dir() and ((path / GEOMETRY).exists() or (path / "centers.pt").exists())


def _refuse_foreign(root, record, options):
    """Raise InputError where --save_folder holds something that no run of this tool left."""
    if not root.exists() or record.path.exists():
        return
    entries = [path for path in root.iterdir() if not (path.name.startswith(".") and path.name.endswith(".part"))]
    foreign = [path for path in entries if not _is_own(path)]
    if foreign or (entries and not options.overwrite):
        what = f"holds {foreign[0].name}, which is no part of a data set" if foreign else \
            "holds a data set without a record of its making"
        do = "Choose a new folder" if foreign else "Choose a new folder, or --overwrite to remove what is there"
        raise InputError(what, where=f"--save_folder {root}", do=do)


def _leave_nothing(root, existed):
    """Take back the record of a run that wrote nothing."""
    (root / "run.json").unlink(missing_ok=True)
    shutil.rmtree(root / SEGMENTS, ignore_errors=True)
    if not existed and not any(root.iterdir()):
        root.rmdir()


def _nothing(job):
    kinds = {}
    for path, reason, detail in job.rows():
        kinds.setdefault(reason, []).append(f"{path} ({detail})" if detail else path)
    told = "; ".join(f"{len(paths)} {reason}, such as {paths[0]}" for reason, paths in sorted(kinds.items()))
    return InputError(f"none of {len(job.rows())} images gave a tile: {told}",
                      where=", ".join(job.options.input_folder),
                      do="Smaller --min_size and --crop_sz take smaller photos")


def _finish(job, record, root):
    """Write the report of what was skipped and the preview, and return the Outcome."""
    results = job.results()
    orphans = job.orphans()
    results["orphans"] = orphans
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([("file", "reason", "detail"), *job.rows()])
    write_bytes(root / SKIPPED, text.getvalue().encode(errors="backslashreplace"))
    outputs = [root / SKIPPED, *(job.shards.paths if job.shards is not None else ())]
    if job.options.preview:
        outputs.append(_preview(job, root))
    _show(results, job.options)
    return Outcome(results, [str(path) for path in outputs], record)


def _preview(job, root):
    from tools.extract_subimages.preview import write_preview

    return write_preview(job.options, [job.units[index] for index in sorted(job.done)], root / "preview.png")


def _show(results, options):
    what = {"multiscale": "chunks"}.get(results["mode"], "files")
    count = results["chunks"] if what == "chunks" else results["tiles"]
    console.show_table(f"{results['folder']} ({results['layout']})", ["photos", what, "tiles", "MB written", "skipped"],
                       [[results["extracted"], count, f"{results['tiles']:,}", f"{results['bytes_written'] / 1e6:.1f}",
                         results["num_skipped"]]])
    for reason, number in results["skipped"].items():
        console.say(f"skipped: {number} {reason} (named in {os.path.join(results['folder'], SKIPPED)})")
    if results.get("orphans"):
        console.say(f"{len(results['orphans'])} folders belong to no photo of the input any more, "
                    f"{results['orphans'][0]} the first")
    if results["mode"] == "multiscale" and results["layout"] in ("folders", "virtual"):
        console.say(f"next: python -m tools.extract_subimages inspect {options.save_folder}")


def _dry_run(job):
    """Say what would be done, from headers alone."""
    from tools.extract_subimages.preview import expected_tiles

    job.plan()
    tiles, unclear = 0, 0
    for unit in job.units:
        count = expected_tiles(job.options, unit)
        tiles, unclear = tiles + (count or 0), unclear + (count is None)
    seconds = sum(source.bytes for source in job.sources) / 20e6 + tiles * 0.0004
    results = {**job.results(), "expected_tiles": tiles,
               "expected_seconds": round(seconds / max(job.options.n_thread, 1), 1)}
    console.say(f"would cut {len(job.units) - unclear} photos into {tiles:,} tiles in {job.options.save_folder}, about "
                f"{results['expected_seconds']:.0f} s; {unclear + results['num_skipped']} would be skipped")
    return Outcome(results)
