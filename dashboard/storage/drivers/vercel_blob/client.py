"""Requests to one Vercel Blob store.

Vercel publishes no reference of the protocol, only its client: these are the requests of ``@vercel/blob``
2.8.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, unquote, urlencode, urlsplit

from dashboard.storage.drivers.vercel_blob.config import VercelBlobConfig
from dashboard.storage.drivers.vercel_blob.errors import ERRORS, ErrorContext, code_of, translate
from dashboard.storage.errors import Changed, NotFound
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http1 import Body
from dashboard.storage.net.http_client import (
    IDLE_SECONDS,
    HttpClient,
    Response,
    ResponseBody,
    read_error_body,
    read_whole,
)
from dashboard.storage.net.parsing import (
    MalformedResponse,
    WrongProtocol,
    parse_entry,
    parse_json_object,
    parse_size,
)
from dashboard.storage.net.ranges import range_header
from dashboard.storage.net.retries import paginate, retry
from dashboard.storage.types import Attributes, Entry, ObjectInfo

ATTEMPTS = 4
_API_VERSION = "12"
_PAGE_SIZE = 1000
_DEFAULT_MAX_AGE = 30 * 24 * 3600
"""Seconds that caches keep a blob by default."""
_MIN_AGE_SECONDS = 60
_MAX_AGE = re.compile(r"(?:^|,)\s*max-age=(\d{1,9})\s*(?:,|\Z)")
_JSON = {"content-type": "application/json"}


class VercelBlobClient:
    """A client for one store. Thread-safe; connects on first use."""

    def __init__(self, config: VercelBlobConfig) -> None:
        self.config = config
        parts = urlsplit(config.api)
        self.api = HttpClient(f"{parts.scheme}://{parts.netloc}")
        self._base = parts.path
        self._blobs = HttpClient(config.blobs)

    def context(self, operation: str, key: str = "") -> ErrorContext:
        """The context of an error message. ``key`` is without the configured prefix."""
        return ErrorContext(operation, key, self.config.store, self.api.host, self.config.access)

    # Objects

    def put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> str:
        """Write in one request. Returns the ETag."""
        context = self.context("write", key)
        headers = self._put_headers(attributes, create_only=create_only)
        # A second attempt would collide with the blob of the first one.
        attempts = 1 if create_only else ATTEMPTS
        document = self._send(
            "PUT", "", context, self._pathname_query(key), headers=headers, body=data, attempts=attempts
        )
        return self._check_stored_name(key, document, context)

    def head(self, key: str, operation: str = "stat") -> tuple[ObjectInfo, str]:
        """Describe a blob. Returns its information and the path of its content. Raises ``NotFound``."""
        context = self.context(operation, key)
        full_key = self.config.prefix + key
        document = self._send("GET", "", context, {"url": full_key})
        with ERRORS.translate_parse_errors(context):
            if document["pathname"] != full_key:
                raise NotFound(key, operation=operation)
            parts = urlsplit(document["url"])
            # Read content from, and send the token to, only the server of this store's blobs.
            if f"{parts.scheme}://{parts.netloc}".lower() != self.config.blobs.lower():
                raise ValueError("another server")
            if unquote(parts.path) != f"/{full_key}":
                raise ValueError("another blob")
            etag = _strip_etag(document["etag"])
            info = ObjectInfo(
                key=key,
                size=parse_size(document["size"]),
                modified=_parse_time(document["uploadedAt"]),
                etag=etag,
                version=etag,
                attributes=Attributes(
                    content_type=document.get("contentType") or None,
                    cache_control=_custom_max_age(document.get("cacheControl") or ""),
                ),
            )
            return info, parts.path

    def open(self, info: ObjectInfo, path: str, part: tuple[int, int] | None = None) -> ResponseBody:
        """Open this version of a blob, or a part of it, given as start and length. Raises ``Changed`` if the
        CDN still delivers an older version, which it may for a minute."""
        context = self.context("read", info.key)
        private = self.config.access == "private"
        headers = {"authorization": f"Bearer {self.config.token.reveal()}"} if private else {}
        if part is not None:
            headers |= range_header(*part)

        def once() -> ResponseBody:
            with ERRORS.translate_transport_errors(context):
                response = self._blobs.open("GET", f"{path}?cache=0", headers=headers)
            if response.status >= 300:
                raise translate(_parse_failure(read_error_body(response)), context)
            body = ResponseBody(response, lambda error: ERRORS.transport_error(error.code, context))
            etag = _strip_etag(body.headers.get("etag", ""))
            if etag and etag != info.etag:
                body.close()
                raise Changed(info.key)
            return body

        return retry(once, ATTEMPTS)

    def list(self, prefix: str) -> Iterator[Entry]:
        """List blobs by full key, page by page."""
        context = self.context("list")

        def fetch(cursor: str) -> bytes:
            query = {"limit": str(_PAGE_SIZE)} | ({"prefix": prefix} if prefix else {})
            return self._request("GET", "", context, query | ({"cursor": cursor} if cursor else {})).body

        failed = partial(ERRORS.incomplete_listing_error, context)
        return paginate(fetch, _parse_page, lambda entry: (entry.key, entry.etag or ""), failed, ATTEMPTS)

    def check_access(self, operation: str, *, attempts: int = ATTEMPTS, idle: float = IDLE_SECONDS) -> None:
        """List one blob: the cheapest request. Raises ``StorageError``."""
        context = self.context(operation)
        document = self._send("GET", "", context, {"limit": "1"}, attempts=attempts, idle=idle)
        # A web page at this address answers every request with 200.
        if not isinstance(document.get("blobs"), list):
            raise ERRORS.transport_error("unreadable", context)

    def delete(self, key: str) -> None:
        """Delete a blob. Succeeds if it does not exist."""
        body = json.dumps({"urls": [self.config.prefix + key]}).encode()
        self._send("POST", "/delete", self.context("delete", key), {}, headers=_JSON, body=body)

    def copy(self, source: str, key: str, to: str, attributes: Attributes) -> str:
        """Copy on the server within the store. ``source`` is the full key. Returns the ETag of the copy."""
        context = self.context("copy", key)
        query = {**self._pathname_query(to), "fromUrl": source}
        headers = self._put_headers(attributes, create_only=False)
        return self._check_stored_name(to, self._send("PUT", "", context, query, headers=headers), context)

    # Uploads in parts

    def create_upload(self, key: str, attributes: Attributes | None, *, create_only: bool) -> dict[str, str]:
        """Create a multipart upload. Returns the headers that identify it."""
        context = self.context("write", key)
        headers = self._put_headers(attributes, create_only=create_only)
        document = self._send(
            "POST", "/mpu", context, self._pathname_query(key), headers={**headers, "x-mpu-action": "create"}
        )
        with ERRORS.translate_parse_errors(context):
            return {
                **headers,
                "x-mpu-upload-id": _check_header(document["uploadId"]),
                "x-mpu-key": quote(document["key"], safe=""),
            }

    def part(self, key: str, upload: Mapping[str, str], number: int, data: memoryview) -> str:
        """Upload a part. Returns its ETag."""
        context = self.context("write", key)
        headers = {**upload, "x-mpu-action": "upload", "x-mpu-part-number": str(number)}
        document = self._send(
            "POST", "/mpu", context, self._pathname_query(key), headers=headers, body=[data]
        )
        with ERRORS.translate_parse_errors(context):
            return str(document["etag"])

    def complete(self, key: str, upload: Mapping[str, str], parts: Sequence[str]) -> str:
        """Create the blob from its parts. Returns its ETag."""
        context = self.context("write", key)
        headers = {**upload, **_JSON, "x-mpu-action": "complete"}
        named = [{"partNumber": number, "etag": etag} for number, etag in enumerate(parts, 1)]
        body = json.dumps(named).encode()
        document = self._send(
            "POST", "/mpu", context, self._pathname_query(key), headers=headers, body=body, attempts=1
        )
        return self._check_stored_name(key, document, context)

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self.api.close()
        self._blobs.close()

    # Requests

    def _send(
        self,
        method: str,
        path: str,
        context: ErrorContext,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> dict[str, Any]:
        """Send a request to the API and parse the JSON object in the response. Raises ``StorageError``."""
        response = self._request(
            method, path, context, query, headers=headers, body=body, attempts=attempts, idle=idle
        )
        with ERRORS.translate_parse_errors(context):
            return parse_json_object(response.body or b"{}")

    def _request(
        self,
        method: str,
        path: str,
        context: ErrorContext,
        query: Mapping[str, str],
        *,
        headers: Mapping[str, str] | None = None,
        body: Body = b"",
        attempts: int = ATTEMPTS,
        idle: float = IDLE_SECONDS,
    ) -> Response:
        target = f"{self._base}{path}" + (f"?{urlencode(query)}" if query else "")
        all_headers = {
            **(headers or {}),
            "authorization": f"Bearer {self.config.token.reveal()}",
            "x-api-version": _API_VERSION,
            "x-vercel-blob-store-id": self.config.store,
        }

        def once() -> Response:
            with ERRORS.translate_transport_errors(context):
                response = self.api.open(
                    method,
                    target or "/",
                    headers=all_headers,
                    body=None if method == "GET" else body,
                    idle=idle,
                )
                if response.status < 300:
                    return read_whole(response)
            raise translate(_parse_failure(read_error_body(response)), context)

        return retry(once, attempts)

    def _pathname_query(self, key: str) -> dict[str, str]:
        return {"pathname": self.config.prefix + key}

    def _put_headers(self, attributes: Attributes | None, *, create_only: bool) -> dict[str, str]:
        headers = {
            "x-vercel-blob-access": self.config.access,
            "x-add-random-suffix": "0",
            "x-allow-overwrite": "0" if create_only else "1",
            # Without it Vercel guesses one from the name.
            "x-content-type": "application/octet-stream",
        }
        if attributes is not None:
            if attributes.content_type and _is_header_safe(attributes.content_type):
                headers["x-content-type"] = attributes.content_type
            match = _MAX_AGE.search(attributes.cache_control or "")
            if match and int(match.group(1)) >= _MIN_AGE_SECONDS:
                headers["x-cache-control-max-age"] = match.group(1)
        return headers

    def _check_stored_name(self, key: str, document: Mapping[str, Any], context: ErrorContext) -> str:
        with ERRORS.translate_parse_errors(context):
            if document["pathname"] != self.config.prefix + key:
                raise ValueError("stored under another name")
            return _strip_etag(document["etag"])


def _parse_failure(response: Response) -> RequestFailure:
    try:
        error = parse_json_object(response.body)["error"]
        code, message = str(error.get("code", "")), str(error.get("message", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return RequestFailure(response.status)
    return RequestFailure(response.status, code_of(response.status, code, message))


def _parse_page(body: bytes) -> tuple[list[Entry], str]:
    """Parse a page of a listing and the cursor of the next page, empty on the last one. Raises
    ``MalformedResponse``."""
    document = parse_json_object(body)
    blobs, more, cursor = document.get("blobs"), document.get("hasMore"), document.get("cursor")
    if not isinstance(blobs, list):
        raise WrongProtocol("the response is not a listing")
    if not isinstance(more, bool):
        raise MalformedResponse("a page does not say whether more follows")
    if more and not (isinstance(cursor, str) and cursor):
        raise MalformedResponse("more follows, but the response has no cursor")
    try:
        return [_parse_entry(blob) for blob in blobs], str(cursor) if more else ""
    except (ValueError, OverflowError, KeyError, TypeError, AttributeError) as error:
        raise MalformedResponse("a row is invalid") from error


def _parse_entry(blob: Any) -> Entry:
    return parse_entry(
        blob["pathname"], blob["size"], _parse_time(blob["uploadedAt"]), _strip_etag(blob["etag"])
    )


def _parse_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _strip_etag(etag: str) -> str:
    """Strip the quotes, and the weak prefix of a response that was compressed in transit."""
    return etag.removeprefix("W/").strip('"')


def _custom_max_age(cache_control: str) -> str | None:
    """The ``max-age`` unless it is Vercel's default, which every blob has."""
    match = _MAX_AGE.search(cache_control)
    return f"max-age={match.group(1)}" if match and int(match.group(1)) != _DEFAULT_MAX_AGE else None


def _is_header_safe(text: str) -> bool:
    return text == text.strip() and all(32 <= ord(c) < 127 for c in text)


def _check_header(text: str) -> str:
    if not _is_header_safe(text):
        raise ValueError("not a header")
    return text
