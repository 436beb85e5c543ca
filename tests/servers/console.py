"""The real console, ``python -m dashboard run``, as a process that may be killed at any moment."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from dashboard.jobs.lock import LOCK_FILE, RunnerLock
from tests.servers.processes import wait_until

CHECKOUT = Path(__file__).resolve().parents[2]


class ConsoleProcess:
    """One ``stowage run`` on an instance folder and a free port. ``lines`` is what it printed."""

    def __init__(self, instance: Path, *arguments: str, environ: dict[str, str] | None = None) -> None:
        self.instance = instance
        self.lines: list[str] = []
        self.address = ""
        self._arguments = arguments or ("--port", "0")
        # No setting of this machine may decide a test.
        ours = {name: value for name, value in os.environ.items() if not name.startswith("STOWAGE_")}
        self._environ = {**ours, "STOWAGE_INSTANCE": str(instance), **(environ or {})}
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id of the console itself."""
        assert self._process
        return self._process.pid

    @property
    def setup_code(self) -> str:
        """The code it printed last; it comes a line after the address."""
        wait_until(lambda: bool(self._codes()), seconds=60, what="a setup code")
        return self._codes()[-1]

    def command(self, *arguments: str, stdin: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
        """Run ``stowage`` with these arguments on the same instance."""
        return subprocess.run(
            [sys.executable, "-m", "dashboard", *arguments],
            cwd=CHECKOUT,
            env={**self._environ, **environ},
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    def start(self) -> None:
        """Start it and wait until it has said where it is."""
        said = len(self.lines)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "dashboard", "run", *self._arguments],
            cwd=CHECKOUT,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()
        wait_until(lambda: self._heard_address(said), seconds=60, what="console started")

    def runner_pid(self) -> int | None:
        """The process that holds the runner's lock now."""
        lock = RunnerLock(self.instance / LOCK_FILE)
        if not lock.held():
            return None
        pid = lock.holder()
        return pid if pid is not None and alive(pid) else None

    def await_runner(self, *, other_than: int | None = None) -> int:
        """Wait until a runner is at work; its process id."""
        wait_until(lambda: self.runner_pid() not in (None, other_than), seconds=60, what="a runner at work")
        pid = self.runner_pid()
        return pid if pid is not None else self.await_runner(other_than=other_than)

    def stop(self) -> int:
        """Ask it to stop, as systemd does; the exit code. Idempotent."""
        return self._end(signal.SIGTERM)

    def kill(self) -> int:
        """``kill -9``, which leaves the runner an orphan for a moment. Idempotent."""
        return self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> int:
        process = self._process
        if process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        try:
            code = process.wait(120)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
            if self._reader:
                # The runner holds no end of this pipe: what it prints goes through its parent.
                self._reader.join(60)
            self._process = None
        return code

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout
        with process.stdout:
            for line in process.stdout:
                self.lines.append(line.rstrip("\n"))

    def _codes(self) -> list[str]:
        return re.findall(r"Setup code: (\S+)", "\n".join(self.lines))

    def _heard_address(self, after: int) -> bool:
        for line in self.lines[after:]:
            if match := re.search(r"http://\S+", line):
                self.address = match[0]
                return True
        if self._process is None or self._process.poll() is not None:
            raise RuntimeError("the console did not start:\n" + "\n".join(self.lines[-20:]))
        return False


def alive(pid: int) -> bool:
    """Whether the process is there and not a zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def kill_9(pid: int) -> None:
    """Kill a runner and wait until it is gone."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 60
    while alive(pid) and time.monotonic() < deadline:
        time.sleep(0.002)
