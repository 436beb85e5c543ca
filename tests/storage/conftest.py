"""The table of drivers that the contract suite runs over.

A new driver joins by one line in each table. ``DRIVERS`` are real backends; ``EXACT`` are those on which
every key a driver accepts must come back exactly (SeaweedFS itself rewrites some).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from dashboard.storage.wrappers.cached.driver import Cached
from dashboard.storage.wrappers.cached.shelves import DiskShelf
from dashboard.storage.wrappers.cdn.driver import Delivered
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from dashboard.storage.wrappers.fallback.driver import Fallback
from tests.servers import interop
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.ftp import PASSWORD as FTP_PASSWORD
from tests.servers.ftp import USER as FTP_USER
from tests.servers.ftp import FtpServer
from tests.servers.gcs import GoogleStorage
from tests.servers.moto import MotoS3
from tests.servers.s3 import Identity
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import PASSWORD as SFTP_PASSWORD
from tests.servers.sftp import USER as SFTP_USER
from tests.servers.sftp import SftpServer
from tests.servers.vercel_blob import VercelBlob
from tests.servers.webdav import PASSWORD, USER, WebDAV
from tests.storage import shelf
from tests.storage.objects import Refused
from tests.storage.stand_ins import MemoryBook, Others

WRAPPER_KEY = b"secret-not-for-use".ljust(32, b".")

REFUSED = "raises Unsupported"
"""The property of a test report that says why a driver does not do what the test is about."""

_numbers = count(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[pytest.TestReport]:
    """A test that ends with ``Refused`` has passed, and its report says how."""
    report: pytest.TestReport = yield
    if call.when == "call" and call.excinfo is not None and isinstance(call.excinfo.value, Refused):
        report.outcome, report.longrepr = "passed", None
        report.user_properties.append((REFUSED, str(call.excinfo.value)))
    return report


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """An empty folder for a local driver."""
    path = tmp_path / "root"
    path.mkdir()
    return path


def local(request: pytest.FixtureRequest) -> Driver:
    """A new folder."""
    return build("local", check_options("local", {"root": str(request.getfixturevalue("root"))}))


def s3_on(
    server: SeaweedFS | MotoS3,
    bucket: str,
    prefix: str,
    *,
    identity: Identity | None = None,
    own_key: Secret | None = None,
    **more: str,
) -> Driver:
    """An S3 driver for a bucket of a test server, as its administrator or somebody else; with their own key
    it uses SSE-C."""
    who = identity or server.admin
    options = {
        "endpoint": server.endpoint,
        "bucket": bucket,
        "access_key_id": who.access_key,
        "prefix": prefix,
        "sse": "SSE-C" if own_key else "none",
    }
    secrets = {"secret_access_key": Secret(who.secret_key)}
    secrets |= {"sse_customer_key": own_key} if own_key else {}
    return build("s3", check_options("s3", options | more, secrets), secrets)


def memory(request: pytest.FixtureRequest) -> Driver:
    """A new place in memory."""
    return build("memory", {})


@pytest.fixture(scope="session")
def shared_bucket(seaweedfs: SeaweedFS) -> str:
    """One bucket for the whole suite: SeaweedFS sets volumes aside for each."""
    return seaweedfs.new_bucket()


def s3(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a shared bucket on SeaweedFS."""
    bucket = request.getfixturevalue("shared_bucket")
    return s3_on(request.getfixturevalue("seaweedfs"), bucket, f"contract-{next(_numbers)}/")


def s3_exact(request: pytest.FixtureRequest) -> Driver:
    """A new bucket on moto, which keeps odd keys."""
    server: MotoS3 = request.getfixturevalue("moto_s3")
    return s3_on(server, server.new_bucket(), "")


def sftp_on(server: SftpServer, root: str = "", user: str = SFTP_USER, **more: str) -> Driver:
    """An SFTP driver for a folder of a test server, whose key is accepted."""
    options = {
        "host": "127.0.0.1",
        "port": str(server.port),
        "user": user,
        "host_key": server.host_keys[0],
        "root": root,
        **more,
    }
    secrets = {"password": Secret(SFTP_PASSWORD)}
    return build("sftp", check_options("sftp", options, secrets), secrets)


