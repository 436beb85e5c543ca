"""Requests for single objects.

Servers differ in what they promise, so whatever can be checked is checked: ETags are compared, and unusual
keys are looked up in the listing after a write.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import lru_cache, partial

from dashboard.errors import Kind
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.drivers.s3 import listing as s3_listing
from dashboard.storage.drivers.s3.client import (
    ATTEMPTS,
    S3Client,
    content_md5_header,
    parse_document,
    parse_failure,
    strip_quotes,
)
from dashboard.storage.drivers.s3.config import S3Config
from dashboard.storage.drivers.s3.errors import ERRORS, ErrorContext, translate
from dashboard.storage.drivers.s3.key_rules import (
    from_headers,
    is_path_safe,
    normalize_key,
    to_headers,
)
from dashboard.storage.drivers.s3.sse_c import CustomerKey
from dashboard.storage.drivers.s3.upload import COPY_SECONDS, MD5, SSE_C_HEADER, Head, MultipartClient
from dashboard.storage.errors import Changed, InvalidKey, NotFound, StorageError
from dashboard.storage.net.http1 import StreamingResponse
from dashboard.storage.net.http_client import Response, ResponseBody
from dashboard.storage.net.ranges import range_from_response, range_header
from dashboard.storage.net.retries import retry
from dashboard.storage.types import EMPTY, Attributes, ObjectInfo, Written

_UNEXPLAINED = frozenset({Kind.DENIED, Kind.UNSUPPORTED})


class S3Reading(CheckedReading):
    """A read of one version of one object."""

    def __init__(self, info: ObjectInfo, body: ResponseBody, part_size: Callable[[int], int | None]) -> None:
        super().__init__(info, body.chunks(), body.close)
        self.part_size = part_size
        """See ``TellsParts``."""


@dataclass(frozen=True, slots=True)
class CopyResponse:
    """What a server says of a copy. ``etag_is_opaque`` as in ``Head``."""

    etag: str | None
    etag_is_opaque: bool


class Objects:
    """The objects of one bucket, by the keys that callers of the driver use. Thread-safe."""

    def __init__(self, config: S3Config, client: S3Client, uploads: MultipartClient) -> None:
        self._config = config
        self._client = client
        self._customer_key = CustomerKey(client, uploads)

    def read(self, key: str, if_version: str | None) -> S3Reading:
        """Open one version, or the current one. Raises ``Changed`` and ``NotFound``."""
        context = self._client.context("read", key)
        reading = retry(lambda: self._read(key, if_version, context), ATTEMPTS)
        # Some servers ignore If-Match.
        if if_version is not None and reading.info.version != if_version:
            reading.close()
            raise Changed(key)
        return reading

    def read_range(self, key: str, start: int, length: int, if_version: str | None) -> bytes:
        """Return a range of one version, or of the current one. Raises ``RangeNotSatisfiable``."""
        context = self._client.context("read", key)
        headers = range_header(start, length) | self._config.sse_c_headers()
        if if_version is not None:
            headers["if-match"] = f'"{if_version}"'

        def once() -> bytes:
            response = self._client.open("GET", context, key=self._config.prefix + key, headers=headers)
            received = response.headers
            with closing(_response_body(response, context)) as body:
                if if_version is not None and strip_quotes(received.get("etag")) != if_version:
                    raise Changed(key)
                return range_from_response(
                    response.status, received, body.chunks(), key=key, start=start, length=length
                )

        with self.diagnose_errors(key, context):
            return retry(once, ATTEMPTS)

    def diagnose_errors(self, key: str, context: ErrorContext) -> AbstractContextManager[None]:
        """Raise ``OtherKey`` instead of an error inside that is due to the customer's key."""
        return self._customer_key.diagnose_errors(context, self._config.prefix + key)

    def delete(self, key: str, *, if_etag: str | None = None) -> None:
        """Delete an object. Raises ``Changed`` unless it has the ETag ``if_etag``. Idempotent."""
        with suppress(NotFound):
            if if_etag is None:
                self._delete(key)
                return
            # Some servers ignore the condition.
            if self.head(key, explain=True).info.version != if_etag:
                raise Changed(key, operation="delete")
            try:
                self._delete(key, {"if-match": f'"{if_etag}"'})
            except StorageError as error:
                if error.kind is not Kind.UNSUPPORTED:
                    raise
                # Others refuse the request because of it.
                self._delete(key)

    def _delete(self, key: str, headers: Mapping[str, str] = EMPTY) -> None:
        context = self._client.context("delete", key)
        self._client.send("DELETE", context, key=self._config.prefix + key, headers=headers)

    def read_version(self, key: str, version: str) -> S3Reading:
        """Open the version of an object that has this id."""
        context = self._client.context("read", key)
        return retry(lambda: self._read(key, None, context, {"versionId": version}), ATTEMPTS)

    def copy(
        self, to: str, headers: Mapping[str, str], context: ErrorContext, *, attempts: int = ATTEMPTS
    ) -> CopyResponse:
        """Copy the object that the headers name on the server, to a key of this bucket.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_CopyObject.html"""
        self.require_encryption(to)
        with self.verify_stored_name(to):
            response = self._client.send(
                "PUT",
                context,
                key=self._config.prefix + to,
                headers=headers,
                attempts=attempts,
                idle=COPY_SECONDS,
            )
            etag = _copy_etag(response, context)
        return CopyResponse(etag, self._is_opaque(response.headers))

    def _read(
        self, key: str, if_version: str | None, context: ErrorContext, query: Mapping[str, str] = EMPTY
    ) -> S3Reading:
        full_key, headers = self._config.prefix + key, self._config.sse_c_headers()
        if if_version is not None:
            headers["if-match"] = f'"{if_version}"'
        with self.diagnose_errors(key, context):
            response = self._client.open("GET", context, key=full_key, query=query, headers=headers)
        body = _response_body(response, context)
        try:
            info = self._parse_head(key, body.headers, context).info
            return S3Reading(info, body, partial(self._part_size, info, query))
        except StorageError:
            body.close()
            raise

    def head(self, key: str, *, explain: bool = False) -> Head:
        """Describe an object. Raises ``NotFound``, with ``explain`` also ``ContainerMissing``."""
        context = self._client.context("stat", key)
        full_key, headers = self._config.prefix + key, self._config.sse_c_headers()
        with self.diagnose_errors(key, context):
            try:
                response = self._client.send("HEAD", context, key=full_key, headers=headers)
            except StorageError as error:
                # A response to HEAD has no body that says why; the response to a GET of one byte has.
                if error.kind in _UNEXPLAINED or (explain and error.kind is Kind.NOT_FOUND):
                    headers["range"] = "bytes=0-0"
                    retry(
                        lambda: self._client.open("GET", context, key=full_key, headers=headers).close(),
                        ATTEMPTS,
                    )
                raise
        return self._parse_head(key, response.headers, context)

    def _parse_head(self, key: str, headers: Mapping[str, str], context: ErrorContext) -> Head:
        etag = strip_quotes(headers.get("etag"))
        if etag and "content-length" not in headers:
            # Without a length a truncated body would go unnoticed.
            raise ERRORS.transport_error("cut", context)
        try:
            size = int(headers["content-length"])
            modified = _seconds(headers["last-modified"])
        except (KeyError, ValueError) as error:
            raise ERRORS.transport_error("unreadable", context) from error
        etag_is_opaque = self._is_opaque(headers)
        info = ObjectInfo(
            key=key,
            size=size,
            modified=modified,
            etag=etag,
            version=etag,
            md5=None if etag_is_opaque else self._md5_from_etag(etag),
            attributes=from_headers(headers),
        )
        # The server omits the header for the standard class.
        return Head(
            info,
            etag_is_opaque,
            headers.get("x-amz-storage-class") or "STANDARD",
            headers.get("x-amz-tagging-count", "0") != "0",
        )

    def _is_opaque(self, headers: Mapping[str, str]) -> bool:
        """Whether, due to encryption, the ETag of a response says nothing of the content."""
        return (
            headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
            or SSE_C_HEADER in headers
            or not self._config.etags_are_md5
        )

    def part_size(self, info: ObjectInfo, number: int) -> int | None:
        """See ``TellsParts``: the size of a part of the object that ``info`` describes."""
        return self._part_size(info, EMPTY, number)

    def _part_size(self, info: ObjectInfo, query: Mapping[str, str], number: int) -> int | None:
        """Return the size of one part of a multipart object, or None if the server does not report it or
        the ETag is not made of the parts' MD5s.
        https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html, ``partNumber``"""
        context = self._client.context("stat", info.key)
        full_key, headers = self._config.prefix + info.key, self._config.sse_c_headers()
        try:
            query = {**query, "partNumber": str(number)}
            response = self._client.send("HEAD", context, key=full_key, query=query, headers=headers)
        except StorageError as error:
            if error.retryable:
                raise
            return None
        head = self._parse_head(info.key, response.headers, context)
        parts = response.headers.get("x-amz-mp-parts-count", "")
        if head.etag_is_opaque or head.info.etag != info.etag or not (info.etag or "").endswith(f"-{parts}"):
            return None
        return head.info.size

    def exists(self, key: str) -> bool:
        """Whether the object exists."""
        try:
            self.head(key)
        except NotFound:
            return False
        return True

    def put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> str | None:
        """Write an object in one request and return its ETag."""
        self.require_encryption(key)
        with self.verify_stored_name(key):
            return self._put(key, data, attributes, create_only=create_only)

    def _put(self, key: str, data: bytes, attributes: Attributes | None, *, create_only: bool) -> str | None:
        full_key = self._config.prefix + key
        context = self._client.context("write", key)
        headers = {**to_headers(attributes), **self._config.write_headers()}
        if not self._config.etags_are_md5:
            # The ETag will prove nothing, so let the server compare the digest.
            headers |= content_md5_header(data)
        if create_only:
            headers["if-none-match"] = "*"
        return self._client.send("PUT", context, key=full_key, headers=headers, body=data).etag

    def require_encryption(self, key: str) -> None:
        """Before a write: raise ``Unsupported`` if the server does not encrypt with the customer's key."""
        self._customer_key.require_encryption(self._client.context("write", key), self._config.prefix + key)

    def verify_stored_name(self, key: str) -> AbstractContextManager[None]:
        """Raise ``InvalidKey`` if the server stores the write inside under another name.

        Deletes what was written, and protects an existing object of that other name. Sends no requests
        for ordinary keys."""
        before = self.refuse_altered_name(key)
        return self._verify_new_name(key) if before is False else nullcontext()

    @contextmanager
    def _verify_new_name(self, key: str) -> Iterator[None]:
        yield
        after = self._stat_or_none(key)
        if (after is not None and self._stat_normalized_key(key) == after) or not self._is_listed(key):
            self.delete(key)
            raise self._altered_name_error(key)

    def refuse_altered_name(self, key: str) -> bool | None:
        """Raise ``InvalidKey`` if it is clear before the write that the server would change the key.

        Returns whether an unusual key exists, or None for ordinary keys."""
        if is_path_safe(self._config.prefix + key):
            return None
        before, double = self._stat_or_none(key), self._stat_normalized_key(key)
        if not key.strip("/") and self._client.server_header.startswith("SeaweedFS"):
            # It would store such an object where no request can delete it.
            raise self._altered_name_error(key)
        if before is not None and (before == double or not self._is_listed(key)):
            raise self._altered_name_error(key)
        return before is not None

    def _stat_or_none(self, key: str) -> tuple[str | None, float | None] | None:
        try:
            info = self.head(key).info
        except NotFound:
            return None
        return info.etag, info.modified

    def _stat_normalized_key(self, key: str) -> tuple[str | None, float | None] | None:
        """Stat the key that a server which treats keys as paths would use, if it is a different one."""
        prefix = self._config.prefix
        other = normalize_key(prefix + key)
        if other == prefix + key or not other.startswith(prefix) or other == prefix:
            return None
        return self._stat_or_none(other.removeprefix(prefix))

    def _is_listed(self, key: str) -> bool:
        full_key = self._config.prefix + key
        context = self._client.context("list", key)
        found = next(s3_listing.entries(self._client, context, full_key, page=1), None)
        return found is not None and found.key == full_key

    def _altered_name_error(self, key: str) -> InvalidKey:
        return InvalidKey(key, f"{self._client.server.host} stores “{key}” under a different key.")

    def make_receipt(self, key: str, size: int, md5: str, etag: str | None) -> Written:
        """Return the receipt of a write in one request."""
        stored = self._md5_from_etag(etag)
        if stored is not None and stored != md5 and self.head(key).etag_is_opaque:
            # The bucket may encrypt with KMS by default.
            stored = None
        return Written(key, size, md5, etag, expected_checksum=md5, stored_checksum=stored)

    def _md5_from_etag(self, etag: str | None) -> str | None:
        return etag if etag and self._config.etags_are_md5 and MD5.match(etag) else None


def _copy_etag(response: Response, context: ErrorContext) -> str | None:
    """Return the ETag of a copy, or raise the error of one that failed after the server had sent status
    200."""
    document = parse_document(response.body, context)
    if document.tag == "Error":
        raise translate(parse_failure(500, response.body), context)
    if document.tag != "CopyObjectResult":
        raise ERRORS.transport_error("unreadable", context)
    return strip_quotes(document.findtext("ETag"))


def _response_body(response: StreamingResponse, context: ErrorContext) -> ResponseBody:
    return ResponseBody(response, lambda error: ERRORS.transport_error(error.code, context))


# Whole seconds, which many objects share.
@lru_cache(1024)
def _seconds(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()
