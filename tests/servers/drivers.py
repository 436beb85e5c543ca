"""Drivers for buckets and folders on the test servers."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from dashboard.storage.driver import Driver
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.ftp import PASSWORD as FTP_PASSWORD
from tests.servers.ftp import USER as FTP_USER
from tests.servers.ftp import FtpServer
from tests.servers.gcs.server import GoogleStorage
from tests.servers.moto import MotoS3
from tests.servers.s3 import KeyPair
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import PASSWORD as SFTP_PASSWORD
from tests.servers.sftp import USER as SFTP_USER
from tests.servers.sftp import SftpServer
from tests.servers.webdav import PASSWORD, USER

_numbers = count(1)


def s3_on(
    server: SeaweedFS | MotoS3,
    bucket: str,
    prefix: str,
    *,
    identity: KeyPair | None = None,
    customer_key: Secret | None = None,
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
        "sse": "SSE-C" if customer_key else "none",
    }
    secrets = {"secret_access_key": Secret(who.secret_key)}
    secrets |= {"sse_customer_key": customer_key} if customer_key else {}
    return build("s3", check_options("s3", options | more, secrets), secrets)


def sftp_on(server: SftpServer, root: str = "", user: str = SFTP_USER, **more: str) -> Driver:
    """Build an SFTP driver for a folder of a test server, with its host key accepted."""
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
    """Create an empty folder below a server's root and return its name."""
    name = f"place-{next(_numbers)}"
    (root / name).mkdir()
    return name


def ftp_on(server: FtpServer, root: str = "", user: str = FTP_USER, **more: str) -> Driver:
    """Build an FTP driver for a folder of a test server, with the encryption that it requires."""
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


def webdav_at(
    endpoint: str, prefix: str = "", *, user: str = USER, password: str = PASSWORD, **more: str
) -> Driver:
    """Build a WebDAV driver for an address of the test server."""
    options = {"endpoint": endpoint, "username": user, "prefix": prefix} | more
    secrets = {"password": Secret(password)}
    return build("webdav", check_options("webdav", options, secrets), secrets)


def azure_on(server: Azurite, container: str, credential: str, prefix: str = "", **more: str) -> Driver:
    """Build an Azure driver for a container of the emulator."""
    options = {"account": ACCOUNT, "container": container, "prefix": prefix, "endpoint": server.endpoint}
    secrets = {"credential": Secret(credential)}
    return build("azure", check_options("azure", options | more, secrets), secrets)


def gcs_on(server: GoogleStorage, bucket: str, key: str, prefix: str = "", **more: str) -> Driver:
    """Build a GCS driver for a bucket of the test server."""
    options = {"bucket": bucket, "prefix": prefix, "endpoint": server.endpoint} | more
    secrets = {"credential": Secret(key)}
    return build("gcs", check_options("gcs", options, secrets), secrets)


def vercel_at(endpoint: str, token: str, prefix: str = "", **more: str) -> Driver:
    """Build a Vercel Blob driver for the store of this token."""
    options = {"store": token.split("_")[3], "prefix": prefix, "endpoint": endpoint} | more
    secrets = {"token": Secret(token)}
    return build("vercel_blob", check_options("vercel_blob", options, secrets), secrets)
