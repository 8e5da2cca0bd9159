"""One run's state: the photos, the units of work, what is done, what was skipped and why."""

from collections import Counter
from pathlib import Path

from common import console
from common.errors import InputError
from common.job import START_ANEW
from common.threads import Threads
from tools.extract_subimages.chunks import extract, mask_path
from tools.extract_subimages.flat import extract_single, extract_square
from tools.extract_subimages.packed import Shards
from tools.extract_subimages.pairs import extract_pair
from tools.extract_subimages.plan import finished, plan_units, same_inputs
from tools.extract_subimages.records import FLAT_GEOMETRY, GEOMETRY, read_about, remove_chunk, remove_flat
from tools.extract_subimages.sinks import flat_geometry
from tools.extract_subimages.sources import drop_duplicates, find_sources, listing, shuffled

FUNCTIONS = {"multiscale": extract, "single": extract_single, "pair": extract_pair, "square": extract_square}
NOTES = {"icc": "converted from another colour profile to sRGB", "icc_ignored": "with an unusable colour profile",
         "pages": "with further pages or frames, of which the first was taken", "halved": "halved before they were cut",
         "cut_to": "cut to a multiple of the scales"}


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
                    self._remove_chunks(unit, keep=result.value.get("chunks", ()))
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
        else:
            self._remove_chunks(unit)

    def _remove_chunks(self, unit, keep=()):
        """Remove the folders of a photo's earlier version, but for those named `keep`."""
        if self.options.mode != "multiscale" or self.options.naming != "stable" or self.is_packed:
            return
        for name in {f"{unit.stem}_left", f"{unit.stem}_right"} - {*keep}:
            folder = Path(self.options.save_folder) / name
            if (read_about(folder / GEOMETRY) or {}).get("source") == unit.source.path:
                remove_chunk(folder)

    def surprises(self):
        """Return {path: size or None} of photos whose tiles differ from their header's, if numbers run on."""
        if self.options.naming != "original" or self.options.mode != "multiscale":
            return {}
        return {self.units[index].source.path: None for index in self.skipped if self.units[index].counts}

    def orphans(self):
        """Return the chunk folders here that belong to no photo of this run; in the flat modes, the photos' names."""
        if self.is_packed:
            return []
        root = Path(self.options.save_folder)
        if self.options.mode != "multiscale":
            known = {Path(flat_geometry(root, unit.stem)).name for unit in self.units}
            return sorted(path.stem for path in (root / FLAT_GEOMETRY).glob("*.jsonl")
                          if path.name not in known and read_about(path) is not None)
        known = {name for found in self.done.values() for name in found["chunks"]}
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
