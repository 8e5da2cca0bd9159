"""`inspect`: what a chunked data set holds, whether each folder is whole, and a picture of it."""

import io
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from common import console
from common.cli import REQUIRED, CommonOptions, Outcome, option
from common.datasets.dlas.chunked.centers import FILE as CENTERS
from common.datasets.dlas.chunked.centers import read_centers
from common.errors import InputError
from common.files import check_writable, write_bytes

NAMED = 30  # problems told in the error's line; the screen shows all
TILES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(kw_only=True)
class InspectOptions(CommonOptions):
    """Flags of `extract_subimages inspect`."""

    folder: str = option(REQUIRED, "folder of the data set", word=True)
    preview: int = option(4, "folders shown in the picture, 0 for none", kind="how")
    output: str = option("", "the picture to write; FOLDER/inspect.png when not given", kind="how")
    decode: bool = option(True, "read every tile; --nodecode looks at names and centres alone", kind="how")


class Report:
    """Counts and problems, gathered folder by folder."""

    def __init__(self):
        self.folders = self.tiles = self.bytes = 0
        self.sizes, self.scales, self.references = Counter(), Counter(), Counter()
        self.problems = []
        self.sound = []  # folders that can be shown

    def problem(self, place, what):
        """Note a problem of a file or folder."""
        self.problems.append((str(place), what))


def inspect(options):
    """Check a data set; results: see `_results`. Raises InputError naming the problems when something is broken."""
    root = Path(options.folder)
    if not root.is_dir():
        what = "this is a file, not a folder" if root.exists() else "no such folder"
        raise InputError(what, where=root, do="Name the folder that extract_subimages wrote")
    report = Report()
    shards = sorted([*root.glob("shard-*.tar"), *root.glob("shard-*.parquet")])
    folders = [path for path in sorted(root.iterdir()) if path.is_dir() and not path.name.startswith(".") and path.name != "geometry"]
    if not shards and not folders:
        raise InputError("no chunk folder and no shard in here", where=root, do="Name the folder that extract_subimages wrote")
    with console.progress("Checks", len(shards) + len(folders), unit="folders") as advance:
        for path in folders:
            check_folder(path, report, options.decode)
            advance()
        for path in shards:
            from tools.extract_subimages.shard_checks import check_shard

            check_shard(path, report, options.decode)
            advance()
    picture = _write_picture(options, root, report)
    results = _results(report, root, len(shards), picture)
    _show(results, report, root)
    if report.problems:
        told = "; ".join(f"{place}: {what}" for place, what in report.problems[:NAMED])
        more = f"; and {len(report.problems) - NAMED} more" if len(report.problems) > NAMED else ""
        raise InputError(f"{len(report.problems)} problems: {told}{more}", where=root, do="Extract these photos again")
    return Outcome(results, [picture] if picture else [])


def _results(report, root, shards, picture):
    return {"folder": str(root), "folders": report.folders, "shards": shards, "tiles": report.tiles, "bytes": report.bytes,
            "sizes": dict(sorted(report.sizes.items())), "scales": dict(sorted(report.scales.items())),
            "references": dict(sorted(report.references.items())), "problems": [list(row) for row in report.problems],
            "picture": picture}  # fmt: skip


def _show(results, report, root):
    console.show_table(str(root), ["folders", "tiles", "MB", "tile sizes", "references", "problems"],
                       [[results["folders"], f"{results['tiles']:,}", f"{results['bytes'] / 1e6:.1f}",
                         ", ".join(f"{size} ({count:,})" for size, count in results["sizes"].items()),
                         ", ".join(results["references"]), len(report.problems)]])  # fmt: skip
    for place, what in report.problems:
        console.say(f"{place}: {what}")
    if (root / "cache.pth").exists():
        console.say("cache.pth: an index of the original's readers, which never notice changes; remove it when folders were added")
    if results["picture"]:
        console.say(f"picture: {results['picture']}")


def check_folder(path, report, decode=True):
    """Check one chunk folder, with or without a geometry file (data sets of the original have none)."""
    from tools.extract_subimages.plan import read_lines
    from tools.extract_subimages.sinks import GEOMETRY

    names = {entry.name: entry.stat().st_size for entry in os.scandir(path)}
    report.folders += 1
    report.bytes += sum(names.values())
    before = len(report.problems)
    lines = read_lines(path / GEOMETRY) if GEOMETRY in names else []
    if GEOMETRY in names and not (lines and isinstance(lines[0].get("tiles"), int) and len(lines) == lines[0]["tiles"] + 1):
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
    from tools.extract_subimages.pixels import Unusable, decode_photo

    if path.name not in names:
        report.problem(place, "is missing")
        return None
    try:
        return decode_photo(path.read_bytes(), exif=False).pixels.shape[:2]
    except (Unusable, OSError) as error:
        report.problem(place, f"cannot be read ({getattr(error, 'detail', error)})")
        return None


def check_ranges(place, centers, side, report):
    """Name the centres and widths that lie outside of the reference."""
    for key, ((row, col), width) in centers.items():
        if not (0 <= row < side[0] and 0 <= col < side[1] and 0 <= width <= max(side)):
            report.problem(place, f"centre {row}, {col} with width {width} of tile {key} lies outside of the {side[0]} px reference")


def _tiles(path, names, centers, report, decode):
    """Return {id: (height, width) or None} of the tiles; missing, extra and unreadable ones are problems."""
    found = {}
    for name in sorted(names):
        stem, ending = os.path.splitext(name)
        if ending.lower() not in TILES or name == "ref.jpg" or not stem.isdigit():
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
            report.problem(f"{path.name}/{square}", f"has {size[0]}x{size[1]}, the geometry tells {frame.get('height')}x{frame.get('width')}")
    told = {tile["id"]: ((*tile["center"],), tile["width"]) for tile in tiles}
    for number in sorted(set(told) | set(centers)):
        if told.get(number) != centers.get(number):
            report.problem(path.name, f"tile {number}: {CENTERS} and the geometry differ")
    for tile in tiles:
        report.scales[f"{tile['crop']} px"] += 1
        size = found.get(tile["id"])
        if size is not None and size != (tile["size"], tile["size"]):
            report.problem(f"{path.name}/{tile['id']:08d}", f"has {size[0]}x{size[1]}, the geometry tells {tile['size']}x{tile['size']}")


def _write_picture(options, root, report):
    """Write the picture of some sound folders and return its path, or None when there is nothing to show."""
    if not options.preview or not report.sound or options.dry_run:
        return None
    from tools.extract_subimages.folder_panels import folder_panel
    from tools.extract_subimages.pictures import draw_sheet

    output = Path(options.output or root / "inspect.png")
    check_writable(output.parent)
    count = min(options.preview, len(report.sound))
    chosen = [report.sound[(2 * number + 1) * len(report.sound) // (2 * count)] for number in range(count)]
    stream = io.BytesIO()
    draw_sheet([folder_panel(path) for path in chosen]).save(stream, format="PNG")
    write_bytes(output, stream.getvalue())
    return str(output)
