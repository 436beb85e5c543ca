"""Errors between a client and its server before there is a response: their codes and their messages."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping

from dashboard.errors import Kind
from dashboard.storage.errors import Row


class TransportError(Exception):
    """A request without a usable response; ``code`` is a key of ``TRANSPORT_ERRORS``."""

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
    """Return the code of a socket's error, or ``other``."""
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


_CLOCK = "Check this machine's clock, then renew the server's certificate."
_AUTHORITY = (
    "If the server is yours, paste its authority's certificate into “Certificate authority” under Advanced."
)


def _permanent(reason: str, remedy: str) -> Row:
    """An error that a retry does not change."""
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
        "Check the address for typing errors, and the region if it is part of it.",
    ),
    "name_servers": Row(
        Kind.UNREACHABLE,
        "The name servers could not resolve {host}.",
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
        "{host} accepted the request but did not respond.",
        "Try again; if it still fails, contact the server's administrator.",
    ),
    "slow": Row(
        Kind.TIMEOUT,
        "{host} responded too slowly.",
        "Try again; if it still fails, contact the server's administrator.",
    ),
    "cut": Row(Kind.DAMAGED, "“{key}” ended before all of it had arrived."),
    "reset": Row(Kind.UNREACHABLE, "{host} dropped the connection.", "Try again in a moment."),
    "other": Row(Kind.UNREACHABLE, "The request to {host} failed.", "Try again in a moment."),
    "two_lengths": _permanent(
        "{host} sent a response with two contradicting lengths.",
        "Configure the server, or the proxy in front of it, to send only one length.",
    ),
    "endless": _permanent(
        "{host} sent a response that is far too large.",
        "Check that the endpoint is the {speaks} address; if it is, contact the server's administrator.",
    ),
    "expired": _permanent("The certificate of {host} has expired.", _CLOCK),
    "not_yet_valid": _permanent("The certificate of {host} is not valid yet.", _CLOCK),
    "revoked": _permanent("The certificate of {host} was revoked.", "Contact the server's administrator."),
    "unverified": _permanent("The certificate of {host} could not be verified.", _AUTHORITY),
    "hostname": _permanent(
        "{host} presents a certificate that was issued for another host name.",
        "Use the name the certificate was issued for.",
    ),
    "self_signed": _permanent(
        "{host} presents a self-signed certificate, which no authority vouches for.", _AUTHORITY
    ),
    "unknown_issuer": _permanent(
        "The certificate of {host} comes from an authority this machine does not know.", _AUTHORITY
    ),
    "tls": _permanent(
        "{host} and this machine have no TLS version or cipher in common.",
        "The server's TLS may be too old: it must speak TLS 1.2 or newer.",
    ),
    "not_tls": _permanent(
        "{host} speaks plain HTTP on this port, not TLS.",
        "Use the TLS port, or write the endpoint with http:// if the network between is trusted.",
    ),
    "tls_closed": Row(
        Kind.UNREACHABLE,
        "{host} closed the connection during the TLS handshake.",
        "Check that this port speaks TLS; if not, write the endpoint with http://.",
    ),
    "tls_timeout": Row(
        Kind.TIMEOUT,
        "{host} accepted the connection but did not answer the TLS handshake.",
        "Check the port; if the server speaks plain HTTP, write the endpoint with http://.",
    ),
    "plain": _permanent(
        "{host} speaks TLS on this port, but the endpoint says http://.",
        "Write the endpoint with https://.",
    ),
    "redirect": _permanent("{host} answered with a redirect, which Stowage does not follow.", "{redirect}"),
    "unreadable": _permanent(
        "{host} answered with something that is not {speaks}.",
        "Check that the endpoint is the {speaks} address and not a web page.",
    ),
}
CUT_SHORT = Row(Kind.DAMAGED, "The answer ended too early.")
"""The error for ``cut`` if no object was being read."""
