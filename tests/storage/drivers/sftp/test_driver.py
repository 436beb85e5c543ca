"""SFTP: who is let in, whom we trust, what is left of a kill, and servers that know less."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import asyncssh
import pytest

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import Driver, LooksBeforeCreating
from dashboard.storage.drivers.sftp import protocol as sftp_protocol
from dashboard.storage.errors import InvalidKey, NotFound, StorageError, Unsupported
from dashboard.storage.library.backend import Backend
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.drivers import sftp_on
from tests.servers.processes import free_ports, wait_until
from tests.servers.sftp import PASSWORD, READER, USER, SftpServer
from tests.storage.objects import content_of, get, keys_of, leftovers
from tests.storage.probing import failed_step, run, states, step_of


@pytest.fixture
def server(tmp_path: Path) -> Iterator[SftpServer]:
    """A server of this test alone, to be broken."""
    (tmp_path / "sftp").mkdir()
    made = SftpServer(tmp_path / "sftp")
    yield made
    made.close()


def signing_in(server: SftpServer, host_key: str | None = None, **secrets: str) -> Driver:
    """A driver with these secrets."""
    options = {
        "host": "127.0.0.1",
        "port": str(server.port),
        "user": USER,
        "host_key": server.host_keys[0] if host_key is None else host_key,
    }
    wrapped = {name: Secret(value) for name, value in secrets.items()}
    return build("sftp", check_options("sftp", options, wrapped), wrapped)


def refused(driver: Driver) -> StorageError:
    """Why the probe's sign-in failed; nothing of it may hold a secret."""
    failed_step(run(driver), "authenticate")
    with pytest.raises(StorageError) as caught:
        driver.stat("x")
    driver.close()
    assert caught.value.kind is Kind.BAD_CREDENTIALS
    assert not caught.value.retryable
    assert caught.value.remedy
    assert PASSWORD not in str(caught.value.as_dict())
    return caught.value


def private_key(kind: str, form: str, passphrase: str | None = None) -> tuple[asyncssh.SSHKey, str]:
    key = asyncssh.generate_private_key(kind)
    return key, key.export_private_key(
        form, passphrase=passphrase, rounds=16, ignore_few_rounds=True
    ).decode()


# ---- trust


def test_every_step_of_a_good_connection_passes(server: SftpServer) -> None:
    driver = sftp_on(server)
    result = run(driver)
    assert result.passed, result
    assert "SSH" in step_of(result, "connect").message
    assert step_of(result, "bucket").label == "Find the folder"
    assert os.listdir(server.root) == []
    driver.close()


def test_an_unknown_host_key_is_shown_and_nothing_secret_is_sent(server: SftpServer) -> None:
    error = refused(signing_in(server, host_key="", password=PASSWORD))
    assert server.host_keys[0] in error.reason
    assert server.host_keys[0] in error.remedy
    assert server.passwords_seen == []


def test_a_changed_host_key_is_a_loud_error_and_nothing_secret_is_sent(server: SftpServer) -> None:
    old = server.host_keys[0]
    server.new_host_keys()
    error = refused(signing_in(server, host_key=old, password=PASSWORD))
    assert error.reason.startswith("WARNING")
    assert server.host_keys[0] in error.reason
    assert server.passwords_seen == []


def test_any_of_the_servers_keys_may_be_the_accepted_one(server: SftpServer) -> None:
    driver = signing_in(server, host_key=server.host_keys[1], password=PASSWORD)
    driver.put("a", b"x")
    driver.close()


@pytest.mark.parametrize("text", ["256 {} root@host (ED25519)", "{}=", "  {}  "])
def test_a_fingerprint_is_taken_as_ssh_keygen_prints_it(server: SftpServer, text: str) -> None:
    pinned = server.host_keys[0]
    given = {"host": "h.example", "user": "u", "host_key": text.format(pinned)}
    assert check_options("sftp", given)["host_key"] == pinned


