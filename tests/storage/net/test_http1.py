"""HTTP as servers really speak it, and as hostile ones might: a scripted server says what it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net import http1
from dashboard.storage.net.http1 import ConnectionPool, TransportError

Script = list[bytes | Callable[[socket.socket], None]]
GO_ON = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class ScriptedServer:
    """Answers the requests of each connection in turn from that connection's script, then closes it."""

    def __init__(self, *connections: Script) -> None:
        self._scripts = list(connections)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.heard: list[list[bytes]] = []
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def _serve(self) -> None:
        for script in self._scripts:
            try:
                line, _ = self._listening.accept()
            except OSError:
                return
            heard: list[bytes] = []
            self.heard.append(heard)
            with line:
                for step in script:
                    if callable(step):
                        step(line)
                        continue
                    request = _request(line)
                    if request is None:
                        break
                    heard.append(request)
                    with suppress(OSError):
                        line.sendall(step)

    def close(self) -> None:
        self._listening.close()
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
            pass
        self._thread.join(60)
        assert not self._thread.is_alive()


def _request(line: socket.socket) -> bytes | None:
    data = b""
    while b"\r\n\r\n" not in data:
        more = line.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next((int(each[15:]) for each in head.split(b"\r\n") if each.startswith(b"content-length:")), 0)
    while len(body) < length:
        body += line.recv(65536)
    return head + b"\r\n\r\n" + body


@pytest.fixture
def served() -> Iterator[Callable[..., tuple[ConnectionPool, ScriptedServer]]]:
    """Start a server with these scripts and a pool of connections to it."""
    open_ones: list[tuple[ConnectionPool, ScriptedServer]] = []

    def start(*connections: Script) -> tuple[ConnectionPool, ScriptedServer]:
        server = ScriptedServer(*connections)
        pool = ConnectionPool("127.0.0.1", server.port, None)
        open_ones.append((pool, server))
        return pool, server

    yield start
    for pool, server in open_ones:
        pool.close()
        server.close()


def whole(pool: ConnectionPool, method: str = "GET", body: bytes = b"") -> tuple[int, bytes]:
    headers = {"host": "example", "content-length": str(len(body))} if body else {"host": "example"}
    answer = pool.request(method, "/", headers, body, idle=5)
    return answer.status, b"".join(answer.chunks())


def code(call: Callable[[], object]) -> str:
    with pytest.raises(TransportError) as caught:
        call()
    return caught.value.code


IN_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BODIES = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "chunks": IN_CHUNKS + b"2\r\nhe\r\n3;a=b\r\nllo\r\n0\r\n\r\n",
    "chunks and trailers": b"HTTP/1.1 200 \r\ntransfer-encoding: Chunked\r\n\r\n"
    b"05\r\nhello\r\n0\r\nA: b\r\n\r\n",
    "something before it": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\n"
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_a_body_is_read_whole_and_its_connection_serves_again(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], answer: bytes
) -> None:
    pool, server = served([answer, answer, GO_ON])
    assert whole(pool) == whole(pool) == (200, b"hello")
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 1


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_an_answer_that_comes_byte_by_byte_is_the_same(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], answer: bytes
) -> None:
    def dribble(line: socket.socket) -> None:
        assert _request(line)
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for each in answer:
            line.sendall(bytes([each]))

    pool, _ = served([dribble, GO_ON])
    assert whole(pool) == (200, b"hello")
    assert whole(pool) == (200, b"ok")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nhello",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nConnection: Close\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhelloHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
    ],
    ids=["no length", "HTTP/1.0", "close", "more than was asked for"],
)
def test_a_connection_that_may_hold_more_is_not_used_again(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], answer: bytes
) -> None:
    pool, server = served([answer], [GO_ON])
    assert whole(pool) == (200, b"hello")
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 2


@pytest.mark.parametrize("status", [204, 304, 200])
def test_answers_without_a_body(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], status: int
) -> None:
    pool, server = served([b"HTTP/1.1 %d x\r\nContent-Length: 7\r\nETag: e\r\n\r\n" % status, GO_ON])
    answer = pool.request("HEAD" if status == 200 else "GET", "/", {"host": "h"}, idle=5)
    assert (answer.status, answer.headers["etag"], answer.read()) == (status, "e", b"")
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 1


