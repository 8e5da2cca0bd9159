"""The cards that the page opens with: what was found, one for each comparison or group of like measurements."""

import re
from dataclasses import dataclass, field

from common.numerals import measured, number
from common.summary import RANKS
from tools.report.markup import anchor, figure, folded, link_to, table
from tools.report.words import short_names

CARDS = 40
ROWS = 40  # of a card's table
BESIDE = 62  # signs of a row up to which the picture stands beside the table
ARROWS = {"lower": "↓", "higher": "↑"}
SURE = 1.96  # standard errors of a difference that is taken for one


@dataclass
class Card:
    """Runs of one command whose summaries have one title. rows: [(name, [figure], run)]."""

    title: str
    rank: str
    command: str
    runs: list = field(default_factory=list)
    rows: list = field(default_factory=list)

    @property
    def columns(self):
        """The figures' (name, unit), in the order of their first appearance."""
        return list(dict.fromkeys((figure["name"], figure.get("unit", "")) for _, figures, _ in self.rows
                                  for figure in figures))

    def values(self, column):
        """Return [(row's name, figure)] of the rows that have a column's figure."""
        return [(name, figure) for name, figures, _ in self.rows for figure in figures
                if (figure["name"], figure.get("unit", "")) == column]

    def compared(self, column):
        """Return the [(row's name, figure)] of a column that can be better or worse: those with a direction."""
        return [pair for pair in self.values(column) if pair[1].get("better")]

    def best(self, column):
        """Return the best value of a column, None where no direction is declared or all are alike."""
        values = [figure for _, figure in self.compared(column)]
        directions, numbers = {figure["better"] for figure in values}, {figure["value"] for figure in values}
        if len(directions) != 1 or len(numbers) < 2:
            return None
        return min(numbers) if directions == {"lower"} else max(numbers)

    def is_best(self, column, figure):
        """True for the best of a column."""
        return bool(figure.get("better")) and figure["value"] == self.best(column)


def cards_of(runs):
    """Return the Cards of runs with summaries: of each chain (folder at the top) those of the highest rank it has."""
    chains = {}
    for run in runs:
        if run.summary is not None and run.status == "done" and any(row["figures"] for row in run.summary["rows"]):
            chains.setdefault(run.name.split("/")[0], []).append(run)
    cards = {}
    for members in chains.values():
        rank = min((run.summary["rank"] for run in members), key=RANKS.index)
        for run in members:
            if run.summary["rank"] == rank:
                key = run.command, run.summary["title"]
                card = cards.setdefault(key, Card(run.summary["title"], rank, run.command))
                card.runs.append(run)
    for card in cards.values():
        names = short_names([run.name for run in card.runs])
        own = [row["name"] for run in card.runs for row in run.summary["rows"]]
        for run, short in zip(card.runs, names):
            for row in run.summary["rows"]:
                name = row["name"] if own.count(row["name"]) == 1 else f"{short}: {row['name']}".removesuffix(": ")
                card.rows.append((name or short, row["figures"], run))
    return sorted(cards.values(), key=lambda card: RANKS.index(card.rank))


def figure_text(one):
    """Return a figure's value with its error or interval, without its unit."""
    return measured(one["value"], one.get("se"), one.get("low"), one.get("high"))


def with_unit(one):
    """Return a figure's value with its error and its unit."""
    unit = one.get("unit", "")
    return f"{figure_text(one)} {unit}".strip()


def sentence(card):
    """Return what a card says in one sentence."""
    given = [run.summary.get("sentence") for run in card.runs]
    if len(given) == 1 and given[0]:
        return given[0]
    if len(card.rows) == 1:
        text = ", ".join(f"{one['name']} {with_unit(one)}" for one in card.rows[0][1][:4]) + "."
    else:
        column = next((each for each in card.columns if card.best(each) is not None), None)
        text = _ranked(card, column) if column else _listed(card)
    return text[:1].upper() + text[1:]


def _ranked(card, column):
    """Return which row is best in a column, and how the others stand to it."""
    values = card.compared(column)
    values.sort(key=lambda pair: pair[1]["value"], reverse=values[0][1]["better"] == "higher")
    (first, top), (second, next_one), (last, worst) = values[0], values[1], values[-1]
    text = f"Best {column[0]}: {with_unit(top)} ({first})"
    text += f", worst: {with_unit(worst)} ({last})" if len(values) > 2 else f", against {with_unit(worst)} ({last})"
    return f"{text}; {second} is within the error of the best." if _alike(top, next_one) else f"{text}."


def _listed(card):
    """Return what is the same in all rows, and the first figure that is not."""
    same, other = [], None
    for column in card.columns:
        values = card.values(column)
        if len(values) == len(card.rows) and len({one["value"] for _, one in values}) == 1:
            same.append(f"{column[0]} {with_unit(values[0][1])}")
        else:
            other = other or (column, values)
    parts = [", ".join(same[:3]) + (" in both" if len(card.rows) == 2 else f" in all {len(card.rows)}")] if same else []
    if other:
        texts = [f"{with_unit(one)} ({name})" for name, one in other[1][:3]]
        more = f" and {len(other[1]) - 3} more" if len(other[1]) > 3 else ""
        parts.append(f"{other[0][0]} " + ", ".join(texts) + more)
    return "; ".join(parts) + "."


