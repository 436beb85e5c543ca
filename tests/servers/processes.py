"""What all test servers share: free ports, installed programs, and processes that end reliably."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self


def free_ports(count: int) -> list[int]:
    """That many distinct free ports on 127.0.0.1, held open together so that none repeats."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def program(name: str) -> str:
    """The path of an installed program: the one beside this Python first."""
    beside = Path(sys.executable).parent / name
    found = str(beside) if beside.exists() else shutil.which(name)
    if not found:
        raise FileNotFoundError(f"{name} is not installed; run `make test` or install the dev requirements")
    return found


def wait_until(done: Callable[[], bool], *, seconds: float, what: str) -> None:
    """Poll a condition. Raises ``TimeoutError``, naming it, if it is not true within ``seconds``."""
    deadline, pause = time.monotonic() + seconds, 0.01
    while not done():
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {seconds:.0f} s: {what}")
        time.sleep(pause)
        # What takes long is not asked for so often that asking is most of the work.
        pause = min(pause * 1.3, 0.1)


# The server replaces the shell; what stays behind beside it kills the whole group when the pipe from
# this process closes, however this process ended.
_UNTIL_PARENT_ENDS = 'exec 3<&0; (cat <&3; kill -9 0) >/dev/null & exec "$@" </dev/null 3<&-'


class ServerProcess:
    """A child in its own process group with its output in a file. ``stop`` is sure and idempotent, and
    the child does not outlive this process, not even after SIGKILL."""

    def __init__(self, command: Sequence[str], *, cwd: Path, log: Path) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                ["sh", "-c", _UNTIL_PARENT_ENDS, "sh", *command],
                cwd=cwd,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        atexit.register(self.stop)

    @property
    def pid(self) -> int:
        """The process id, which is also its group's."""
        return self._process.pid

    def check(self) -> None:
        """Raise with the end of the log when the server has died."""
        if self._process.poll() is not None:
            tail = self.log.read_text(errors="replace")[-3000:]
            raise RuntimeError(f"the server ended with status {self._process.returncode}:\n{tail}")

    def wait(self) -> None:
        """Wait until it has ended by itself."""
        self._process.wait()

    def stop(self) -> None:
        """Kill the whole group; a polite end takes SeaweedFS 25 seconds and its data is thrown away."""
        atexit.unregister(self.stop)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        if self._process.stdin:
            self._process.stdin.close()
        self._process.wait()


class TemporaryServer:
    """A server in its own process and folder, for as long as a ``with`` block lasts."""

    name: ClassVar[str]

    def command(self, port: int) -> Sequence[str]:
        """How it is started on this port; everything it needs is in ``folder`` then."""
        raise NotImplementedError

    def answers(self) -> bool:
        """Whether it takes requests by now."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix=f"stowage-{self.name}-"))
        [port] = free_ports(1)
        command = self.command(port)
        self._process = ServerProcess(command, cwd=Path.cwd(), log=self.folder / f"{self.name}.log")
        try:
            wait_until(self._ready, seconds=60, what=f"{self.name} ready")
        except BaseException:
            self._process.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _ready(self) -> bool:
        self._process.check()
        return self.answers()
