"""Charts as SVG, and positions in per cent.

Colours come from the page, so that charts follow its light and dark forms, and text stays
text in any script.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

WIDTH, HEIGHT = 460, 230
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 24, 40
NODE_WIDTH, NODE_HEIGHT, GAP_X, GAP_Y = 168, 46, 40, 18


@dataclass(frozen=True)
class Scale:
    """A range of values on an axis."""

    low: float
    high: float

    def percent(self, value: float) -> float:
        """Where a value stands between the ends, in per cent, ends included."""
        share = (value - self.low) / (self.high - self.low)
        return round(100 * min(1.0, max(0.0, share)), 3)


@dataclass(frozen=True)
class Node:
    """A box of the lineage graph, in column `depth`."""

    name: str
    title: str
    subtitle: str
    depth: int


def nice_step(span: float, count: int) -> float:
    """The step of 1, 2 or 5 times a power of ten that cuts a span into about `count` parts."""
    rough = span / count
    power = 10.0 ** math.floor(math.log10(rough))
    return next(f * power for f in (1, 2, 5, 10) if f * power >= rough * 0.999)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers between two values; one of them is 0 where the range holds it."""
    if high <= low:
        return [low]
    step = nice_step(high - low, count)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def scale_around(values: Sequence[float], least: float = 1e-6, pad: float = 0.08) -> Scale:
    """A scale that holds all values with some room; never empty."""
    low, high = min(values), max(values)
    room = max((high - low) * pad, least)
    return Scale(low - room, high + room)


def line_chart(
    points: Sequence[tuple[float, float]],
    title: str,
    x_label: str,
    baseline: float | None = None,
    ends: Sequence[float] = (),
) -> Markup:
    """A line over steps, with its first and last value written beside it.

    baseline: a value to mark with a dashed line, such as chance. ends: values that the upright
    axis holds in any case, such as 0 and 1 for a share.
    """
    xs, ys = [x for x, _ in points], [y for _, y in points]
    across = Scale(min(xs), max(xs)) if max(xs) > min(xs) else scale_around(xs, 0.5)
    up = scale_around([*ys, *ends, *([baseline] if baseline is not None else [])], least=0.01)

    def place(x: float, y: float) -> tuple[float, float]:
        wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return (
            round(LEFT + wide * across.percent(x) / 100, 1),
            round(TOP + high * (1 - up.percent(y) / 100), 1),
        )

    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{escape(title)}</title>")
    for tick in nice_ticks(up.low, up.high, 4):
        _, y = place(xs[0], tick)
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
        parts.append(f'<text class="tick end" x="{LEFT - 8}" y="{y + 4}">{tick_text(tick)}</text>')
    for tick in [t for t in nice_ticks(across.low, across.high) if t == int(t)]:
        x, _ = place(tick, ys[0])
        parts.append(f'<text class="tick mid" x="{x}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text class="tick mid" x="{middle}" y="{HEIGHT - 4}">{escape(x_label)}</text>')
    if baseline is not None:
        _, y = place(xs[0], baseline)
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y}" y2="{y}"/>')
    placed = [place(x, y) for x, y in points]
    path = " ".join(f"{x},{y}" for x, y in placed)
    parts.append(f'<polyline class="curve" points="{path}"/>')
    for index in dict.fromkeys((0, len(points) - 1)):
        x, y = placed[index]
        side = "start" if index == 0 else "end"
        parts.append(f'<circle class="dot" cx="{x}" cy="{y}" r="3.5"/>')
        parts.append(f'<text class="value {side}" x="{x}" y="{y - 11}">{_short(ys[index])}</text>')
    return Markup("".join(parts) + "</svg>")


def bar_chart(counts: Mapping[str, int], title: str, x_label: str) -> Markup:
    """Bars side by side, each with its count above and its name below."""
    most = max(counts.values(), default=0) or 1
    wide, high = WIDTH - 2 * RIGHT, HEIGHT - TOP - BOTTOM
    slot = wide / max(len(counts), 1)
    thick = min(36.0, slot * 0.72)
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    parts.append(f"<title>{escape(title)}</title>")
    for place, (name, count) in enumerate(counts.items()):
        middle = round(RIGHT + slot * (place + 0.5), 1)
        tall = round(high * count / most, 1)
        top = round(TOP + high - tall, 1)
        left = round(middle - thick / 2, 1)
        parts.append(
            f'<rect class="column" x="{left}" y="{top}" width="{thick:.1f}" height="{tall}"/>'
        )
        parts.append(f'<text class="value mid" x="{middle}" y="{top - 5}">{count}</text>')
        label = f'<text class="tick mid" x="{middle}" y="{HEIGHT - BOTTOM + 16}">{escape(name)}'
        parts.append(f"{label}</text>")
    parts.append(
        f'<text class="tick mid" x="{WIDTH / 2}" y="{HEIGHT - 4}">{escape(x_label)}</text>'
    )
    return Markup("".join(parts) + "</svg>")


def lineage_graph(nodes: Sequence[Node], edges: Sequence[tuple[str, str]], title: str) -> Markup:
    """Boxes in columns by depth, sources on the left, with curves from input to result."""
    columns: dict[int, list[Node]] = {}
    for node in nodes:
        columns.setdefault(node.depth, []).append(node)
    most = max((len(column) for column in columns.values()), default=1)
    wide = (max(columns, default=0) + 1) * (NODE_WIDTH + GAP_X) - GAP_X + 2
    high = most * (NODE_HEIGHT + GAP_Y) - GAP_Y + 2
    corner = _corners(columns, high)
    parts = [f'<svg class="lineage" viewBox="0 0 {wide} {high}" width="{wide}" role="img">']
    parts.append(f"<title>{escape(title)}</title>")
    for source, target in edges:
        (x, y), (to_x, to_y) = corner[source], corner[target]
        x, y, to_y = x + NODE_WIDTH, y + NODE_HEIGHT / 2, to_y + NODE_HEIGHT / 2
        bend = (to_x - x) / 2
        curve = f"M{x},{y} C{x + bend},{y} {to_x - bend},{to_y} {to_x},{to_y}"
        parts.append(f'<path class="edge" d="{curve}"/>')
    for node in nodes:
        x, y = corner[node.name]
        parts.append(
            f'<g transform="translate({x},{y})">'
            f'<rect class="box" width="{NODE_WIDTH}" height="{NODE_HEIGHT}" rx="8"/>'
            f'<text class="name" x="12" y="19">{escape(node.title)}</text>'
            f'<text class="tick" x="12" y="36">{escape(node.subtitle)}</text></g>'
        )
    return Markup("".join(parts) + "</svg>")


def _corners(columns: Mapping[int, Sequence[Node]], high: int) -> dict[str, tuple[float, float]]:
    """The upper left corner of each box, columns centred."""
    corner = {}
    for depth, column in columns.items():
        top = (high - len(column) * (NODE_HEIGHT + GAP_Y) + GAP_Y) / 2
        for row, node in enumerate(column):
            corner[node.name] = (
                depth * (NODE_WIDTH + GAP_X) + 1.0,
                top + row * (NODE_HEIGHT + GAP_Y),
            )
    return corner


def tick_text(value: float) -> str:
    """A value beside an axis, without the rounding of floats and with a true minus sign."""
    return f"{round(value, 6):g}".replace("-", "−")


def _short(value: float) -> str:
    """Three digits that mean something; what is next to nothing is 0."""
    return f"{value:.3g}" if abs(value) >= 0.0005 else "0"
