"""FTP: encryption, servers of many kinds, and what they lose or cut short."""

from __future__ import annotations

import ftplib
import os
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import trustme

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import Driver, LooksBeforeCreating
from dashboard.storage.drivers.ftp import connection as ftp_connection
from dashboard.storage.drivers.ftp import transfers
from dashboard.storage.drivers.ftp.errors import translate_error
from dashboard.storage.drivers.ftp.facts import format_time, parse_facts, parse_list_line, parse_time
from dashboard.storage.drivers.served.operations import FileStat
from dashboard.storage.errors import (
    Damaged,
    InvalidKey,
    NotFound,
    StorageError,
    Unsupported,
)
from dashboard.storage.library.backend import Backend
from dashboard.storage.registry import build, check_options
from dashboard.storage.types import Secret
from tests.servers.drivers import ftp_on
from tests.servers.ftp import PASSWORD, READER, USER, FtpServer
from tests.servers.processes import free_ports
from tests.storage.objects import content_of, get, keys_of, leftovers, stream
from tests.storage.probing import failed_step, run, states, step_of

Start = Callable[..., FtpServer]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Servers of this test alone, to be broken."""
    made: list[FtpServer] = []

    def begin(tls: str = "none", **more: object) -> FtpServer:
        folder = tmp_path / f"ftp-{len(made)}"
        folder.mkdir()
        made.append(FtpServer(folder, tls, **more))  # type: ignore[arg-type]
        return made[-1]

    yield begin
    for server in made:
        server.close()


@pytest.fixture
def server(start: Start) -> FtpServer:
    return start()


@pytest.fixture
def driver(server: FtpServer) -> Iterator[Driver]:
    driver = ftp_on(server)
    yield driver
    driver.close()


def signing_in(server: FtpServer, password: str = PASSWORD, **more: str) -> Driver:
    options = {"host": "127.0.0.1", "port": str(server.port), "user": USER, "tls": server.tls}
    secrets = {"password": Secret(password)}
    return build("ftp", check_options("ftp", options | more, secrets), secrets)


def refused(driver: Driver) -> StorageError:
    """Why the probe's sign-in failed; nothing of it may hold the password."""
    failed_step(run(driver), "authenticate")
    with pytest.raises(StorageError) as caught:
        driver.stat("x")
    driver.close()
    assert caught.value.remedy
    assert PASSWORD not in str(caught.value.as_dict())
    return caught.value


# ---- encryption


@pytest.mark.parametrize("tls13", [True, False])
@pytest.mark.parametrize("tls", ["explicit", "implicit"])
def test_everything_is_encrypted_in_one_tls_session(start: Start, tls: str, tls13: bool) -> None:
    server = start(tls, tls13=tls13)
    driver = ftp_on(server)
    result = run(driver)
    assert result.passed, result
    assert "TLS will encrypt" in step_of(result, "connect").message
    data = content_of(9 << 20)
    stream(driver, "big", data)
    assert get(driver, "big") == data
    assert server.reused
    assert all(server.reused)
    driver.close()


def test_without_encryption_the_probe_says_so(driver: Driver) -> None:
    result = run(driver)
    assert result.passed, result
    assert "without encryption" in step_of(result, "connect").message
    assert step_of(result, "bucket").label == "Find the folder"


def test_a_certificate_nobody_vouches_for_is_refused(start: Start) -> None:
    server = start("explicit")
    error = refused(signing_in(server))
    assert "authority" in error.reason
    assert "Certificate authority" in error.remedy
    assert "USER" not in server.commands
    stranger = trustme.CA().cert_pem.bytes().decode()
    refused(signing_in(server, ca_certificate=stranger))
    assert "USER" not in server.commands
    unchecked = signing_in(server, tls_verify="false")
    unchecked.put("a", b"x")
    unchecked.close()


