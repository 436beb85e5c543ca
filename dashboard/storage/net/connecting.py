"""Name, address, connection and certificate of a server: each looked at by itself, for the probe.

A driver's client reports all four as one failure; a person needs to know which.
"""

from __future__ import annotations

import errno
import socket
import ssl
import time
from collections.abc import Sequence

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.net.addresses import address_refusal, host_refusal

CONNECT_SECONDS = 5.0
_LOOK_SECONDS = 2.0

_CLOCK = "Check the clock of this machine, then have the server's certificate renewed."
_AUTHORITY = (
    "If the server is yours, paste its authority's certificate into “Certificate authority” under Advanced."
)
_NAME = "Use the name the certificate was made for as the endpoint."

# OpenSSL's X509_V_ERR_ codes: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_CERTIFICATE = {
    9: ("The server's certificate is not valid yet.", _CLOCK),
    10: ("The server's certificate has expired.", _CLOCK),
    18: ("The server's certificate is self-signed, so nobody vouches for it.", _AUTHORITY),
    19: ("The server's certificate comes from an authority this machine does not know.", _AUTHORITY),
    20: ("The server's certificate comes from an authority this machine does not know.", _AUTHORITY),
    21: ("The server's certificate comes from an authority this machine does not know.", _AUTHORITY),
    23: ("The server's certificate was revoked.", "Ask whoever runs the server."),
    62: ("The server's certificate is made out to another name than “{host}”.", _NAME),
    64: ("The server's certificate is not made out to the address {host}.", _NAME),
}
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
_UNROUTABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})


def _failure(kind: Kind, reason: str, host: str, operation: str, remedy: str) -> StorageError:
    return StorageError(kind, reason, operation=operation, subject=host, remedy=remedy)


def resolve(host: str, port: int) -> tuple[str, ...]:
    """The numeric addresses of a host, each allowed by the address policy. May block as long as the
    system's resolver does. Raises ``StorageError``."""
    if refusal := host_refusal(host):
        raise _failure(Kind.DENIED, refusal, host, "resolve", "Write the address of the storage server.")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        if error.errno == socket.EAI_AGAIN:
            reason = f"The name servers did not say where “{host}” is."
            remedy = "Check this machine's network and name servers, then try again."
            raise _failure(Kind.UNREACHABLE, reason, host, "resolve", remedy) from error
        reason, remedy = (
            f"There is no server called “{host}”.",
            "Check the address, and the region if it is part of it, for typing errors.",
        )
        raise _failure(Kind.UNREACHABLE, reason, host, "resolve", remedy) from error
    except UnicodeError as error:
        raise _failure(
            Kind.UNREACHABLE, f"“{host}” is not a host name.", host, "resolve", "Correct it."
        ) from error
    addresses = tuple(dict.fromkeys(str(address[0]) for *_, address in found))
    for address in addresses:
        if refusal := address_refusal(address):
            reason = f"“{host}” leads to a forbidden address: {refusal}"
            raise _failure(
                Kind.DENIED, reason, host, "resolve", "Check the endpoint; if it is right, check the DNS."
            )
    return addresses


def connect(host: str, port: int, addresses: Sequence[str], *, seconds: float | None = None) -> socket.socket:
    """A TCP connection to the first address that answers, within ``seconds`` (``CONNECT_SECONDS``) in all."""
    seconds = CONNECT_SECONDS if seconds is None else seconds
    deadline = time.monotonic() + seconds
    last: OSError = TimeoutError()
    for number, address in enumerate(addresses):
        # The later addresses get their share: a dead IPv6 route must not use up all the time.
        share = (deadline - time.monotonic()) / (len(addresses) - number)
        try:
            return socket.create_connection((address, port), timeout=max(share, 0.1))
        except OSError as error:
            last = error
    raise _unconnected(last, host, port, seconds) from last


