"""Curves as inline SVG: a chart per logged quantity, a line per run."""

import math
from html import escape

from common.numerals import LARGEST, number
from tools.report.words import spoken

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 40
POINTS = 300
LINES = 8
AXES = ("step", "iteration", "epoch")
NOT_DRAWN = {"time", "seconds", "wall_time", "elapsed", *AXES}
LONG = 8  # rows of a table from which on it may be a series
SPANS = 50  # factor from which on positive values are drawn on a logarithmic axis


def charts(logs, names, words, axis="", of=""):
    """Return a chart as HTML for each logged number of {run: [rows]}, a line for each run.

    names: what the runs are called.  axis: the entry that goes across (default: a step).  of: words after the title.
    """
    series, more = {}, {}
    for name, rows in zip(names, logs.values()):
        if all(len(series.get(quantity, ())) == LINES for quantity in rows[-1] if quantity not in NOT_DRAWN):
            for quantity in rows[-1]:  # no line of it is drawn
                more[quantity] = more.get(quantity, 0) + 1
            continue
        for quantity, points in _series(rows, axis).items():
            if len(points) > 1 and len(series.setdefault(quantity, {})) < LINES:
                series[quantity][name] = points
            elif len(points) > 1:
                more[quantity] = more.get(quantity, 0) + 1
    across = axis or next((name for name in AXES for rows in logs.values() if name in rows[0]), "row")
    return [_chart(quantity, across, lines, more.get(quantity, 0), words, of) for quantity, lines in series.items()
            if lines]


def _chart(quantity, across, lines, left, words, of):
    """Return one chart with its title and the key to its lines; left: how many runs more have it."""
    what, shown = words.html(spoken(quantity) + of), list(lines.items())
    svg = draw({words.plain(name): points for name, points in shown}, spoken(words.plain(across)),
               f"{words.plain(spoken(quantity))} by {spoken(words.plain(across))}")
    keys = "".join(
        f'<span class="key"><svg viewBox="0 0 26 12" aria-hidden="true"><line class="line{index}" x1="0" x2="26" '
        f'y1="6" y2="6"/></svg>{words.html(name)}</span>' for index, (name, _) in enumerate(shown))
    more = f"and {left:,} more runs" if left else ""
    key = f"<figcaption>{keys}{more}</figcaption>" if len(lines) > 1 else ""
    return f"<figure><b>{what}</b>{svg}{key}</figure>"


def long_table(table):
    """Return the rows {column: number} of a table that is a series: numbers, the first column ever larger or smaller,
    and where it counts, evenly; else None. Standard errors are left out."""
    if len(table.rows) < LONG or len(table.columns) < 2 or len(set(table.columns)) < len(table.columns):
        return None
    rows = [[_number(cell) for cell in row] for row in table.rows]
    if any(len(row) != len(table.columns) or row[0] is None for row in rows):
        return None
    first = [row[0] for row in rows]
    if not (all(a < b for a, b in zip(first, first[1:])) or all(a > b for a, b in zip(first, first[1:]))):
        return None
    if all(value == round(value) for value in first) and not _is_even(first):
        return None  # names of things that are numbers
    if any(math.isnan(cell) for row in rows for cell in row if cell is not None):
        rows = [[None if cell is not None and math.isnan(cell) else cell for cell in row] for row in rows]
    kept = [column for column in table.columns if column.removesuffix("_se") not in set(table.columns) - {column}]
    return [{name: cell for name, cell in zip(table.columns, row) if name in kept} for row in rows]


def _is_even(values):
    """True where whole numbers grow by one step or by one factor, but for the last."""
    pairs = list(zip(values, values[1:]))[:-1]
    return len({b - a for a, b in pairs}) == 1 or (0 not in values and len({b / a for a, b in pairs}) == 1)


def _number(text):
    """Return the number that a cell holds, NaN where it is empty, None for words."""
    try:
        return float(text.replace("\u2212", "-")) if text.strip() else math.nan
    except ValueError:
        return None


def _series(rows, axis=""):
    """Return {quantity: [(step, value)]} of the finite numbers in a log."""
    series = {}
    for index, row in enumerate(rows):
        step = next((row[name] for name in ((axis,) if axis else AXES) if _is_number(row.get(name))), index)
        for quantity, value in row.items():
            if quantity != axis and (axis or quantity not in NOT_DRAWN) and _is_number(value):
                series.setdefault(quantity, []).append((step, float(value)))
    return series


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < LARGEST


def draw(lines, across="", what=""):
    """Return one SVG chart of {name: [(x, y), ...]}; an axis is logarithmic when its positive values span over a factor
    of 50, the horizontal one only where its values are spaced that way."""
    lines = {name: thin(points) for name, points in list(lines.items())[:LINES]}
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    horizontal, vertical = _scale(xs, _is_spaced_apart(lines)), _scale(ys, True)
    x_low, x_high = _widen(horizontal(min(xs)), horizontal(max(xs)))
    y_low, y_high = _widen(vertical(min(ys)), vertical(max(ys)))

    def place(x, y):
        right = LEFT + (horizontal(x) - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - vertical(y)) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return f"{right:.1f},{down:.1f}"

    parts = [_grid(x_low, x_high, y_low, y_high, horizontal is math.log10, vertical is math.log10)]
    for index, (name, points) in enumerate(lines.items()):
        path = " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline class="line{index}" points="{path}"><title>{escape(name)}</title></polyline>')
    label = f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">{escape(across)}</text>'
    name = escape(what) if what else "chart"
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{name}">{"".join(parts)}{label}</svg>'


def _scale(values, allowed):
    return math.log10 if allowed and min(values) > 0 and max(values) > SPANS * min(values) else float


def _is_spaced_apart(lines):
    """True where a line's places are few and grow by factors rather than by steps."""
    places = [x for x, _ in max(lines.values(), key=len)]
    if len(places) < 4 or min(places) <= 0:
        return False
    places = sorted(places)
    return places[-1] - places[-2] > 5 * (places[1] - places[0])


def thin(points, most=POINTS):
    """Return at most `most` points: means over equal segments of a longer line."""
    if len(points) <= most:
        return points
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    segments = [points[low:high] for low, high in zip(edges, edges[1:])]
    return [tuple(sum(values) / len(values) for values in zip(*segment)) for segment in segments]


def _widen(low, high):
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(x_low, x_high, y_low, y_high, x_logarithmic, y_logarithmic):
    """Return grid lines and their labels."""
    parts = []
    for value in _places(y_low, y_high, y_logarithmic):
        y = TOP + (y_high - value) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        label = _short(10**value if y_logarithmic else value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for value in _places(x_low, x_high, x_logarithmic):
        x = LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        label = _short(10**value if x_logarithmic else value)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 22}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _places(low, high, logarithmic):
    """Return where an axis has its labels; a logarithmic one over two powers of ten has whole powers alone."""
    places = ticks(low, high)
    if logarithmic and high - low >= 2:
        places = [value for value in places if value == round(value)] or places
    return places


def ticks(low, high, about=4):
    """Return about `about` round values between low and high."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next((factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= about + 2), 10)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value):
    value = 0.0 if abs(value) < 1e-300 else value
    return number(float(f"{value:.3g}"))