def test_a_server_without_tls_gets_no_password(server: FtpServer) -> None:
    error = refused(signing_in(server, tls="explicit"))
    assert "does not offer TLS" in error.reason
    assert not error.retryable
    assert "USER" not in server.commands


def test_a_server_that_demands_tls_says_so(start: Start) -> None:
    error = refused(signing_in(start("explicit"), tls="none"))
    assert "encrypted connection" in error.reason


def test_the_wrong_kind_of_tls_is_told(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ftp_connection, "SIGN_IN_SECONDS", 0.5)
    assert "990" in refused(signing_in(start("explicit"), tls="implicit")).remedy
    implicit = start("implicit")
    for tls in ("explicit", "none"):
        error = refused(signing_in(implicit, tls=tls))
        assert "speaks TLS from the start" in error.reason
        assert "implicit" in error.remedy


# ---- signing in


def test_a_wrong_password_says_so(server: FtpServer) -> None:
    error = refused(signing_in(server, password="wrong-secret-not-for-use"))
    assert error.kind is Kind.BAD_CREDENTIALS
    assert "password" in error.reason
    assert not error.retryable


def test_a_reader_may_read_and_not_write(server: FtpServer) -> None:
    (server.root / "there").write_bytes(b"x" * 100)
    driver = ftp_on(server, user=READER)
    result = run(driver)
    assert states(result)["write"] == "failed"
    assert "copied from, not to" in step_of(result, "read").message
    for call in (partial(driver.put, "new", b"x"), partial(driver.delete, "there")):
        with pytest.raises(StorageError) as caught:
            call()
        assert caught.value.kind is Kind.DENIED
        assert caught.value.subject in ("new", "there")
    assert get(driver, "there") == b"x" * 100
    driver.close()


def test_something_else_on_the_port_is_not_ftp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other, ThreadPoolExecutor(1) as pool:
        port = other.getsockname()[1]
        options = {"host": "127.0.0.1", "port": str(port), "user": USER, "tls": "none"}
        driver = build("ftp", check_options("ftp", options))

        def greet() -> None:
            for _ in range(2):
                line = other.accept()[0]
                line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                line.close()

        pool.submit(greet)
        failed = failed_step(run(driver), "authenticate")
        driver.close()
    assert "does not speak FTP" in failed.message
    assert "SFTP" in failed.remedy


@pytest.mark.parametrize("tls", ["none", "explicit", "implicit"])
def test_a_wrong_host_or_port_is_told_before_anything_is_sent(tls: str) -> None:
    (port,) = free_ports(1)
    options = {"host": "127.0.0.1", "port": str(port), "user": USER, "tls": tls}
    driver = build("ftp", check_options("ftp", options))
    assert "nothing listens" in failed_step(run(driver), "connect").message
    lost = build("ftp", check_options("ftp", options | {"host": "no-such-host.invalid"}))
    failed_step(run(lost), "resolve")
    driver.close()
    lost.close()


def test_a_server_that_takes_no_more_connections_is_throttled(server: FtpServer) -> None:
    server.server.max_cons_per_ip = 1
    holder, other = ftp_on(server), ftp_on(server)
    holder.put("a", b"x")
    with pytest.raises(StorageError) as caught:
        other.stat("a")
    assert caught.value.kind is Kind.THROTTLED
    assert caught.value.retryable
    assert "Allow fewer connections" in caught.value.remedy
    holder.close()
    other.close()


def test_options_are_checked() -> None:
    good = check_options("ftp", {"host": "FTP.example.com", "user": "ada", "root": "/srv//files/"})
    assert (good["port"], good["tls"], good["root"]) == ("21", "explicit", "/srv/files")
    assert check_options("ftp", {"host": "h.example", "user": "a", "tls": "implicit"})["port"] == "990"
    for wrong in (
        {"host": "ftp://h.example"},
        {"host": "h.example:21"},
        {"host": "169.254.169.254"},
        {"port": "0"},
        {"port": "65536"},
        {"port": "ftp"},
        {"root": "/srv/../etc"},
        {"root": "a\nb"},
        {"user": "ada\r\nDELE x"},
        {"encoding": "utf-16"},
        {"encoding": "klingon"},
        {"connections": "0"},
        {"connections": "65"},
        {"tls": "maybe"},
    ):
        with pytest.raises(InvalidInput) as caught:
            check_options("ftp", {"host": "h.example", "user": "ada"} | wrong)
        assert caught.value.subject == next(iter(wrong))


