"""The page itself: the content of a folder as one self-contained HTML text."""

import base64
import hashlib
import math
import re
from html import escape, unescape

from tools.report.cards import cards_html
from tools.report.markup import anchor, folded, link_to
from tools.report.pictures import Album
from tools.report.sections import Section
from tools.report.style import CSS
from tools.report.words import Words, duration, roots_of

GENERATOR = '<meta name="generator" content="genprobe report">'
HEAD = 1 << 16  # bytes of a page in which its title is looked for


def build(scanned, found, title, folder, place):
    """Return the HTML page about `folder`, to be written in folder `place`; unreadable pictures are added to
    `scanned.unreadable`. found: the Cards that it opens with."""
    words = Words(roots_of(folder, scanned.runs))
    tools = {}
    for run in scanned.runs:
        tools.setdefault(run.tool, []).append(run)
    links, album = _page_links(scanned, words, place), Album(scanned.unreadable)
    cards = cards_html(found, words, album, links, place)
    owners = scanned.owners
    galleries = dict(zip((run.name for run in owners), album.galleries([run.pictures for run in owners])))
    section = Section(words, galleries, place)
    rest = section.of_rest([scanned.rest, *scanned.folders], "Other results")
    body = [cards, *(section.of_tool(tool, runs) for tool, runs in sorted(tools.items())), rest]
    heading = escape(words.plain(title))
    head = f'<h1>{heading}</h1>{_lead(scanned)}{_nav(tools, cards, rest, words)}{_pages(links)}'
    digest = base64.b64encode(hashlib.sha256(CSS.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><title>{heading}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta name="color-scheme" content="light dark">{GENERATOR}<style>{CSS}</style></head>\n'
        f'<body><a class="skip" href="#main">To the findings</a><header>{head}</header>{_warnings(scanned, words)}'
        f'<main id="main">{"".join(body)}</main></body></html>\n'
    )


def _lead(scanned):
    """Return how many runs there are, how they ended, and what they took."""
    runs = scanned.runs
    total = math.fsum(run.record.get("seconds") or 0 for run in runs if duration(run.record.get("seconds")))
    parts = [f"{len(runs):,} run{'s' * (len(runs) != 1)}"]
    for status in ("running", "interrupted", "failed"):
        count = sum(run.status == status for run in runs)
        parts += [f"{count:,} {status}"] if count else []
    parts += [f"{duration(total)} of computing"] if total else []
    return f'<p class="lead">{", ".join(parts)}</p>'


def _nav(tools, cards, rest, words):
    links = [("#found", "What was found")] if cards else []
    links += [(f"#{anchor('tool', tool)}", words.html(tool)) for tool in sorted(tools)]
    links += [("#rest", "Other results")] if rest else []
    return f'<nav aria-label="Sections">{"".join(f"<a href={_quoted(to)}>{text}</a>" for to, text in links)}</nav>'


def _quoted(text):
    return f'"{escape(text)}"'


def _warnings(scanned, words):
    """Return the files that could not be read, each with the reason."""
    if not scanned.unreadable:
        return ""
    rows = "".join(f"<li><b>{words.html(name)}</b>: {words.html(why)}</li>" for name, why in scanned.unreadable.items())
    count = len(scanned.unreadable)
    return f'<div class="warn"><p><b>{count:,} broken file{"s" * (count > 1)}</b></p><ul>{rows}</ul></div>'


def _page_links(scanned, words, place):
    """Return {run's name: [(text, address)]} of the other pages in the folder, without earlier reports."""
    links = {}
    for owner in scanned.owners:
        for name, path in owner.pages:
            head = _head(path)
            if GENERATOR not in head:
                text = f"{words.html(_title(head) or name)} <span>{words.html(name)}</span>"
                links.setdefault(owner.name, []).append((text, link_to(path, place)))
    return links


def _head(path):
    """Return how a page begins, empty where it cannot be read."""
    try:
        with open(path, "rb") as stream:
            return stream.read(HEAD).decode(errors="replace")
    except OSError:
        return ""


def _title(head):
    """Return the title that a page gives itself, or an empty text."""
    found = re.search(r"<title>([^<]{1,200})</title>", head, re.IGNORECASE)
    return " ".join(unescape(found[1]).split()) if found else ""


def _pages(links):
    """Return links to the other pages in the folder."""
    rows = "".join(f'<li><a href="{address}">{text}</a></li>' for pairs in links.values() for text, address in pairs)
    count = sum(map(len, links.values()))
    listed = f"<ul>{rows}</ul>"
    if not links:
        return ""
    return f'<div class="beside"><p>Related pages</p>{listed}</div>' if count <= 8 else \
        folded(f"{count:,} related pages", listed)
