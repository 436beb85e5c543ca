"""What goes wrong between a client and its server before there is an answer: names for it, and sentences."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping

from dashboard.errors import Kind
from dashboard.storage.errors import Row


class TransportError(Exception):
    """A request that came to nothing; ``code`` is a name in ``TRANSPORT_ERRORS``, or ``cut``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


_UNROUTABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
_NOT_TLS = frozenset(
    {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE"}
)
# OpenSSL's X509_V_ERR_ codes: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_CERTIFICATES = {
    9: "not_yet_valid",
    10: "expired",
    18: "self_signed",
    19: "unknown_issuer",
    20: "unknown_issuer",
    21: "unknown_issuer",
    23: "revoked",
    62: "hostname",
    64: "hostname",
}


def classify_error(error: BaseException | None) -> str:
    """The name of what a socket's error means, or ``other``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        name = _CERTIFICATES.get(error.verify_code, "unverified")
    elif isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        name = "reset"
    elif isinstance(error, ssl.SSLError):
        name = "not_tls" if getattr(error, "reason", "") in _NOT_TLS else "tls"
    elif isinstance(error, socket.gaierror):
        name = "name_servers" if error.errno == socket.EAI_AGAIN else "dns"
    elif isinstance(error, UnicodeError):
        name = "no_name"
    elif isinstance(error, ConnectionRefusedError):
        name = "refused"
    elif isinstance(error, TimeoutError):
        name = "timeout"
    elif isinstance(error, ConnectionError):
        name = "reset"
    elif isinstance(error, OSError) and error.errno in _UNROUTABLE:
        name = "unroutable"
    else:
        name = "other"
    return name


_CLOCK = "Check the clock of this machine, then have the server's certificate renewed."
_AUTHORITY = (
    "If the server is yours, paste its authority's certificate into “Certificate authority” under Advanced."
)


def _permanent(reason: str, remedy: str) -> Row:
    """It will be the same the next time."""
    return Row(Kind.UNREACHABLE, reason, remedy, retryable=False)


TRANSPORT_ERRORS: Mapping[str, Row] = {
    "refused": Row(
        Kind.UNREACHABLE,
        "{host} refused the connection: nothing listens on that port.",
        "Check the port, and that the server is running.",
    ),
    "dns": Row(
        Kind.UNREACHABLE,
        "There is no host called {host}.",
        "Check the address, and the region if it is part of it, for typing errors.",
    ),
    "name_servers": Row(
        Kind.UNREACHABLE,
        "The name servers did not say where {host} is.",
        "Check this machine's network and name servers, then try again.",
    ),
    "no_name": _permanent("{host} is not a host name.", "Correct it."),
    "unroutable": Row(
        Kind.UNREACHABLE,
        "There is no network route from this machine to {host}.",
        "Check the endpoint and this machine's network, VPN and firewall.",
    ),
    "connect_timeout": Row(
        Kind.TIMEOUT,
        "{host} did not answer within {seconds} seconds.",
        "Check the host and port; a firewall on the way may drop the connection.",
    ),
    "timeout": Row(
        Kind.TIMEOUT,
        "{host} took the request and then went silent.",
        "Try again; if it stays so, ask whoever runs the server.",
    ),
    "slow": Row(
        Kind.TIMEOUT,
        "{host} answered so slowly that the answer would not have ended.",
        "Try again; if it stays so, ask whoever runs the server.",
    ),
    "cut": Row(Kind.DAMAGED, "“{key}” ended before all of it had arrived."),
    "reset": Row(Kind.UNREACHABLE, "{host} dropped the connection.", "Try again in a moment."),
    "other": Row(Kind.UNREACHABLE, "The request to {host} failed.", "Try again in a moment."),
    "two_lengths": _permanent(
        "{host} said in two ways how long its answer is, and only one can be true.",
        "Have whoever runs the server, or a proxy before it, send only one length.",
    ),
    "endless": _permanent(
        "{host} sent far more than an answer can hold.",
        "Check that the endpoint is the {speaks} address; if it is, ask whoever runs the server.",
    ),
    "expired": _permanent("The certificate of {host} has expired.", _CLOCK),
    "not_yet_valid": _permanent("The certificate of {host} is not valid yet.", _CLOCK),
    "revoked": _permanent("The certificate of {host} was revoked.", "Ask whoever runs the server."),
    "unverified": _permanent("The certificate of {host} could not be verified.", _AUTHORITY),
    "hostname": _permanent(
        "{host} shows a certificate that was made for another host name.",
        "Use the name the certificate was made for.",
    ),
    "self_signed": _permanent(
        "{host} shows a self-signed certificate, which nobody vouches for.", _AUTHORITY
    ),
    "unknown_issuer": _permanent(
        "The certificate of {host} comes from an authority this machine does not know.", _AUTHORITY
    ),
    "tls": _permanent(
        "{host} and this machine found no common kind of TLS.",
        "The server's TLS may be too old: it must speak TLS 1.2 or newer.",
    ),
    "not_tls": _permanent(
        "{host} speaks plain HTTP there, not TLS.",
        "Use the TLS port, or write the endpoint with http:// if the network between is trusted.",
    ),
    "tls_closed": Row(
        Kind.UNREACHABLE,
        "{host} closed the connection during the TLS handshake.",
        "Check that this port speaks TLS; if not, write the endpoint with http://.",
    ),
    "tls_timeout": Row(
        Kind.TIMEOUT,
        "{host} took the connection but never answered the TLS handshake.",
        "Check the port; if the server speaks plain HTTP, write the endpoint with http://.",
    ),
    "plain": _permanent(
        "{host} speaks TLS there, and the endpoint says http://.",
        "Write the endpoint with https://.",
    ),
    "redirect": _permanent("{host} answered with a redirect, which Stowage does not follow.", "{redirect}"),
    "unreadable": _permanent(
        "{host} answered with something that is not {speaks}.",
        "Check that the endpoint is the {speaks} address and not a web page.",
    ),
}
CUT_SHORT = Row(Kind.DAMAGED, "The answer ended too early.")
"""A ``cut`` where no object was being read."""