# ---- servers that know less, or lie


@pytest.mark.parametrize("lacks", [("MLST", "MLSD"), ("MLST", "MLSD", "SIZE", "MDTM", "MFMT", "FEAT")])
def test_an_old_server_is_read_from_its_listings(start: Start, lacks: tuple[str, ...]) -> None:
    server = start(lacks=lacks)
    driver = ftp_on(server)
    assert run(driver).passed
    keys = ["a", "b/c d", "b/.hidden", "ü/x", "z -> y", "  two"]
    for key in keys:
        driver.put(key, key.encode())
    assert keys_of(driver) == sorted(keys, key=str.encode)
    for key in keys:
        assert driver.stat(key).size == len(key.encode())
        assert get(driver, key) == key.encode()
    with pytest.raises(NotFound):
        driver.stat("b")
    with pytest.raises(NotFound):
        driver.stat("nothing")
    assert keys_of(driver, "no/such/") == []
    driver.delete("b/c d")
    assert leftovers(server.root) == []
    driver.close()


def test_a_server_that_takes_a_switch_for_a_name_still_lists_everything(start: Start) -> None:
    server = start(lacks=("MLST", "MLSD"))
    server.takes_switches = False
    driver = ftp_on(server)
    for key in ("a", "b/c"):
        driver.put(key, b"x")
    assert keys_of(driver) == ["a", "b/c"]
    driver.close()


def test_a_listing_from_windows_is_read(start: Start) -> None:
    server = start(lacks=("MLST", "MLSD"))
    server.windows = True
    driver = ftp_on(server)
    for key in ("a file.txt", "folder/b"):
        driver.put(key, b"x" * 7)
    assert [(entry.key, entry.size) for entry in driver.list()] == [("a file.txt", 7), ("folder/b", 7)]
    driver.close()


def test_a_listing_nobody_can_read_is_not_taken_for_an_empty_one(start: Start) -> None:
    server = start(lacks=("MLST", "MLSD"))
    server.strange = True
    driver = ftp_on(server)
    with pytest.raises(StorageError) as caught:
        keys_of(driver)
    assert caught.value.kind is Kind.UNSUPPORTED
    assert "MLSD" in caught.value.remedy
    driver.close()


def test_the_address_a_server_behind_nat_gives_is_ignored(start: Start) -> None:
    server = start(masquerade_address="10.255.255.1")
    driver = ftp_on(server)
    driver.put("a", b"x")
    assert get(driver, "a") == b"x"
    driver.close()


def test_a_server_that_does_not_rename_over_a_file_still_replaces(server: FtpServer, driver: Driver) -> None:
    server.replaces = False
    driver.put("a", b"first")
    driver.put("a", content_of(3 << 20))
    assert get(driver, "a") == content_of(3 << 20)
    assert keys_of(driver) == ["a"]
    assert leftovers(server.root) == []


