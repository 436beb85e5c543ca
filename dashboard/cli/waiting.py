"""Waiting: for a person's yes, and for background work that some runner does."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from dashboard.cli.frame import Invocation
from dashboard.services.one_line import printable

LOOK = 0.25
"""Seconds between two looks."""


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person agrees. Wrong use where nobody can be asked and ``--yes`` was not given."""
    if yes:
        return True
    require_person()
    return click.confirm(printable(question), err=True)


def require_person() -> None:
    """Wrong use unless there is a terminal to ask on."""
    if not sys.stdin.isatty():
        raise click.UsageError("This asks before it acts, and there is no terminal to ask on: give --yes.")


def background(invocation: Invocation, finished: Callable[[], bool]) -> None:
    """Wait until ``finished`` says so. While nobody is the runner, this process is."""
    with _runner_of_last_resort(invocation) as ensure:
        while not finished():
            ensure().wait(LOOK)


@contextmanager
def _runner_of_last_resort(invocation: Invocation) -> Iterator[Callable[[], threading.Event]]:
    stop = threading.Event()
    thread: threading.Thread | None = None
    runner = invocation.services.runner

    def ensure() -> threading.Event:
        nonlocal thread
        # Not while another one is: it would only wait for the lock, and its owner may want to end.
        if (thread is None or not thread.is_alive()) and not runner.alive():
            thread = threading.Thread(target=runner.run_forever, args=(stop,), name="runner", daemon=True)
            thread.start()
        return stop

    try:
        yield ensure
    finally:
        stop.set()
        if thread is not None:
            thread.join()
