"""`inspect`: what a chunked data set holds, whether each folder is whole, and a picture of it."""

import io
from dataclasses import dataclass
from pathlib import Path

from common import console
from common.cli import Outcome
from common.errors import InputError
from common.files import check_writable, remove_abandoned, write_bytes
from common.options import REQUIRED, CommonOptions, option
from common.paths import is_below
from tools.extract_subimages.folder_checks import Report, check_flat, check_folder
from tools.extract_subimages.records import FLAT_GEOMETRY, GEOMETRY, outputs_in

NAMED = 30  # problems told in the error's line; the screen shows all


@dataclass(kw_only=True)
class InspectOptions(CommonOptions):
    """Flags of `extract_subimages inspect`."""

    folder: str = option(REQUIRED, "folder of the data set", word=True)
    preview: int = option(4, "folders shown in the picture, 0 for none", kind="how")
    output: str = option("", "the picture to write; FOLDER/inspect.png when not given", kind="how")
    decode: bool = option(True, "read every tile; --nodecode looks at names and centres alone", kind="how")


def inspect(options):
    """Check a data set; results: see `_results`. Raises InputError naming the problems when something is broken."""
    root = Path(options.folder)
    if not root.is_dir():
        what = "this is a file, not a folder" if root.exists() else "no such folder"
        raise InputError(what, where=root, do="Name the folder that extract_subimages wrote")
    _check_output(options.output, root)
    report = Report()
    shards = sorted([*root.glob("shard-*.tar"), *root.glob("shard-*.parquet")])
    folders = [path
               for path in sorted(root.iterdir())
               if path.is_dir() and not path.name.startswith(".") and path.name != FLAT_GEOMETRY]
    flat = sorted((root / FLAT_GEOMETRY).glob("*.jsonl"))
    if flat:  # folders hold tiles side by side
        folders = [path for path in folders if (path / GEOMETRY).exists()]
    report.lost(root)
    if not shards and not folders and not flat and not report.problems:
        raise InputError("no chunk folder and no shard in here", where=root,
                         do="Name the folder that extract_subimages wrote")
    with console.progress("Checks", len(shards) + len(folders) + len(flat), unit="folders") as advance:
        for path in flat:
            with report.reading(path.name):
                check_flat(root, path, report, options.decode)
            advance()
        for path in folders:
            with report.reading(path.name):
                check_folder(path, report, options.decode)
            advance()
        for path in shards:
            from tools.extract_subimages.shard_checks import check_shard

            with report.reading(path.name):
                check_shard(path, report, options.decode)
            advance()
    picture = _write_picture(options, root, report)
    results = _results(report, root, len(shards), picture)
    _show(results, report, root)
    if report.problems:
        told = "; ".join(f"{place}: {what}" for place, what in report.problems[:NAMED])
        more = f"; and {len(report.problems) - NAMED} more" if len(report.problems) > NAMED else ""
        raise InputError(f"{len(report.problems)} problems: {told}{more}", where=root,
                         do="Remove what is broken, then run the same extract_subimages command again")
    return Outcome(results, [picture] if picture else [])


def _check_output(name, root):
    """Raise InputError for an --output that would take the place of something else, or lie among the tiles."""
    if not name:
        return
    from tools.extract_subimages.pictures import check_output

    check_output(Path(name))
    for path in outputs_in(root):
        if is_below(name, path):
            raise InputError("is a part of the data set", where=f"--output {name}", do="Choose another name")


def _results(report, root, shards, picture):
    return {"folder": str(root), "folders": report.folders, "shards": shards, "tiles": report.tiles,
            "bytes": report.bytes,
            "sizes": dict(sorted(report.sizes.items())), "scales": dict(sorted(report.scales.items())),
            "references": dict(sorted(report.references.items())), "problems": [list(row) for row in report.problems],
            "picture": picture}


def _show(results, report, root):
    console.show_table(str(root), ["folders", "tiles", "MB", "tile sizes", "references", "problems"],
                       [[results["folders"], f"{results['tiles']:,}", f"{results['bytes'] / 1e6:.1f}",
                         ", ".join(f"{size} ({count:,})" for size, count in results["sizes"].items()),
                         ", ".join(results["references"]), len(report.problems)]])
    for place, what in report.problems:
        console.say(f"{place}: {what}")
    if (root / "cache.pth").exists():
        console.say("cache.pth: an index of the original's readers, which never notice changes; remove it when folders "
                    "were added")
    if results["picture"]:
        console.say(f"picture: {results['picture']}")


def _write_picture(options, root, report):
    """Write the picture of some sound folders and return its path, or None when there is nothing to show."""
    if not options.preview or not report.sound or options.dry_run:
        return None
    from tools.extract_subimages.folder_panels import folder_panel
    from tools.extract_subimages.pictures import draw_sheet

    output = Path(options.output or root / "inspect.png")
    try:
        check_writable(output.parent)
    except InputError as error:
        if options.output:
            raise
        console.say(f"no picture: {error.what} ({output.parent}); --output names another place")
        return None
    count = min(options.preview, len(report.sound))
    chosen = [report.sound[(2 * number + 1) * len(report.sound) // (2 * count)] for number in range(count)]
    stream = io.BytesIO()
    draw_sheet([folder_panel(path) for path in chosen]).save(stream, format="PNG")
    remove_abandoned(output)
    write_bytes(output, stream.getvalue())
    return str(output)