def test_what_ssh_keyscan_prints_becomes_a_fingerprint() -> None:
    key = asyncssh.generate_private_key("ssh-ed25519")
    line = "h.example " + key.export_public_key().decode().strip()
    checked = check_options("sftp", {"host": "h.example", "user": "u", "host_key": line})
    assert checked["host_key"] == key.get_fingerprint()
    with pytest.raises(InvalidInput):
        check_options("sftp", {"host": "h.example", "user": "u", "host_key": "MD5:aa:bb"})


# ---- signing in


def test_a_wrong_password_says_so(server: SftpServer) -> None:
    assert "password" in refused(signing_in(server, password="wrong-secret-not-for-use")).reason


def test_no_secret_at_all_says_so(server: SftpServer) -> None:
    assert "neither" in refused(signing_in(server)).reason


@pytest.mark.parametrize(
    ("kind", "form", "passphrase"),
    [
        ("ssh-ed25519", "openssh", None),
        ("ssh-ed25519", "openssh", "opén me"),
        ("ecdsa-sha2-nistp256", "pkcs1-pem", None),
        ("ssh-rsa", "openssh", "open me"),
        ("ssh-rsa", "pkcs1-pem", "open me"),
        ("ssh-rsa", "pkcs1-pem", None),
    ],
)
def test_private_keys_open_the_door(server: SftpServer, kind: str, form: str, passphrase: str | None) -> None:
    key, text = private_key(kind, form, passphrase)
    server.accept(key)
    pasted = "\r\n".join(text.splitlines()) + "\r\n"
    driver = signing_in(server, private_key=pasted, passphrase=passphrase or "")
    driver.put("a", b"x")
    driver.close()


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_the_keys_of_ssh_keygen_open_the_door(server: SftpServer, tmp_path: Path, kind: str) -> None:
    if shutil.which("ssh-keygen") is None:
        pytest.skip("ssh-keygen is not installed")
    file = tmp_path / "id"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "open", "-f", file], check=True)
    server.accept(asyncssh.read_private_key(str(file), "open"))
    driver = signing_in(server, private_key=file.read_text(), passphrase="open")
    driver.put("a", b"x")
    driver.close()


def test_private_keys_that_cannot_be_used_say_why(server: SftpServer) -> None:
    key, text = private_key("ssh-ed25519", "openssh", "right")
    server.accept(key)
    assert "has a passphrase" in refused(signing_in(server, private_key=text)).reason
    assert "does not open" in refused(signing_in(server, private_key=text, passphrase="wrong")).reason
    assert "not complete" in refused(signing_in(server, private_key=text[40:])).reason
    assert "not complete" in refused(signing_in(server, private_key=text[:120])).reason
    damaged = text[:60] + "!" + text[61:]
    assert "cannot be read" in refused(signing_in(server, private_key=damaged)).reason
    _, foreign = private_key("ssh-rsa", "pkcs8-pem")
    assert "ssh-keygen -p" in refused(signing_in(server, private_key=foreign)).remedy
    _, stranger = private_key("ssh-ed25519", "openssh")
    assert "private key" in refused(signing_in(server, private_key=stranger)).reason


def test_a_server_without_passwords_tells_what_it_takes(server: SftpServer) -> None:
    server.passwords = False
    assert "publickey" in refused(signing_in(server, password=PASSWORD)).reason


def test_a_reader_may_read_and_not_write(server: SftpServer) -> None:
    (server.root / "there").write_bytes(b"x" * 100)
    driver = sftp_on(server, user=READER)
    result = run(driver)
    assert states(result)["write"] == "failed"
    assert "copied from, not to" in step_of(result, "read").message
    with pytest.raises(StorageError) as caught:
        driver.put("new", b"x")
    assert caught.value.kind is Kind.DENIED
    assert get(driver, "there") == b"x" * 100
    driver.close()


def test_something_else_on_the_port_is_not_ssh() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        driver = build("sftp", check_options("sftp", {"host": "127.0.0.1", "port": str(port), "user": "u"}))
        with ThreadPoolExecutor(1) as pool:

            def greet() -> None:
                for _ in range(2):
                    other = silent.accept()[0]
                    other.sendall(b"220 FTP ready\r\n")
                    other.close()

            pool.submit(greet)
            failed = failed_step(run(driver), "authenticate")
    assert "does not speak SSH" in failed.message
    driver.close()


