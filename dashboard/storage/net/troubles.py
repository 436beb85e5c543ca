"""What goes wrong between a client and its server before there is an answer: names for it, and sentences."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Mapping

from dashboard.errors import Kind
from dashboard.storage.errors import Row


class Broken(Exception):
    """A request that came to nothing; ``trouble`` is a name in ``TROUBLES``, or ``cut``."""

    def __init__(self, trouble: str) -> None:
        super().__init__(trouble)
        self.trouble = trouble


_UNROUTABLE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL})
# OpenSSL's X509_V_ERR_ codes: https://docs.openssl.org/3.0/man3/X509_STORE_CTX_get_error/
_CERTIFICATES = {10: "expired", 18: "self_signed", 62: "hostname", 64: "hostname"}


def trouble_of(error: BaseException | None) -> str:
    """The name of what a socket's error means, or ``other``."""
    if isinstance(error, ssl.SSLCertVerificationError):
        name = _CERTIFICATES.get(error.verify_code, "unknown_issuer")
    elif isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        name = "reset"
    elif isinstance(error, ssl.SSLError):
        name = "tls"
    elif isinstance(error, socket.gaierror):
        name = "dns"
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


def _final(reason: str, remedy: str) -> Row:
    """It will be the same the next time."""
    return Row(Kind.UNREACHABLE, reason, remedy, retryable=False)


TROUBLES: Mapping[str, Row] = {
    "refused": Row(
        Kind.UNREACHABLE,
        "{host} refused the connection.",
        "Check the host and port of the endpoint, and that the server runs.",
    ),
    "dns": Row(Kind.UNREACHABLE, "There is no host called {host}.", "Check the spelling of the endpoint."),
    "unroutable": Row(
        Kind.UNREACHABLE,
        "No network route leads to {host}.",
        "Check the endpoint and this machine's network.",
    ),
    "connect_timeout": Row(
        Kind.TIMEOUT,
        "{host} did not answer within 5 seconds.",
        "Check the host and port of the endpoint, and firewalls on the way.",
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
    "two_lengths": _final(
        "{host} said in two ways how long its answer is, and only one can be true.",
        "Have whoever runs the server, or a proxy before it, send only one length.",
    ),
    "endless": _final(
        "{host} sent far more than an answer can hold.",
        "Check that the endpoint is the {speaks} address; if it is, ask whoever runs the server.",
    ),
    "expired": _final(
        "The certificate of {host} has expired.",
        "Ask whoever runs the server to renew it.",
    ),
    "hostname": _final(
        "The certificate of {host} was made for another host name.",
        "Use the name the certificate was made for.",
    ),
    "self_signed": _final(
        "{host} shows a self-signed certificate, which nobody vouches for.",
        "If the server is yours, paste its certificate under Advanced as certificate authority.",
    ),
    "unknown_issuer": _final(
        "No authority known here signed the certificate of {host}; it may be self-signed.",
        "If the server is yours, paste its certificate authority under Advanced.",
    ),
    "tls": _final(
        "{host} does not speak TLS as expected.",
        "Check whether the endpoint begins with https:// or http://, and its port.",
    ),
    "plain": _final(
        "{host} speaks TLS there, and the endpoint says http://.",
        "Write the endpoint with https://.",
    ),
    "redirect": _final("{host} answered with a redirect, which Stowage does not follow.", "{redirect}"),
    "unreadable": _final(
        "{host} answered with something that is not {speaks}.",
        "Check that the endpoint is the {speaks} address and not a web page.",
    ),
}
CUT_SHORT = Row(Kind.DAMAGED, "The answer ended too early.")
"""A ``cut`` where no object was being read."""
