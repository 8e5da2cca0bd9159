"""Folders of runs for the tests of `report`, and what a page holds."""

import json
from html.parser import HTMLParser

from tests.tools.commands import call_tool

VOID = ("meta", "img", "line", "link", "input", "br", "wbr")


def report(*words):
    """Run `report` in this process and return how it Ended."""
    return call_tool("report", *words)


def write_run(folder, tool="qc_ncsn", command="qc_ncsn train", **record):
    """Write the record of a run into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    full = {"status": "done", "tool": tool, "command": command, "options": {}, "results": {}, "seconds": 75, **record}
    (folder / "run.json").write_text(json.dumps(full))


def page_of(folder):
    """Write the page of a folder and return its Page."""
    ended = report(folder)
    assert ended.status == 0, ended.err
    return Page((folder / "report.html").read_text())


class Page(HTMLParser):
    """A page: its source, texts in order, tags with attributes and addresses; every tag is closed."""

    def __init__(self, source):
        super().__init__()
        self.source, self.open, self.texts, self.tags, self.addresses = source, [], [], [], []
        self.feed(source.replace("/>", ">"))
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.addresses += [value for name, value in attributes if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.texts.append(data)

    @property
    def text(self):
        """All that is read on the page."""
        return " ".join(" ".join(self.texts).split())

    def attributes(self, tag):
        """Return the attributes of all tags of a name."""
        return [attributes for name, attributes in self.tags if name == tag]