def test_a_wrong_host_or_port_is_told_before_anything_is_sent() -> None:
    (port,) = free_ports(1)
    options = {"host": "127.0.0.1", "port": str(port), "user": USER}
    driver = build("sftp", check_options("sftp", options))
    assert "nothing listens" in failed_step(run(driver), "connect").message
    lost = build("sftp", check_options("sftp", options | {"host": "no-such-host.invalid"}))
    failed_step(run(lost), "resolve")
    driver.close()
    lost.close()


# ---- the folder


def test_links_are_no_objects_and_lead_nowhere(server: SftpServer, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"keep out")
    root = server.root / "place"
    root.mkdir()
    (root / "link").symlink_to(outside / "secret")
    (root / "folder").symlink_to(outside)
    (root / "real").write_bytes(b"x")
    driver = sftp_on(server, root="place")
    assert keys_of(driver) == ["real"]
    assert keys_of(driver, "folder/") == []
    for key in ("link", "folder/secret"):
        with pytest.raises(NotFound):
            driver.read(key)
        driver.delete(key)
    for key in ("link", "folder/new", "folder/secret"):
        with pytest.raises(StorageError) as caught:
            driver.put(key, b"y")
        assert caught.value.kind is Kind.CONFLICT
    (outside / "empty").mkdir()
    backend = Backend("files", driver)
    assert list(backend.directories()) == []
    assert backend.delete_directory("folder") == 0
    assert backend.delete_directory("folder/empty") == 0
    assert sorted(path.name for path in outside.iterdir()) == ["empty", "secret"]
    assert (outside / "secret").read_bytes() == b"keep out"
    driver.close()


def test_names_that_are_not_utf8_are_keys_like_others(server: SftpServer) -> None:
    (server.root / os.fsdecode(b"latin-\xe9")).write_bytes(b"x")
    driver = sftp_on(server)
    assert keys_of(driver) == ["latin-\udce9"]
    assert get(driver, "latin-\udce9") == b"x"
    driver.delete("latin-\udce9")
    assert os.listdir(server.root) == []
    driver.close()


def test_names_of_unfinished_writes_are_no_keys(server: SftpServer) -> None:
    driver = sftp_on(server)
    with pytest.raises(InvalidKey):
        driver.put("a/.stowage-tmp.x", b"")
    driver.close()


# ---- faults


def test_a_small_write_to_a_full_disk_does_not_pass_for_success(server: SftpServer) -> None:
    """The answers to pipelined writes come late; none may be lost."""
    driver = sftp_on(server)
    server.faults.full_after = 0
    with pytest.raises(StorageError) as caught:
        driver.put("a", b"x")
    assert caught.value.kind is Kind.FULL
    server.reset()
    assert keys_of(driver) == []
    driver.close()


class Killed(BaseException):
    """What no handler of an error sees."""


@pytest.mark.parametrize("renamed", [1, 2], ids=["between the renamings", "before the removal"])
def test_a_kill_while_a_file_stands_aside_loses_nothing(
    server: SftpServer, monkeypatch: pytest.MonkeyPatch, renamed: int
) -> None:
    began = time.time() - 1
    greet, call, asked = sftp_protocol.SftpProtocol._negotiate, sftp_protocol.SftpProtocol.call, []

    def without_posix_rename(wire: sftp_protocol.SftpProtocol) -> dict[bytes, bytes]:
        return {name: value for name, value in greet(wire).items() if not name.startswith(b"posix-rename")}

    def until_killed(
        wire: sftp_protocol.SftpProtocol, what: sftp_protocol.RequestType, *parts: bytes
    ) -> sftp_protocol.FieldReader:
        asked.append(what)
        # The first renaming is refused, because something has the name.
        if (
            what is sftp_protocol.RequestType.REMOVE
            or asked.count(sftp_protocol.RequestType.RENAME) > 1 + renamed
        ):
            raise Killed
        return call(wire, what, *parts)

    driver = sftp_on(server)
    driver.put("a/x", b"old")
    driver.close()
    with monkeypatch.context() as patched:
        patched.setattr(sftp_protocol.SftpProtocol, "_negotiate", without_posix_rename)
        patched.setattr(sftp_protocol.SftpProtocol, "call", until_killed)
        killed = sftp_on(server)
        with pytest.raises(Killed):
            killed.put("a/x", b"new")
    driver = sftp_on(server)
    assert leftovers(server.root)
    assert driver.sweep(["a/x", "a/y"], since=began) >= 1
    assert leftovers(server.root) == []
    assert keys_of(driver) == ["a/x"]
    assert get(driver, "a/x") == (b"old" if renamed == 1 else b"new")
    driver.close()


