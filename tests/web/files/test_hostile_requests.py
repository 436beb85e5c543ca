"""Seeded hostile requests: whatever their headers and names say, the answer is one of a few, and true."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from http.client import HTTPResponse
from pathlib import Path

import psutil
import pytest

from dashboard.app import open_services
from dashboard.services.files.conditions import Conditions
from dashboard.services.files.serving import Serving
from dashboard.settings import Settings
from dashboard.web.files.response import conditions, respond
from tests.servers.console import ConsoleProcess
from tests.web.conftest import ADMIN, PASSWORD
from tests.web.files.conftest import HOME, MARIA, FilesConsole

CONTENT = bytes(range(256)) * 64
KEY = "a/file.bin"
REQUESTS = 100_000
STATUSES = {200, 206, 304, 307, 400, 404, 409, 412, 416}
PIECES = (
    *("bytes", "Bytes", "lines", "=", "-", ",", ", ", " ", "\t", ";", "0", "1", "16383", "16384", "99999"),
    *("9" * 25, "-1", '"', "W/", "w/", "*", '"abc"', 'W/"abc"', "{tag}", "W/{tag}", "\x80", "\xff", "\x7f"),
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 2094 08:49:37 GMT", "GMT", "-0001", "\x0b", "%00", "é"),
    *("bytes=0-0", "bytes=-5", "bytes=5-4", "bytes=0-1,2-3", "bytes=16384-", "bytes=0-", "None", "null"),
)
CONDITIONS = (
    "Range", "If-Range", "If-Match", "If-None-Match", "If-Modified-Since", "If-Unmodified-Since",
)  # fmt: skip
OTHERS = ("Accept-Encoding", "Accept", "Authorization", "Cookie", "Origin", "X-Forwarded-For")
NAMES = (
    *(
        "a/file.bin",
        "..",
        ".",
        "/",
        "//",
        "%2e%2e",
        "%2F",
        "%5c",
        "%00",
        "%ff%fe",
        "%ed%a0%80",
        "%0d%0a",
        "a",
    ),
    *("%E2%80%AE", "~", "a" * 300, "+", "?x=", "#", "%", "%zz", "file.bin", ";", "%C3%BC", "\\", "%25"),
)


def random_value(chance: random.Random, tag: str) -> str:
    if chance.random() < 0.02:
        return chance.choice(PIECES) * chance.randrange(1, 400)
    return "".join(chance.choices(PIECES, k=chance.randrange(1, 5))).replace("{tag}", tag)


def random_headers(chance: random.Random, tag: str, names: tuple[str, ...]) -> dict[str, str]:
    chosen = chance.sample(names, chance.randrange(1, 5))
    return {name: random_value(chance, tag).strip() for name in chosen}


def check(status: int, headers: Callable[[str], str | None], body: bytes, method: str) -> None:
    """What is sent as the file is the file; a part is the part that the header says."""
    assert status in STATUSES
    if status == 206:
        unit, _, rest = (headers("Content-Range") or "").partition(" ")
        span, _, total = rest.partition("/")
        first, last = map(int, span.split("-"))
        assert (unit, total) == ("bytes", str(len(CONTENT)))
        assert body == CONTENT[first : last + 1]
    elif status == 416:
        assert headers("Content-Range") == f"bytes */{len(CONTENT)}"
    elif status == 200 and method == "GET":
        assert body == CONTENT
    elif status in (200, 304):
        assert body == b""


def test_hostile_conditions(served: FilesConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    served.put(HOME, KEY, CONTENT)
    serving, app = served.console.services.serving, served.console.app
    tag = str(serving.plan(HOME, KEY, Conditions("HEAD")).file.tag)
    # Finding the file is not what is tested; reading it is.
    order = serving._order(HOME)
    copy = serving.stat(order[0], KEY)
    monkeypatch.setattr(Serving, "_order", lambda self, name: order)
    monkeypatch.setattr(Serving, "stat", lambda self, place, key: copy)
    chance = random.Random(2043)
    for _ in range(2000):
        method = chance.choice(("GET", "GET", "GET", "HEAD"))
        headers = random_headers(chance, tag, CONDITIONS)
        sent = {name: value for name, value in headers.items() if value.isprintable()}
        with app.test_request_context("/api/", method=method, headers=sent):
            response = respond(serving.plan(HOME, KEY, conditions()))
            body = b"" if method == "HEAD" else b"".join(response.iter_encoded())
            response.close()
        check(response.status_code, response.headers.get, body, method)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[ConsoleProcess, str]]:
    """A real console with one file of a local backend, and the cookie of an admin."""
    services = open_services(Settings.from_env({}, instance=tmp_path / "instance"))
    services.setup.complete(services.setup.issue_code(), ADMIN, PASSWORD)
    services.backends.driver("local-disk").put(KEY, CONTENT)
    services.close()
    environ = {"STOWAGE_LOG_LEVEL": "error", "STOWAGE_API_REQUESTS_PER_MINUTE": "1000000"}
    with ConsoleProcess(tmp_path / "instance", environ=environ) as console:
        opened = open_services(Settings.from_env({}, instance=tmp_path / "instance"))
        made = opened.tokens.create(MARIA, "torture", ["read_files"])
        opened.close()
        yield console, made.secret.reveal()


def exchange(connection: socket.socket, method: str, request: bytes) -> tuple[HTTPResponse, bytes]:
    connection.sendall(request)
    response = HTTPResponse(connection, method=method)
    response.begin()
    return response, response.read()


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_hostile_requests_to_a_running_console(running: tuple[ConsoleProcess, str]) -> None:
    console, token = running
    host, port = console.address.removeprefix("http://").rstrip("/").split(":")
    chance, statuses = random.Random(43), set()
    connection: socket.socket | None = None
    for number in range(REQUESTS):
        method = chance.choice(("GET", "GET", "GET", "HEAD"))
        path = f"/files/local-disk/{KEY}"
        if number % 3 == 0:
            path = "/files/" + "/".join(
                chance.choices((*NAMES, "local-disk", "-", "none"), k=chance.randrange(1, 5))
            )
        headers = random_headers(chance, '"v-0"', (*CONDITIONS, *OTHERS))
        headers.setdefault("Authorization", f"Bearer {token}")
        if chance.random() < 0.8:
            headers["Authorization"] = f"Bearer {token}"
        lines = [f"{name}: {value}" for name, value in headers.items()]
        text = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\n" + "\r\n".join(lines) + "\r\n\r\n"
        raw = text.encode("latin-1", "replace")
        if connection is None:
            connection = socket.create_connection((host, int(port)), timeout=60)
        response, body = exchange(connection, method, raw)
        statuses.add(response.status)
        assert response.status < 500 or response.status == 501, raw
        if path.endswith(KEY) and response.status in (206, 416):
            check(response.status, response.getheader, body, method)
        if response.will_close:
            connection.close()
            connection = None
    if connection is not None:
        connection.close()
    print(sorted(statuses))
    assert {200, 206, 304, 404, 412, 416} <= statuses


@pytest.mark.torture
def test_ten_gigabytes_in_bounded_memory(running: tuple[ConsoleProcess, str]) -> None:
    console, token = running
    size = 10 * 1000**3
    root = console.instance / "files"
    with (root / "large.bin").open("wb") as sparse:
        sparse.truncate(size)
    host, port = console.address.removeprefix("http://").rstrip("/").split(":")
    lines = f"HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n"
    with closing(socket.create_connection((host, int(port)), timeout=60)) as connection:
        # What the first request loads stays loaded.
        request = f"GET /files/local-disk/large.bin {lines}Range: bytes=0-99\r\n\r\n"
        assert exchange(connection, "GET", request.encode())[1] == bytes(100)
        process = next(
            each
            for each in psutil.Process(console.pid).children(recursive=True)
            if len(each.net_connections(kind="tcp")) > 1
        )
        before = process.memory_info().rss
        connection.sendall(f"GET /files/local-disk/large.bin {lines}\r\n".encode())
        response = HTTPResponse(connection)
        response.begin()
        received, growth, buffer = 0, 0, bytearray(1 << 20)
        while count := response.readinto(buffer):
            received += count
            if received % (1 << 27) < count:
                growth = max(growth, process.memory_info().rss - before)
    print(f"grew by {growth / 2**20:.1f} MiB")
    assert received == size
    assert growth < 64 * 2**20
