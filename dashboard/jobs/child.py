"""Supervising a child process: start it, restart it when it exits, stop it."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from threading import Event, Lock, Thread

from dashboard.jobs.types import RESTART_CODE

log = logging.getLogger(__name__)

_PR_SET_PDEATHSIG = 1
STABLE_SECONDS = 60.0
"""Seconds after which a child counts as healthy and the backoff starts over."""
FIRST_DELAY = 0.1
MAX_DELAY = 30.0
MAX_DELAY_AFTER_KILL = 1.0
"""Seconds. A child that was killed, for example when memory ran out, need not wait longer than this."""
STOP_SECONDS = 7.0
"""Seconds a child has to stop after SIGTERM: its own shutdown time and a little to spare."""


class Supervisor:
    """Keeps one child process running between :meth:`start` and :meth:`stop`.

    The child's standard input is a pipe from this process: when this process dies, for whatever reason, the
    child reads end of file and stops. Each line that the child prints is passed to ``on_line``, so that it
    can be redacted before it is logged. ``command`` may be a function, called at each start. ``name`` is used
    in log messages; ``pass_fds`` are the file descriptors that every child inherits.
    """

    def __init__(
        self,
        on_line: Callable[[str], None],
        *,
        command: Sequence[str] | Callable[[], Sequence[str]],
        cwd: Path | None = None,
        stop_seconds: float = STOP_SECONDS,
        name: str = "runner",
        pass_fds: Sequence[int] = (),
    ) -> None:
        self._on_line = on_line
        self._command = command
        self._cwd = cwd
        self._stop_seconds = stop_seconds
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
        """The exit code of the last child that ended, or minus the number of the signal that ended it."""
        return self._last_exit

    def start(self) -> None:
        """Start the child and keep it running. Returns at once; idempotent."""
        if self._thread is None:
            self._thread = Thread(target=self._watch, name="supervisor", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Send SIGTERM, wait ``stop_seconds``, then kill. Idempotent."""
        with self._lock:
            self._stopping.set()
            child = self._child
        if child is not None and child.poll() is None:
            child.terminate()
            try:
                child.wait(self._stop_seconds)
            except subprocess.TimeoutExpired:
                log.warning(
                    "The %s did not stop in time and is killed; its work resumes at the next start",
                    self._name,
                )
                child.kill()
                child.wait()
        if self._thread is not None:
            self._thread.join(self._stop_seconds)

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
            if code == RESTART_CODE or time.monotonic() - started >= STABLE_SECONDS:
                delay = FIRST_DELAY
            pause = min(delay, MAX_DELAY_AFTER_KILL) if code < 0 else delay
            log.warning("The %s ended (%s); restarting it in %.1f s", self._name, _describe_exit(code), pause)
            if self._stopping.wait(pause):
                return
            delay = min(MAX_DELAY, delay * 2)

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


def when_parent_dies(callback: Callable[[], None]) -> None:
    """Call ``callback`` from a thread when standard input ends. For the child of a :class:`Supervisor`."""

    def watch() -> None:
        # Not sys.stdin: its lock would block the interpreter's exit.
        while os.read(0, 4096):
            pass
        callback()

    Thread(target=watch, name="parent-watch", daemon=True).start()


def end_with_parent(parent: int) -> None:
    """Have the system kill this process when the thread that started it ends, even while it is suspended; end
    it now if ``parent``, the id of the process that started it, is gone already. Only Linux can; elsewhere
    nothing happens."""
    if not sys.platform.startswith("linux"):
        return
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _describe_exit(code: int) -> str:
    if code == -signal.SIGKILL:
        return "signal 9, which the system also sends when it runs out of memory"
    return f"signal {-code}" if code < 0 else f"exit code {code}"
