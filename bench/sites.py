"""One server of each kind, and how the driver and its peers reach it."""

from __future__ import annotations

import multiprocessing
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from dashboard.storage.driver import Driver
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret

SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Site:
    """An empty place on a running server, in the words of a driver's form."""

    driver: str
    options: dict[str, str]
    secrets: dict[str, str] = field(default_factory=dict, repr=False)

    def open(self) -> Driver:
        """Our driver for it."""
        secrets = {name: Secret(value) for name, value in self.secrets.items()}
        return build(self.driver, check_options(self.driver, self.options, secrets), secrets)


@contextmanager
def _local() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder:
        yield Site("local", {"root": folder})


@contextmanager
def _s3() -> Iterator[Site]:
    from tests.servers.seaweedfs import SeaweedFS

    with SeaweedFS() as server:
        options = {
            "endpoint": server.endpoint,
            "bucket": server.new_bucket(),
            "region": "us-east-1",
            "access_key_id": server.admin.access_key,
        }
        yield Site("s3", options, {"secret_access_key": server.admin.secret_key})


@contextmanager
def _azure() -> Iterator[Site]:
    from tests.servers.azurite import ACCOUNT, Azurite

    with Azurite() as server:
        options = {"account": ACCOUNT, "container": server.new_container(), "endpoint": server.endpoint}
        yield Site("azure", options, {"credential": server.key})


@contextmanager
def _webdav() -> Iterator[Site]:
    from tests.servers.webdav import PASSWORD, USER, WebDAV

    with WebDAV() as server:
        options = {"endpoint": server.endpoint, "username": USER, "prefix": server.new_folder()}
        yield Site("webdav", options, {"password": PASSWORD})


@contextmanager
def _gcs() -> Iterator[Site]:
    from tests.servers.gcs.server import GoogleStorage

    with GoogleStorage() as server:
        options = {"bucket": server.new_bucket(), "endpoint": server.endpoint}
        yield Site("gcs", options, {"credential": server.writer})


@contextmanager
def _sftp() -> Iterator[Site]:
    from tests.servers.sftp import PASSWORD, USER, SftpServer

    with (
        tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder,
        closing(SftpServer(Path(folder))) as server,
    ):
        options = {"host": "127.0.0.1", "port": str(server.port), "user": USER}
        yield Site("sftp", options | {"host_key": server.host_keys[0]}, {"password": PASSWORD})


@contextmanager
def _ftp() -> Iterator[Site]:
    from tests.servers.ftp import PASSWORD, USER, FtpServer

    with (
        tempfile.TemporaryDirectory(prefix="stowage-bench-") as folder,
        closing(FtpServer(Path(folder))) as server,
    ):
        options = {"host": "127.0.0.1", "port": str(server.port), "user": USER, "tls": "none"}
        yield Site("ftp", options, {"password": PASSWORD})


@contextmanager
def _vercel_blob() -> Iterator[Site]:
    from tests.servers.vercel_blob import VercelBlob

    with VercelBlob() as server:
        token = server.new_store()
        options = {"store": token.split("_")[3], "endpoint": server.endpoint}
        yield Site("vercel_blob", options, {"token": token})


_PROCESSES: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "local": _local,
    "s3": _s3,
    "azure": _azure,
    "webdav": _webdav,
}
"""Servers that are processes anyway, and the disk."""
_THREADS: dict[str, Callable[[], AbstractContextManager[Site]]] = {
    "gcs": _gcs,
    "sftp": _sftp,
    "ftp": _ftp,
    "vercel_blob": _vercel_blob,
}
"""Servers that live in threads of the process that starts them."""
SERVERS = {
    "local": "this machine's disk",
    "s3": "SeaweedFS",
    "azure": "Azurite",
    "gcs": "our stand-in, in Python",
    "sftp": "asyncssh",
    "ftp": "pyftpdlib",
    "webdav": "wsgidav",
    "vercel_blob": "our stand-in, in Python",
}


def site_of(driver: str) -> AbstractContextManager[Site]:
    """The driver's server with an empty place, for as long as a ``with`` block lasts. Never in threads of
    this process."""
    return _PROCESSES[driver]() if driver in _PROCESSES else _apart(driver)


@contextmanager
def _apart(driver: str) -> Iterator[Site]:
    here, there = SPAWN.Pipe()
    child = SPAWN.Process(target=_host, args=(driver, there), daemon=True)
    child.start()
    there.close()
    try:
        yield here.recv()
    finally:
        # The end of the pipe is the end of the server, however this process ends.
        here.close()
        child.join()


def _host(driver: str, pipe: Connection) -> None:
    with _THREADS[driver]() as site:
        pipe.send(site)
        pipe.poll(None)
