"""Charts as SVG: values in, shapes out. Pure, and shown by the macros of ``templates/parts/charts.html``.

A plot is 100 x 100 units that stretch with the page; axes are words in HTML, so that text keeps its size.
Each chart has a sentence as its label and the same figures as a table. Values may be anything: what is no
number is a gap, what is below zero is zero, what is endless is very large. Nothing that a person or a server
wrote is part of an SVG: names are in labels, which the templates escape.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from markupsafe import Markup

from dashboard.web.chart_scales import (
    BYTES,
    OBJECTS,
    Mark,
    Scale,
    Unit,
    finite,
    name_marks,
    scale_of,
    time_marks,
)

MAX_POINTS = 240
"""Points of one line; more of them are drawn as the highest of their neighbours."""
COLORS = 6
STRIP_CLASSES = {"up": ("up", 100), "slow": ("slow", 66), "down": ("dn", 100), "none": ("no", 14)}


@dataclass(frozen=True, slots=True)
class Series:
    """One line, layer or row of columns: a name, values (None is a gap), and its colour, 1 to 6."""

    name: str
    values: Sequence[float | None]
    color: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """A chart's figures. The first cell of a row is the time in seconds since the epoch, or a name."""

    columns: tuple[str, ...]
    rows: tuple[tuple[float | str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawn chart: shapes for inside the SVG, words for both axes from the origin outward, a sentence."""

    shapes: Markup
    y: tuple[str, ...]
    x: tuple[Mark, ...]
    label: str
    table: Table
    centred: bool = False
    """Whether the words below stand under columns instead of at the ends."""
    legend: tuple[tuple[int, str], ...] = ()
    """Colour and name of each series, if there are several."""

    @property
    def lines(self) -> Markup:
        """The hairlines at the words of the vertical axis."""
        last = max(len(self.y) - 1, 1)
        drawn = [f'<path class="gl{" base" if not i else ""}" d="M0 {_n(100 - i * 100 / last)}H100"/>'
                 for i in range(last + 1)]  # fmt: skip
        return _markup("".join(drawn))


@dataclass(frozen=True, slots=True)
class Small:
    """A sparkline, a strip or a bar: shapes and a sentence."""

    shapes: Markup
    label: str


@dataclass(frozen=True, slots=True)
class Row:
    """A horizontal bar: a name, ``width`` in percent as text for an attribute, and the figure at its end."""

    name: str
    width: str
    figure: str


@dataclass(frozen=True, slots=True)
class Share:
    """A part of a whole: its colour, 1 to 6, its name, its figure and what it is of all in percent."""

    color: int
    name: str
    figure: str
    percent: str


def line(
    series: Sequence[Series],
    times: Sequence[float],
    unit: Unit,
    *,
    label: str = "",
    pauses: Sequence[tuple[float, float]] = (),
    begin: float | None = None,
    end: float | None = None,
    now: str = "",
) -> Chart:
    """Lines over time, with a soft area below if there is one, and a dot at the last value.

    ``times`` are seconds since the epoch and rise; each point lies where its time does, between ``begin`` and
    ``end`` (by default the first and the last). ``pauses`` are drawn as bands. Without ``label`` the chart
    says its first, last and extreme values.
    """
    thin = [_thinned(s, times) for s in series]
    begin, end = _window(times, begin, end)
    scale = scale_of(_largest(thin), unit)
    drawn = [_band(pause, begin, end) for pause in pauses[:MAX_POINTS]]
    for each, at in thin:
        drawn.append(_line(_points(each, at, (begin, end), scale), each.color, area=len(series) == 1))
    return Chart(
        _markup("".join(drawn)),
        scale.marks,
        time_marks(begin, end, now=now),
        label or _sentence([each for each, _ in thin], unit),
        _time_table(thin, unit),
        legend=_legend(series),
    )


def stacked(
    series: Sequence[Series],
    times: Sequence[float],
    unit: Unit,
    *,
    label: str = "",
    begin: float | None = None,
    end: float | None = None,
    now: str = "",
) -> Chart:
    """Layers over time, from the bottom up. A gap counts as nothing. More than six become five and
    “the others”."""
    begin, end = _window(times, begin, end)
    # The same moments for all, or the layers would not lie on each other.
    every = max(1, -(-len(times) // MAX_POINTS))
    at = [*times[:-1:every], times[-1]] if times else []
    layers = []
    for each in _at_most(series, COLORS):
        values = _padded(each, times)
        layers.append((Series(each.name, [*values[:-1:every], *values[-1:]], each.color), at))
    base = [0.0] * len(at)
    outlines: list[tuple[int, list[float], list[float]]] = []
    for each, _ in layers:
        top = [min(low + (value or 0.0), 1e300) for low, value in zip(base, each.values, strict=True)]
        outlines.append((each.color, base, top))
        base = top
    scale = scale_of(max(base, default=0.0), unit)
    x = [_x(moment, begin, end) for moment in at]
    if x and x[-1] - x[0] < 1:
        # Counts of one moment say how much there is now: a layer over the whole width.
        x = [0.0, 100.0]
        outlines = [(color, low[-1:] * 2, high[-1:] * 2) for color, low, high in outlines]
    drawn = ""
    for color, low, high in outlines:
        up = " ".join(f"{_n(a)} {_y(b, scale)}" for a, b in zip(x, high, strict=True))
        down = " ".join(f"{_n(a)} {_y(b, scale)}" for a, b in zip(reversed(x), reversed(low), strict=True))
        drawn += f'<path class="f{_color(color)} gap" d="M{up} {down}Z"/>'
    return Chart(
        _markup(f'<g class="stack">{drawn}</g>'),
        scale.marks,
        time_marks(begin, end, now=now),
        label or _sentence([each for each, _ in layers], unit),
        _time_table(layers, unit),
        legend=tuple((_color(each.color), each.name) for each, _ in layers),
    )


def columns(series: Series, names: Sequence[str], unit: Unit, *, label: str = "") -> Chart:
    """A column for each name, always in the first colour."""
    values = [finite(value) or 0.0 for value in series.values][:MAX_POINTS]
    scale = scale_of(max(values, default=0.0), unit)
    step = 100 / max(len(values), 1)
    drawn = "".join(
        f'<rect class="f1" x="{_n(i * step + step * 0.14)}" y="{_y(value, scale)}" '
        f'width="{_n(step * 0.72)}" height="{_n(value * 100 / scale.top)}"/>'
        for i, value in enumerate(values)
    )
    rows = tuple((name, (unit.write(v),)) for name, v in zip(names, values, strict=False))
    most = max(zip(values, names, strict=False), default=(0.0, ""))
    summary = (
        f"{series.name}: most in {most[1]}, {unit.write(most[0])}" if most[0] else f"{series.name}: nothing"
    )
    return Chart(
        _markup(drawn), scale.marks, name_marks(names[: len(values)]), label or summary,
        Table(("", series.name), rows), centred=True,
    )  # fmt: skip


def bars(rows: Sequence[tuple[str, float | None]], unit: Unit) -> tuple[Row, ...]:
    """Horizontal bars, the longest over the whole width."""
    values = [(name, finite(value) or 0.0) for name, value in rows]
    most = max((value for _, value in values), default=0.0) or 1.0
    return tuple(Row(name, _n(value * 100 / most), unit.write(value)) for name, value in values)


def shares(rows: Sequence[tuple[str, float | None]], unit: Unit) -> tuple[Small, tuple[Share, ...]]:
    """Parts of a whole side by side in one bar, and its legend. More than six become five and a sum."""
    parts = _at_most([Series(name, (value,), i + 1) for i, (name, value) in enumerate(rows)], COLORS)
    values = [finite(part.values[0]) or 0.0 for part in parts]
    whole = sum(values) or 1.0
    drawn, start, legend = "", 0.0, []
    for i, (part, value) in enumerate(zip(parts, values, strict=True)):
        width = value * 100 / whole
        drawn += (
            f'<rect class="f{_color(part.color)}" x="{_n(start)}%" y="0" width="{_n(width)}%" height="100%"/>'
        )
        if i:
            drawn += f'<rect class="cut" x="{_n(start)}%" y="0" width="2" height="100%"/>'
        start += width
        legend.append(Share(_color(part.color), part.name, unit.write(value), f"{width:.1f} %"))
    summary = ", ".join(f"{share.name} {share.figure}" for share in legend) or "nothing"
    return Small(_markup(drawn), summary), tuple(legend)


def strip(cells: Sequence[str], label: str) -> Small:
    """A cell for each period: ``up``, ``slow``, ``down``, else ``none``. Height says it as well as colour."""
    places, width = _strip_places(len(cells))
    drawn = []
    for x, cell in zip(places, cells, strict=True):
        kind, high = STRIP_CLASSES.get(cell, STRIP_CLASSES["none"])
        drawn.append(f'<rect class="{kind}" x="{x}" y="{100 - high}" width="{width}" height="{high}"/>')
    return Small(_markup("".join(drawn)), label)


@lru_cache(maxsize=16)
def _strip_places(count: int) -> tuple[tuple[str, ...], str]:
    """Where the cells of a strip begin, and how wide they are: the same for every backend of a page."""
    step = 100 / max(count, 1)
    return tuple(_n(i * step) for i in range(count)), _n(step * 0.68)


def spark(values: Sequence[float | None], label: str) -> Small | None:
    """A line without axes that spans at least 12 % of its highest value, so that noise stays flat. None for
    fewer than two values: a point says nothing about how it goes."""
    known = [v for v in map(finite, values) if v is not None]
    if len(known) < 2:
        return None
    known = [v for v, _ in _buckets(known, list(range(len(known))), MAX_POINTS // 4) if v is not None]
    low, high = min(known), max(known)
    room = max(high - low, high * 0.12) or 1.0
    bottom = (high + low - room) / 2
    flat = [12 + (v - bottom) * 76 / room for v in known]
    way = " ".join(f"{_n(i * 100 / (len(flat) - 1))} {_n(100 - v)}" for i, v in enumerate(flat))
    return Small(
        _markup(
            f'<path class="area" d="M{way} 100 100 0 100Z"/><path class="ln thin" d="M{way}"/>'
            f'<path class="pt" d="M100 {_n(100 - flat[-1])}h.01"/>'
        ),
        label,
    )


def _thinned(series: Series, times: Sequence[float]) -> tuple[Series, list[float]]:
    kept = _buckets(_padded(series, times), times, MAX_POINTS)
    return Series(series.name, [v for v, _ in kept], series.color), [at for _, at in kept]


def _padded(series: Series, times: Sequence[float]) -> list[float | None]:
    values = [finite(value) for value in series.values][: len(times)]
    return values + [None] * (len(times) - len(values))


def _buckets(
    values: Sequence[float | None], times: Sequence[float], most: int
) -> list[tuple[float | None, float]]:
    """At most ``most`` points: the highest of each group of neighbours, and the last as it is."""
    pairs = list(zip(values, times, strict=True))
    if len(pairs) <= most:
        return pairs
    size = -(-(len(pairs) - 1) // (most - 1))
    groups = [pairs[i : i + size] for i in range(0, len(pairs) - 1, size)]
    return [max(group, key=lambda p: -1.0 if p[0] is None else p[0]) for group in groups] + [pairs[-1]]


def _largest(series: Sequence[tuple[Series, list[float]]]) -> float:
    return max((v for each, _ in series for v in each.values if v is not None), default=0.0)


def _window(times: Sequence[float], begin: float | None, end: float | None) -> tuple[float, float]:
    first = begin if begin is not None else (times[0] if times else 0.0)
    return first, max(first, end if end is not None else (times[-1] if times else first))


def _x(at: float, begin: float, end: float) -> float:
    return 100.0 if end <= begin else min(max((at - begin) * 100 / (end - begin), 0.0), 100.0)


def _y(value: float, scale: Scale) -> str:
    return _n(100 - value * 100 / scale.top)


def _n(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _points(
    series: Series, times: Sequence[float], window: tuple[float, float], scale: Scale
) -> list[list[tuple[str, str]]]:
    """The points of each stretch without a gap."""
    stretches: list[list[tuple[str, str]]] = [[]]
    for value, at in zip(series.values, times, strict=True):
        if value is None:
            stretches.append([])
        else:
            stretches[-1].append((_n(_x(at, *window)), _y(value, scale)))
    return [stretch for stretch in stretches if stretch]


def _line(stretches: list[list[tuple[str, str]]], color: int, *, area: bool) -> str:
    drawn, ink = "", f" k{_color(color)}" if _color(color) > 1 else ""
    for stretch in stretches:
        way = " ".join(f"{x} {y}" for x, y in stretch)
        if len(stretch) == 1:
            # Alone between two gaps; the round ends of the stroke make it a dot.
            drawn += f'<path class="ln{ink}" d="M{way}h.01"/>'
            continue
        if area:
            drawn += f'<path class="area" d="M{way} {stretch[-1][0]} 100 {stretch[0][0]} 100Z"/>'
        drawn += f'<path class="ln{ink}" d="M{way}"/>'
    if stretches:
        x, y = stretches[-1][-1]
        drawn += f'<path class="pt{ink}" d="M{x} {y}h.01"/>'
    return drawn


def _band(pause: tuple[float, float], begin: float, end: float) -> str:
    left, right = _x(pause[0], begin, end), _x(pause[1], begin, end)
    return f'<rect class="band" x="{_n(left)}" y="0" width="{_n(max(right - left, 0.0))}" height="100"/>'


def _color(color: int) -> int:
    return min(max(int(color), 1), COLORS)


def _at_most(series: Sequence[Series], most: int) -> list[Series]:
    if len(series) <= most:
        return list(series)
    rest = [[finite(v) or 0.0 for v in each.values] for each in series[most - 1 :]]
    length = max(len(values) for values in rest)
    summed = [sum(values[i] for values in rest if i < len(values)) for i in range(length)]
    return [*series[: most - 1], Series(f"{len(rest)} others", summed, most)]


def _legend(series: Sequence[Series]) -> tuple[tuple[int, str], ...]:
    return tuple((_color(s.color), s.name) for s in series) if len(series) > 1 else ()


def _sentence(series: Sequence[Series], unit: Unit) -> str:
    summary = []
    for each in series:
        known = [v for v in each.values if v is not None]
        if not known:
            summary.append(f"{each.name}: no figures yet")
        elif len(known) == 1:
            summary.append(f"{each.name}: {unit.write(known[0])}")
        else:
            summary.append(
                f"{each.name}: from {unit.write(known[0])} to {unit.write(known[-1])}, "
                f"at least {unit.write(min(known))}, at most {unit.write(max(known))}"
            )
    return "; ".join(summary) or "No figures yet"


def _time_table(series: Sequence[tuple[Series, list[float]]], unit: Unit) -> Table:
    """A row for each time, the newest first."""
    at: dict[float, dict[int, str]] = {}
    for i, (each, times) in enumerate(series):
        for value, moment in zip(each.values, times, strict=True):
            at.setdefault(moment, {})[i] = "–" if value is None else unit.write(value)
    rows = tuple(
        (moment, tuple(cells.get(i, "–") for i in range(len(series))))
        for moment, cells in sorted(at.items(), reverse=True)
    )
    return Table(("Time", *(each.name for each, _ in series)), rows)


def _markup(text: str) -> Markup:
    """Shapes drawn here hold numbers and names of classes only."""
    return Markup(text)  # noqa: S704


__all__ = [
    "BYTES", "OBJECTS", "Chart", "Row", "Series", "Share", "Small", "Table",
    "bars", "columns", "line", "shares", "spark", "stacked", "strip",
]  # fmt: skip