def test_leftovers_in_many_folders_are_swept_over_several_connections(server: SftpServer) -> None:
    writing = sftp_on(server)
    began = time.time() - 1
    held = [writing.write(f"{n}/x", size=1) for n in range(6)]
    driver = sftp_on(server)
    before = server.sessions
    assert driver.sweep([f"{n}/x" for n in range(6)], since=began) == 6
    assert server.sessions > before + 1
    assert leftovers(server.root) == []
    for each in held:
        each.__exit__(None, None, None)
    driver.close()
    writing.close()


def test_dropped_idle_connections_are_replaced_unseen(server: SftpServer) -> None:
    driver = sftp_on(server)
    driver.put("a", b"x")
    for _ in range(3):
        server.drop_connections()
        assert get(driver, "a") == b"x"
    server.stop()
    with pytest.raises(StorageError) as caught:
        driver.stat("a")
    assert caught.value.kind is Kind.UNREACHABLE
    server.start()
    assert get(driver, "a") == b"x"
    driver.close()


def test_a_read_that_is_left_early_frees_its_connection(server: SftpServer) -> None:
    driver = sftp_on(server, connections="1")
    data = content_of(9 << 20)
    driver.put("big", data)
    for _ in range(3):
        with driver.read("big") as reading:
            next(iter(reading.chunks()))
    assert get(driver, "big") == data
    driver.close()


# ---- servers that know less


@pytest.fixture
def plain_server(server: SftpServer, monkeypatch: pytest.MonkeyPatch) -> SftpServer:
    """A server without any extension."""
    monkeypatch.setattr(asyncssh.sftp.SFTPServerHandler, "_extensions", [])
    return server


def test_a_server_without_extensions_still_replaces(plain_server: SftpServer) -> None:
    driver = sftp_on(plain_server)
    driver.put("a", b"first")
    driver.put("a", content_of(3 << 20))
    assert get(driver, "a") == content_of(3 << 20)
    assert keys_of(driver) == ["a"]
    assert leftovers(plain_server.root) == []
    driver.close()


def test_a_server_without_hard_links_cannot_create_only(plain_server: SftpServer) -> None:
    driver = sftp_on(plain_server)
    assert isinstance(driver, LooksBeforeCreating)
    assert not driver.supports_create_only()
    for call in (partial(driver.put, "a", b"x"), partial(driver.write, "a")):
        with pytest.raises(Unsupported) as caught:
            call(create_only=True)
        assert caught.value.reason
    assert keys_of(driver) == []
    driver.close()


# ---- connections


def test_the_number_of_connections_is_bounded(server: SftpServer) -> None:
    driver = sftp_on(server, connections="3")
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda n: driver.put(f"{n}", content_of(1000)), range(60)))
    assert server.sessions <= 3
    assert len(keys_of(driver)) == 60
    driver.close()


def test_closing_signs_off(server: SftpServer) -> None:
    driver = sftp_on(server)
    driver.put("a", b"x")
    driver.close()
    wait_until(
        lambda: all(line.is_closed() for line in server.connections), seconds=60, what="every line closed"
    )
