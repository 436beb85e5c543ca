"""The connection test: each trouble on the way to a server has its own sentence."""

from __future__ import annotations

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.net import connecting
from tests.servers.processes import free_ports
from tests.storage.probing import NETWORK_STEPS, PLAIN_STEPS, failed_step, run, step_of


class Networked(LocalDriver):
    """The local driver behind an address, so that every network trouble can be had by itself."""

    def __init__(
        self, root: Path, address: tuple[str, int, bool], authority: trustme.CA | None = None
    ) -> None:
        super().__init__(str(root))
        self._address = address
        self._authority = authority

    def address(self) -> tuple[str, int, bool]:
        return self._address

    def authenticate(self) -> None:
        return None

    def tls_context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self._authority is not None:
            self._authority.configure_trust(context)
        return context


@contextlib.contextmanager
def listener(serve: Callable[[socket.socket], Any]) -> Iterator[int]:
    """A server on 127.0.0.1 that does this with every connection; its port."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        done = threading.Event()

        def accept() -> None:
            while not done.is_set():
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection, contextlib.suppress(OSError):
                    connection.settimeout(60)
                    serve(connection)

        thread = threading.Thread(target=accept)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            done.set()
            thread.join()


def tls_server(certificate: trustme.LeafCert) -> Callable[[socket.socket], None]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.recv(1)

    return serve


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


def test_a_server_that_answers_passes(root: Path, authority: trustme.CA) -> None:
    with listener(lambda connection: connection.recv(1)) as port:
        result = run(Networked(root, ("127.0.0.1", port, False)))
        assert result.passed
        assert [step.name for step in result.steps] == [*NETWORK_STEPS, *PLAIN_STEPS]
        assert "without encryption" in step_of(result, "connect").message
    with listener(tls_server(authority.issue_cert("localhost"))) as port:
        result = run(Networked(root, ("localhost", port, True), authority))
        assert result.passed
        assert "TLS 1.3" in step_of(result, "connect").message


def test_a_name_that_does_not_exist(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    step = failed_step(run(Networked(root, ("no-such-host.invalid", 443, True))), "resolve")
    assert "no-such-host.invalid" in step.message
    assert "typing" in step.remedy


def test_a_name_server_that_is_silent(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*args: object, **kwargs: object) -> None:
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    assert "name servers" in failed_step(run(Networked(root, ("s3.example", 443, True))), "resolve").message


def test_a_name_that_leads_to_a_metadata_address_is_not_connected_to(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.1", 443)),
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::ffff:169.254.169.254", 443, 0, 0)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *args, **kwargs: answers)
    assert "metadata" in failed_step(run(Networked(root, ("rebind.example", 443, True))), "resolve").message
    assert "link-local" in failed_step(run(Networked(root, ("169.254.9.9", 443, True))), "resolve").message


def test_a_refused_connection(root: Path) -> None:
    (port,) = free_ports(1)
    step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert f":{port} refused the connection" in step.message


def test_a_black_hole_is_left_in_time(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A listener whose queue is full drops what comes next, as a firewall does."""
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(8):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        step = failed_step(run(Networked(root, ("127.0.0.1", server.getsockname()[1], True))), "connect")
    assert "did not answer" in step.message
    assert "firewall" in step.remedy


def test_a_server_that_never_shakes_hands(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "CONNECT_SECONDS", 0.5)
    with listener(lambda connection: [connection.recv(4096) for _ in range(2)]) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "did not answer the TLS handshake" in step.message


def test_plain_http_on_the_tls_port(root: Path) -> None:
    def plain(connection: socket.socket) -> None:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

    with listener(plain) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "plain HTTP" in step.message
    assert "http://" in step.remedy


def test_a_connection_closed_in_the_handshake(root: Path) -> None:
    with listener(lambda connection: connection.recv(4096)) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True))), "connect")
    assert "closed the connection" in step.message


def self_signed() -> trustme.LeafCert:
    """A certificate signed by its own key, as appliances make them."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    return trustme.LeafCert(private, certificate.public_bytes(serialization.Encoding.PEM), [])


def test_each_bad_certificate_has_its_own_sentence(root: Path, authority: trustme.CA) -> None:
    past = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    cases: list[tuple[str, trustme.LeafCert, trustme.CA | None]] = [
        ("self-signed", self_signed(), None),
        ("does not know", authority.issue_cert("localhost"), None),
        ("expired", authority.issue_cert("localhost", not_after=past), authority),
        ("issued for another host name", authority.issue_cert("elsewhere.example"), authority),
    ]
    for says, certificate, trusted in cases:
        with listener(tls_server(certificate)) as port:
            step = failed_step(run(Networked(root, ("localhost", port, True), trusted)), "connect")
        assert says in step.message
    with listener(tls_server(authority.issue_cert("localhost"))) as port:
        step = failed_step(run(Networked(root, ("127.0.0.1", port, True), authority)), "connect")
    assert "127.0.0.1" in step.message
