"""Curves as inline SVG: a chart per logged quantity, a line per run."""

import math
from html import escape

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 58, 10, 10, 28
POINTS = 300
LINES = 8
AXES = ("step", "iteration", "epoch")
NOT_DRAWN = {"time", "seconds", "wall_time", "elapsed", *AXES}


def charts(logs):
    """Return the SVG charts of {run name: [log rows]}: (quantity, svg, [names drawn]) for each logged number."""
    series = {}
    for name, rows in logs.items():
        for quantity, points in _series(rows).items():
            if len(points) > 1:
                series.setdefault(quantity, {})[name] = points
    return [(quantity, draw(lines), list(lines)) for quantity, lines in series.items()]


def _series(rows):
    """Return {quantity: [(step, value)]} of the finite numbers in a log."""
    series = {}
    for index, row in enumerate(rows):
        step = next((row[axis] for axis in AXES if _is_number(row.get(axis))), index)
        for quantity, value in row.items():
            if quantity not in NOT_DRAWN and _is_number(value):
                series.setdefault(quantity, []).append((step, float(value)))
    return series


def _is_number(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def draw(lines):
    """Return one SVG chart of {name: [(x, y), ...]}; y is logarithmic when positive values span over a factor of 50."""
    lines = {name: thin(points) for name, points in list(lines.items())[:LINES]}
    xs = [x for points in lines.values() for x, _ in points]
    ys = [y for points in lines.values() for _, y in points]
    logarithmic = min(ys) > 0 and max(ys) > 50 * min(ys)
    vertical = (lambda y: math.log10(y)) if logarithmic else (lambda y: y)
    x_low, x_high = _widen(min(xs), max(xs))
    y_low, y_high = _widen(vertical(min(ys)), vertical(max(ys)))

    def place(x, y):
        across = LEFT + (x - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        down = TOP + (y_high - vertical(y)) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        return f"{across:.1f},{down:.1f}"

    parts = [_grid(x_low, x_high, y_low, y_high, logarithmic)]
    for index, (name, points) in enumerate(lines.items()):
        path = " ".join(place(x, y) for x, y in points)
        parts.append(f'<polyline class="line{index}" points="{path}"><title>{escape(name)}</title></polyline>')
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join(parts)}</svg>'


def thin(points, most=POINTS):
    """Return at most `most` points: means over equal segments of a longer line."""
    if len(points) <= most:
        return points
    edges = [round(index * len(points) / most) for index in range(most + 1)]
    segments = [points[low:high] for low, high in zip(edges, edges[1:])]
    return [tuple(sum(values) / len(values) for values in zip(*segment)) for segment in segments]


def _widen(low, high):
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _grid(x_low, x_high, y_low, y_high, logarithmic):
    """Return grid lines and their labels."""
    parts = []
    heights = ticks(y_low, y_high)
    if logarithmic and y_high - y_low >= 2:
        heights = [value for value in heights if value == round(value)] or heights
    for value in heights:
        y = TOP + (y_high - value) / (y_high - y_low) * (HEIGHT - TOP - BOTTOM)
        label = _short(10**value if logarithmic else value)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{label}</text>')
    for value in ticks(x_low, x_high):
        x = LEFT + (value - x_low) / (x_high - x_low) * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{_short(value)}</text>')
    return "".join(parts)


def ticks(low, high, about=4):
    """Return about `about` round values between low and high."""
    step = 10 ** math.floor(math.log10((high - low) / about))
    step *= next((factor for factor in (1, 2, 5) if (high - low) / (step * factor) <= about + 2), 10)
    first = math.ceil(low / step - 1e-9)
    return [index * step for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _short(value):
    if value and (abs(value) >= 1e5 or abs(value) < 1e-3):
        mantissa, exponent = f"{value:.1e}".split("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    return f"{value:.4g}"
