"""The engine that turns failed requests into errors, through the tables of the drivers."""

from __future__ import annotations

import errno
import socket
import ssl
from collections.abc import Callable
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers.azure import errors as azure
from dashboard.storage.drivers.gcs import errors as gcs
from dashboard.storage.drivers.s3 import errors as s3
from dashboard.storage.drivers.vercel_blob import errors as vercel
from dashboard.storage.drivers.webdav import errors as webdav
from dashboard.storage.errors import (
    Changed,
    ContainerMissing,
    Damaged,
    Exists,
    InvalidKey,
    NotFound,
    Row,
    StorageError,
)
from dashboard.storage.net.failures import ErrorContext, ErrorTable, RequestFailure
from dashboard.storage.net.parsing import MalformedResponse, WrongProtocol
from dashboard.storage.net.ranges import RangeNotSatisfiable
from dashboard.storage.net.transport_errors import TRANSPORT_ERRORS, TransportError, classify_error

BARE = ErrorTable[RequestFailure, ErrorContext](
    speaks="X",
    container_missing=Row(Kind.NOT_FOUND, "There is no place “{container}”."),
    verbs={"read": ("read from", "Reader")},
    rules={
        "Busy": Row(Kind.THROTTLED, "{host} is busy."),
        409: lambda failure, context: Row(Kind.CONFLICT, "“{key}” is there.") if context.key else None,
        403: Row(Kind.DENIED, "You may not {verb} “{container}”.", "Ask for {permission}."),
        "4xx": Row(Kind.UNSUPPORTED, "No: {status}{code}."),
    },
    aliases={429: "Busy", "Slow": "Busy"},
)


def context(operation: str = "read", key: str = "k") -> ErrorContext:
    return ErrorContext(operation, key, "place", "host:1")


@pytest.mark.parametrize(
    ("failure", "asked", "kind", "reason"),
    [
        (RequestFailure(500, "Busy"), context(), Kind.THROTTLED, "host:1 is busy."),
        (RequestFailure(400, "Slow"), context(), Kind.THROTTLED, "host:1 is busy."),
        (RequestFailure(429), context("authenticate", ""), Kind.THROTTLED, "host:1 is busy."),
        (RequestFailure(429, host="b:2"), context(), Kind.THROTTLED, "b:2 is busy."),
        (RequestFailure(409), context(), Kind.CONFLICT, "“k” is there."),
        (RequestFailure(409, "Odd"), context(key=""), Kind.UNSUPPORTED, "No: 409 (Odd)."),
        (RequestFailure(403), context(), Kind.DENIED, "You may not read from “place”."),
        (RequestFailure(500), context(), Kind.UNREACHABLE, "host:1 had an internal error (status 500)."),
        (RequestFailure(408), context(), Kind.UNSUPPORTED, "No: 408."),
        (
            RequestFailure(302),
            context(),
            Kind.UNREACHABLE,
            TRANSPORT_ERRORS["redirect"].reason.format(host="host:1"),
        ),
        (
            RequestFailure(403),
            context("authenticate", ""),
            Kind.UNREACHABLE,
            "host:1 answered with something that is not X.",
        ),
        (
            RequestFailure(0, transport_code="cut"),
            context(),
            Kind.DAMAGED,
            "“k” ended before all of it had arrived.",
        ),
        (
            RequestFailure(0, transport_code="cut"),
            context(key=""),
            Kind.DAMAGED,
            "The answer ended too early.",
        ),
        # A server's own words are shown only where they are a name.
        (RequestFailure(418, "{key} <b>"), context(), Kind.UNSUPPORTED, "No: 418."),
        (RequestFailure(600), context(), Kind.UNSUPPORTED, "host:1 refused the request with status 600."),
    ],
)
def test_a_failure_is_looked_up_by_code_then_status_then_hundred(
    failure: RequestFailure, asked: ErrorContext, kind: Kind, reason: str
) -> None:
    error = BARE.translate(failure, asked)
    assert (error.kind, error.reason, error.operation) == (kind, reason, asked.operation)
    assert error.subject == (asked.key or asked.container)


def test_both_sentences_are_filled_in_and_braces_of_a_name_stay_as_they_are() -> None:
    error = BARE.translate(RequestFailure(403), ErrorContext("read", "{status}", "{container}", "h"))
    assert (error.reason, error.remedy) == ("You may not read from “{container}”.", "Ask for Reader.")
    assert error.subject == "{status}"


def s3_context(operation: str = "read", key: str = "k") -> s3.ErrorContext:
    return s3.ErrorContext(operation, key, "place", "h", "eu-1")


EACH: list[tuple[Callable[[int, str, Any], StorageError], Callable[..., Any], str]] = [
    (lambda status, code, at: s3.translate(s3.RequestFailure(status, code), at), s3_context, "Some"),
    (
        lambda status, code, at: gcs.translate(RequestFailure(status, code), at),
        lambda operation="read", key="k": gcs.ErrorContext(operation, key, "place", "h", "who"),
        "some",
    ),
    (
        lambda status, code, at: azure.translate(RequestFailure(status, code), at),
        lambda operation="read", key="k": azure.ErrorContext(operation, key, "place", "h", "account"),
        "Some",
    ),
    (
        lambda status, code, at: vercel.translate(RequestFailure(status, code), at),
        lambda operation="read", key="k": vercel.ErrorContext(operation, key, "place", "h", "private"),
        "some",
    ),
    (lambda status, code, at: webdav.status_error(status, at), context, ""),
]