REFUSED = {
    "another protocol": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "no status": b"HTTP/1.1 OK\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a length with a sign": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "a length below zero": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
    "an unknown coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "a folded line": b"HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    "a space in a name": b"HTTP/1.1 200 OK\r\nContent-Length : 5\r\n\r\nhello",
    "no colon": b"HTTP/1.1 200 OK\r\nnonsense\r\n\r\n",
    "a chunk without a size": IN_CHUNKS + b"xyz\r\nhello\r\n0\r\n\r\n",
    "a chunk that goes on": IN_CHUNKS + b"2\r\nhello\r\n0\r\n\r\n",
    "chunks of one byte": IN_CHUNKS + b"1\r\nx\r\n" * 50_001,
    "a head without end": b"HTTP/1.1 200 OK\r\n" + b"A: bbbbbbbbbbbbbbbb\r\n" * 5000,
    "interim answers without end": b"HTTP/1.1 100 Continue\r\n\r\n" * 60,
}


@pytest.mark.parametrize("answer", REFUSED.values(), ids=REFUSED)
def test_what_can_be_read_in_two_ways_is_refused(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], answer: bytes
) -> None:
    pool, server = served([answer], [GO_ON])
    assert code(lambda: whole(pool)) == "unreadable"
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 2


def test_an_answer_with_two_lengths_is_refused_and_says_so(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n"
    pool, _ = served([head + b"5\r\nhello\r\n0\r\n\r\n"], [GO_ON])
    assert code(lambda: whole(pool)) == "two_lengths"
    assert whole(pool) == (200, b"ok")


CUT = {
    "before the answer": (b"", "reset"),
    "in the head": (b"HTTP/1.1 200 OK\r\nContent-Le", "reset"),
    "in the body": (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", "cut"),
    "in a chunk": (IN_CHUNKS + b"5\r\nhe", "cut"),
    "before the last chunk": (IN_CHUNKS + b"5\r\nhello\r\n", "cut"),
    "in the trailers": (IN_CHUNKS + b"0\r\nA: b\r\n", "cut"),
}


@pytest.mark.parametrize(("answer", "expected"), CUT.values(), ids=CUT)
def test_an_answer_that_breaks_off_is_never_whole(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
    answer: bytes,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http1, "speaks_tls", lambda host, port: False)
    pool, _ = served([answer], [GO_ON])
    assert code(lambda: whole(pool)) == expected
    assert whole(pool) == (200, b"ok")


def test_a_connection_the_server_has_closed_is_replaced(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    closed = threading.Event()

    def close(line: socket.socket) -> None:
        line.shutdown(socket.SHUT_RDWR)
        closed.set()

    pool, server = served([GO_ON, close], [GO_ON])
    assert whole(pool) == (200, b"ok")
    assert closed.wait(60)
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 2


def test_an_answer_to_a_body_that_was_not_read_is_heard(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    def refuse(line: socket.socket) -> None:
        line.recv(1000)
        line.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\nConnection: close\r\n\r\nNope")
        line.shutdown(socket.SHUT_WR)
        while line.recv(1 << 20):
            pass

    pool, _ = served([refuse])
    assert whole(pool, "PUT", bytes(5_000_000)) == (403, b"Nope")


def test_a_body_arrives_as_it_was_sent(served: Callable[..., tuple[ConnectionPool, ScriptedServer]]) -> None:
    pool, server = served([GO_ON, GO_ON])
    large = bytes(range(256)) * 20_000
    assert whole(pool, "PUT", large)[0] == 200
    pieces = [memoryview(large)[:1_500_000], large[1_500_000:]]
    headers = {"host": "h", "content-length": str(len(large))}
    assert b"".join(pool.request("PUT", "/", headers, pieces, idle=5).chunks()) == b"ok"
    assert [each.partition(b"\r\n\r\n")[2] == large for each in server.heard[0]] == [True, True]


def test_a_silent_server_is_a_timeout(served: Callable[..., tuple[ConnectionPool, ScriptedServer]]) -> None:
    over = threading.Event()
    pool, _ = served([lambda line: over.wait(60) and None])
    try:
        assert code(lambda: pool.request("GET", "/", {"host": "h"}, idle=0.2)) == "timeout"
    finally:
        over.set()


def test_a_server_that_falls_silent_later_is_a_timeout(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    """Each request has its own time, also after one whose body did not fit into the connection at once."""
    over, body = threading.Event(), bytes(20_000_000)

    def take(line: socket.socket) -> None:
        taken = 0
        while taken < len(body):
            taken += len(line.recv(1 << 20))
        line.sendall(GO_ON)

    pool, server = served([GO_ON, take, lambda line: over.wait(60) and None])
    headers = {"host": "h", "content-length": str(len(body))}
    try:
        assert whole(pool) == (200, b"ok")
        assert b"".join(pool.request("PUT", "/", headers, body, idle=60).chunks()) == b"ok"
        assert code(lambda: pool.request("GET", "/", {"host": "h"}, idle=0.2)) == "timeout"
        assert len(server.heard) == 1
    finally:
        over.set()


@pytest.mark.parametrize("before", [[], [GO_ON]], ids=["at once", "later"])
def test_a_server_that_takes_no_more_is_a_timeout(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]], before: Script
) -> None:
    over = threading.Event()
    pool, server = served([*before, lambda line: over.wait(60) and None])
    headers = {"host": "h", "content-length": "50000000"}
    try:
        assert [whole(pool) for _ in before] == [(200, b"ok") for _ in before]
        assert code(lambda: pool.request("PUT", "/", headers, bytes(50_000_000), idle=0.3)) == "timeout"
        assert len(server.heard) == 1
    finally:
        over.set()


def test_what_is_given_up_does_not_serve_again(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    pool, server = served([b"HTTP/1.1 200 OK\r\nContent-Length: 9000\r\n\r\n" + b"x" * 5000], [GO_ON])
    answer = pool.request("GET", "/", {"host": "h"}, idle=5)
    assert answer.read(10) == b"x" * 10
    answer.close()
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 2


@pytest.mark.parametrize("value", ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\0b"])
def test_no_header_makes_another_one(value: str) -> None:
    pool = ConnectionPool("127.0.0.1", 9, None)
    with pytest.raises(ValueError, match="line break"):
        pool.request("GET", "/", {"host": "h", "x-amz-meta-a": value}, idle=1)
    with pytest.raises(ValueError, match="line break"):
        pool.request("GET", "/ HTTP/1.1\r\nx-evil: 1", {"host": "h"}, idle=1)


def test_nobody_there_and_no_such_name_are_told_apart() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    assert code(lambda: whole(ConnectionPool("127.0.0.1", port, None))) == "refused"
    assert code(lambda: whole(ConnectionPool("no-such-host.invalid", 80, None))) == "dns"


def test_a_forbidden_address_is_not_connected_to() -> None:
    with pytest.raises(StorageError, match="cloud metadata") as caught:
        whole(ConnectionPool("169.254.169.254", 80, None))
    assert caught.value.kind is Kind.DENIED


def test_connections_in_use_while_it_is_closed_are_not_kept(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    pool, server = served([GO_ON], [GO_ON])
    answer = pool.request("GET", "/", {"host": "h"}, idle=5)
    pool.close()
    assert b"".join(answer.chunks()) == b"ok"
    assert whole(pool) == (200, b"ok")
    assert len(server.heard) == 2


def test_many_threads_never_get_each_others_answers(
    served: Callable[..., tuple[ConnectionPool, ScriptedServer]],
) -> None:
    class Echo(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            said = self.path.encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(said)))
            self.end_headers()
            self.wfile.write(said)

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Echo)
    serving = threading.Thread(target=httpd.serve_forever)
    serving.start()
    pool = ConnectionPool("127.0.0.1", httpd.server_port, None)
    wrong: list[str] = []

    def ask(thread: int) -> None:
        for number in range(50):
            path = f"/{thread}-{number}"
            answer = pool.request("GET", path, {"host": "h"}, idle=5)
            if b"".join(answer.chunks()) != path.encode():
                wrong.append(path)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    pool.close()
    httpd.shutdown()
    serving.join()
    httpd.server_close()
    assert wrong == []
