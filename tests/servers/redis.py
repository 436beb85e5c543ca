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


@contextmanager
def redis_server(folder: Path) -> Iterator[str]:
    """Its address, password included. Skips where there is no server to start."""
    scripts = sysconfig.get_path("scripts")
    program = shutil.which("redis-server") or shutil.which("redis-server", path=scripts)
    if program is None:
        pytest.skip("no redis-server for this machine: the cache in Redis is not tried against one")
    [port] = free_ports(1)
    settings = {"port": port, "bind": "127.0.0.1", "save": "", "requirepass": PASSWORD, "dir": folder}
    arguments = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    server = ServerProcess([program, *arguments], cwd=folder, log=folder / "redis.log")
    try:

        def ready() -> bool:
            server.check()
            return _answers(port)

        wait_until(ready, seconds=10, what="Redis")
        yield f"redis://:{PASSWORD}@127.0.0.1:{port}/0"
    finally:
        server.stop()


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
