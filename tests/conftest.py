"""Servers shared by the whole test session. Each starts on first use and ends with the session."""

from __future__ import annotations

import asyncio
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from tests import shortcuts
from tests.servers import azurite as azurite_server
from tests.servers.azurite import Azurite
from tests.servers.faults import FaultProxy
from tests.servers.foreign import catalogue
from tests.servers.foreign.server import ForeignServer
from tests.servers.ftp import FtpServer
from tests.servers.gcs.server import GoogleStorage
from tests.servers.moto import MotoS3
from tests.servers.on_postgresql import Databases, every_console_on, reason_to_skip
from tests.servers.postgresql import PostgreSQL, postgresql_server
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import SftpServer
from tests.servers.vercel_blob import VercelBlob
from tests.servers.webdav import WebDAV

# No example fails because the machine was busy, and every run tries the same ones.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays to the end: looking it through for garbage again and again took a third of the
    time of collecting."""
    shortcuts.give_memory_back()
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        # Programs under test are short-lived: with Python's own thresholds a sixth of the time goes into
        # looking through what a module's fixtures keep.
        gc.set_threshold(20_000, 50, 100)
        gc.enable()


@pytest.fixture(autouse=True)
def _no_running_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """Between two tests in a browser, Playwright's loop counts as running on this thread; no other test could
    start one."""
    loop = asyncio._get_running_loop()
    if loop is None or "chromium" in request.fixturenames:
        yield
        return
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(loop)


@pytest.fixture(scope="session", autouse=True)
def _shortcuts() -> Iterator[None]:
    with shortcuts.taken():
        yield


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A real PostgreSQL server: ``create()`` makes a database, ``url()`` is its address."""
    with postgresql_server() as server:
        yield server


@pytest.fixture(scope="session", autouse=True)
def _databases(request: pytest.FixtureRequest) -> Iterator[Databases | None]:
    """With ``STOWAGE_TEST_POSTGRESQL`` set, every console is on PostgreSQL: ``make test-postgres``."""
    if not os.environ.get("STOWAGE_TEST_POSTGRESQL"):
        yield None
        return
    with every_console_on(request.getfixturevalue("postgresql")) as databases:
        yield databases


@pytest.fixture(autouse=True)
def _no_databases_left(request: pytest.FixtureRequest, _databases: Databases | None) -> Iterator[None]:
    if _databases and (reason := reason_to_skip(request.node.nodeid)):
        pytest.skip(reason)
    folder = request.getfixturevalue("tmp_path") if _databases else None
    yield
    if _databases and isinstance(folder, Path):
        _databases.drop_below(folder)


@pytest.fixture(scope="session")
def seaweedfs() -> Iterator[SeaweedFS]:
    """A real S3 server: ``endpoint``, ``admin``, ``reader``, ``new_bucket()``, ``add_identity()``."""
    with SeaweedFS() as server:
        yield server


@pytest.fixture(scope="session")
def moto_s3() -> Iterator[MotoS3]:
    """moto's S3, for keys SeaweedFS cannot hold: ``endpoint``, ``admin``, ``new_bucket()``."""
    with MotoS3() as server:
        yield server


@pytest.fixture(scope="session")
def ftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FtpServer]:
    """A real FTP server, without encryption; a test that breaks it starts its own."""
    server = FtpServer(tmp_path_factory.mktemp("ftp"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def ftps_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FtpServer]:
    """A real FTP server that demands TLS."""
    server = FtpServer(tmp_path_factory.mktemp("ftps"), "explicit")
    yield server
    server.close()


@pytest.fixture(scope="session")
def sftp_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    """A real SFTP server; a test that breaks it starts its own."""
    server = SftpServer(tmp_path_factory.mktemp("sftp"))
    yield server
    server.close()


@pytest.fixture
def fault_proxy(seaweedfs: SeaweedFS) -> Iterator[FaultProxy]:
    """SeaweedFS behind a proxy that breaks things when told to: ``endpoint`` and the fault methods."""
    with FaultProxy(seaweedfs.endpoint) as proxy:
        yield proxy


@pytest.fixture(scope="session")
def webdav_server() -> Iterator[WebDAV]:
    """wsgidav: ``endpoint``, ``cloud_endpoint`` in the manner of Nextcloud, ``new_folder()``."""
    with WebDAV() as server:
        yield server


@pytest.fixture(scope="session")
def foreign_server() -> Iterator[Callable[[str], ForeignServer]]:
    """One of ``catalogue.SERVERS``, by name: ``driver()``, ``files``; started once."""
    started: dict[str, ForeignServer] = {}
    with ExitStack() as until_the_end:

        def one(name: str) -> ForeignServer:
            if reason := catalogue.why_not(name):
                pytest.skip(reason)
            if name not in started:
                started[name] = until_the_end.enter_context(catalogue.SERVERS[name]())
            return started[name]

        yield one


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Azure's blob service: ``endpoint``, ``key``, ``new_container()``, ``sas()``."""
    if reason := azurite_server.why_not():
        pytest.skip(reason)
    with Azurite() as server:
        yield server


@pytest.fixture(scope="session")
def google() -> Iterator[GoogleStorage]:
    """Google Cloud Storage: ``endpoint``, the keys ``writer`` and ``reader``, ``new_bucket()``."""
    with GoogleStorage() as server:
        yield server


@pytest.fixture(scope="session")
def vercel() -> Iterator[VercelBlob]:
    """Vercel Blob: ``endpoint``, ``new_store()``, and ``late`` delivery when asked for."""
    with VercelBlob() as server:
        yield server


@pytest.fixture(scope="session")
def places_bucket(seaweedfs: SeaweedFS) -> str:
    """One bucket in which each provider of ``tests.servers.places`` has a folder: SeaweedFS sets volumes
    aside for each bucket."""
    return seaweedfs.new_bucket("places")
