"""Following a migration on a terminal: a bar that tells the truth, Ctrl-C that pauses, words at the end."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dashboard.cli import wording
from dashboard.cli.frame import DONE, WITH_ERRORS, Invocation
from dashboard.cli.output import Output
from dashboard.errors import StowageError
from dashboard.migration.types import Outcome, Progress, State
from dashboard.services.one_line import printable

if TYPE_CHECKING:
    from types import FrameType

PLAIN_EVERY = 5.0
"""Seconds between two lines where no terminal shows a bar."""


def follow(invocation: Invocation, migration_id: int) -> Progress:
    """Watch a migration until it ends, pauses or waits for approval; it is run here while no console is.

    The first Ctrl-C (or SIGTERM) pauses it and waits for that; the second quits at once, which loses
    nothing: the ledger knows where it stood.
    """
    services = invocation.services
    interrupted = 0
    asked = False

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted += 1
        if interrupted > 1:
            _quit(migration_id)

    def look(progress: Progress) -> None:
        nonlocal asked
        show(progress)
        if interrupted and not asked:
            asked = True
            invocation.out.note("Pausing: objects in flight are finished first. Ctrl-C again quits at once.")
            _pause(invocation, migration_id)

    with _display(invocation.out) as show, _signals(interrupt):
        return services.runner.run_job_until_final(migration_id, look)


def conclude(invocation: Invocation, progress: Progress) -> int:
    """Print how it ended, and what to do next where there is something to do; the exit code."""
    out = invocation.out
    failures = invocation.services.migrations.failures(progress.id)
    out.document({**progress.as_dict(), "failures": failures})
    out.fields(totals(progress))
    for group in failures:
        out.note(f"{wording.many(group.objects)} failed: {group.reason} For example: {group.example}")
        if group.remedy:
            out.note(f"  {group.remedy}")
    for line in _next_steps(progress):
        out.note(line)
    good = progress.outcome in (Outcome.CLEAN, Outcome.WITH_SKIPS)
    return DONE if progress.state is State.FINISHED and good else WITH_ERRORS


def totals(progress: Progress) -> list[tuple[str, str]]:
    """What a migration found and did, as name and value."""
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
        ("elapsed", wording.span(progress.elapsed)),
    ]


def plan(progress: Progress) -> list[tuple[str, str]]:
    """What was found and what will happen, as name and value."""
    c = progress.counters
    return [
        ("found", _amount(c.found, c.found_bytes, always=True)),
        ("copy", _amount(c.to_copy, c.to_copy_bytes, always=True)),
        ("replace", _amount(c.to_replace, c.to_replace_bytes)),
        ("compare", _amount(c.to_compare, c.to_compare_bytes)),
        ("keep both", _amount(c.to_keep_both, c.to_keep_both_bytes)),
        ("skip", _amount(c.skipped, c.skipped_bytes)),
        ("cannot", _amount(c.failed, c.failed_bytes)),
        ("then", "delete from the source what is verified" if progress.spec.delete_source else ""),
    ]


def state_in_words(progress: Progress) -> str:
    """Such as "finished with errors" or "pausing"."""
    if progress.stopping:
        return f"{progress.state.value}, stopping"
    words = {Outcome.CLEAN: "", Outcome.WITH_SKIPS: " with skips", Outcome.WITH_ERRORS: " with errors"}
    dry = " (dry run: nothing was copied)" if progress.spec.dry_run and progress.state.final else ""
    return progress.state.value + (words[progress.outcome] if progress.outcome else "") + dry


def line(progress: Progress) -> str:
    """How it stands, in one line."""
    c = progress.counters
    parts = [
        f"{c.done:,} of {wording.many(c.found)}",
        f"{wording.size(c.done_bytes)} of {wording.size(c.found_bytes)}",
    ]
    if c.failed:
        parts.append(f"{c.failed:,} failed")
    if progress.rate_bytes or progress.rate_objects:
        parts.append(f"{wording.size(progress.rate_bytes)}/s, {progress.rate_objects:,.0f} objects/s")
    if progress.eta is not None:
        parts.append(f"{wording.between(*progress.eta)} left")
    if not c.listing_final:
        parts.append("still listing")
    return ", ".join(parts)


def _amount(objects: int, size: int, *, always: bool = False) -> str:
    return f"{wording.many(objects)}, {wording.size(size)}" if objects or always else ""


def _next_steps(progress: Progress) -> Iterator[str]:
    number = progress.id
    if progress.state is State.PAUSED:
        yield f"Go on with: stowage migrations resume {number}"
    elif progress.state is State.FAILED:
        yield f"When that is mended, go on with: stowage migrations resume {number}"
    elif progress.counters.failed and not progress.spec.dry_run:
        yield f"Try the failed objects again with: stowage migrations retry-failed {number}"
    if progress.counters.failed:
        yield f"The whole list: stowage migrations report {number}"


def _pause(invocation: Invocation, migration_id: int) -> None:
    try:
        invocation.services.migrations.pause(invocation.actor, migration_id)
    except StowageError as error:
        # It ended in the same moment, or is being cancelled: the next look says so.
        invocation.out.note(error.reason)


def _quit(migration_id: int) -> None:
    # Threads blocked in the network would keep a polite exit waiting for minutes.
    show_cursor = "\x1b[?25h" if sys.stderr.isatty() else ""
    os.write(2, f"{show_cursor}\nStopped. Go on with: stowage migrations resume {migration_id}\n".encode())
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
    """A line when the state changes, and every few seconds while there is something new to say."""

    def __init__(self, out: Output) -> None:
        self._out = out
        self._said = ("", "")
        self._next = 0.0

    def show(self, progress: Progress) -> None:
        state, text = state_in_words(progress), line(progress)
        now = time.monotonic()
        if state != self._said[0] or (text != self._said[1] and now >= self._next):
            self._out.note(f"{state}: {progress.percent:.1f} %, {text}")
            self._said = (state, text)
            self._next = now + PLAIN_EVERY
