"""What all test servers share: free ports, installed programs, and processes that end reliably."""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

_PORTS_IN_A_BLOCK = 500
_FIRST_PORT = 10_000
_blocks: dict[int, tuple[int, Iterator[int]]] = {}
"""Of this process: the lock it holds, and its ports. A child that was forked takes a block of its own."""


def free_ports(count: int) -> list[int]:
    """That many distinct ports on 127.0.0.1 on which nobody listens, and nobody will before this process is
    through with its block: no other process of tests, and no client to which the system gives a port."""
    if os.getpid() not in _blocks:
        _blocks[os.getpid()] = _block()
    _, ports = _blocks[os.getpid()]
    return list(islice(filter(_is_free, ports), count))


def _block() -> tuple[int, Iterator[int]]:
    """Ports below those of clients, which no other process has while this one holds the lock."""
    folder = Path(tempfile.gettempdir()) / f"stowage-test-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    for first in range(_FIRST_PORT, _first_port_of_clients() - _PORTS_IN_A_BLOCK, _PORTS_IN_A_BLOCK):
        lock = os.open(folder / str(first), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock, cycle(range(first, first + _PORTS_IN_A_BLOCK))
        os.close(lock)
    raise RuntimeError("too many processes with tests are running: all blocks of ports are taken")


def _first_port_of_clients() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except OSError:
        # RFC 6335, section 6.
        first = 49_152
    # A machine that gives all ports to clients leaves no better choice.
    return first if first > _FIRST_PORT + 20 * _PORTS_IN_A_BLOCK else 32_768


def _is_free(port: int) -> bool:
    with socket.socket() as tried, contextlib.suppress(OSError):
        tried.bind(("127.0.0.1", port))
        return True
    return False


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
