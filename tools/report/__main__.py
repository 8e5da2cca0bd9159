"""Any folder of runs -> one self-contained HTML page of tables, figures and curves."""

from dataclasses import dataclass
from pathlib import Path

from common.cli import Outcome, leave, run
from common.errors import InputError
from common.files import check_replaces, check_writable, remove_abandoned, write_text
from common.numerals import counted
from common.options import REQUIRED, CommonOptions, option

EPILOG = """examples:
  python -m tools.report out/demo
  python -m tools.report results --output results.html --title "Three score models"
"""


SHOWN = 12  # tables on the screen


@dataclass(kw_only=True)
class ReportOptions(CommonOptions):
    """Flags of `report`."""

    folder: str = option(REQUIRED, "folder of runs, searched recursively", word=True)
    output: str = option("", "page to write (default: FOLDER/report.html)", kind="how")
    title: str = option("", "heading of the page (default: the folder's name)")


def main(options):
    """Write the page and return its counts. Raises InputError for a missing folder or one without results."""
    from tools.report.cards import cards_of
    from tools.report.find import scan
    from tools.report.page import build

    folder = Path(options.folder)
    if not folder.is_dir():
        what = "this is a file, not a folder" if folder.exists() else "no such folder"
        raise InputError(what, where=folder, do="Pass the output folder of your runs")
    output = Path(options.output or folder / "report.html")
    if output.is_dir():
        raise InputError("this is a folder", where="--output", do=f"Pass a file, such as {output / 'report.html'}")
    check_replaces(output, b"<!doctype html", "page", output)
    check_writable(output.parent)
    scanned = scan(folder, skip={output})
    owners = scanned.owners
    if not scanned.runs and not scanned.folders and not any(owner.tables or owner.pictures for owner in owners):
        raise InputError("no run.json, table or picture here", where=folder,
                         do="Pass the output folder of your runs")
    cards = cards_of([*scanned.folders, *scanned.runs])
    page = build(scanned, cards, options.title or folder.resolve().name, folder, output.parent)
    if not options.dry_run:
        remove_abandoned(output)
        write_text(output, page)
    results = {
        "runs": len(scanned.runs),
        "findings": len(cards),
        "tables": sum(len(owner.tables) for owner in owners),
        "pictures": sum(len(owner.pictures) for owner in owners),
        "pages": sum(len(owner.pages) for owner in owners),
        "logs": sum(bool(owner.log) for owner in owners),
        "unreadable": sorted(scanned.unreadable),
        "page_bytes": len(page.encode()),
    }
    summarise(owners, cards, output, results, options.dry_run)
    return Outcome(results=results, outputs=[] if options.dry_run else [str(output)])


def summarise(owners, cards, output, results, dry_run):
    """Print what was found, without findings the tables, and what was written."""
    from common import console
    from tools.report.cards import sentence, text_table

    for card in cards[:SHOWN]:
        console.say(f"{card.title}\n{sentence(card)}")
        console.show_table("", *text_table(card))
    tables = [] if cards else [table for owner in owners for table in owner.tables if table.columns]
    for table in tables[:SHOWN]:
        console.show_table(table.name, table.columns, table.rows[:40])
    left = max(len(cards) - SHOWN, 0) + max(len(tables) - SHOWN, 0)
    if left:
        console.say(f"{left:,} more on the page")
    for name in results["unreadable"]:
        console.say(f"unreadable: {name}")
    counts = ", ".join(counted(results[f"{noun}s"], noun) for noun in ("run", "table", "picture"))
    console.say(f"{'would write' if dry_run else 'wrote'} {output}: {counts}, {results['page_bytes'] / 1e6:.1f} MB")


def cli(words=None):
    """Run the command on the given words (the process's own by default) and return its exit status."""
    return run(main, ReportOptions, "report", __doc__, EPILOG, words)


if __name__ == "__main__":
    leave(cli)
