"""Whether the folder of a chunk is whole: its tiles, their centres, the reference, the geometry."""

import os
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.centers import read_centers
from common.errors import InputError, as_input_error
from common.files import open_regular
from common.images.suffixes import is_image
from common.numerals import counted
from common.record import RECORD, read_record
from tools.extract_subimages.records import FLAT_GEOMETRY, GEOMETRY, listed_files, read_about, read_lines


class Report:
    """Counts and problems, gathered folder by folder."""

    def __init__(self):
        self.folders = self.tiles = self.bytes = 0
        self.sizes, self.scales, self.references = Counter(), Counter(), Counter()
        self.problems, self._noted = [], set()
        self.sound = []  # folders that can be shown

    def problem(self, place, what):
        """Note a problem of a file or folder, once."""
        if (str(place), what) not in self._noted:
            self._noted.add((str(place), what))
            self.problems.append((str(place), what))

    def lost(self, root):
        """Note what the record of a finished run lists and is not there any more."""
        try:
            record = read_record(root / RECORD) if (root / RECORD).exists() else {}
        except InputError as error:
            self.problem(RECORD, error.what)
            return
        for name in sorted(record.get("sizes") or ()):
            if not os.path.lexists(root / name):
                self.problem(name, "is missing")
        flat, told = (root / FLAT_GEOMETRY), (record.get("results") or {}).get("extracted")
        if flat.is_dir() and isinstance(told, int) and len(list(flat.glob("*.jsonl"))) < told:
            files = counted(len(list(flat.glob("*.jsonl"))), "file")
            self.problem(FLAT_GEOMETRY, f"{files} for {counted(told, 'photo')}")

    @contextmanager
    def reading(self, place):
        """Note a problem where a record that is read inside lacks something, or has something else in its place."""
        try:
            yield
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError, RuntimeError, MemoryError) as error:
            self.problem(place, f"its record is broken ({type(error).__name__}: {str(error)[:80]})")


def check_folder(path, report, decode=True):
    """Check one chunk folder, with or without a geometry file (data sets of the original have none)."""
    names = {entry.name: entry.stat().st_size for entry in os.scandir(path)}
    report.folders += 1
    report.bytes += sum(names.values())
    before = len(report.problems)
    lines = read_lines(path / GEOMETRY) if GEOMETRY in names else []
    if GEOMETRY in names and not (lines and isinstance(lines[0].get("tiles"), int) and len(lines) == lines[0]["tiles"]
                                  + 1):
        report.problem(path.name, f"{GEOMETRY} is broken")
        lines = []
    centers = _centers(path, names, report)
    side = check_image(path / "ref.jpg", f"{path.name}/ref.jpg", names, report)
    if side is not None:
        report.references[f"{side[1]}x{side[0]}"] += 1
        check_ranges(path.name, centers, side, report)
    virtual = bool(lines) and lines[0].get("layout") == "virtual"
    found = {} if virtual else _tiles(path, names, centers, report, decode)
    if lines:
        check_geometry(path, lines, centers, found, names, report)
    report.tiles += len(centers) if virtual else len(found)
    if len(report.problems) == before:
        report.sound.append(path)


def check_flat(root, path, report, decode=True):
    """Check the files that a geometry file of the modes single, pair and square lists."""
    lines = read_lines(path)
    report.folders += 1
    if read_about(path) is None or not len(listed_files(path)) == lines[0]["tiles"] == len(lines) - 1:
        report.problem(f"{FLAT_GEOMETRY}/{path.name}", "is broken")
        return
    names = {line["file"] for line in lines[1:] if (root / line["file"]).is_file()}
    report.bytes += path.stat().st_size + sum((root / name).stat().st_size for name in names)
    for line in lines[1:]:
        name, wanted = line["file"], line.get("size")
        if name not in names:
            report.problem(name, "is missing")
            continue
        report.tiles += 1
        size = check_image(root / name, name, {Path(name).name}, report) if decode else None
        wanted = tuple(wanted) if isinstance(wanted, list) else (wanted, wanted)
        if size is not None:
            report.sizes[f"{size[1]}x{size[0]}"] += 1
        if size not in (None, wanted):
            report.problem(name, f"has {size[0]}x{size[1]}, the geometry tells {wanted[0]}x{wanted[1]}")


def _centers(path, names, report):
    if CENTERS not in names:
        report.problem(path.name, f"{CENTERS} is missing")
        return {}
    try:
        return read_centers(path / CENTERS)
    except InputError as error:
        report.problem(f"{path.name}/{CENTERS}", error.what)
        return {}


def check_image(path, place, names, report):
    """Return (height, width) of an image that is there and can be read, else None and a problem."""
    from common.images.photos import SkippedPhoto
    from tools.extract_subimages.pixels import decode_quietly

    if path.name not in names:
        report.problem(place, "is missing")
        return None
    try:
        with open_regular(path) as stream:
            return decode_quietly(stream.read(), exif=False).pixels.shape[:2]
    except (SkippedPhoto, OSError) as error:
        mended = as_input_error(error) if isinstance(error, OSError) else None
        report.problem(place, f"cannot be read ({mended.what if mended else getattr(error, 'detail', error)})")
        return None


def check_ranges(place, centers, side, report):
    """Name the centres and widths that lie outside of the reference."""
    for key, ((row, col), width) in centers.items():
        if not (0 <= row < side[0] and 0 <= col < side[1] and 0 <= width <= max(side)):
            report.problem(place,
                           f"centre {row}, {col} with width {width} of tile {key} lies outside of the {side[0]} px "
                           f"reference")


def _tiles(path, names, centers, report, decode):
    """Return {id: (height, width) or None} of the tiles; missing, extra and unreadable ones are problems."""
    found = {}
    for name in sorted(names):
        stem, ending = os.path.splitext(name)
        if not is_image(ending) or name == "ref.jpg" or not stem.isdigit():
            continue
        number = int(stem)
        size = check_image(path / name, f"{path.name}/{name}", names, report) if decode else None
        found[number] = size
        if size is not None:
            report.sizes[f"{size[1]}x{size[0]}"] += 1
    if centers or CENTERS in names:
        for number in sorted(set(centers) - set(found)):
            report.problem(path.name, f"tile {number:08d} is missing")
        for number in sorted(set(found) - set(centers)):
            report.problem(path.name, f"tile {number:08d} is not in {CENTERS}")
    return found


def check_geometry(path, lines, centers, found, names, report):
    """Compare the exact geometry with the centres, the tiles and, in the virtual layout, the square."""
    about, tiles = lines[0], lines[1:]
    if about.get("layout") == "virtual":
        square = f"square.{about.get('format')}"
        size = check_image(path / square, f"{path.name}/{square}", names, report)
        frame = about.get("frame", {})
        if size is not None and size != (frame.get("height"), frame.get("width")):
            report.problem(f"{path.name}/{square}",
                           f"has {size[0]}x{size[1]}, the geometry tells {frame.get('height')}x{frame.get('width')}")
    told = {tile["id"]: ((*tile["center"],), tile["width"]) for tile in tiles}
    for number in sorted(set(told) | set(centers)):
        if told.get(number) != centers.get(number):
            report.problem(path.name, f"tile {number}: {CENTERS} and the geometry differ")
    for tile in tiles:
        report.scales[f"{tile['crop']} px"] += 1
        size = found.get(tile["id"])
        if size is not None and size != (tile["size"], tile["size"]):
            report.problem(f"{path.name}/{tile['id']:08d}",
                           f"has {size[0]}x{size[1]}, the geometry tells {tile['size']}x{tile['size']}")
