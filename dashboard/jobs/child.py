"""The parent's side of a child process: start it, watch it, start it again, stop it."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock, Thread

from dashboard.jobs.types import RESTART_CODE

log = logging.getLogger(__name__)

STEADY = 60.0
"""Seconds after which a child counts as healthy and the backoff starts over."""
FIRST_DELAY = 0.1
LONGEST_DELAY = 30.0
LONGEST_AFTER_KILL = 1.0
"""Seconds; a child that was killed (by the system, short of memory) had no fault that time would mend."""
STOP_WITHIN = 7.0
"""Seconds a child gets to stop by itself: its own grace and a little to spare."""


class Supervisor:
    """Keeps one child process running between :meth:`start` and :meth:`stop`.

    The child holds the other end of a pipe as its standard input: when this process dies, however it
    dies, the child reads the end of it and stops. What the child prints is handed to ``on_line`` a line
    at a time, so that it can be redacted before it is logged. ``command`` may be a function, asked at each
    start. ``name`` is what the log calls it, and
    ``pass_fds`` are the descriptors that every child inherits.
    """

    def __init__(
        self,
        on_line: Callable[[str], None],
        *,
        command: Sequence[str] | Callable[[], Sequence[str]],
        cwd: Path | None = None,
        stop_within: float = STOP_WITHIN,
        name: str = "runner",
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._on_line = on_line
        self._command = command
        self._cwd = cwd
        self._stop_within = stop_within
        self._name = name
        self._pass_fds = tuple(pass_fds)
        self._last_exit: int | None = None
        self._stopping = Event()
        self._lock = Lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._thread: Thread | None = None

    @property
    def pid(self) -> int | None:
        """The child's process id, or None while there is none."""
        with self._lock:
            child = self._child
        return child.pid if child is not None and child.poll() is None else None

    @property
    def last_exit(self) -> int | None:
        """How the latest child that ended did so: its exit code, or minus a signal's number."""
        return self._last_exit

    def start(self) -> None:
        """Start the child and keep it running. Returns at once; idempotent."""
        if self._thread is None:
            self._thread = Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the child to stop, wait a few seconds, then make it. Idempotent."""
        with self._lock:
            self._stopping.set()
            child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(self._stop_within)
            except subprocess.TimeoutExpired:
                log.warning(
                    "The %s did not stop in time: ending it; its work goes on at the next start", self._name
                )
                child.kill()
                child.wait()
        if self._thread is not None:
            self._thread.join(self._stop_within)

    def _watch(self) -> None:
        delay = FIRST_DELAY
        while True:
            started = time.monotonic()
            child = self._spawn()
            if child is None:
                return
            self._relay(child)
            code = child.wait()
            self._last_exit = code
            if self._stopping.is_set():
                return
            if code == RESTART_CODE or time.monotonic() - started >= STEADY:
                delay = FIRST_DELAY
            pause = min(delay, LONGEST_AFTER_KILL) if code < 0 else delay
            log.warning("The %s ended (%s); starting it again in %.1f s", self._name, _ending(code), pause)
            if self._stopping.wait(pause):
                return
            delay = min(LONGEST_DELAY, delay * 2)

    def _spawn(self) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            self._child = subprocess.Popen(
                self._command() if callable(self._command) else self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self._cwd,
                pass_fds=self._pass_fds,
            )
            return self._child

    def _relay(self, child: subprocess.Popen[bytes]) -> None:
        assert child.stdout is not None
        assert child.stdin is not None
        with child.stdin, child.stdout:
            for line in child.stdout:
                self._on_line(line.decode("utf-8", "replace").rstrip())


def when_parent_dies(act: Callable[[], None]) -> None:
    """Call ``act`` once from a thread when standard input ends. For the child of a :class:`Supervisor`."""

    def watch() -> None:
        # os.read rather than sys.stdin: its lock would block the interpreter's exit.
        while os.read(0, 4096):
            pass
        act()

    Thread(target=watch, name="parent-watch", daemon=True).start()


def _ending(code: int) -> str:
    if code == -signal.SIGKILL:
        return "signal 9, which the system also sends when memory runs out"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
