"""What a person types for each provider, and what may be wrong with it: one table for the console's tests.

A provider joins by one line in ``PLACES``; a test fails for one that has none.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import asyncssh
import pytest

from dashboard.storage.drivers.local import options as local_options
from dashboard.storage.registry import PRESETS
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.drivers import new_folder
from tests.servers.ftp import PASSWORD as FTP_PASSWORD
from tests.servers.ftp import READER as FTP_READER
from tests.servers.ftp import USER as FTP_USER
from tests.servers.ftp import FtpServer
from tests.servers.gcs.server import GoogleStorage
from tests.servers.processes import free_ports
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import PASSWORD as SFTP_PASSWORD
from tests.servers.sftp import READER as SFTP_READER
from tests.servers.sftp import USER as SFTP_USER
from tests.servers.sftp import SftpServer
from tests.servers.vercel_blob import SUFFIX, VercelBlob
from tests.servers.webdav import PASSWORD as DAV_PASSWORD
from tests.servers.webdav import READER as DAV_READER
from tests.servers.webdav import READER_PASSWORD as DAV_READER_PASSWORD
from tests.servers.webdav import USER as DAV_USER
from tests.servers.webdav import WebDAV

TROUBLES = ("wrong secret", "wrong host", "another server", "missing place", "read-only")
PASSPHRASE = "open sesame"
WRONG = "certainly-not-the-secret"
ELSEWHERE = Path("/dev/shm")
"""A file system that is not the system's own, to take for a mounted share."""


@dataclass(frozen=True)
class WrongInput:
    """What is typed instead, the step that fails then, and words of what is said beside it.

    ``offered``: a button makes what is missing. ``served_at``: where the provider's own address leads, where
    no field of the form says so."""

    step: str
    says: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    offered: bool = False
    served_at: str = ""


@dataclass(frozen=True)
class ProviderInput:
    """A form filled in rightly. ``troubles``: each of ``TROUBLES``, or why this provider has none such."""

    preset: str
    options: Mapping[str, str]
    secrets: Mapping[str, str]
    troubles: Mapping[str, WrongInput | str]
    served_at: str = ""

    @property
    def provider(self) -> str:
        """What its card says."""
        return PRESETS[self.preset].label


def _nobody() -> int:
    """A port nobody listens at."""
    return free_ports(1)[0]


def _missing() -> str:
    """A name that is nowhere, and free on a server where an earlier test has made what was missing."""
    return f"no-such-{secrets.token_hex(4)}"


def _unheard(port: int) -> tuple[str, ...]:
    return f":{port} refused the connection", "Check the port"


def sftp(request: pytest.FixtureRequest) -> ProviderInput:
    """With a private key and its passphrase."""
    server: SftpServer = request.getfixturevalue("sftp_server")
    key = asyncssh.generate_private_key("ssh-ed25519")
    server.accept(key)
    # As slow to try as ssh-keygen makes it.
    pasted = key.export_private_key(
        "openssh", passphrase=PASSPHRASE, rounds=24, ignore_few_rounds=True
    ).decode()
    root, missing, nobody = new_folder(server.root), _missing(), _nobody()
    other: WebDAV = request.getfixturevalue("webdav_server")
    return ProviderInput(
        "sftp",
        {
            "host": "127.0.0.1",
            "port": str(server.port),
            "user": SFTP_USER,
            "host_key": server.host_keys[0],
            "root": root,
        },
        {"private_key": pasted, "passphrase": PASSPHRASE},
        {
            "wrong secret": WrongInput("Sign in", ("passphrase", "Check"), secrets={"passphrase": WRONG}),
            "wrong host": WrongInput("Connect", _unheard(nobody), {"port": str(nobody)}),
            "another server": WrongInput(
                "Sign in", ("does not speak SSH", "Check the port"), {"port": other.server.rpartition(":")[2]}
            ),
            "missing place": WrongInput(
                "Find the folder",
                (missing, "Create it here"),
                {"root": missing},
                offered=True,
            ),
            "read-only": WrongInput(
                "Write a test object",
                ("may not", "Give this user access"),
                {"user": SFTP_READER},
                {"private_key": "", "passphrase": "", "password": SFTP_PASSWORD},
            ),
        },
    )


