"""Backends on other protocols than S3, saved and used through the services, on real servers."""

from __future__ import annotations

from dataclasses import replace

import asyncssh
import pytest

from dashboard.errors import InvalidInput
from dashboard.services.backends.backends import Draft
from dashboard.storage.types import Secret
from tests.servers.azurite import ACCOUNT, Azurite
from tests.servers.drivers import new_folder
from tests.servers.ftp import PASSWORD as FTP_PASSWORD
from tests.servers.ftp import USER as FTP_USER
from tests.servers.ftp import FtpServer
from tests.servers.gcs.server import GoogleStorage
from tests.servers.sftp import PASSWORD as SFTP_PASSWORD
from tests.servers.sftp import USER as SFTP_USER
from tests.servers.sftp import SftpServer
from tests.servers.vercel_blob import VercelBlob
from tests.servers.webdav import PASSWORD, USER, WebDAV
from tests.services.console import ADMIN, ServiceConsole


def used(console: ServiceConsole, draft: Draft, moved: dict[str, str]) -> None:
    """Save, test, use; then the secret is demanded again by whoever points it somewhere else."""
    backends = console.services.backends
    info = backends.add(ADMIN, draft)
    (name,) = draft.secrets
    secret = draft.secrets[name].reveal()
    assert secret not in repr(info)
    assert [step.state for step in console.services.probes.run(ADMIN, draft.name)][-1] == "passed"
    driver = backends.driver(draft.name)
    driver.put("a", b"x")
    assert [entry.key for entry in driver.list()] == ["a"]
    driver.close()
    blank = {name: Secret("")}
    edit = replace(draft, secrets=blank, existing=draft.name)
    assert backends.edit(ADMIN, edit).options == info.options
    with pytest.raises(InvalidInput) as caught:
        backends.edit(ADMIN, replace(edit, options={**draft.options, **moved}))
    assert caught.value.subject == name


def test_nextcloud(console: ServiceConsole, webdav_server: WebDAV) -> None:
    options = {
        "endpoint": webdav_server.cloud_endpoint,
        "username": USER,
        "prefix": webdav_server.new_folder(),
    }
    draft = Draft("cloud", "nextcloud", options, {"password": Secret(PASSWORD)})
    used(console, draft, {"endpoint": "https://evil.example/remote.php/dav"})


def test_azure(console: ServiceConsole, azurite: Azurite) -> None:
    options = {"account": ACCOUNT, "container": azurite.new_container(), "endpoint": azurite.endpoint}
    draft = Draft("blobs", "azure", options, {"credential": Secret(azurite.key)})
    used(console, draft, {"endpoint": "https://evil.example"})


@pytest.mark.parametrize("moved", [{"host": "evil.example"}, {"port": "2222"}, {"host_key": ""}])
def test_sftp(console: ServiceConsole, sftp_server: SftpServer, moved: dict[str, str]) -> None:
    options = {
        "host": "127.0.0.1",
        "port": str(sftp_server.port),
        "user": SFTP_USER,
        "host_key": sftp_server.host_keys[0],
        "root": new_folder(sftp_server.root),
    }
    draft = Draft("files", "sftp", options, {"password": Secret(SFTP_PASSWORD)})
    used(console, draft, moved)
    assert console.services.backends.get("files").secrets == {"password": ""}


def test_an_sftp_key_and_its_passphrase_are_kept_and_nothing_of_them_shown(
    console: ServiceConsole, sftp_server: SftpServer
) -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    sftp_server.accept(key)
    pasted = key.export_private_key("openssh", passphrase="a passphrase of some length").decode()
    secrets = {
        "private_key": Secret(pasted.replace("\n", "\r\n")),
        "passphrase": Secret("a passphrase of some length"),
    }
    options = {
        "host": "127.0.0.1",
        "port": str(sftp_server.port),
        "user": SFTP_USER,
        "host_key": sftp_server.host_keys[0],
        "root": new_folder(sftp_server.root),
    }
    info = console.services.backends.add(ADMIN, Draft("keyed", "sftp", options, secrets))
    assert info.secrets == {"private_key": "", "passphrase": ""}
    steps = list(console.services.probes.run(ADMIN, "keyed"))
    assert steps[-1].state == "passed"


def test_whoever_has_not_accepted_a_host_key_is_shown_it(
    console: ServiceConsole, sftp_server: SftpServer
) -> None:
    options = {"host": "127.0.0.1", "port": str(sftp_server.port), "user": SFTP_USER}
    draft = Draft("new", "sftp", options, {"password": Secret(SFTP_PASSWORD)})
    shown = [step for step in console.services.probes.run(ADMIN, draft) if step.state == "failed"]
    assert len(shown) == 1
    assert sftp_server.host_keys[0] in shown[0].message
    assert f"--option host_key={sftp_server.host_keys[0]}" in shown[0].remedy


@pytest.mark.parametrize("moved", [{"host": "evil.example"}, {"tls": "none"}, {"tls_verify": "false"}])
def test_ftp(console: ServiceConsole, ftps_server: FtpServer, moved: dict[str, str]) -> None:
    options = {
        "host": "127.0.0.1",
        "port": str(ftps_server.port),
        "user": FTP_USER,
        "ca_certificate": ftps_server.authority_pem,
        "root": new_folder(ftps_server.root),
    }
    draft = Draft("web", "ftp", options, {"password": Secret(FTP_PASSWORD)})
    used(console, draft, moved)


def test_google_cloud_storage(console: ServiceConsole, google: GoogleStorage) -> None:
    options = {"bucket": google.new_bucket(), "endpoint": google.endpoint}
    draft = Draft("google", "gcs", options, {"credential": Secret(google.writer)})
    used(console, draft, {"endpoint": "https://evil.example"})
    shown = console.services.backends.get("google")
    assert shown.secrets == {"credential": ""}


def test_vercel_blob(console: ServiceConsole, vercel: VercelBlob) -> None:
    token = vercel.new_store("private")
    options = {"store": token.split("_")[3], "endpoint": vercel.endpoint, "access": "private"}
    draft = Draft("vercel", "vercel_blob", options, {"token": Secret(token)})
    used(console, draft, {"endpoint": "https://evil.example/api/blob"})