@pytest.mark.parametrize(("translate", "of", "code"), EACH, ids=["s3", "gcs", "azure", "vercel", "webdav"])
def test_every_driver_takes_a_bare_status_for_the_same(
    translate: Callable[[int, str, Any], StorageError], of: Callable[..., Any], code: str
) -> None:
    for status, expected in ((404, NotFound), (412, Changed), (416, RangeNotSatisfiable)):
        error = translate(status, code, of())
        assert (type(error), error.subject) == (expected, "k")
    # Vercel tells in words that a name is taken.
    taken = Changed if isinstance(of(), vercel.ErrorContext) else Exists
    assert type(translate(412, code, of("write"))) is taken
    for status in (429, 503):
        assert translate(status, code, of()).kind is Kind.THROTTLED
    for status in (500, 599):
        error = translate(status, code, of())
        assert (error.kind, error.retryable) == (Kind.UNREACHABLE, True)
    assert translate(413, code, of("write")).kind is Kind.TOO_LARGE
    assert translate(401, code, of()).kind is Kind.BAD_CREDENTIALS
    assert not translate(301, code, of()).retryable
    assert translate(418, code, of()).kind is Kind.UNSUPPORTED


TABLES: list[tuple[ErrorTable[Any, Any], Any]] = [
    (s3.ERRORS, EACH[0][1]),
    (gcs.ERRORS, EACH[1][1]),
    (azure.ERRORS, EACH[2][1]),
    (vercel.ERRORS, EACH[3][1]),
    (webdav.ERRORS, EACH[4][1]),
]


@pytest.mark.parametrize(("table", "of"), TABLES, ids=["s3", "gcs", "azure", "vercel", "webdav"])
def test_every_sentence_can_be_filled_in(table: ErrorTable[Any, Any], of: Callable[..., Any]) -> None:
    names = {**table.rules, **table.aliases}
    for name in names:
        failure = RequestFailure(name if isinstance(name, int) else 400, str(name))
        if table is s3.ERRORS:
            failure = s3.RequestFailure(failure.status, failure.code)
        for asked in (of(), of("write"), of("list", "")):
            error = table.translate(failure, asked)
            assert "{" not in error.reason + error.remedy
            assert isinstance(error, ContainerMissing) <= (error.subject == "place")
    for name in table.aliases.values():
        assert name in table.rules or name in (404, 412), name


def test_a_listing_that_makes_no_sense_is_told_from_another_server() -> None:
    assert (
        "not list everything: it ends"
        in BARE.incomplete_listing_error(context(), MalformedResponse("it ends")).reason
    )
    assert "not list everything" in BARE.incomplete_listing_error(context(), WrongProtocol("no XML")).reason
    assert "that is not X" in BARE.incomplete_listing_error(context(), WrongProtocol("no XML"), True).reason


def test_what_goes_wrong_on_the_way_or_in_an_answer_raises_its_error() -> None:
    with pytest.raises(Damaged), BARE.translate_transport_errors(context()):
        raise TransportError("cut")
    with pytest.raises(StorageError, match="not X"), BARE.translate_parse_errors(context()):
        {}["missing"]  # type: ignore[index]
    with pytest.raises(KeyError), BARE.translate_transport_errors(context()):
        {}["missing"]  # type: ignore[index]


def no_tls(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, reason)
    error.reason = reason
    return error


def certificate(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("error", "name"),
    [
        (certificate(9), "not_yet_valid"),
        (certificate(10), "expired"),
        (certificate(18), "self_signed"),
        (certificate(19), "unknown_issuer"),
        (certificate(20), "unknown_issuer"),
        (certificate(62), "hostname"),
        (certificate(64), "hostname"),
        (ssl.SSLEOFError(8, "EOF occurred in violation of protocol"), "reset"),
        (no_tls("WRONG_VERSION_NUMBER"), "not_tls"),
        (no_tls("UNSUPPORTED_PROTOCOL"), "tls"),
        (ssl.SSLError(1, "made by hand"), "tls"),
        (socket.gaierror(socket.EAI_AGAIN, "Temporary failure"), "name_servers"),
        (UnicodeError("label too long"), "no_name"),
        (socket.gaierror(socket.EAI_NONAME, "Name or service not known"), "dns"),
        (OSError(errno.ECONNREFUSED, "refused"), "refused"),
        (OSError(errno.ETIMEDOUT, "timed out"), "timeout"),
        (TimeoutError("The read operation timed out"), "timeout"),
        (OSError(errno.EPIPE, "broken pipe"), "reset"),
        (OSError(errno.ECONNABORTED, "aborted"), "reset"),
        (OSError(errno.ENETUNREACH, "no network"), "unroutable"),
        (OSError(errno.EHOSTUNREACH, "no route"), "unroutable"),
        # What a server says is never looked at.
        (OSError(errno.EIO, "Connection refused"), "other"),
        (None, "other"),
    ],
    ids=repr,
)
def test_a_trouble_is_told_by_type_and_number(error: BaseException | None, name: str) -> None:
    assert classify_error(error) == name
    assert name in TRANSPORT_ERRORS


def test_an_impossible_key_is_only_blamed_where_there_is_a_key() -> None:
    at = s3_context("list", "")
    assert isinstance(s3.translate(s3.RequestFailure(400, "InvalidURI"), s3_context()), InvalidKey)
    assert s3.translate(s3.RequestFailure(400, "InvalidURI"), at).kind is Kind.UNSUPPORTED