def ftps(request: pytest.FixtureRequest) -> ProviderInput:
    """With explicit TLS and an authority of its own."""
    server: FtpServer = request.getfixturevalue("ftps_server")
    other: SftpServer = request.getfixturevalue("sftp_server")
    missing, nobody = _missing(), _nobody()
    return ProviderInput(
        "ftp",
        {
            "host": "127.0.0.1",
            "port": str(server.port),
            "user": FTP_USER,
            "root": new_folder(server.root),
            "ca_certificate": server.authority_pem,
        },
        {"password": FTP_PASSWORD},
        {
            "wrong secret": WrongInput("Sign in", ("password", "Check"), secrets={"password": WRONG}),
            "wrong host": WrongInput("Connect", _unheard(nobody), {"port": str(nobody)}),
            "another server": WrongInput("Sign in", ("FTP", "Check the port"), {"port": str(other.port)}),
            "missing place": WrongInput(
                "Find the folder",
                (missing, "Create it here"),
                {"root": missing},
                offered=True,
            ),
            "read-only": WrongInput(
                "Write a test object", ("may not", "Give this user access"), {"user": FTP_READER}
            ),
        },
    )


def webdav(request: pytest.FixtureRequest) -> ProviderInput:
    """A folder on wsgidav."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return _on_webdav("webdav", server, server.endpoint, request)


def nextcloud(request: pytest.FixtureRequest) -> ProviderInput:
    """A folder below /remote.php."""
    server: WebDAV = request.getfixturevalue("webdav_server")
    return _on_webdav("nextcloud", server, server.cloud_endpoint, request)


def _on_webdav(preset: str, server: WebDAV, endpoint: str, request: pytest.FixtureRequest) -> ProviderInput:
    missing, nobody = _missing(), _nobody()
    elsewhere = f"http://127.0.0.1:{nobody}{endpoint.removeprefix(server.server)}"
    other: GoogleStorage = request.getfixturevalue("google")
    return ProviderInput(
        preset,
        {"endpoint": endpoint, "username": DAV_USER, "prefix": server.new_folder()},
        {"password": DAV_PASSWORD},
        {
            "wrong secret": WrongInput(
                "Sign in", ("user name and password", "Type both again"), secrets={"password": WRONG}
            ),
            "wrong host": WrongInput("Connect", _unheard(nobody), {"endpoint": elsewhere}),
            "another server": WrongInput(
                "Sign in",
                ("part of WebDAV", "Check that the address"),
                {"endpoint": f"{other.endpoint}/files"},
            ),
            "missing place": WrongInput(
                "Find the folder",
                (missing, "Create it here"),
                {"prefix": missing},
                offered=True,
            ),
            "read-only": WrongInput(
                "Write a test object",
                ("may not write", "Give the user the right"),
                {"username": DAV_READER},
                {"password": DAV_READER_PASSWORD},
            ),
        },
    )


def azure(request: pytest.FixtureRequest) -> ProviderInput:
    """A container on Azurite; who may only read has a SAS token."""
    server: Azurite = request.getfixturevalue("azurite")
    container, missing, nobody = server.new_container(), _missing(), _nobody()
    wrong = base64.b64encode(b"secret-not-for-use" + bytes(46)).decode()
    other: WebDAV = request.getfixturevalue("webdav_server")
    return ProviderInput(
        "azure",
        {"account": ACCOUNT, "container": container, "endpoint": server.endpoint},
        {"credential": server.key},
        {
            "wrong secret": WrongInput(
                "Sign in", ("key or SAS", "Copy it again"), secrets={"credential": wrong}
            ),
            "wrong host": WrongInput(
                "Connect", _unheard(nobody), {"endpoint": f"http://127.0.0.1:{nobody}/{ACCOUNT}"}
            ),
            "another server": WrongInput(
                "Sign in",
                ("not Azure Blob Storage", "not a web page"),
                {"endpoint": f"{other.server}/{ACCOUNT}"},
            ),
            "missing place": WrongInput(
                "Find the container", (missing, "Create it here"), {"container": missing}, offered=True
            ),
            "read-only": WrongInput(
                "Write a test object",
                ("may not write", "SAS token with the permission Create and Write"),
                secrets={"credential": server.sas(container, "rl")},
            ),
        },
    )


def gcs(request: pytest.FixtureRequest) -> ProviderInput:
    """A bucket at Google's; the wrong key is one that the account had before."""
    server: GoogleStorage = request.getfixturevalue("google")
    writer = json.loads(server.writer)
    old = writer | {"private_key": json.loads(server.reader)["private_key"]}
    missing, nobody = _missing(), _nobody()
    nowhere = f"http://127.0.0.1:{nobody}"
    return ProviderInput(
        "gcs",
        {"bucket": server.new_bucket(), "endpoint": server.endpoint},
        {"credential": server.writer},
        {
            "wrong secret": WrongInput(
                "Sign in", ("does not accept this key", "Check IAM"), secrets={"credential": json.dumps(old)}
            ),
            "wrong host": WrongInput(
                "Connect",
                _unheard(nobody),
                {"endpoint": nowhere},
                {"credential": json.dumps(writer | {"token_uri": f"{nowhere}/token"})},
            ),
            "another server": "a key names its token server, which is asked before any other",
            "missing place": WrongInput(
                "Find the bucket", (missing, "Create it here"), {"bucket": missing}, offered=True
            ),
            "read-only": WrongInput(
                "Write a test object",
                ("may not write", "Storage Object User"),
                secrets={"credential": server.reader},
            ),
        },
    )


