"""Name resolution, connection and TLS handshake as separate steps.

A client library reports all of them as one failure; a person needs to know which.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Sequence

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.addresses import address_refusal, host_refusal
from dashboard.storage.net.transport_errors import TRANSPORT_ERRORS, classify_error

CONNECT_SECONDS = 5.0
_PROBE_SECONDS = 2.0


class ConnectError(StorageError):
    """A connection failed; ``code`` is a key of ``TRANSPORT_ERRORS``."""

    def __init__(self, code: str, operation: str, host: str, port: int = 0, seconds: float = 0) -> None:
        row, where = TRANSPORT_ERRORS[code], f"[{host}]" if ":" in host else host
        words = {"host": f"{where}:{port}" if port else where, "seconds": f"{seconds:.0f}"}
        super().__init__(
            row.kind,
            row.reason.format_map(words),
            operation=operation,
            subject=host,
            remedy=row.remedy.format_map(words),
            retryable=row.retryable,
        )
        self.code = code


def _forbidden_address_error(reason: str, host: str, remedy: str) -> StorageError:
    return StorageError(Kind.DENIED, reason, operation="resolve", subject=host, remedy=remedy)


def resolve(host: str, port: int) -> tuple[str, ...]:
    """Return the numeric addresses of a host, each allowed by the address policy. May block as long as the
    system's resolver does. Raises :class:`ConnectError`, and ``StorageError`` for a forbidden address."""
    if refusal := host_refusal(host):
        raise _forbidden_address_error(refusal, host, "Write the address of the storage server.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError) as error:
        raise ConnectError(classify_error(error), "resolve", host) from error
    addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        if refusal := address_refusal(address):
            reason = f"“{host}” leads to a forbidden address: {refusal}"
            raise _forbidden_address_error(reason, host, "Check the endpoint; if it is right, check the DNS.")
    return addresses


def connect(host: str, port: int, addresses: Sequence[str], *, seconds: float | None = None) -> socket.socket:
    """Connect to the first address that answers, within ``seconds`` (or ``CONNECT_SECONDS``) in total."""
    seconds = CONNECT_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    last: OSError = TimeoutError()
    for number, address in enumerate(addresses):
        # Each address gets its share: a dead IPv6 route must not use up all the time.
        share = (deadline - time.monotonic()) / (len(addresses) - number)
        try:
            return socket.create_connection((address, port), timeout=max(share, 0.1))
        except OSError as error:
            last = error
    code = "connect_timeout" if isinstance(last, TimeoutError) else classify_error(last)
    raise ConnectError(code, "connect", host, port, seconds) from last


def make_tls_context(*, tls_verify: bool, authority: str) -> ssl.SSLContext:
    """Make TLS settings that trust the public authorities and ``authority`` (PEM). They check nothing if
    ``tls_verify`` is False."""
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(cadata=authority)
    if not tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def tls_handshake(raw: socket.socket, host: str, port: int, context: ssl.SSLContext) -> str:
    """Perform a TLS handshake, then close the connection. Returns the version, such as ``TLSv1.3``."""
    with raw:
        raw.settimeout(CONNECT_SECONDS)
        try:
            with context.wrap_socket(raw, server_hostname=host) as secured:
                return secured.version() or "TLS"
        except OSError as error:
            raise ConnectError(classify_handshake_error(error), "connect", host, port) from error


def classify_handshake_error(error: OSError) -> str:
    """Like :func:`classify_error`, for an error during the TLS handshake."""
    name = classify_error(error)
    return {"timeout": "tls_timeout", "reset": "tls_closed"}.get(name, name)


def speaks_tls(host: str, port: int) -> bool:
    """Whether a server accepts a TLS handshake. Checks no certificate, sends no request, and never raises."""
    context = make_tls_context(tls_verify=False, authority="")
    try:
        with connect(host, port, resolve(host, port)) as raw:
            raw.settimeout(_PROBE_SECONDS)
            with context.wrap_socket(raw, server_hostname=host):
                return True
    except (OSError, StorageError, ValueError):
        return False
