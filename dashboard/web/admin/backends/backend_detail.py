"""What the page of one backend shows besides its options: how it was, what it holds, what a read passes."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import request

from dashboard.services.backends.snippets import snippets_of
from dashboard.services.backends.values import BackendInfo
from dashboard.services.history.history_values import WINDOWS, AnswerTimes, KeptTest, Totals, Uptime
from dashboard.web.admin import drawn_charts as charts
from dashboard.web.admin.command_lines import add_command
from dashboard.web.chart_scales import BYTES, MILLISECONDS, Mark, time_marks
from dashboard.web.charts import Chart, Series, Small
from dashboard.web.context import services
from dashboard.web.formatting import milliseconds

WINDOW_NAMES = {"24h": "Last 24 hours", "30d": "Last 30 days", "90d": "Last 90 days"}
GROWTH_DAYS = 30
DAY = 86_400


@dataclass(frozen=True, slots=True)
class PastView:
    """The strip and the answer times over a window."""

    window: str
    title: str
    strip: Small
    marks: tuple[Mark, ...]
    reachable: str
    answers: Chart
    times: str


@dataclass(frozen=True, slots=True)
class Layer:
    """One thing that a read passes through: a symbol, a name, what is particular, and the end of its row."""

    icon: str
    name: str
    text: str
    end: str = ""


def past_view(backend: BackendInfo) -> PastView:
    """The past of a backend over the window in the address."""
    window = request.args.get("window", "24h")
    window = window if window in WINDOWS else "24h"
    uptime = services().history.uptime([backend.id], window)[backend.id]
    answers = services().history.answer_times(backend.id, window)
    end = uptime.begin + uptime.cell_seconds * len(uptime.cells)
    series = [Series("Answer time", answers.values)]
    return PastView(
        window,
        WINDOW_NAMES[window],
        charts.strip(uptime.cells, strip_label(uptime)),
        time_marks(uptime.begin, end),
        _reachable(uptime),
        charts.line(series, answers.times, MILLISECONDS, begin=uptime.begin, end=end),
        _times(backend, answers),
    )


def strip_label(uptime: Uptime) -> str:
    """The sentence of a strip."""
    if not uptime.checks:
        return "No checks yet"
    failed = f"{uptime.failed:,} failed" if uptime.failed else "none failed"
    return f"{uptime.checks:,} checks, {failed}, {uptime.slow:,} slow"


def _reachable(uptime: Uptime) -> str:
    if uptime.percent is None:
        return "no checks yet"
    return f"{uptime.percent:g} % reachable · {uptime.checks:,} checks"


def _times(backend: BackendInfo, answers: AnswerTimes) -> str:
    if answers.median is None:
        return ""
    return (
        f"{milliseconds(backend.status.latency_ms)} now · median {milliseconds(answers.median)} · "
        f"95th percentile {milliseconds(answers.high)}"
    )


def usage_facts(backend: BackendInfo) -> dict[str, Any]:
    """What a backend holds, and how that grew over the last month."""
    totals = services().history.totals(GROWTH_DAYS, [backend.id])
    sizes = totals.bytes.get(backend.id, (None,) * len(totals.times))
    return {
        "growth": charts.line([Series("Stored", sizes)], totals.times, BYTES),
        "per_day": growth_per_day(totals),
        "traffic": services().backends.requests.totals([backend.id])[backend.id],
    }


def growth_per_day(totals: Totals) -> float | None:
    """Bytes a day since the first count of the window, or None where less than a day is known."""
    since = totals.counted_since
    days = (totals.times[-1] - since) / DAY if since is not None else 0.0
    return totals.growth(totals.bytes) / days if days >= 1 else None


def layers(backend: BackendInfo) -> tuple[Layer, ...]:
    """The wrappers of a backend in the order in which a read meets them, and the backend itself."""
    options = backend.options
    found = []

    def on(name: str) -> bool:
        return options.get(name, "") not in ("", "false", "0", "none", "off")

    if on("cdn_domain"):
        found.append(Layer("globe", "Delivery by a CDN", options["cdn_domain"]))
    if on("cache"):
        size = options.get("cache_size", "")
        found.append(
            Layer("bolt", "Copies for faster reads", f"at most {size} MB" if size else "on this machine")
        )
    if on("fallback"):
        found.append(Layer("layers", "Failover", "other backends are used while this one fails"))
    if on("encrypt"):
        found.append(Layer("lock", "Encryption", "AES-256-GCM, before anything leaves this machine"))
    if on("compress"):
        kinds = options.get("compress", "")
        found.append(Layer("zip", "Compression", "" if kinds == "true" else kinds))
    if on("read_only"):
        found.append(Layer("shield", "Read-only", "nothing is written, changed or deleted"))
    return (*found, Layer("backends", backend.name, f"{backend.preset_label} · {backend.summary}"))


def snippet_facts(backend: BackendInfo) -> dict[str, Any]:
    """The snippet that the address asks for, and the names of all."""
    found: Mapping[str, str] = snippets_of(backend, add_command(backend))
    chosen = request.args.get("use", "")
    chosen = chosen if chosen in found else next(iter(found))
    return {"snippets": found, "snippet": chosen}


def last_tests(backend: BackendInfo) -> tuple[KeptTest, ...]:
    """The tests that are kept, newest first."""
    return services().history.tests(backend.id)


def first_check(backend: BackendInfo) -> str:
    """Why nothing is known yet; empty once the backend has been checked."""
    if backend.status.checked_at is not None:
        return ""
    if services().keys.state().sealed:
        return "Not checked yet: the console is sealed, so nothing is sent to it."
    if not services().runner.is_alive():
        return "Not checked yet: no runner is running. Start “stowage run”, or test the connection here."
    waiting = time.time() - backend.created_at
    if waiting > 120:
        return "Not checked yet. Test the connection to see what keeps it."
    return "Its first check is about to run."
