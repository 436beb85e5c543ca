"""Servers that get messages: HTTP with any answer, and SMTP (aiosmtpd) with STARTTLS and a sign-in."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trustme
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.servers.processes import free_ports

USER, PASSWORD = "stowage", "a mail PASSWORD of 1 user"


@dataclass(frozen=True)
class ReceivedRequest:
    """A request. Header names are lowercase."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class HttpReceiver:
    """``answer`` is asked for status, headers and body of each answer."""

    port: int = 0
    got: list[ReceivedRequest] = field(default_factory=list)
    answer: Callable[[ReceivedRequest], tuple[int, dict[str, str], bytes]] = lambda _: (200, {}, b"ok")

    def url(self, path: str = "/hook") -> str:
        return f"http://127.0.0.1:{self.port}{path}"


@contextmanager
def http_receiver() -> Iterator[HttpReceiver]:
    """A real HTTP server on a port of this machine."""
    receiver = HttpReceiver()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            received = ReceivedRequest(self.path, headers, body)
            receiver.got.append(received)
            status, more, content = receiver.answer(received)
            self.send_response(status)
            for name, value in {"content-length": str(len(content)), **more}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@dataclass
class MailReceiver:
    """``refuse``: what to answer to a recipient instead of taking it."""

    authority: str
    port: int = 0
    got: list[Envelope] = field(default_factory=list)
    refuse: dict[str, str] = field(default_factory=dict)

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address in self.refuse:
            return self.refuse[address]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        self.got.append(envelope)
        return "250 Queued as 42"


@contextmanager
def mail_receiver(folder: Path, *, auth: bool = True, starttls: bool = True) -> Iterator[MailReceiver]:
    """A real SMTP server that wants STARTTLS and then a password, or neither."""
    authority = trustme.CA()
    certificate = folder / "smtp.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate)
    receiver = MailReceiver(authority.cert_pem.bytes().decode())

    def check(server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: object) -> AuthResult:
        right = isinstance(data, LoginPassword) and data == LoginPassword(USER.encode(), PASSWORD.encode())
        return AuthResult(success=right, handled=False)

    options: dict[str, Any] = {"require_starttls": True, "tls_context": context} if starttls else {}
    if auth:
        options |= {"authenticator": check, "auth_required": True, "auth_require_tls": starttls}
    (receiver.port,) = free_ports(1)
    controller = Controller(receiver, hostname="localhost", port=receiver.port, ready_timeout=120, **options)
    controller.start()
    try:
        yield receiver
    finally:
        controller.stop()