def test_an_object_comes_back_when_it_cannot_be_replaced(
    server: FtpServer, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.replaces = False
    driver.put("a", b"old")
    original = os.rename

    def rename(src: str, dst: str) -> None:
        if dst.endswith("/a") and ".old" not in src:
            raise PermissionError(1, "Not now")
        original(src, dst)

    with monkeypatch.context() as patch:
        patch.setattr(os, "rename", rename)
        with pytest.raises(StorageError):
            driver.put("a", b"new")
    assert get(driver, "a") == b"old"
    assert keys_of(driver) == ["a"]
    assert leftovers(server.root) == []


def test_names_in_another_encoding(start: Start) -> None:
    server = start(encoding="latin-1")
    driver = signing_in(server, encoding="latin-1")
    driver.put("größe", b"x")
    assert keys_of(driver) == ["größe"]
    assert get(driver, "größe") == b"x"
    for key in ("日本", "ÿ"):
        with pytest.raises(InvalidKey) as caught:
            driver.put(key, b"x")
        assert "latin" in caught.value.reason or "iso8859" in caught.value.reason
    driver.close()


@pytest.mark.parametrize("key", ["a\r\nDELE b", "a\nb", "a\rb", "a ", "b/c\t", "latin-\udce9"])
def test_a_key_that_could_be_another_command_or_name_is_refused(driver: Driver, key: str) -> None:
    for call in (partial(driver.put, key, b"x"), partial(driver.delete, key), partial(driver.stat, key)):
        with pytest.raises(InvalidKey) as caught:
            call()
        assert caught.value.subject == key


def test_folders_and_prefixes_are_no_way_around_that(server: FtpServer, driver: Driver) -> None:
    driver.put("b", b"x")
    backend = Backend("files", driver)
    for folder in ("a\r\nDELE b", "a\nb", "ÿ\udcff"):
        assert keys_of(driver, f"{folder}/") == []
        for call in (backend.make_directory, lambda name: list(backend.directories(name))):
            with pytest.raises(InvalidKey):
                call(folder)
    assert keys_of(driver) == ["b"]
    (server.root / "bell\rring").mkdir()
    with pytest.raises(InvalidKey):
        keys_of(driver)


def test_a_folder_may_end_in_a_space(server: FtpServer, driver: Driver) -> None:
    for key in ("a /x", "a/x"):
        driver.put(key, key.encode())
    assert sorted(path.name for path in server.root.iterdir()) == ["a", "a "]
    assert keys_of(driver) == ["a /x", "a/x"]
    assert get(driver, "a /x") == b"a /x"
    driver.delete("a /x")
    assert keys_of(driver) == ["a/x"]
    assert not (server.root / "a ").exists()


def test_names_of_a_hostile_server_lead_nowhere() -> None:
    assert parse_facts(b"type=file;size=3; ../../etc/passwd") == (b"../../etc/passwd", FileStat("file", 3))
    assert parse_facts(b"type=dir;modify=99999999999999; x") == (b"x", FileStat("folder"))
    for line in (b"nonsense", b"type=file;size=-3; x", b"type=file; x", b"size=3; x", b"type=file;size=3"):
        assert parse_facts(line) is None
    assert parse_facts(b"type=file;size=" + b"9" * 5000 + b"; x") is None


# ---- faults


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("553 Prohibited file name: a\\b", Kind.INVALID_KEY),
        ("553 Requested action not taken. File name not allowed.", Kind.INVALID_KEY),
        ("553 Could not create file.", Kind.DENIED),
    ],
)
def test_a_name_the_server_does_not_take_is_no_lack_of_rights(said: str, kind: Kind) -> None:
    error = translate_error(ftplib.error_perm(said), "write", "a\\b")
    assert (error.kind, error.subject) == (kind, "a\\b")


def test_a_server_that_keeps_less_than_it_says_is_found_out(server: FtpServer, driver: Driver) -> None:
    driver.put("old", b"kept")
    server.faults.lose_after = 100_000
    for key in ("old", "new"):
        with pytest.raises(Damaged):
            stream(driver, key, content_of(300_000))
    server.reset()
    assert get(driver, "old") == b"kept"
    assert keys_of(driver) == ["old"]
    assert leftovers(server.root) == []


@pytest.mark.parametrize("tls", ["none", "explicit"])
def test_a_read_that_ends_early_is_damaged(start: Start, tls: str) -> None:
    server = start(tls)
    driver = ftp_on(server)
    data = content_of(6 << 20)
    driver.put("big", data)
    server.reset()
    server.faults.cut_after = 1 << 20
    with pytest.raises(Damaged):
        get(driver, "big")
    server.reset()
    assert get(driver, "big") == data
    driver.close()