def _unconnected(error: OSError, host: str, port: int, seconds: float) -> StorageError:
    if isinstance(error, ConnectionRefusedError):
        return _failure(
            Kind.UNREACHABLE,
            f"“{host}” is there, but nothing listens on port {port}.",
            host,
            "connect",
            "Check the port, and that the storage server is running.",
        )
    if isinstance(error, TimeoutError):
        return _failure(
            Kind.TIMEOUT,
            f"“{host}” did not answer on port {port} within {seconds:.0f} seconds.",
            host,
            "connect",
            "Check the host and port; a firewall on the way may drop the connection.",
        )
    if error.errno in _UNROUTABLE:
        return _failure(
            Kind.UNREACHABLE,
            f"There is no network route from this machine to “{host}”.",
            host,
            "connect",
            "Check this machine's network, VPN and firewall.",
        )
    return _failure(
        Kind.UNREACHABLE,
        f"The connection to “{host}” on port {port} failed.",
        host,
        "connect",
        "Check the host, the port and this machine's network.",
    )


def trust(*, tls_verify: bool, authority: str) -> ssl.SSLContext:
    """Public authorities plus the pasted one; no checks at all only when a person said so."""
    context = ssl.create_default_context()
    if authority:
        context.load_verify_locations(cadata=authority)
    if not tls_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def shake_hands(raw: socket.socket, host: str, port: int, context: ssl.SSLContext) -> str:
    """TLS over an open connection, which is closed at the end. Returns the version, such as ``TLSv1.3``."""
    with raw:
        raw.settimeout(CONNECT_SECONDS)
        try:
            with context.wrap_socket(raw, server_hostname=host) as secured:
                return secured.version() or "TLS"
        except ssl.SSLCertVerificationError as error:
            raise bad_certificate(error, host) from error
        except ssl.SSLError as error:
            raise _no_tls(error, host, port) from error
        except TimeoutError as error:
            reason = f"“{host}” took the connection on port {port} but never answered the TLS handshake."
            remedy = "Check the port; if the server speaks plain HTTP, write the endpoint with http://."
            raise _failure(Kind.TIMEOUT, reason, host, "connect", remedy) from error
        except OSError as error:
            reason = f"“{host}” closed the connection on port {port} during the TLS handshake."
            remedy = "Check that this port speaks TLS; if not, write the endpoint with http://."
            raise _failure(Kind.UNREACHABLE, reason, host, "connect", remedy) from error


def speaks_tls(host: str, port: int) -> bool:
    """Whether a server that did not understand us would have understood TLS. Sends nothing but a greeting,
    checks no certificate, and never raises."""
    context = trust(tls_verify=False, authority="")
    try:
        with connect(host, port, resolve(host, port)) as raw:
            raw.settimeout(_LOOK_SECONDS)
            with context.wrap_socket(raw, server_hostname=host):
                return True
    except (OSError, StorageError, ValueError):
        return False


def bad_certificate(error: ssl.SSLCertVerificationError, host: str) -> StorageError:
    """What is wrong with a server's certificate."""
    unknown = ("The server's certificate could not be verified.", _AUTHORITY)
    reason, remedy = _CERTIFICATE.get(error.verify_code, unknown)
    return _failure(Kind.UNREACHABLE, reason.format(host=host), host, "connect", remedy)


def _no_tls(error: ssl.SSLError, host: str, port: int) -> StorageError:
    if error.reason in _NOT_TLS:
        reason = f"Port {port} of “{host}” speaks plain HTTP, not TLS."
        remedy = "Use the TLS port, or write the endpoint with http:// if the network between is trusted."
    elif isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        reason = f"“{host}” closed the connection on port {port} during the TLS handshake."
        remedy = "Check that this port speaks TLS; if not, write the endpoint with http://."
    else:
        reason = f"“{host}” and this machine found no common kind of TLS."
        remedy = "The server's TLS may be too old: it must speak TLS 1.2 or newer."
    return _failure(Kind.UNREACHABLE, reason, host, "connect", remedy)
