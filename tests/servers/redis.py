"""A real Redis server: the machine's own, or the one among the tests' requirements."""

from __future__ import annotations

import shutil
import socket
import sysconfig
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.servers.processes import ServerProcess, free_ports, wait_until

PASSWORD = "redis-password-not-for-use"


class RedisServer:
    """A server that runs until ``stop``; ``start`` again is a restart on the same port. With ``durable`` it
    has the same data then."""

    def __init__(self, program: str, folder: Path, *, durable: bool) -> None:
        self._folder = folder
        [self.port] = free_ports(1)
        settings = {
            "port": self.port,
            "bind": "127.0.0.1",
            "save": "",
            "requirepass": PASSWORD,
            "dir": folder,
        }
        if durable:
            settings |= {"appendonly": "yes", "maxmemory-policy": "noeviction"}
        self._command = [
            program,
            *(word for name, value in settings.items() for word in (f"--{name}", str(value))),
        ]
        self._process: ServerProcess | None = None

    @property
    def url(self) -> str:
        """Its address, password included."""
        return f"redis://:{PASSWORD}@127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = ServerProcess(self._command, cwd=self._folder, log=self._folder / "redis.log")
        wait_until(self._answers, seconds=60, what="Redis")

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        self._process.check()
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=1) as connection:
                # Not while it reads its file.
                connection.sendall(f"AUTH {PASSWORD}\r\nPING\r\nQUIT\r\n".encode())
                return b"PONG" in b"".join(iter(lambda: connection.recv(100), b""))
        except OSError:
            return False


@contextmanager
def running_redis(folder: Path, *, durable: bool = False) -> Iterator[RedisServer]:
    """A server with nothing in it. Skips where there is none to start."""
    scripts = sysconfig.get_path("scripts")
    program = shutil.which("redis-server") or shutil.which("redis-server", path=scripts)
    if program is None:
        pytest.skip("no redis-server for this machine: what uses Redis is not tried against one")
    server = RedisServer(program, folder, durable=durable)
    try:
        server.start()
        yield server
    finally:
        server.stop()


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """The address of a server, password included. Skips where there is none to start."""
    with running_redis(folder) as server:
        yield server.url