def vercel_blob(request: pytest.FixtureRequest) -> ProviderInput:
    """A private store."""
    server: VercelBlob = request.getfixturevalue("vercel")
    token = server.new_store("private")
    store, nobody = token.split("_")[3], _nobody()
    other: WebDAV = request.getfixturevalue("webdav_server")
    unknown = f"vercel_blob_rw_NoSuchStore_{SUFFIX}"
    return ProviderInput(
        "vercel_blob",
        {"store": store, "access": "private", "endpoint": server.endpoint},
        {"token": token},
        {
            "wrong secret": WrongInput(
                "Sign in",
                ("does not accept this token", "Copy"),
                secrets={"token": f"vercel_blob_rw_{store}_{WRONG.replace('-', '')}"},
            ),
            "wrong host": WrongInput(
                "Connect", _unheard(nobody), {"endpoint": f"http://127.0.0.1:{nobody}/api/blob"}
            ),
            "another server": WrongInput(
                "Sign in", ("not Vercel Blob", "not a web page"), {"endpoint": f"{other.server}/api/blob"}
            ),
            "missing place": WrongInput(
                "Sign in", ("NoSuchStore", "Copy the token"), {"store": "NoSuchStore"}, {"token": unknown}
            ),
            "read-only": "every token of a store may read and write",
        },
    )


def local(request: pytest.FixtureRequest) -> ProviderInput:
    """A folder on the system's own disk."""
    folder: Path = request.getfixturevalue("tmp_path")
    (folder / "files").mkdir()
    (folder / "closed").mkdir(mode=0o555)
    read_only: WrongInput | str = "the tests run as root here, who may write everywhere"
    if os.geteuid() != 0:
        read_only = WrongInput(
            "Write a test object", ("may not", "Give that user access"), {"root": str(folder / "closed")}
        )
    return ProviderInput(
        "local",
        {"root": str(folder / "files")},
        {},
        {
            "wrong secret": "nobody signs in to a disk",
            "wrong host": "a disk has no host",
            "another server": "a disk has no server",
            "missing place": WrongInput(
                "Find the folder",
                ("no-such", "Create it here"),
                {"root": str(folder / "no-such")},
                offered=True,
            ),
            "read-only": read_only,
        },
    )


