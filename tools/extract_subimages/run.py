"""The run: find the photos, leave out what is done, share out the rest, report what was skipped."""

import os
import shutil
from functools import cached_property
from pathlib import Path

from common import console, parallel
from common.errors import InputError
from common.files import TEMPORARY, write_bytes
from common.formats.tables import write_table
from common.job import Job
from common.numerals import counted
from common.record import LOCK, RECORD, read_record
from tools.extract_subimages import findings
from tools.extract_subimages.checks import pair_folders
from tools.extract_subimages.extraction import Extraction
from tools.extract_subimages.options import resolve
from tools.extract_subimages.plan import folder_names
from tools.extract_subimages.published import published_names, with_earlier, write_published
from tools.extract_subimages.records import (
    SEGMENTS,
    UNFINISHED,
    lost_outputs,
    outputs_in,
    remove_chunk,
)
from tools.extract_subimages.sinks import clear_unfinished
from tools.extract_subimages.sources import names_of
from tools.extract_subimages.workers import WorkerError, Workers

SKIPPED = "skipped.csv"
PREVIEW = "preview.png"
PROG = "extract_subimages"
CARD = "README.md"  # by which datasets.load_dataset(folder) finds the shards: else it takes run.json for the data
CARD_TEXT = """---
configs:
- config_name: default
  data_files: "shard-*.{kind}"
---
Tiles of photos, made by extract_subimages; run.json holds its options.
"""


class ExtractionJob(Job):
    """The job in --save_folder: it owns the files that it names, and those that its geometry and indexes list."""

    def _owned(self, owns=None):
        owns = self.owns if owns is None else owns  # empty where no run has been
        return sorted({*super()._owned(owns), *((*outputs_in(self.folder), *self.lost()) if owns else ())})

    @cached_property
    def _listed(self):
        """The outputs that the record lists; looked up before this run marks it."""
        return list(read_record(self.path).get("sizes") or ()) if self.path.exists() else []

    def lost(self):
        """Return {path: chunk or photo} of earlier outputs whose geometry files are gone."""
        return lost_outputs(self.folder, self._listed)

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
    root, options = job.folder, extraction.options
    extraction.plan()
    clear_unfinished(root)
    extraction.owned = {path.name for path in job.owned()}
    todo = extraction.scan()
    extraction.resumed = len(extraction.units) - len(todo)
    again = {name for unit in todo for name in (unit.stem, *folder_names(options, unit))}
    for path in [path for path, name in job.lost().items() if name in again]:
        path.unlink(missing_ok=True)
    try:
        _do_all(extraction, todo, workers, options)
    finally:
        shutil.rmtree(root / UNFINISHED, ignore_errors=True)
    if extraction.broken:
        index, what = min(extraction.broken.items())
        more = f", and {len(extraction.broken) - 1} more" if len(extraction.broken) > 1 else ""
        raise WorkerError(f"{extraction.units[index].source.path}: {what}{more}")
    if not extraction.done:
        shutil.rmtree(root / SEGMENTS, ignore_errors=True)
        raise _nothing(extraction)
    results, files = _finish(extraction, root, job.owns)
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
    if extraction.options.naming == "original" and extraction.options.mode == "multiscale":
        for name in extraction.orphans():  # of an earlier numbering: the tree would hold two
            remove_chunk(Path(extraction.options.save_folder) / name)
    if extraction.shards is not None:
        extraction.shards.close()


def _refuse_foreign(root):
    """Raise InputError where --save_folder holds something that is not a part of a data set, and no run was there."""
    if not root.exists() or (root / RECORD).exists():
        return
    entries = [path for path in root.iterdir() if not (path.name.startswith(".") and path.name.endswith(TEMPORARY))]
    foreign = sorted({path for path in entries if path.name != LOCK} - {*outputs_in(root), root / SKIPPED})
    if foreign and not (root / RECORD).exists():  # else another process has begun meanwhile
        raise InputError(f"holds {foreign[0].name}, and no record says what wrote it", where=f"--save_folder {root}",
                         do="Choose a new folder")


def _nothing(extraction):
    kinds = {}
    for path, reason, detail in extraction.rows():
        kinds.setdefault(reason, []).append(f"{path} ({detail})" if detail else path)
    told = "; ".join(f"{len(paths)} {reason}, such as {paths[0]}" for reason, paths in sorted(kinds.items()))
    return InputError(f"no tile from {counted(len(extraction.rows()), 'image')}: {told}",
                      where=", ".join(extraction.options.input_folder),
                      do="Smaller --min_size and --crop_sz take smaller photos")


def _finish(extraction, root, owns):
    """Write the report of what was skipped and the preview; returns (results, files). owns: names of this job's files.
    """
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
    options = with_earlier(extraction.options, root, owns)
    files = [extraction.done[index]["files"] for index in sorted(extraction.done)] if published_names(options) else []
    return results, outputs + write_published(options, files)


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
        console.say(f"{counted(number, 'photo')} {note}")
    if results.get("orphans"):
        what_of = "folders belong" if what == "chunks" else "photos' tiles belong"
        console.say(f"{len(results['orphans'])} {what_of} to no photo of the input any more, "
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
    return (f"would cut {counted(len(extraction.units) - unclear, 'photo')} into {counted(tiles, 'tile')} in "
            f"{extraction.options.save_folder}{more}, about {results['expected_seconds']:.0f} s; "
            f"{unclear + results['num_skipped']} would be skipped"), results
