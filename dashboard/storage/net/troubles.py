"""What goes wrong between a client and its server before there is an answer, for every driver on HTTP."""

from __future__ import annotations

import re

from dashboard.errors import Kind
from dashboard.storage.errors import Damaged, StorageError

_TROUBLES = (
    ("unreadable", r"DeserializationError"),
    ("expired", r"certificate has expired|\bExpired(Context)?\b"),
    ("hostname", r"NotValidForName|[Hh]ostname mismatch|IP address mismatch|doesn't match"),
    ("self_signed", r"self.signed certificate|CaUsedAsEndEntity"),
    ("unknown_issuer", r"UnknownIssuer|unable to get (local )?issuer|verify failed|InvalidCertificate"),
    ("tls", r"SSLError|Invalid(Message|ContentType)|HandshakeFailure|WRONG_VERSION|CorruptMessage|ssl\.c:"),
    ("region", r"redirect without LOCATION"),
    ("dns", r"dns error|Name or service not known|NameResolution|getaddrinfo|failure in name"),
    ("refused", r"Connection ?[Rr]efused"),
    ("unroutable", r"Network ?(is )?[Uu]nreachable|No route to host|HostUnreachable"),
    ("connect_timeout", r"ConnectTimeout|Connect,\s+source: TimedOut|tcp connect error.*timed out"),
    ("timeout", r"TimedOut|kind: Timeout|[Tt]imed out|ReadTimeout"),
    ("cut", r"IncompleteBody|IncompleteRead|MissingContentLength|UnexpectedEof"),
    ("reset", r"Connection ?([Rr]eset|[Aa]borted)|IncompleteMessage|RemoteDisconnected|Broken ?[Pp]ipe"),
)
_TROUBLE = tuple((name, re.compile(pattern, re.DOTALL)) for name, pattern in _TROUBLES)


def trouble_in(text: str) -> str:
    """Name what went wrong on the wire from a client's debug text, or ``other``."""
    return next((name for name, pattern in _TROUBLE if pattern.search(text)), "other")


_ON_THE_WIRE: dict[str, tuple[Kind, str, str]] = {
    "refused": (
        Kind.UNREACHABLE,
        "{host} refused the connection.",
        "Check the host and port of the endpoint, and that the server runs.",
    ),
    "dns": (Kind.UNREACHABLE, "There is no host called {host}.", "Check the spelling of the endpoint."),
    "unroutable": (
        Kind.UNREACHABLE,
        "No network route leads to {host}.",
        "Check the endpoint and this machine's network.",
    ),
    "connect_timeout": (
        Kind.TIMEOUT,
        "{host} did not answer within 5 seconds.",
        "Check the host and port of the endpoint, and firewalls on the way.",
    ),
    "timeout": (
        Kind.TIMEOUT,
        "{host} took the request and then went silent.",
        "Try again; if it stays so, ask whoever runs the server.",
    ),
    "slow": (
        Kind.TIMEOUT,
        "{host} answered so slowly that the answer would not have ended.",
        "Try again; if it stays so, ask whoever runs the server.",
    ),
    "two_lengths": (
        Kind.UNREACHABLE,
        "{host} said in two ways how long its answer is, and only one can be true.",
        "Have whoever runs the server, or a proxy before it, send only one length.",
    ),
    "endless": (
        Kind.UNREACHABLE,
        "{host} sent far more than an answer can hold.",
        "Check that the endpoint is the {speaks} address; if it is, ask whoever runs the server.",
    ),
    "reset": (Kind.UNREACHABLE, "{host} dropped the connection.", "Try again in a moment."),
    "expired": (
        Kind.UNREACHABLE,
        "The certificate of {host} has expired.",
        "Ask whoever runs the server to renew it.",
    ),
    "hostname": (
        Kind.UNREACHABLE,
        "The certificate of {host} was made for another host name.",
        "Use the name the certificate was made for.",
    ),
    "self_signed": (
        Kind.UNREACHABLE,
        "{host} shows a self-signed certificate, which nobody vouches for.",
        "If the server is yours, paste its certificate under Advanced as certificate authority.",
    ),
    "unknown_issuer": (
        Kind.UNREACHABLE,
        "No authority known here signed the certificate of {host}; it may be self-signed.",
        "If the server is yours, paste its certificate authority under Advanced.",
    ),
    "tls": (
        Kind.UNREACHABLE,
        "{host} does not speak TLS as expected.",
        "Check whether the endpoint begins with https:// or http://, and its port.",
    ),
    "plain": (
        Kind.UNREACHABLE,
        "{host} speaks TLS there, and the endpoint says http://.",
        "Write the endpoint with https://.",
    ),
    "redirect": (
        Kind.UNREACHABLE,
        "{host} answered with a redirect, which Stowage does not follow.",
        "{redirect}",
    ),
    "unreadable": (
        Kind.UNREACHABLE,
        "{host} answered with something that is not {speaks}.",
        "Check that the endpoint is the {speaks} address and not a web page.",
    ),
    "other": (Kind.UNREACHABLE, "The request to {host} failed.", "Try again in a moment."),
}
_TLS_IS_FINAL = frozenset(
    {
        "expired",
        "hostname",
        "self_signed",
        "unknown_issuer",
        "tls",
        "plain",
        "redirect",
        "unreadable",
        "endless",
        "two_lengths",
    }
)


def wire_error(
    trouble: str,
    *,
    host: str,
    operation: str,
    key: str,
    place: str,
    speaks: str,
    redirect: str = "Enter the address it leads to.",
) -> StorageError:
    """The error for a named trouble. ``key`` or else ``place`` is its subject, ``speaks`` the protocol
    that was expected, ``redirect`` what to do about an answer that leads elsewhere."""
    if trouble == "cut":
        cut = f"“{key}” ended before all of it had arrived." if key else "The answer ended too early."
        return Damaged(key, cut, operation=operation)
    kind, reason, remedy = _ON_THE_WIRE[trouble]
    return StorageError(
        kind,
        reason.format(host=host, speaks=speaks),
        operation=operation,
        subject=key or place,
        remedy=remedy.format(speaks=speaks, redirect=redirect),
        retryable=False if trouble in _TLS_IS_FINAL else None,
    )


def incomplete(why: str, *, host: str, operation: str, place: str) -> StorageError:
    """The error for a listing of which nobody can say that it is all there is. ``why`` ends a sentence."""
    return StorageError(
        Kind.DAMAGED,
        f"{host} did not list everything: {why}.",
        operation=operation,
        subject=place,
        remedy="Try again; if it stays so, ask whoever runs the server.",
    )
