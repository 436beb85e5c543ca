"""Signed requests to Google Cloud Storage over our own connections.

https://cloud.google.com/storage/docs/json_api/v1. Not the XML API, whose responses invent a Cache-Control and
omit the MD5 of a write. Not Google's SDK, which follows any DNS answer and any redirect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import quote, urlencode

from dashboard.storage.drivers.gcs.config import GcsConfig
from dashboard.storage.drivers.gcs.errors import ERRORS, ErrorContext, code_of, translate
from dashboard.storage.drivers.gcs.tokens import AuthError, ServiceAccountTokens, tokens_for
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http1 import Body, StreamingResponse, TransportError
from dashboard.storage.net.http_client import (
    IDLE_SECONDS,
    HttpClient,
    Response,
    ResponseBody,
    read_error_body,
    read_whole,
)
from dashboard.storage.net.parsing import parse_json_object
from dashboard.storage.net.retries import retry

ATTEMPTS = 4
JSON = {"content-type": "application/json; charset=utf-8"}
"""The headers of a request with a JSON document."""


class GcsClient:
    """A client for one bucket. Thread-safe; connects on first use."""

    def __init__(self, config: GcsConfig) -> None:
        self.config = config
        self.tokens = tokens_for(config)
        self.server = HttpClient(
            config.endpoint, tls_verify=config.tls_verify, authority=config.ca_certificate
        )

    def context(self, operation: str, key: str = "") -> ErrorContext:
        """The context of an error message. ``key`` is without the configured prefix."""
        account = self.config.account
        who = account.email if account else "The identity of this machine"
        return ErrorContext(operation, key, self.config.bucket, self.server.host, who)

    def bucket_target(self, query: Mapping[str, str]) -> str:
        """The path of the bucket's own resource, with a query."""
        return f"/storage/v1/b/{quote(self.config.bucket, safe='')}?{urlencode(query)}"

    def send(
        self,
        method: str,
        target: str,
        context: ErrorContext,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """Send a request that is safe to retry and read the whole response. Raises ``StorageError``."""
        return retry(
            lambda: self.request(method, target, context, headers=headers, body=body, idle=idle),
            attempts,
        )

    def request(
        self,
        method: str,
        target: str,
        context: ErrorContext,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: tuple[int, ...] = (),
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """Send a request once and read the whole response. Raises ``StorageError`` for statuses of 300 and
        more, unless they are in ``accept``."""
        response = self.open(method, target, context, headers=headers, body=body, accept=accept, idle=idle)
        with _translate_errors(context):
            return read_whole(response)

    def parse_document(self, response: Response, context: ErrorContext) -> dict[str, Any]:
        """Parse the JSON object in a response."""
        with ERRORS.translate_parse_errors(context):
            return parse_json_object(response.body)

    def signature(self, text: bytes, context: ErrorContext) -> bytes:
        """Sign with the service account's key. Raises ``StorageError`` if the key cannot be read."""
        assert isinstance(self.tokens, ServiceAccountTokens)
        with _translate_errors(context):
            return self.tokens.sign(text)

    def close(self) -> None:
        """Free the connections. Idempotent."""
        self.tokens.close()
        self.server.close()

    def incoming(self, response: StreamingResponse, context: ErrorContext) -> ResponseBody:
        """The body of an open response, with its errors translated."""
        return ResponseBody(response, lambda error: ERRORS.transport_error(error.code, context))

    def open(
        self,
        method: str,
        target: str,
        context: ErrorContext,
        *,
        headers: Mapping[str, str] | None = None,
        body: Body | None = None,
        accept: tuple[int, ...] = (),
        idle: float = IDLE_SECONDS,
    ) -> StreamingResponse:
        """Like :meth:`request`, but leave the response open for the caller to read."""

        def open_with(token: str) -> StreamingResponse:
            signed_in = {**(headers or {}), "authorization": f"Bearer {token}"}
            return self.server.open(method, target, headers=signed_in, body=body, idle=idle)

        with _translate_errors(context):
            token = self.tokens.token()
            response = open_with(token)
            if response.status == 401:
                # The token may have been revoked before it expired.
                response.close()
                self.tokens.invalidate(token)
                response = open_with(self.tokens.token())
        if response.status < 300 or response.status in accept:
            return response
        raise translate(parse_failure(read_error_body(response)), context)


@contextmanager
def _translate_errors(context: ErrorContext) -> Iterator[None]:
    try:
        yield
    except TransportError as error:
        raise ERRORS.transport_error(error.code, context) from error
    except AuthError as error:
        raise translate(error.failure, context) from error


def parse_failure(response: Response) -> RequestFailure:
    """Parse an error response, which is JSON or plain text."""
    try:
        error = parse_json_object(response.body)["error"]
        reasons = [str(item.get("reason", "")) for item in error.get("errors", ())]
        reason, message = next(iter(reasons), ""), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        reason, message = "", response.body[:2000].decode(errors="replace")
    return RequestFailure(response.status, code_of(response.status, reason, message))
