"""Signed requests to S3. Sends keys exactly as given, follows no redirects, and every wait has a timeout."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Mapping
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.errors import (
    ERRORS,
    ErrorContext,
    RequestFailure,
    classify_sse_error,
    translate,
)
from dashboard.storage.drivers.s3.signing import KeySource, Signer, presign
from dashboard.storage.net.http1 import Body, StreamingResponse
from dashboard.storage.net.http_client import IDLE_SECONDS, HttpClient, Response, read_error_body, read_whole
from dashboard.storage.net.parsing import MalformedResponse, parse_xml
from dashboard.storage.net.retries import retry
from dashboard.storage.types import EMPTY

ATTEMPTS = 4
MAX_LINK_SECONDS = 7 * 24 * 3600
"""The longest that a signed URL can be valid."""


def strip_quotes(etag: str | None) -> str | None:
    """Return an ETag without its quotes, or None if there is none."""
    return (etag or "").strip('"') or None


def content_md5_header(body: bytes) -> dict[str, str]:
    """Return the header with which the server detects a damaged body. S3 requires it with XML documents."""
    return {"content-md5": base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()}


class S3Client:
    """Requests to one bucket. Thread-safe; connects on first use."""

    def __init__(self, config: S3Config) -> None:
        self.config = config
        self.server_header = ""
        """The ``Server`` header of the last response."""
        self.server = HttpClient(
            config.bucket_url, tls_verify=config.tls_verify, authority=config.ca_certificate
        )
        self.key_source = KeySource(config.sign_in)
        self._signer = Signer(self.key_source.keys, config.region, self.server.host)
        self._path = urlsplit(config.bucket_url).path

    def context(self, operation: str, key: str = "") -> ErrorContext:
        """Return the context of an error message; ``key`` without the prefix."""
        config = self.config
        return ErrorContext(
            operation, key, config.bucket, self.server.host, config.region, bool(config.customer_key)
        )

    def send(
        self,
        method: str,
        context: ErrorContext,
        *,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        length: int | None = None,
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        """Send a request and read the complete response. Retries after 5xx and after connection errors.

        ``key`` is the full key in the bucket. A body that is not ``bytes`` needs its ``length`` and
        must be iterable more than once. Raises ``StorageError``.
        """

        def once() -> Response:
            response = self.open(
                method, context, key=key, query=query, headers=headers, body=body, length=length, idle=idle
            )
            with ERRORS.translate_transport_errors(context):
                return read_whole(response)

        return retry(once, attempts)

    def open(
        self,
        method: str,
        context: ErrorContext,
        *,
        key: str = "",
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        length: int | None = None,
        idle: float = IDLE_SECONDS,
    ) -> StreamingResponse:
        """Send a request once, without retries. The caller reads or closes the response. Raises
        ``StorageError``."""
        sent = {name.lower(): value for name, value in (headers or {}).items()}
        if length is not None:
            sent["content-length"] = str(length)
        elif body or method in ("PUT", "POST"):
            assert isinstance(body, bytes)
            sent["content-length"] = str(len(body))
        target = self._target(key, query or {})
        signed = self._signer.sign(method, target, sent)
        with ERRORS.translate_transport_errors(context):
            response = self.server.open(method, target, headers=signed, body=body or None, idle=idle)
        self.server_header = response.headers.get("server", self.server_header)
        if response.status >= 300:
            raise translate(_read_failure(response), context)
        return response

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self.server.close()

    def presign(
        self,
        full_key: str,
        seconds: int,
        *,
        method: str = "GET",
        headers: Mapping[str, str] = EMPTY,
        query: Mapping[str, str] = EMPTY,
    ) -> str:
        """Return the URL of a request that needs no credentials until it expires, only the same headers.
        https://docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html"""
        url = self._origin + self._target(full_key, query)
        keys = self.key_source.keys()
        return presign(keys, self.config.region, method, url, headers=headers, seconds=seconds)

    def link_seconds(self, seconds: int) -> int:
        """Return for how long a link can be valid: ``seconds``, but at most seven days, and no longer than
        the keys that sign it."""
        expires = self.key_source.keys().expires
        left = MAX_LINK_SECONDS if expires is None else int(expires - time.time())
        return max(min(seconds, MAX_LINK_SECONDS, left), 1)

    def _target(self, key: str, query: Mapping[str, str]) -> str:
        path = self._path
        target = f"{path}/{quote(key, safe='/~')}" if key else path or "/"
        if query:
            pairs = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in query.items())
            target += "?" + "&".join(f"{name}={value}" for name, value in pairs)
        return target

    @property
    def _origin(self) -> str:
        return f"{self.config.endpoint.partition('://')[0]}://{self.server.host}"


def _read_failure(response: StreamingResponse) -> RequestFailure:
    error_response = read_error_body(response)
    return parse_failure(
        error_response.status, error_response.body, error_response.headers.get("x-amz-bucket-region", "")
    )


def parse_document(body: bytes, context: ErrorContext) -> ElementTree.Element:
    """Parse the XML of a response. Raises ``StorageError`` if it is malformed."""
    with ERRORS.translate_parse_errors(context):
        return parse_xml(body)


def parse_failure(status: int, body: bytes, region: str = "") -> RequestFailure:
    """Parse an error response.
    https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html#RESTErrorResponses"""
    try:
        root = parse_xml(body)
    except MalformedResponse:
        return RequestFailure(status, region=region)
    code, sse_error = root.findtext("Code") or "", classify_sse_error(root.findtext("Message") or "")
    return RequestFailure(status, code, region=region or root.findtext("Region") or "", sse_error=sse_error)
