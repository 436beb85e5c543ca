"""A proxy that injects faults that a healthy server does not produce.

Requests travel unchanged (signatures cover the ``Host`` header, which is passed on as it came), so a
client can be pointed at the proxy with the real server's credentials.
"""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import struct
import threading
import time
from dataclasses import dataclass, field
from enum import Enum
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote, urlsplit


class FaultKind(Enum):
    """What happens to a request that a fault catches."""

    ANSWER = "answer"
    RESET = "reset"
    TRUNCATE = "truncate"
    DELAY = "delay"
    BLACK_HOLE = "black hole"
    FLIP = "flip"
    THEN = "then"
    LOSE = "lose"


@dataclass
class Fault:
    """One rule. ``key`` is searched for in the decoded path and query; ``times`` None means always."""

    kind: FaultKind
    method: str = ""
    key: str = ""
    times: int | None = 1
    status: int = 0
    code: str = ""
    message: str = "made by the fault proxy"
    region: str = ""
    after: int = 0
    seconds: float = 0.0
    with_length: bool = True
    action: Any = None
    hits: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    """Ends a delay early."""

    def catches(self, method: str, target: str) -> bool:
        """Whether the rule applies to this request."""
        spent = self.times is not None and self.hits >= self.times
        return not spent and self.method in ("", method) and self.key in target