def test_a_server_that_went_away_and_came_back(server: FtpServer, driver: Driver) -> None:
    driver.put("a", b"x")
    server.stop()
    with pytest.raises(StorageError) as caught:
        driver.stat("a")
    assert caught.value.kind is Kind.UNREACHABLE
    server.start()
    assert get(driver, "a") == b"x"


def test_a_read_that_is_left_early_keeps_its_connection(start: Start) -> None:
    server = start("explicit")
    driver = ftp_on(server, connections="1")
    data = content_of(9 << 20)
    driver.put("big", data)
    before = server.sessions
    for _ in range(3):
        with driver.read("big") as reading:
            next(iter(reading.chunks()))
    assert get(driver, "big") == data
    assert server.sessions == before
    driver.close()


def test_a_server_that_does_not_notice_an_early_end_costs_the_connection(
    server: FtpServer, driver: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfers, "_CLOSE_SECONDS", 0.2)
    data = content_of(9 << 20)
    driver.put("big", data)
    with monkeypatch.context() as patch, driver.read("big") as reading:
        patch.setattr("pyftpdlib.handlers.FTPHandler.respond", lambda *args, **more: None)
        next(iter(reading.chunks()))
        reading.__exit__(None, None, None)
    assert get(driver, "big") == data


def test_nothing_is_created_only_where_nothing_is(driver: Driver) -> None:
    assert isinstance(driver, LooksBeforeCreating)
    assert not driver.supports_create_only()
    for write in (driver.put, partial(stream, driver)):
        with pytest.raises(Unsupported) as caught:
            write("a", b"x", create_only=True)
        assert caught.value.reason
    assert keys_of(driver) == []


# ---- what servers say


@pytest.mark.parametrize(
    ("line", "name", "found"),
    [
        (b"-rw-r--r--   1 ada  staff     1234 Nov 21 08:15 a b.txt", b"a b.txt", FileStat("file", 1234)),
        (b"-rw-r--r--   1 ada  staff     1234 Nov 21  2020  lead", b" lead", FileStat("file", 1234)),
        (
            b"-rw-r--r--+  1 1000 1000 5000000000 2026-11-21 08:15 big",
            b"big",
            FileStat("file", 5_000_000_000),
        ),
        (b"-rw-r--r--   1 ada        7 21 Nov 08:15:01 nogroup", b"nogroup", FileStat("file", 7)),
        (b"drwxr-xr-x   2 ada  staff     4096 Nov 21 08:15 folder", b"folder", FileStat("folder")),
        (b"lrwxrwxrwx   1 ada  staff        4 Nov 21 08:15 link -> to", b"link -> to", FileStat("other")),
        (b"11-21-26  08:15AM                 1234 a b.txt", b"a b.txt", FileStat("file", 1234)),
        (b"11-21-2026  08:15       <DIR>          folder", b"folder", FileStat("folder")),
    ],
)
def test_lines_of_listings(line: bytes, name: bytes, found: FileStat) -> None:
    assert parse_list_line(line) == (name, found)


@pytest.mark.parametrize(
    "line", [b"", b"total 12", b"FILE;1 12/24", b"-rw-r--r-- 1 ada staff x Nov 21 08:15 a"]
)
def test_lines_that_say_nothing(line: bytes) -> None:
    assert parse_list_line(line) is None


def test_times_are_utc_and_nonsense_is_none() -> None:
    assert parse_time("20261121081500") == 1795248900.0
    assert parse_time("20261121081500.25") == 1795248900.25
    assert format_time(1795248900.9) == "20261121081500"
    for text in ("", "2026", "20261321081500", "00000101000000", "yesterday"):
        assert parse_time(text) is None