def share(request: pytest.FixtureRequest) -> ProviderInput:
    """A folder on a file system of its own."""
    folder: Path = request.getfixturevalue("tmp_path")
    if not ELSEWHERE.is_dir() or ELSEWHERE.stat().st_dev == Path("/").stat().st_dev:
        pytest.skip("there is no other file system to take for a share here")
    if folder.stat().st_dev != Path("/").stat().st_dev:
        pytest.skip("temporary folders are on a disk of their own here")
    # The form takes no folder below /dev, and there is no other file system to be sure of.
    monkeypatch: pytest.MonkeyPatch = request.getfixturevalue("monkeypatch")
    monkeypatch.setattr(local_options, "_NOT_FOR_FILES", ("/proc", "/sys"))
    mounted = tempfile.TemporaryDirectory(dir=ELSEWHERE)
    request.addfinalizer(mounted.cleanup)
    return ProviderInput(
        "share",
        {"root": mounted.name, "mounted": "true"},
        {},
        {
            "wrong secret": "whoever mounts the share signs in, not Stowage",
            "wrong host": "whoever mounts the share says where it is",
            "another server": "whoever mounts the share says where it is",
            "missing place": WrongInput(
                "Find the folder", ("Nothing is mounted", "Mount"), {"root": str(folder)}
            ),
            "read-only": "as on a local disk",
        },
    )


def _s3(preset: str, **typed: str) -> Callable[[pytest.FixtureRequest], ProviderInput]:
    """A folder in a bucket on SeaweedFS, for a provider on the S3 driver and what only that one asks."""

    def made(request: pytest.FixtureRequest) -> ProviderInput:
        server: SeaweedFS = request.getfixturevalue("seaweedfs")
        bucket: str = request.getfixturevalue("places_bucket")
        other: WebDAV = request.getfixturevalue("webdav_server")
        missing, nobody = _missing(), _nobody()
        hidden = "endpoint" in PRESETS[preset].hidden

        def at(endpoint: str) -> dict[str, str]:
            return {} if hidden else {"endpoint": endpoint}

        def served(endpoint: str) -> str:
            return endpoint if hidden else ""

        empty = f"http://127.0.0.1:{nobody}"
        reader = {"access_key_id": server.reader.access_key}
        return ProviderInput(
            preset,
            {
                **at(server.endpoint),
                "bucket": bucket,
                "prefix": f"{preset}-{secrets.token_hex(3)}",
                "access_key_id": server.admin.access_key,
                **typed,
            },
            {"secret_access_key": server.admin.secret_key},
            {
                "wrong secret": WrongInput(
                    "Sign in", ("secret access key is wrong", "Copy"), secrets={"secret_access_key": WRONG}
                ),
                "wrong host": WrongInput("Connect", _unheard(nobody), at(empty), served_at=served(empty)),
                "another server": WrongInput(
                    "Sign in", ("not S3", "not a web page"), at(other.server), served_at=served(other.server)
                ),
                "missing place": WrongInput(
                    "Find the bucket", (missing, "Create it here"), {"bucket": missing}, offered=True
                ),
                "read-only": WrongInput(
                    "Write a test object",
                    ("may not write", "s3:PutObject"),
                    reader,
                    {"secret_access_key": server.reader.secret_key},
                ),
            },
            served(server.endpoint),
        )

    return made


PLACES: dict[str, Callable[[pytest.FixtureRequest], ProviderInput]] = {
    "local": local,
    "share": share,
    "aws": _s3("aws", region="eu-central-1"),
    "b2": _s3("b2", region="us-west-004"),
    "minio": _s3("minio"),
    "r2": _s3("r2", account_id="0123456789abcdef0123456789abcdef"),
    "spaces": _s3("spaces", region="nyc3"),
    "wasabi": _s3("wasabi", region="eu-central-1"),
    "supabase": _s3("supabase", project="abcdefghijklmnopqrst", region="eu-central-1"),
    "hetzner": _s3("hetzner", region="fsn1"),
    "scaleway": _s3("scaleway", region="fr-par"),
    "gcs_interop": _s3("gcs_interop"),
    "azure": azure,
    "gcs": gcs,
    "vercel_blob": vercel_blob,
    "nextcloud": nextcloud,
    "webdav": webdav,
    "sftp": sftp,
    "ftp": ftps,
    "s3": _s3("s3"),
}
"""Every provider by its name."""
