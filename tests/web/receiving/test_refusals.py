"""What is refused while it is still being sent: an error that the client can read, in its own language."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any

import pytest

from dashboard.services.permissions import Actor, Role
from dashboard.web.receiving import refusals
from dashboard.web.receiving.large_bodies import LargeBodies
from tests.web.conftest import ADMIN, WebConsole
from tests.web.test_server import closed, serving

SIZE = 3 * 1024 * 1024
CHUNK = 60_000


@pytest.fixture
def address(console: WebConsole, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    takes = LargeBodies(console.app, console.services)
    with serving(console.app, monkeypatch, takes_large_body=takes, words_refusals=True) as found:
        yield found


@pytest.fixture(scope="module")
def token(console: WebConsole) -> str:
    created = console.services.tokens.create(Actor(ADMIN, Role.ADMIN, "web"), "refused", ["configure"])
    return created.secret.reveal()


def head(path: str, *lines: str, method: str = "POST") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: localhost", *lines, "", ""]).encode()


def read(client: socket.socket) -> tuple[int, dict[str, str], bytes]:
    response = HTTPResponse(client)
    response.begin()
    return response.status, {name.lower(): value for name, value in response.getheaders()}, response.read()


def chunked(size: int) -> Iterator[bytes]:
    for _ in range(size // CHUNK):
        yield b"%x\r\n" % CHUNK + b"x" * CHUNK + b"\r\n"
    yield b"0\r\n\r\n"


def error_of(found: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    status, headers, body = found
    assert (status, headers["content-type"]) == (413, "application/json")
    assert headers["connection"] == "close"
    assert headers["x-content-type-options"] == "nosniff"
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) >= {"kind", "reason", "remedy", "retryable"}
    return error


def test_a_body_that_is_too_large_is_refused_in_json(address: tuple[str, int], token: str) -> None:
    length = f"Content-Length: {SIZE}"
    bearer = f"Authorization: Bearer {token}"
    with socket.create_connection(address, timeout=60) as client:
        # The whole body goes out before anything is read, as many clients do it.
        client.sendall(head("/api/v1/backends", bearer, length) + bytes(SIZE))
        assert "larger" in error_of(read(client))["reason"]
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/backends", bearer, "Transfer-Encoding: chunked"))
        for part in chunked(SIZE):
            client.sendall(part)
        error_of(read(client))


def test_what_is_refused_is_not_asked_for(address: tuple[str, int], token: str) -> None:
    bearer, expects = f"Authorization: Bearer {token}", "Expect: 100-continue"
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/backends", bearer, f"Content-Length: {SIZE}", expects))
        assert client.recv(12, socket.MSG_PEEK) == b"HTTP/1.1 413"
        error_of(read(client))
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/backends", bearer, "Content-Length: 2", expects))
        assert client.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert read(client)[0] == 415
    with socket.create_connection(address, timeout=60) as client:
        # Nothing follows, so nothing is waited for.
        client.sendall(head("/api/v1", bearer, expects, method="GET"))
        assert read(client)[0] == 200


def test_a_stranger_is_told_to_sign_in_and_a_browser_gets_a_page(address: tuple[str, int]) -> None:
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/uploads", f"Content-Length: {SIZE}") + bytes(SIZE))
        status, _, body = read(client)
        assert (status, json.loads(body)["error"]["kind"]) == (401, "forbidden")
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/sign-in", f"Content-Length: {SIZE}") + bytes(SIZE))
        status, headers, body = read(client)
        assert (status, headers["content-type"]) == (413, "text/html; charset=utf-8")
        assert b"Too large" in body


@pytest.mark.parametrize(
    ("lines", "rest"),
    [
        (["Transfer-Encoding: chunked"], b"xyz\r\n"),
        (["Content-Length: many"], b""),
    ],
)
def test_a_body_that_is_no_body_is_refused_in_json(
    lines: list[str], rest: bytes, address: tuple[str, int], token: str
) -> None:
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/backends", f"Authorization: Bearer {token}", *lines) + rest)
        status, headers, body = read(client)
        assert (status, headers["content-type"]) == (400, "application/json")
        assert json.loads(body)["error"]["kind"] == "invalid"


def test_the_body_of_a_refused_request_is_no_request(
    address: tuple[str, int], token: str, console: WebConsole
) -> None:
    name = "smuggled"
    body = json.dumps({"name": name, "driver": "local", "options": {}}).encode()
    bearer = f"Authorization: Bearer {token}"
    inner = head("/api/v1/backends", bearer, "Content-Type: application/json", f"Content-Length: {len(body)}")
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(head("/api/v1/backends", bearer, f"Content-Length: {SIZE}") + inner + body)
        error_of(read(client))
        client.shutdown(socket.SHUT_WR)
        assert closed(client)
    assert name not in [each.name for each in console.services.backends.list()]


def test_a_refused_client_cannot_keep_its_connection(
    address: tuple[str, int], token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(refusals, "LINGER_BYTES", 4 * 1024 * 1024)
    request = head("/api/v1/backends", f"Authorization: Bearer {token}", f"Content-Length: {10**12}")
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(request)
        with pytest.raises((BrokenPipeError, ConnectionResetError)):
            client.sendall(bytes(64 * 1024 * 1024))
    monkeypatch.setattr(refusals, "LINGER_SECONDS", -1.0)
    with socket.create_connection(address, timeout=60) as client:
        client.sendall(request)
        error_of(read(client))
        assert closed(client)
        with socket.create_connection(address, timeout=60) as other:
            other.sendall(head("/healthz", method="GET"))
            assert other.recv(12) == b"HTTP/1.1 200"