class FaultProxy:
    """An HTTP proxy in front of ``upstream``. Methods enable faults.

    Every method takes ``key`` (part of the decoded path or query), ``method`` and ``times``; rules are
    tried in the order they were given. ``seen`` lists ``(method, target)`` of all requests.
    """

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(upstream)
        assert parts.hostname
        assert parts.port
        self._upstream = (parts.hostname, parts.port)
        self._faults: list[Fault] = []
        self._lock = threading.Lock()
        self.seen: list[tuple[str, str]] = []
        self.closing = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _handler(self))
        if tls:
            self._server.socket = tls.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.port: int = self._server.server_address[1]
        self.endpoint = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        for fault in self._faults:
            fault.over.set()
        self._server.shutdown()
        self._server.drop_connections()
        self._server.server_close()

    def add(self, fault: Fault) -> Fault:
        """Enable a fault. The returned rule counts its ``hits``."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults and recorded requests."""
        with self._lock:
            for fault in self._faults:
                fault.over.set()
            self._faults.clear()
            self.seen.clear()

    def answer(
        self, status: int, code: str, *, key: str = "", method: str = "", times: int | None = 1, **said: str
    ) -> Fault:
        """Answer with an S3 error without asking the server; ``said``: its ``message``, and the ``region``
        that a header names."""
        return self.add(Fault(FaultKind.ANSWER, method, key, times, status=status, code=code, **said))

    def slow_down(self, *, key: str = "", method: str = "", times: int | None = 1) -> Fault:
        """Respond with 503 SlowDown."""
        return self.answer(503, "SlowDown", key=key, method=method, times=times)

    def refuse_put(self, *, key: str = "", times: int | None = None) -> Fault:
        """Respond to PUT with 403 AccessDenied."""
        return self.answer(403, "AccessDenied", key=key, method="PUT", times=times)

    def reset(
        self, *, key: str = "", method: str = "", times: int | None = 1, after: int | None = None
    ) -> Fault:
        """Reset the connection before the response, or ``after`` that many bytes of its body."""
        return self.add(Fault(FaultKind.RESET, method, key, times, after=-1 if after is None else after))

    def truncate(
        self, after: int, *, key: str = "", times: int | None = 1, with_length: bool = True
    ) -> Fault:
        """End the body of a GET cleanly after so many bytes, with the true Content-Length or with none."""
        return self.add(Fault(FaultKind.TRUNCATE, "GET", key, times, after=after, with_length=with_length))

    def delay(self, seconds: float, *, key: str = "", method: str = "", times: int | None = 1) -> Fault:
        """Delay the response."""
        return self.add(Fault(FaultKind.DELAY, method, key, times, seconds=seconds))

    def black_hole(self, *, key: str = "", method: str = "", times: int | None = None) -> Fault:
        """Accept the request and never respond."""
        return self.add(Fault(FaultKind.BLACK_HOLE, method, key, times))

    def flip(self, at: int, *, key: str = "", method: str = "GET", times: int | None = 1) -> Fault:
        """Flip the lowest bit of one byte of the response body, or of the request body with PUT."""
        return self.add(Fault(FaultKind.FLIP, method, key, times, after=at))

    def lose_answer(self, *, key: str = "", method: str = "PUT", times: int | None = 1) -> Fault:
        """Reset the connection after the server has processed the request."""
        return self.add(Fault(FaultKind.LOSE, method, key, times))

    def then(self, action: Any, *, key: str = "", method: str = "", times: int | None = 1) -> Fault:
        """Call ``action()`` after the server has responded and before the client receives the response."""
        return self.add(Fault(FaultKind.THEN, method, key, times, action=action))

    def take(self, method: str, target: str) -> Fault | None:
        """Record a request and return the fault that catches it, if any."""
        with self._lock:
            self.seen.append((method, target))
            for fault in self._faults:
                if fault.catches(method, target):
                    fault.hits += 1
                    return fault
        return None

    @property
    def upstream(self) -> tuple[str, int]:
        """Host and port of the real server."""
        return self._upstream


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def drop_connections(self) -> None:
        for each in list(self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Do not log broken connections, which are intended."""


def _handler(proxy: FaultProxy) -> type[BaseHTTPRequestHandler]:
    class Handler(_Handler):
        pass

    Handler.proxy = proxy
    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536
    proxy: FaultProxy

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the test's output readable."""

    def handle_expect_100(self) -> bool:
        done = super().handle_expect_100()
        self.wfile.flush()
        return done

    def _relay(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        fault = self.proxy.take(self.command, unquote(self.path))
        kind = fault.kind if fault else None
        if fault and kind is FaultKind.ANSWER:
            self._send_error(fault)
            return
        if fault and kind is FaultKind.RESET and fault.after < 0:
            self._reset()
            return
        if kind is FaultKind.BLACK_HOLE:
            self.proxy.closing.wait()
            self.close_connection = True
            return
        if fault and kind is FaultKind.DELAY:
            fault.over.wait(fault.seconds)
        if fault and kind is FaultKind.FLIP and self.command == "PUT":
            body = _flipped(body, fault.after)
        self._pass_on(body, fault)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = do_HEAD = _relay
    do_PROPFIND = do_MKCOL = do_MOVE = do_COPY = do_OPTIONS = _relay

    def _pass_on(self, body: bytes, fault: Fault | None) -> None:
        upstream = http.client.HTTPConnection(*self.proxy.upstream, timeout=120)
        try:
            upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("connection", "expect"):
                    upstream.putheader(name, value)
            upstream.endheaders(body or None)
            with contextlib.closing(upstream.getresponse()) as response:
                if fault and fault.kind is FaultKind.THEN:
                    fault.action()
                if fault and fault.kind is FaultKind.LOSE:
                    response.read()
                    self._reset()
                    return
                self._answer(response, fault)
        finally:
            upstream.close()

    def _answer(self, response: http.client.HTTPResponse, fault: Fault | None) -> None:
        kind = fault.kind if fault else None
        cut = fault.after if fault and kind in (FaultKind.TRUNCATE, FaultKind.RESET) else None
        hide_length = bool(fault and kind is FaultKind.TRUNCATE and not fault.with_length)
        known = response.getheader("Content-Length") is not None
        whole = None if known or self.command == "HEAD" else response.read()
        self.send_response_only(response.status, response.reason)
        for name, value in response.getheaders():
            if name.lower() in ("connection", "transfer-encoding") or (
                hide_length and name.lower() == "content-length"
            ):
                continue
            self.send_header(name, value)
        if whole is not None and response.status not in (204, 304):
            self.send_header("Content-Length", str(len(whole)))
        if cut is not None:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(response, whole, fault, cut)
        self.wfile.flush()
        if fault and kind is FaultKind.RESET:
            self._reset()

    def _send_body(
        self, response: http.client.HTTPResponse, whole: bytes | None, fault: Fault | None, cut: int | None
    ) -> None:
        sent = 0
        flip = fault.after if fault and fault.kind is FaultKind.FLIP and self.command != "PUT" else None
        while chunk := (whole if whole is not None else response.read(1 << 18)):
            whole = b"" if whole is not None else None
            if flip is not None and sent <= flip < sent + len(chunk):
                chunk = _flipped(chunk, flip - sent)
            if cut is not None and sent + len(chunk) >= cut:
                self.wfile.write(chunk[: cut - sent])
                return
            self.wfile.write(chunk)
            sent += len(chunk)

    def _send_error(self, fault: Fault) -> None:
        body = (
            '<?xml version="1.0" encoding="UTF-8"?>\n'
            f"<Error><Code>{fault.code}</Code><Message>{fault.message}</Message></Error>"
        ).encode()
        self.send_response_only(fault.status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        if fault.region:
            self.send_header("x-amz-bucket-region", fault.region)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        """Send RST instead of FIN, so that unsent bytes are lost, as on a real network."""
        self.close_connection = True
        time.sleep(0.01)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
