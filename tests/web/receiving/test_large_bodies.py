"""Bodies larger than a form: taken only from those who are signed in, and only for uploads."""

from __future__ import annotations

import socket
from collections.abc import Mapping

import pytest

from dashboard.services.permissions import Actor, Role
from dashboard.web import server
from dashboard.web.receiving.large_bodies import LargeBodies
from tests.web.conftest import ADMIN, WebConsole
from tests.web.test_server import answers, closed, serving, short

UPLOADS = "/api/v1/uploads"
SIZE = 3 * 1024 * 1024


def test_only_the_signed_in_may_send_them_and_only_as_uploads(console: WebConsole) -> None:
    takes = LargeBodies(console.app, console.services)
    browser = console.browser()
    browser.get("/sign-in")
    stranger = {"COOKIE": cookie(browser.client)}
    assert not takes("POST", UPLOADS, stranger)
    browser.sign_in(ADMIN)
    signed_in = {"COOKIE": cookie(browser.client)}
    token = console.services.tokens.create(Actor(ADMIN, Role.ADMIN, "web"), "large", ["write_files"])
    with_token = {"AUTHORIZATION": f"Bearer {token.secret.reveal()}"}
    for headers in (signed_in, with_token):
        assert takes("POST", UPLOADS, headers)
        assert takes("PATCH", f"{UPLOADS}/{'0' * 32}", headers)
        assert not takes("POST", "/api/v1/backends", headers)
        assert not takes("POST", f"{UPLOADS}x", headers)
        assert not takes("GET", UPLOADS, headers)
    console.services.tokens.revoke(Actor(ADMIN, Role.ADMIN, "web"), token.info.id)
    hostile: tuple[Mapping[str, str], ...] = (
        {},
        with_token,
        {"COOKIE": f"{signed_in['COOKIE']}x"},
        {"COOKIE": "stowage=" + "A" * 5000},
        {"COOKIE": "\xff;=;stowage"},
        {"AUTHORIZATION": "Bearer"},
        {"AUTHORIZATION": "Bearer \ud800" + "x" * 500},
        {"AUTHORIZATION": "Basic YTpi"},
    )
    for headers in hostile:
        assert not takes("POST", UPLOADS, headers), headers
    browser.post("/sign-out")
    assert not takes("POST", UPLOADS, signed_in)


def cookie(client: object) -> str:
    found = client.get_cookie("stowage")  # type: ignore[attr-defined]
    return f"stowage={found.value}"


def request_of(size: int, *, method: str = "POST", path: str = "/large") -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {size}\r\n\r\n".encode()


def takes(method: str, path: str, headers: Mapping[str, str]) -> bool:
    return path == "/large"


def test_the_server_asks_before_it_receives(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(short, monkeypatch, takes_large_body=takes) as address:
        for path, size, status in (
            ("/large", SIZE, b"200"),
            ("/other", SIZE, b"413"),
            ("/large", server.MAX_LARGE_BYTES, b"413"),
        ):
            with socket.create_connection(address, timeout=60) as client:
                client.sendall(request_of(size, path=path))
                if status == b"200":
                    client.sendall(bytes(size))
                assert client.recv(4096).split()[1] == status, (path, size)


def test_a_large_body_may_be_slow_but_not_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "RECEIVE_SECONDS", -1.0)
    with serving(short, monkeypatch, takes_large_body=takes) as address:
        with socket.create_connection(address, timeout=60) as slow:
            slow.sendall(request_of(SIZE) + bytes(SIZE // 2))
            # Each answer is a round of the loop after which an overdue connection would be gone.
            for _ in range(3):
                with socket.create_connection(address, timeout=60) as other:
                    assert answers(other)
            slow.sendall(bytes(SIZE - SIZE // 2))
            assert slow.recv(4096).startswith(b"HTTP/1.1 200 ")
        monkeypatch.setattr(server, "STALLED_SECONDS", 0.1)
        with socket.create_connection(address, timeout=60) as silent:
            silent.sendall(request_of(SIZE) + b"x")
            assert closed(silent)
