"""WebDAV beyond the contract: folders, leftovers, sign-in, options, and what servers answer in trouble."""

from __future__ import annotations

import os
import ssl
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import trustme

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.driver import SMALL, Driver
from dashboard.storage.drivers.webdav.config import new_temporary
from dashboard.storage.drivers.webdav.driver import WebDavDriver
from dashboard.storage.drivers.webdav.xml import MalformedResponse, resources
from dashboard.storage.errors import Changed, ContainerMissing, Damaged, InvalidKey, NotFound, StorageError
from dashboard.storage.registry import build, check_options, summary
from dashboard.storage.types import Secret
from tests.servers.drivers import webdav_at
from tests.servers.faults import FaultProxy
from tests.servers.processes import free_ports
from tests.servers.webdav import READER, READER_PASSWORD, WebDAV
from tests.storage.objects import content_of, get, keys_of, stream
from tests.storage.probing import failed_step, run, states, step_of

DATA = content_of(5000)
LARGE = content_of(SMALL + 500_000)


@pytest.fixture
def place(webdav_server: WebDAV) -> str:
    return webdav_server.new_folder()


@pytest.fixture
def dav(webdav_server: WebDAV, place: str) -> Iterator[Driver]:
    driver = webdav_at(webdav_server.endpoint, place)
    yield driver
    driver.close()


@pytest.fixture
def proxy(webdav_server: WebDAV) -> Iterator[FaultProxy]:
    with FaultProxy(webdav_server.server) as proxy:
        yield proxy


@pytest.fixture
def broken(proxy: FaultProxy, place: str) -> Iterator[Driver]:
    """A driver that talks through the fault proxy."""
    driver = webdav_at(f"{proxy.endpoint}/files", place)
    yield driver
    driver.close()