def new_folder(root: Path) -> str:
    """An empty folder below a server's root."""
    name = f"place-{next(_numbers)}"
    (root / name).mkdir()
    return name


def sftp(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the SFTP server."""
    server: SftpServer = request.getfixturevalue("sftp_server")
    return sftp_on(server, new_folder(server.root))


def ftp_on(server: FtpServer, root: str = "", user: str = FTP_USER, **more: str) -> Driver:
    """An FTP driver for a folder of a test server, with the encryption it wants."""
    options = {
        "host": "127.0.0.1",
        "port": str(server.port),
        "user": user,
        "tls": server.tls,
        "ca_certificate": "" if server.tls == "none" else server.authority_pem,
        "root": root,
    }
    secrets = {"password": Secret(FTP_PASSWORD)}
    return build("ftp", check_options("ftp", options | more, secrets), secrets)


def ftp(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the FTP server."""
    server: FtpServer = request.getfixturevalue("ftp_server")
    return ftp_on(server, new_folder(server.root))


def ftps(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the FTP server that demands TLS."""
    server: FtpServer = request.getfixturevalue("ftps_server")
    return ftp_on(server, "/" + new_folder(server.root))


def webdav_at(
    endpoint: str, prefix: str = "", *, user: str = USER, password: str = PASSWORD, **more: str
) -> Driver:
    """A WebDAV driver for an address of the test server."""
    options = {"endpoint": endpoint, "username": user, "prefix": prefix} | more
    secrets = {"password": Secret(password)}
    return build("webdav", check_options("webdav", options, secrets), secrets)


def webdav(request: pytest.FixtureRequest) -> Driver:
    """A new folder on wsgidav."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return webdav_at(server.endpoint, server.new_folder())


def nextcloud(request: pytest.FixtureRequest) -> Driver:
    """A new folder on wsgidav below /remote.php, which says what it received."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return webdav_at(server.cloud_endpoint, server.new_folder())


def azure_on(server: Azurite, container: str, credential: str, prefix: str = "", **more: str) -> Driver:
    """An Azure driver for a container of the emulator."""
    options = {"account": ACCOUNT, "container": container, "prefix": prefix, "endpoint": server.endpoint}
    secrets = {"credential": Secret(credential)}
    return build("azure", check_options("azure", options | more, secrets), secrets)


def azure(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new container on Azurite."""
    server: Azurite = request.getfixturevalue("azurite")
    return azure_on(server, server.new_container(), server.key, "deep/er/")


def azure_exact(request: pytest.FixtureRequest) -> Driver:
    """A new container on Azurite, signed in with a SAS token."""
    server: Azurite = request.getfixturevalue("azurite")
    container = server.new_container()
    return azure_on(server, container, server.sas(container, "racwdl"))


def gcs_on(server: GoogleStorage, bucket: str, key: str, prefix: str = "", **more: str) -> Driver:
    """A driver for a bucket of the test server."""
    options = {"bucket": bucket, "prefix": prefix, "endpoint": server.endpoint} | more
    secrets = {"credential": Secret(key)}
    return build("gcs", check_options("gcs", options, secrets), secrets)


def gcs(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new bucket of Google's."""
    server: GoogleStorage = request.getfixturevalue("google")
    return gcs_on(server, server.new_bucket(), server.writer, "deep/er/")


def gcs_exact(request: pytest.FixtureRequest) -> Driver:
    """A new bucket of Google's."""
    server: GoogleStorage = request.getfixturevalue("google")
    return gcs_on(server, server.new_bucket(), server.writer)


def vercel_at(endpoint: str, token: str, prefix: str = "", **more: str) -> Driver:
    """A driver for the store of this token."""
    options = {"store": token.split("_")[3], "prefix": prefix, "endpoint": endpoint} | more
    secrets = {"token": Secret(token)}
    return build("vercel_blob", check_options("vercel_blob", options, secrets), secrets)


def vercel_blob(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new public store."""
    server: VercelBlob = request.getfixturevalue("vercel")
    return vercel_at(server.endpoint, server.new_store(), f"folder-{next(_numbers)}/")


def vercel_private(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new private store."""
    server: VercelBlob = request.getfixturevalue("vercel")
    return vercel_at(server.endpoint, server.new_store("private"), f"f{next(_numbers)}/", access="private")


def shelf_driver(request: pytest.FixtureRequest) -> Driver:
    """The driver on docs/own-driver.md, as an installed package."""
    folder: Path = request.getfixturevalue("tmp_path")
    shelf.install(folder / "site", "shelf", "stowage_shelf", shelf.SOURCE)
    request.addfinalizer(lambda: shelf.uninstall(folder / "site", "stowage_shelf"))
    return build("shelf", check_options("shelf", {"file": str(folder / "contract.shelf")}))


DRIVERS: dict[str, Callable[[pytest.FixtureRequest], Driver]] = {
    "memory": memory,
    "local": local,
    "s3": s3,
    "webdav": webdav,
    "nextcloud": nextcloud,
    "azure": azure,
    "sftp": sftp,
    "ftp": ftp,
    "ftps": ftps,
    "gcs": gcs,
    "vercel_blob": vercel_blob,
    "shelf": shelf_driver,
}
EXACT: dict[str, Callable[[pytest.FixtureRequest], Driver]] = {
    "memory": memory,
    "local": local,
    "s3": s3_exact,
    "webdav": webdav,
    "azure": azure_exact,
    "sftp": sftp,
    "ftp": ftp,
    "gcs": gcs_exact,
    "vercel_blob": vercel_private,
    "shelf": shelf_driver,
}
UNPROVEN = {
    "shelf": (-1, "SQLite tells no checksum, so a migration reads back what it wrote"),
    "ftp": (-1, "FTP servers tell no checksum, so a migration reads back what it wrote"),
    "ftps": (-1, "FTP servers tell no checksum, so a migration reads back what it wrote"),
    "vercel_blob": (-1, "Vercel Blob tells no checksum, so a migration reads back what it wrote"),
    "sftp": (-1, "SFTP servers tell no checksum, so a migration reads back what it wrote"),
    "webdav": (-1, "plain WebDAV servers tell no checksum, so a migration reads back what it wrote"),
    "azure": (SMALL, "Azurite does not tell the MD5 of a block it received, as Azure does"),
}
"""Rows of ``DRIVERS`` whose receipts prove nothing above so many bytes, and why."""
LOST_BY_THE_TEST_SERVER = {("s3", "new\nline"): "moto itself loses line breaks in keys"}
SORTED_BY_THE_TEST_SERVER = {
    "azure": ("\U0001f600", "Azurite sorts UTF-16 units, so after letters beyond U+FFFF")
}
"""A key whose place in a listing is the emulator's own idea."""


# Wrappers: each around memory and a real driver.


def wrapped_in(
    make: Callable[[pytest.FixtureRequest], Driver], *kinds: Callable[[Driver], Driver]
) -> Callable[[pytest.FixtureRequest], Driver]:
    """A driver with wrappers around it, innermost first."""

    def made(request: pytest.FixtureRequest) -> Driver:
        driver = make(request)
        for kind in kinds:
            driver = kind(driver)
        return driver

    return made


def encrypted(inner: Driver) -> Driver:
    """Encrypted with a key that tells whether it leaks."""
    return Encrypted(inner, WRAPPER_KEY)


def compressed(inner: Driver) -> Driver:
    """Compressing everything."""
    return Compressed(inner, frozenset({"*"}))


def cached_in(
    make: Callable[[pytest.FixtureRequest], Driver],
) -> Callable[[pytest.FixtureRequest], Driver]:
    """A driver behind a cache on disk that asks before every use of a copy."""

    def made(request: pytest.FixtureRequest) -> Driver:
        folder: Path = request.getfixturevalue("tmp_path") / "cache"
        return Cached(make(request), DiskShelf(folder, 64 << 20))

    return made


def delivered(inner: Driver) -> Driver:
    """Behind a network that is not told of changes."""
    return Delivered(inner, "cdn.example.com", "folder/")


def backed(inner: Driver) -> Driver:
    """With another place behind it."""
    return Fallback(inner, MemoryBook(), Others(MemoryDriver()))


DRIVERS |= {
    "fallback memory": wrapped_in(memory, backed),
    "fallback local": wrapped_in(local, backed),
    "cdn memory": wrapped_in(memory, delivered),
    "cdn local": wrapped_in(local, delivered),
    "cached memory": cached_in(memory),
    "cached local": cached_in(local),
    "encrypted cached local": wrapped_in(cached_in(local), encrypted),
    "compressed memory": wrapped_in(memory, compressed),
    "compressed local": wrapped_in(local, compressed),
    "compressed encrypted local": wrapped_in(local, encrypted, compressed),
    "encrypted memory": wrapped_in(memory, encrypted),
    "encrypted local": wrapped_in(local, encrypted),
    "encrypted s3": wrapped_in(s3, encrypted),
}
EXACT |= {
    "encrypted local": wrapped_in(local, encrypted),
    "compressed local": wrapped_in(local, compressed),
    "cached local": cached_in(local),
}


# Servers that nobody here wrote, under `make interop`.


def foreign(name: str) -> Callable[[pytest.FixtureRequest], Driver]:
    """A new folder on one of them."""

    def made(request: pytest.FixtureRequest) -> Driver:
        driver: Driver = request.getfixturevalue("foreign_server")(name).driver()
        return driver

    return made


FOREIGN: dict[str, Callable[[pytest.FixtureRequest], Driver]] = {
    name: foreign(name) for name in interop.SERVERS
}
UNPROVEN |= dict.fromkeys(FOREIGN, (-1, "file servers tell no checksum"))
UNPROVEN["rclone-s3"] = (SMALL, "it tells the MD5 of the whole where S3 tells one of the parts")
PROVEN_IN_ONE_REQUEST = frozenset({"rclone-s3"})
"""Whose receipts above that size depend on how the object was sent."""
_TWO_STEPS = "it removes what has the name before it gives it away, so a reader may find nothing"
_RCLONE = ("rclone-s3", "rclone-webdav", "rclone-ftp", "rclone-sftp")
REPLACES_IN_TWO_STEPS = dict.fromkeys(("apache", *_RCLONE), _TWO_STEPS)
_LOOKS_FIRST = "it looks and writes then, so of two at once both may win"
CREATES_TWICE = dict.fromkeys(("apache", "rclone-s3"), _LOOKS_FIRST)
LISTS_NO_TIMES = {"vsftpd": "its listings tell local times without a year or without a minute"}
KEEPS_SECONDS = {"rclone-ftp": "it counts seconds and lets nobody set the time of a file"}
IGNORES_CONDITIONS = {"rclone-s3": "it copies whatever version is there"}
ADDS_METADATA = {"rclone-s3": {"mtime"}}
"""What servers do that no driver can mend, and why."""
NOT_ASKED = {
    ("rclone-s3", "test_an_object_is_public_or_private"): "rclone answers a question for an ACL with nothing",
    (
        "rclone-s3",
        "test_tags_are_set_read_replaced_and_removed",
    ): "rclone says of tags that there is no object",
    (
        "rclone-s3",
        "test_versions_are_listed_where_they_are_kept",
    ): "rclone has no versions and refuses the question",
}
FOLDS_FORMS = dict.fromkeys(_RCLONE, "rclone takes the two forms of an accented letter for one name")
LONGEST_NAME = {"rclone-s3": 255}
"""Bytes of a name; longer ones, and those of slashes alone, are refused by a failure inside the server."""
CHANGES_CONTROLS = {"pure-ftpd": "it turns control characters into “_”, which the name rules of a place know"}
_FOREIGN = [pytest.param(name, marks=pytest.mark.interop) for name in FOREIGN]


@pytest.fixture(params=[*DRIVERS, *_FOREIGN])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """An empty place of each driver."""
    if reason := NOT_ASKED.get((request.param, request.node.originalname)):
        pytest.skip(reason)
    made = (DRIVERS | FOREIGN)[request.param](request)
    yield made
    made.close()


@pytest.fixture(params=[*EXACT, *_FOREIGN])
def exact_driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """An empty place of each driver on a server that keeps keys as they are."""
    made = (EXACT | FOREIGN)[request.param](request)
    yield made
    made.close()
