"""How fast a migration was over time, and what holds it back, as its page shows them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from dashboard.migration.tuning import LimitedBy
from dashboard.migration.types import Progress
from dashboard.services.migrations.series import Point, Throughput
from dashboard.web.chart_scales import OBJECTS, RATE
from dashboard.web.charts import Chart, Row, Series, line
from dashboard.web.language.translating import gettext

BYTES_PER_SECOND, OBJECTS_PER_SECOND = "bytes", "objects"
MEASURES = (BYTES_PER_SECOND, OBJECTS_PER_SECOND)
LIMITED_BY = {
    LimitedBy.CHOICE: "that number was chosen",
    LimitedBy.BACKEND: "a backend or the console allows no more",
    LimitedBy.THROTTLING: "a backend throttles, or cannot be reached",
    LimitedBy.PROCESSOR: "this machine's processor is busy",
    LimitedBy.SPEED: "more at once were no faster",
    LimitedBy.MEMORY: "more would take too much memory",
    LimitedBy.LIMIT: "your limit is reached",
    LimitedBy.WORK: "no more objects are waiting",
    LimitedBy.TRYING: "still finding out how many are fastest",
}
"""Why no more objects are copied at once."""
ENOUGH = 3
"""Points without which there is nothing to see."""


@dataclass(frozen=True, slots=True)
class Shown:
    """The chart and its legend; ``held_back`` in plain words, with the parts of the workers' time."""

    measure: str
    chart: Chart
    pauses: int
    held_back: str
    parts: tuple[Row, ...]


def shown(p: Progress, series: Throughput, measure: str) -> Shown | None:
    """What the page shows; None until there is enough to see."""
    if len(series.points) < ENOUGH:
        return None
    measure = measure if measure in MEASURES else BYTES_PER_SECOND
    reading, writing, verifying = series.shares()
    named = [
        (f"Reading {p.source}", reading),
        (f"Writing {p.destination}", writing),
        ("Verifying and comparing", verifying),
    ]
    parts = tuple(Row(name, f"{100 * part:.0f}", f"{100 * part:.0f} %") for name, part in named)
    slowest, share = max(named, key=lambda each: each[1])
    held_back = "your limit" if p.limited_by == LimitedBy.LIMIT else slowest if share else ""
    chart = _draw(series, measure, p.state.final)
    return Shown(measure, chart, len(series.pauses()), held_back, parts)


def limited_by(p: Progress) -> str:
    """Why no more objects are copied at once; nothing if that is not known."""
    return LIMITED_BY[LimitedBy(p.limited_by)] if p.limited_by in list(LimitedBy) else ""


@lru_cache(maxsize=64)
def _draw(series: Throughput, measure: str, ended: bool) -> Chart:
    """Drawn once for everybody who watches."""
    pairs = list(series.rates())
    values = [_rate(a, b, measure) for a, b in pairs]
    times = [b.at for _, b in pairs]
    unit = RATE if measure == BYTES_PER_SECOND else OBJECTS
    name = "Throughput" if measure == BYTES_PER_SECOND else "Objects per second"
    return line(
        [Series(name, values)],
        times,
        unit,
        pauses=series.pauses(),
        begin=series.points[0].at,
        end=series.points[-1].at,
        now=gettext("end") if ended else "",
    )


def _rate(before: Point, after: Point, measure: str) -> float:
    # What was interrupted is taken off again; a rate is never negative.
    by_size = measure == BYTES_PER_SECOND
    done = after.bytes - before.bytes if by_size else after.objects - before.objects
    return max(0.0, done / (after.at - before.at))
