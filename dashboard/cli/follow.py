"""Following a migration on a terminal: a progress bar, Ctrl-C to pause, and a summary at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dashboard.cli import formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Invocation
from dashboard.cli.output import Output
from dashboard.errors import StowageError
from dashboard.migration.types import CarrierProgress, Outcome, Progress, State
from dashboard.services.text import printable

if TYPE_CHECKING:
    from types import FrameType

LINE_SECONDS = 5.0
"""Seconds between lines when standard error is not a terminal."""


def follow(invocation: Invocation, migration_id: int) -> Progress:
    """Watch a migration until it ends, pauses or waits for approval. Runs it here if no console is running.

    The first Ctrl-C (or SIGTERM) pauses it and waits until it has paused; the second exits at once, which
    loses nothing, because the ledger has every result.
    """
    services = invocation.services
    interrupted = 0
    pause_requested = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted += 1
        if interrupted > 1:
            _quit(migration_id)

    def show_and_pause(progress: Progress) -> None:
        nonlocal pause_requested
        show(progress)
        if interrupted and not pause_requested:
            pause_requested = True
            invocation.out.note("Pausing: objects in flight are finished first. Ctrl-C again exits at once.")
            _pause(invocation, migration_id)

    with _display(invocation.out) as show, _signals(interrupt):
        return services.runner.run_job_until_final(migration_id, show_and_pause)


def print_result(invocation: Invocation, progress: Progress) -> int:
    """Print the result, and what to do next if anything; return the exit code."""
    out = invocation.out
    failures = invocation.services.migrations.failures(progress.id)
    out.document({**progress.as_dict(), "failures": failures})
    out.fields(totals(progress))
    for group in failures:
        out.note(f"{formatting.count_of(group.objects)} failed: {group.reason} For example: {group.example}")
        if group.remedy:
            out.note(f"  {group.remedy}")
    for line in _next_steps(progress):
        out.note(line)
    good = progress.outcome in (Outcome.CLEAN, Outcome.WITH_SKIPS)
    return DONE if progress.state is State.FINISHED and good else WITH_ERRORS


def totals(progress: Progress) -> list[tuple[str, str]]:
    """The result of a migration, as names and values."""
    c = progress.counters
    return [
        ("migration", f"{progress.id}: {progress.source} to {progress.destination}"),
        ("state", state_in_words(progress)),
        ("", progress.message),
        ("", progress.remedy),
        ("found", _amount(c.found, c.found_bytes, always=True)),
        ("copied", _amount(c.copied, c.copied_bytes, always=True)),
        ("verified", _amount(c.verified, c.verified_bytes)),
        ("skipped", _amount(c.skipped, c.skipped_bytes)),
        ("failed", _amount(c.failed, c.failed_bytes)),
        ("deleted", _amount(c.deleted, c.deleted_bytes)),
        ("elapsed", formatting.duration(progress.elapsed)),
        *(("carried by", _carrier(each)) for each in progress.carriers),
    ]


def plan(progress: Progress) -> list[tuple[str, str]]:
    """The plan of a migration, as names and values."""
    c = progress.counters
    return [
        ("found", _amount(c.found, c.found_bytes, always=True)),
        ("copy", _amount(c.to_copy, c.to_copy_bytes, always=True)),
        ("replace", _amount(c.to_replace, c.to_replace_bytes)),
        ("compare", _amount(c.to_compare, c.to_compare_bytes)),
        ("keep both", _amount(c.to_keep_both, c.to_keep_both_bytes)),
        ("skip", _amount(c.skipped, c.skipped_bytes)),
        ("cannot", _amount(c.failed, c.failed_bytes)),
        ("then", "delete verified objects from the source" if progress.spec.delete_source else ""),
    ]


def state_in_words(progress: Progress) -> str:
    """The state in words, such as "finished with errors"."""
    if progress.stopping:
        return f"{progress.state.value}, stopping"
    words = {Outcome.CLEAN: "", Outcome.WITH_SKIPS: " with skips", Outcome.WITH_ERRORS: " with errors"}
    dry = " (dry run: nothing was copied)" if progress.spec.dry_run and progress.state.final else ""
    return progress.state.value + (words[progress.outcome] if progress.outcome else "") + dry


def line(progress: Progress) -> str:
    """The progress in one line."""
    c = progress.counters
    parts = [
        f"{c.done:,} of {formatting.count_of(c.found)}",
        f"{formatting.size(c.done_bytes)} of {formatting.size(c.found_bytes)}",
    ]
    if c.failed:
        parts.append(f"{c.failed:,} failed")
    if progress.rate_bytes or progress.rate_objects:
        parts.append(f"{formatting.size(progress.rate_bytes)}/s, {progress.rate_objects:,.0f} objects/s")
    if progress.at_once:
        parts.append(f"{progress.at_once} at once")
    if len(progress.carriers) > 1:
        parts.append(f"{len(progress.carriers)} carriers")
    if progress.eta is not None:
        parts.append(f"{formatting.between(*progress.eta)} left")
    if not c.listing_final:
        parts.append("still listing")
    return ", ".join(parts)


def _carrier(each: CarrierProgress) -> str:
    parts = [f"process {each.pid} on {each.machine}"]
    if each.chunks:
        more = f" and {len(each.chunks) - 4} more" if len(each.chunks) > 4 else ""
        parts.append(f"chunk {', '.join(map(str, each.chunks[:4]))}{more}")
    parts.append(f"since {formatting.date(each.since)}")
    parts.append(f"{each.rate_objects:,.0f} objects/s, {formatting.size(each.rate_bytes)}/s")
    return ("" if each.number else "the runner: ") + ", ".join(parts)


def _amount(objects: int, size: int, *, always: bool = False) -> str:
    return f"{formatting.count_of(objects)}, {formatting.size(size)}" if objects or always else ""


def _next_steps(progress: Progress) -> Iterator[str]:
    number = progress.id
    if progress.state is State.PAUSED:
        yield f"Resume it with: stowage migrations resume {number}"
    elif progress.state is State.FAILED:
        yield f"Once that is fixed, resume it with: stowage migrations resume {number}"
    elif progress.counters.failed and not progress.spec.dry_run:
        yield f"Retry the failed objects with: stowage migrations retry-failed {number}"
    if progress.counters.failed:
        yield f"List every object with: stowage migrations report {number}"


def _pause(invocation: Invocation, migration_id: int) -> None:
    try:
        invocation.services.migrations.pause(invocation.actor, migration_id)
    except StowageError as error:
        # It has just ended, or is being cancelled: the next poll will show that.
        invocation.out.note(error.reason)


def _quit(migration_id: int) -> None:
    # Threads blocked in network calls would delay a clean exit by minutes.
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(
        2, f"{show_cursor}\nStopped. Resume it with: stowage migrations resume {migration_id}\n".encode()
    )
    os._exit(WITH_ERRORS)


@contextmanager
def _signals(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)


@contextmanager
def _display(out: Output) -> Iterator[Callable[[Progress], None]]:
    if not sys.stderr.isatty():
        yield _Lines(out).show
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bars

    bars = Bars(
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>5.1f} % "),
        TextColumn("{task.fields[line]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    task = bars.add_task("", total=100.0, line="")

    def show(progress: Progress) -> None:
        bars.update(
            task,
            completed=progress.percent,
            description=state_in_words(progress),
            line=printable(line(progress)),
        )

    with bars:
        yield show


class _Lines:
    """Prints a line when the state changes, and every few seconds if there is any progress."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._last = ("", "")
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        state, text = state_in_words(progress), line(progress)
        now = time.monotonic()
        if state != self._last[0] or (text != self._last[1] and now >= self._next):
            self._out.note(f"{state}: {progress.percent:.1f} %, {text}")
            self._last = (state, text)
            self._next = now + LINE_SECONDS
