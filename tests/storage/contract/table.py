"""The table of drivers that the contract suite runs over.

A new driver joins by one line in each table. ``DRIVERS`` are real backends; ``EXACT`` are those on which
every key a driver accepts must come back exactly (SeaweedFS itself rewrites some).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.registry import build, check_options
from dashboard.storage.wrappers.cached.driver import Cached
from dashboard.storage.wrappers.cached.stores import DiskStore
from dashboard.storage.wrappers.cdn.driver import BehindCdn
from dashboard.storage.wrappers.compressed.driver import Compressed
from dashboard.storage.wrappers.encrypted.driver import Encrypted
from dashboard.storage.wrappers.fallback.driver import Fallback
from tests.servers.azurite import Azurite
from tests.servers.drivers import (
    azure_on,
    ftp_on,
    gcs_on,
    new_folder,
    s3_on,
    sftp_on,
    vercel_at,
    webdav_at,
)
from tests.servers.foreign import catalogue
from tests.servers.ftp import FtpServer
from tests.servers.gcs.server import GoogleStorage
from tests.servers.moto import MotoS3
from tests.servers.sftp import SftpServer
from tests.servers.vercel_blob import VercelBlob
from tests.servers.webdav import WebDAV
from tests.storage import shelf
from tests.storage.wrappers.fallback.stand_ins import MemoryWaitingStore, OtherBackends

WRAPPER_KEY = b"secret-not-for-use".ljust(32, b".")

_numbers = count(1)


def local(request: pytest.FixtureRequest) -> Driver:
    """A new folder."""
    return build("local", check_options("local", {"root": str(request.getfixturevalue("root"))}))


def memory(request: pytest.FixtureRequest) -> Driver:
    """A new place in memory."""
    return build("memory", {})


def s3(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a shared bucket on SeaweedFS."""
    bucket = request.getfixturevalue("shared_bucket")
    return s3_on(request.getfixturevalue("seaweedfs"), bucket, f"contract-{next(_numbers)}/")


def s3_exact(request: pytest.FixtureRequest) -> Driver:
    """A new bucket on moto, which keeps odd keys."""
    server: MotoS3 = request.getfixturevalue("moto_s3")
    return s3_on(server, server.new_bucket(), "")


def sftp(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the SFTP server."""
    server: SftpServer = request.getfixturevalue("sftp_server")
    return sftp_on(server, new_folder(server.root))


def ftp(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the FTP server."""
    server: FtpServer = request.getfixturevalue("ftp_server")
    return ftp_on(server, new_folder(server.root))


def ftps(request: pytest.FixtureRequest) -> Driver:
    """A new folder on the FTP server that demands TLS."""
    server: FtpServer = request.getfixturevalue("ftps_server")
    return ftp_on(server, "/" + new_folder(server.root))


def webdav(request: pytest.FixtureRequest) -> Driver:
    """A new folder on wsgidav."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return webdav_at(server.endpoint, server.new_folder())


def nextcloud(request: pytest.FixtureRequest) -> Driver:
    """A new folder on wsgidav below /remote.php, which says what it received."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return webdav_at(server.cloud_endpoint, server.new_folder())


def azure(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new container on Azurite."""
    server: Azurite = request.getfixturevalue("azurite")
    return azure_on(server, server.new_container(), server.key, "deep/er/")


def azure_exact(request: pytest.FixtureRequest) -> Driver:
    """A new container on Azurite, signed in with a SAS token."""
    server: Azurite = request.getfixturevalue("azurite")
    container = server.new_container()
    return azure_on(server, container, server.sas(container, "racwdl"))


def gcs(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new bucket of Google's."""
    server: GoogleStorage = request.getfixturevalue("google")
    bucket = server.new_bucket()
    request.addfinalizer(lambda: server.forget(bucket))
    return gcs_on(server, bucket, server.writer, "deep/er/")


def gcs_exact(request: pytest.FixtureRequest) -> Driver:
    """A new bucket of Google's."""
    server: GoogleStorage = request.getfixturevalue("google")
    bucket = server.new_bucket()
    request.addfinalizer(lambda: server.forget(bucket))
    return gcs_on(server, bucket, server.writer)


def vercel_blob(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new public store."""
    server: VercelBlob = request.getfixturevalue("vercel")
    token = server.new_store()
    request.addfinalizer(lambda: server.forget(token))
    return vercel_at(server.endpoint, token, f"folder-{next(_numbers)}/")


def vercel_private(request: pytest.FixtureRequest) -> Driver:
    """A new folder of a new private store."""
    server: VercelBlob = request.getfixturevalue("vercel")
    token = server.new_store("private")
    request.addfinalizer(lambda: server.forget(token))
    return vercel_at(server.endpoint, token, f"f{next(_numbers)}/", access="private")


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
LISTED_BY_FOLDER = frozenset({"webdav", "nextcloud", "sftp", "ftp", "ftps"})
"""Whose protocols have no pages: a listing is as long as a folder."""
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
        return Cached(make(request), DiskStore(folder, 64 << 20))

    return made


def delivered(inner: Driver) -> Driver:
    """Behind a network that is not told of changes."""
    return BehindCdn(inner, "cdn.example.com", "folder/")


def backed(inner: Driver) -> Driver:
    """With another place behind it."""
    return Fallback(inner, MemoryWaitingStore(), OtherBackends(MemoryDriver()))


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
    name: foreign(name) for name in catalogue.SERVERS
}
UNPROVEN |= dict.fromkeys(FOREIGN, (-1, "file servers tell no checksum"))
UNPROVEN["rclone-s3"] = (SMALL, "it tells the MD5 of the whole where S3 tells one of the parts")
PROVEN_IN_ONE_REQUEST = frozenset({"azure", "rclone-s3"})
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
