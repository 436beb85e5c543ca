"""The functions of ``web.charts``, each drawing the same figures once. A chart follows from what it is called
with, and from the language and time zone of the request: those are what it is kept by."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, wraps
from typing import Any, ParamSpec, TypeVar

from dashboard.web import charts
from dashboard.web.charts import COLORS, Chart, Series, Small
from dashboard.web.language import choice

P = ParamSpec("P")
T = TypeVar("T")

MAX_CHARTS = 100
"""Of each kind: some tens of kB each, with the figures as a table."""
MAX_SMALL = 1_000


def _once(draw: Callable[P, T], most: int) -> Callable[P, T]:
    @lru_cache(most)
    def kept(_seen_as: object, given: tuple[object, ...], named: tuple[tuple[str, object], ...]) -> T:
        return draw(*given, **dict(named))  # type: ignore[arg-type]  # as they were given

    @wraps(draw)
    def drawn(*given: P.args, **named: P.kwargs) -> T:
        # The third is what no time zone stands for.
        seen_as = choice.language(), choice.zone(), time.tzname
        values = tuple(map(_unchangeable, given))
        return kept(seen_as, values, tuple((name, _unchangeable(each)) for name, each in named.items()))

    return drawn


def _unchangeable(value: Any) -> Any:
    """The value with tuples in the place of lists, as what is kept is found by it."""
    if isinstance(value, Series):
        return value if isinstance(value.values, tuple) else replace(value, values=tuple(value.values))
    return tuple(map(_unchangeable, value)) if isinstance(value, list) else value


bars = _once(charts.bars, MAX_CHARTS)
columns = _once(charts.columns, MAX_CHARTS)
line = _once(charts.line, MAX_CHARTS)
shares = _once(charts.shares, MAX_CHARTS)
spark = _once(charts.spark, MAX_SMALL)
stacked = _once(charts.stacked, MAX_CHARTS)
strip = _once(charts.strip, MAX_SMALL)

__all__ = [
    "COLORS", "Chart", "Series", "Small",
    "bars", "columns", "line", "shares", "spark", "stacked", "strip",
]  # fmt: skip