def _alike(one, other):
    """True where two figures' difference is within 1.96 of its standard errors, or their intervals overlap."""
    if one.get("se") and other.get("se"):
        return abs(one["value"] - other["value"]) <= SURE * (one["se"] ** 2 + other["se"] ** 2) ** 0.5
    if None in (one.get("low"), one.get("high"), other.get("low"), other.get("high")):
        return False
    return one["low"] <= other["high"] and other["low"] <= one["high"]


def card_table(card, words):
    """Return the table of a card: a row for each run or part, a column for each figure, the best of it marked."""
    columns, directions = card.columns, {}
    for _, figures, _ in card.rows:
        directions |= {(one["name"], one.get("unit", "")): one["better"] for one in figures if one.get("better")}
    heads = [""]
    for name, unit in columns:
        better = directions.get((name, unit))
        sign = f'\u00a0<span class="better" title="{better} is better">{ARROWS[better]}</span>' if better else ""
        heads.append(words.html(f"{name} ({unit})" if unit else name) + sign)
    rows = []
    for (name, *texts), (_, figures, _) in zip(_texts(card), card.rows):
        own = {(one["name"], one.get("unit", "")): one for one in figures}
        rows.append([words.html(name), *(_cell(card, column, own.get(column), text, words)
                                         for column, text in zip(columns, texts))])
    left = len(card.rows) - len(rows)
    note = f'<p class="note">{left:,} more rows are in the section of {words.html(card.command)}.</p>' if left else ""
    return table(heads, rows, words.html(card.title), heads=True) + note


def _texts(card):
    """Return the rows of a card's table as text: names and values; numbers of a column whose decimals differ by one
    have as many."""
    names = [name for name, _, _ in card.rows[:ROWS]]
    columns = []
    for column in card.columns:
        own = [next((one for one in figures if (one["name"], one.get("unit", "")) == column), None)
               for _, figures, _ in card.rows[:ROWS]]
        columns.append(_even(["" if one is None else figure_text(one) for one in own]))
    return [list(row) for row in zip(names, *columns)]


def _even(texts):
    """Return numbers as text with as many decimals each, where they differ by one, and one of them has some."""
    decimals = [len(text.partition(".")[2]) for text in texts if text]
    plain = all(re.fullmatch(r"−?\d+(\.\d+)?", text) for text in texts if text)
    if not plain or not decimals or max(decimals) - min(decimals) != 1:
        return texts
    most = max(decimals)
    return [text and (text if len(text.partition(".")[2]) == most else text + "." * ("." not in text) + "0")
            for text in texts]


def _cell(card, column, one, text, words):
    """Return a figure's cell as HTML. text: its value."""
    if one is None:
        return ""
    text = words.html(text)
    text = f"<strong>{text}</strong>" if card.is_best(column, one) else text
    published = one.get("published")
    if published:
        text += f'<small>published {words.html(number(published["value"]))}, {words.html(published["source"])}</small>'
    return text


def text_table(card):
    """Return (columns, rows) of a card's table for a terminal; * marks the best of a column."""
    columns = card.columns
    rows = []
    for (name, *texts), (_, figures, _) in zip(_texts(card), card.rows):
        own = {(one["name"], one.get("unit", "")): one for one in figures}
        rows.append([name, *(text + " *" * (column in own and card.is_best(column, own[column]))
                             for column, text in zip(columns, texts))])
    return ["", *(f"{name} ({unit})" if unit else name for name, unit in columns)], rows


def card_html(card, words, album, pages, place):
    """Return a card as HTML. pages: [(text as HTML, address)] of related pages that belong to it."""
    title, shown = words.html(card.title), ""
    for run in card.runs:
        name, path, caption = next(iter(run.captioned()), (None, None, ""))
        picture = path and album.card(name, path)
        if picture:
            captions = [next(iter(other.captioned()), (None, None, ""))[2] for other in card.runs]
            whose = f" ({run.name})" if captions.count(caption) > 1 else ""
            shown = figure(picture, words.html(caption + whose), link_to(path, place))
            break
    links = "".join(f'<a href="{address}">{text}</a>' for text, address in pages)
    more = f'<a href="#{anchor("tool", card.command.split()[0])}">all runs of {words.html(card.command)}</a>' \
        if card.command else ""
    kind = " pictured" if shown and _width(card) <= BESIDE else ""
    return (f'<article class="card{kind}"><h3>{title}</h3>'
            f'<p class="found">{words.html(sentence(card))}</p>'
            f'<div class="both">{card_table(card, words)}{shown}</div>'
            f'<p class="links">{links}{more}</p></article>')


def os_stem(name):
    """Return a file's name without folders and suffix."""
    return name.rpartition("/")[2].rpartition(".")[0] or name


def _width(card):
    """Return about how many signs wide a card's table is."""
    cells = [[name, *map(figure_text, figures)] for name, figures, _ in card.rows]
    return sum(max(len(row[place]) + 4 for row in cells if place < len(row)) for place in range(max(map(len, cells))))


def cards_html(cards, words, album, links, place):
    """Return the opening section. links: {run's name: [(text, address)]} of the pages in its folder."""
    parts = []
    for card in cards[:CARDS]:
        pages = [pair for run in card.runs for pair in links.get(run.name, ())]
        parts.append(card_html(card, words, album, pages, place))
    rest = "".join(f"<li>{words.html(card.title)}: {words.html(sentence(card))}</li>" for card in cards[CARDS:])
    more = folded(f"{len(cards) - CARDS:,} more findings", f"<ul>{rest}</ul>") if rest else ""
    return f'<section aria-labelledby="found"><h2 id="found">What was found</h2>{"".join(parts)}{more}</section>' \
        if parts else ""
