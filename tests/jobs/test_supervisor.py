"""The child is started again when it dies, stops when told, and never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from dashboard.jobs.child import Supervisor
from dashboard.jobs.types import RESTART_CODE
from tests.servers.console import alive
from tests.servers.processes import wait_until

POLITE = """
import os, signal, threading
from dashboard.jobs.child import when_parent_dies
from dashboard.jobs.stop_signal import StopSignal
stop = threading.Event()
StopSignal(signal.SIGTERM).then(stop.set)
when_parent_dies(stop.set)
print("child", os.getpid(), flush=True)
stop.wait()
print("bye", flush=True)
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("child", flush=True)
time.sleep(60)
"""
PARENT = """
import sys, time
from dashboard.jobs.child import Supervisor
Supervisor(lambda line: print(line, flush=True), command=[sys.executable, "-c", sys.argv[1]]).start()
time.sleep(60)
"""


@contextmanager
def supervised(script: str, lines: list[str], stop_seconds: float = 60.0) -> Iterator[Supervisor]:
    supervisor = Supervisor(lines.append, command=[sys.executable, "-c", script], stop_seconds=stop_seconds)
    supervisor.start()
    try:
        wait_until(lambda: bool(lines), seconds=60, what="child speaking")
        yield supervisor
    finally:
        supervisor.stop()


def test_a_killed_child_is_started_again() -> None:
    lines: list[str] = []
    with supervised(POLITE, lines) as supervisor:
        first = supervisor.pid
        assert first
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: len(lines) > 1, seconds=60, what="second child")
        assert supervisor.pid not in (None, first)
    assert supervisor.pid is None


def test_stopping_is_polite() -> None:
    lines: list[str] = []
    with supervised(POLITE, lines) as supervisor:
        supervisor.stop()
        supervisor.stop()
        assert lines[-1] == "bye"
        assert supervisor.pid is None


def test_a_child_that_does_not_listen_is_killed() -> None:
    lines: list[str] = []
    with supervised(STUBBORN, lines, stop_seconds=0.2) as supervisor:
        pid = supervisor.pid
        assert pid
        supervisor.stop()
        assert not alive(pid)


def test_a_child_that_asks_for_it_is_started_again() -> None:
    lines: list[str] = []
    with supervised(f"print('up', flush=True); raise SystemExit({RESTART_CODE})", lines):
        wait_until(lambda: len(lines) >= 3, seconds=60, what="three starts")


def test_a_crashing_child_is_started_ever_more_slowly() -> None:
    pauses: list[float] = []

    class Stopping(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            assert timeout is not None
            pauses.append(timeout)
            return super().wait(0.0)

    supervisor = Supervisor(lambda _: None, command=["false"])
    supervisor._stopping = Stopping()
    supervisor.start()
    wait_until(lambda: len(pauses) >= 10, seconds=60, what="ten starts")
    supervisor.stop()
    assert pauses[:10] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 30.0])


def test_the_child_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT, POLITE], stdout=subprocess.PIPE) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline().split()[1])
        assert alive(child)
        parent.kill()
        wait_until(lambda: not alive(child), seconds=60, what="child gone")


def test_nothing_starts_before_it_is_asked_to() -> None:
    supervisor = Supervisor(print, command=[sys.executable, "-c", ""])
    assert supervisor.pid is None
    supervisor.stop()
    supervisor.start()
    assert supervisor.pid is None