def fails(call: object, *arguments: object) -> StorageError:
    with pytest.raises(StorageError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.reason.endswith(".")
    return caught.value


# Folders


def test_a_folder_is_no_object_and_is_never_deleted_or_replaced(dav: Driver) -> None:
    dav.put("a/b/c", DATA)
    for call in (dav.read, dav.stat):
        with pytest.raises(NotFound):
            call("a/b")
    dav.delete("a/b")
    for write in (lambda: dav.put("a/b", b"x"), lambda: stream(dav, "a/b", LARGE)):
        refused = fails(write)
        assert (refused.kind, refused.subject) == (Kind.CONFLICT, "a/b")
        assert "is a folder" in refused.reason
    assert get(dav, "a/b/c") == DATA
    assert keys_of(dav) == ["a/b/c"]


def test_a_file_in_place_of_a_folder_is_named(dav: Driver) -> None:
    dav.put("a", DATA)
    for write in (lambda: dav.put("a/b", b"x"), lambda: stream(dav, "a/b", LARGE)):
        refused = fails(write)
        assert (refused.kind, refused.retryable) == (Kind.CONFLICT, False)
    assert get(dav, "a") == DATA


def test_a_folder_that_vanished_is_made_again(dav: Driver, webdav_server: WebDAV, place: str) -> None:
    dav.put("a/b/one", DATA)
    (webdav_server.files / place / "a" / "b" / "one").unlink()
    (webdav_server.files / place / "a" / "b").rmdir()
    dav.put("a/b/two", DATA)
    assert keys_of(dav) == ["a/b/two"]


def test_the_folder_itself_can_be_missing_and_made(webdav_server: WebDAV, place: str) -> None:
    driver = webdav_at(webdav_server.endpoint, f"{place}/not/yet")
    assert isinstance(driver, WebDavDriver)
    assert not driver.bucket_exists()
    for call in (lambda: keys_of(driver), lambda: driver.put("a", b"x"), lambda: driver.put("a/b", b"x")):
        with pytest.raises(ContainerMissing):
            call()
    driver.create_bucket()
    driver.create_bucket()
    assert driver.bucket_exists()
    driver.put("a", b"x")
    driver.close()


# Versions


def test_a_file_that_is_rewritten_while_it_is_sent_is_told(
    dav: Driver, webdav_server: WebDAV, place: str
) -> None:
    dav.put("a", b"x" * 300_000)
    file = webdav_server.files / place / "a"
    with dav.read("a") as reading:
        pieces = reading.chunks()
        next(pieces)
        with file.open("r+b") as opened:
            opened.write(b"y" * 300_000)
        os.utime(file, (1, 1))
        with pytest.raises(Changed):
            list(pieces)


# Leftovers


def test_an_interrupted_write_is_invisible_and_swept(dav: Driver, webdav_server: WebDAV, place: str) -> None:
    dav.put("a/kept", DATA)
    began = time.time()
    folder = webdav_server.files / place / "a"
    left, other = (folder / new_temporary(key).rpartition("/")[2] for key in ("a/x", "a/y"))
    left.write_bytes(b"half")
    other.write_bytes(b"half")
    assert keys_of(dav) == ["a/kept"]
    assert dav.sweep(["a/x", "nowhere/z"], since=time.time() + 60) == 0
    assert dav.sweep(["a/x", "nowhere/z"], since=began) == 1
    assert sorted(path.name for path in folder.iterdir()) == sorted(["kept", other.name])
    with pytest.raises(InvalidKey):
        dav.check_key(f"a/{other.name}")


def test_nothing_is_left_behind_by_writes_of_any_kind(dav: Driver, webdav_server: WebDAV, place: str) -> None:
    for key in ("a", "a", "b?c;d", "é"):
        dav.put(key, DATA)
        stream(dav, key, DATA[::-1])
    stream(dav, "a", LARGE)
    with dav.write("a", size=len(LARGE)) as writing:
        writing.write(LARGE[:-1])
        with pytest.raises(Damaged):
            writing.commit()
    assert get(dav, "a") == LARGE
    assert sorted(path.name for path in (webdav_server.files / place).iterdir()) == ["a", "b?c;d", "é"]


# Trouble


@pytest.mark.parametrize(
    ("status", "method", "kind", "word"),
    [
        (403, "PUT", Kind.DENIED, "may not write"),
        (405, "PUT", Kind.DENIED, "did not store"),
        (413, "PUT", Kind.TOO_LARGE, "larger"),
        (423, "MOVE", Kind.THROTTLED, "locked"),
        (429, "PUT", Kind.THROTTLED, "throttling"),
        (500, "MOVE", Kind.UNREACHABLE, "internal error"),
        (502, "MOVE", Kind.UNREACHABLE, "proxy"),
        (503, "PUT", Kind.THROTTLED, "overloaded"),
        (507, "PUT", Kind.FULL, "no space"),
    ],
)
def test_each_refusal_has_its_sentence(
    broken: Driver, proxy: FaultProxy, status: int, method: str, kind: Kind, word: str
) -> None:
    broken.put("a", DATA)
    proxy.answer(status, "", method=method, times=None)
    error = fails(broken.put, "a", b"new")
    assert (error.kind, error.operation, error.subject) == (kind, "write", "a")
    assert word in error.reason
    assert error.remedy
    proxy.clear()
    assert get(broken, "a") == DATA
    assert keys_of(broken) == ["a"]


def test_a_full_server_ends_a_large_upload(broken: Driver, proxy: FaultProxy) -> None:
    proxy.answer(507, "", method="PUT", times=None)
    assert fails(stream, broken, "big", LARGE).kind is Kind.FULL


def test_passing_trouble_is_retried(broken: Driver, proxy: FaultProxy) -> None:
    for method in ("PUT", "PROPFIND", "MKCOL"):
        proxy.reset(method=method)
        proxy.answer(503, "", method=method)
    broken.put("new/a", DATA)
    assert keys_of(broken) == ["new/a"]
    assert broken.stat("new/a").size == len(DATA)


def test_a_cut_answer_is_never_a_whole_object(broken: Driver, proxy: FaultProxy) -> None:
    broken.put("a", DATA)
    for with_length in (True, False):
        proxy.truncate(1000, with_length=with_length)
        error = fails(get, broken, "a")
        assert error.kind in (Kind.DAMAGED, Kind.UNREACHABLE)
        assert error.retryable


def test_a_server_that_ignores_conditions_is_caught(broken: Driver, proxy: FaultProxy) -> None:
    broken.put("a", DATA)
    version = broken.stat("a").version
    proxy.then(lambda: None, method="GET")
    with pytest.raises(Changed):
        broken.read("a", if_version="W/some-other")
    with broken.read("a", if_version=version) as reading:
        assert reading.read_all() == DATA


def test_redirects_are_not_followed(webdav_server: WebDAV) -> None:
    class Elsewhere(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302)
            self.send_header("Location", webdav_server.endpoint)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_PROPFIND = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        driver = webdav_at(f"http://127.0.0.1:{server.server_address[1]}/files")
        for call in (lambda: keys_of(driver), lambda: get(driver, "a"), lambda: driver.stat("a")):
            error = fails(call)
            assert "redirect" in error.reason
            assert not error.retryable
        driver.close()
        server.shutdown()


BOMB = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>
<multistatus xmlns="DAV:"><response><href>/&b;</href></response></multistatus>"""
OUTSIDE = b"""<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>
<multistatus xmlns="DAV:"><response><href>/&a;</href></response></multistatus>"""


@pytest.mark.parametrize("document", [BOMB, OUTSIDE, b"<html></html>", b"", b"<multistatus", b"\xff\xfe\0"])
def test_answers_that_are_no_multistatus_are_refused(document: bytes) -> None:
    with pytest.raises(MalformedResponse):
        list(resources([document[:40], document[40:]]))


# TLS


@pytest.fixture
def behind_tls(webdav_server: WebDAV) -> Iterator[tuple[str, str]]:
    """The address of a proxy that ends TLS in front of the server, and its authority's certificate."""
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with FaultProxy(webdav_server.server, tls=context) as proxy:
        yield f"{proxy.endpoint}/files", authority.cert_pem.bytes().decode()


def test_a_private_authority_is_trusted_where_it_was_given(behind_tls: tuple[str, str], place: str) -> None:
    address, certificate = behind_tls
    for options in ({"ca_certificate": certificate}, {"tls_verify": "false"}):
        driver = webdav_at(address, place, **options)
        assert run(driver).passed
        # The server behind the proxy does not know that it is reached by TLS.
        driver.put("a", DATA)
        driver.put("a", DATA[::-1])
        stream(driver, "a", LARGE)
        assert get(driver, "a") == LARGE
        driver.close()
    stranger = webdav_at(address, place)
    assert "certificate" in failed_step(run(stranger), "connect").message
    for call in (lambda: get(stranger, "a"), lambda: stream(stranger, "a", LARGE)):
        error = fails(call)
        assert error.kind is Kind.UNREACHABLE
        assert not error.retryable


# The connection test


def test_a_good_connection_passes_every_step(dav: Driver) -> None:
    result = run(dav)
    assert result.passed
    assert set(states(result).values()) == {"passed"}
    assert keys_of(dav) == []


def test_a_wrong_password_is_told_from_a_missing_folder(webdav_server: WebDAV, place: str) -> None:
    step = failed_step(run(webdav_at(webdav_server.endpoint, place, password="wrong")), "authenticate")
    assert "user name and password" in step.message
    result = run(webdav_at(webdav_server.endpoint, "no/such"))
    assert failed_step(result, "bucket")
    assert result.can_create_bucket


def test_a_wrong_port_and_a_wrong_path(webdav_server: WebDAV) -> None:
    (port,) = free_ports(1)
    failed_step(run(webdav_at(f"http://127.0.0.1:{port}/files")), "connect")
    assert step_of(run(webdav_at(f"{webdav_server.server}/elsewhere")), "bucket").state == "failed"


def test_a_user_who_may_only_read_can_be_copied_from(webdav_server: WebDAV, dav: Driver, place: str) -> None:
    dav.put("a", DATA)
    reader = webdav_at(webdav_server.endpoint, place, user=READER, password=READER_PASSWORD)
    result = run(reader)
    assert states(result)["write"] == "failed"
    assert "copied from" in step_of(result, "read").message
    reader.close()


# Options


def checked(**changes: str) -> dict[str, str]:
    options = {"endpoint": "https://dav.example.com/a b/", "username": "ada", **changes}
    return dict(check_options("webdav", options, {"password": Secret("x")}))


def test_an_address_is_normalised_and_can_be_handed_in_again() -> None:
    first = checked(prefix="/Photos/2024/")
    assert (first["endpoint"], first["prefix"]) == ("https://dav.example.com/a%20b", "Photos/2024/")
    assert checked(**first) == first
    assert summary("webdav", first) == "dav.example.com/a%20b/Photos/2024"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("endpoint", "https://ada:secret@dav.example.com/"),
        ("endpoint", "ftp://dav.example.com/"),
        ("endpoint", "https://dav.example.com/a/../b"),
        ("endpoint", "https://dav.example.com/a%2fb"),
        ("endpoint", "https://dav.example.com/%ff"),
        ("endpoint", "https://dav.example.com/?x"),
        ("endpoint", "http://169.254.169.254/"),
        ("username", "a:b"),
        ("prefix", "a/../b"),
        ("ca_certificate", "nonsense"),
    ],
)
def test_what_cannot_be_an_address_is_refused(field: str, value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        checked(**{field: value})
    assert caught.value.subject == field


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    driver = build("webdav", checked(endpoint="http://dav.example.com"), {"password": Secret("x")})
    found = [(2, 1, 6, "", ("169.254.169.254", 80))]
    monkeypatch.setattr("dashboard.storage.net.connecting.socket.getaddrinfo", lambda *a, **k: found)
    error = fails(driver.stat, "a")
    assert error.kind is Kind.DENIED
    assert "metadata" in error.reason
