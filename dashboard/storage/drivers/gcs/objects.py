"""Object requests of Google's JSON API.

https://cloud.google.com/storage/docs/json_api/v1
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.drivers.gcs.client import ATTEMPTS, JSON, GcsClient
from dashboard.storage.drivers.gcs.digests import Crc32c, md5_hex, md5_text
from dashboard.storage.drivers.gcs.errors import ERRORS, ErrorContext, translate
from dashboard.storage.errors import Exists, StorageError
from dashboard.storage.net.failures import RequestFailure
from dashboard.storage.net.http_client import IDLE_SECONDS, Response, ResponseBody
from dashboard.storage.net.parsing import (
    MalformedResponse,
    WrongProtocol,
    parse_entry,
    parse_json_object,
    parse_size,
)
from dashboard.storage.net.ranges import RangeNotSatisfiable, range_from_response, range_header
from dashboard.storage.net.retries import paginate, retry
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written

_PAGE_SIZE = 1000
_MAX_REWRITES_WITHOUT_PROGRESS = 100
"""Consecutive steps of a copy that copied nothing."""
_FIELDS = "kind,nextPageToken,items(name,size,updated,generation)"
# Without it Google decompresses stored content: https://cloud.google.com/storage/docs/transcoding
_AS_STORED = {"accept-encoding": "gzip"}
ATTRIBUTE_FIELDS = {
    "contentType": "content_type",
    "cacheControl": "cache_control",
    "contentDisposition": "content_disposition",
    "contentEncoding": "content_encoding",
    "contentLanguage": "content_language",
}
# These become headers: of every response with the object, and the content type of our own requests.
_PRINTABLE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?\Z")


_Row = tuple[Entry, bool]
"""A listed object, and whether this is an older generation of it."""
_LISTING = "storage#objects"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as Google describes it. Even composite objects have a CRC-32C."""

    info: ObjectInfo
    crc32c: str
    storage_class: str
    metageneration: str = ""


class Objects:
    """The objects of one bucket. Keys are without the configured prefix. Thread-safe."""

    def __init__(self, client: GcsClient) -> None:
        self.client = client
        self._prefix = client.config.prefix
        self._collection = f"b/{quote(client.config.bucket, safe='')}/o"

    def head(
        self,
        key: str,
        operation: str = "stat",
        *,
        generation: str | None = None,
        exact_generation: str | None = None,
    ) -> StoredObject:
        """Describe an object. Raises ``NotFound``, and ``Changed`` if its generation is not ``generation``.
        ``exact_generation`` selects one that may be an older one.
        https://cloud.google.com/storage/docs/json_api/v1/objects/get"""
        context = self.client.context(operation, key)
        query = {"ifGenerationMatch": generation} if generation is not None else {}
        query |= {"generation": exact_generation} if exact_generation is not None else {}
        response = self.client.send("GET", self._path("/storage/v1/", key, query), context)
        return self.parse_object(key, response, context)

    def open(self, key: str, generation: str) -> ResponseBody:
        """Open the stored bytes of one generation. Raises ``NotFound``."""
        context = self.client.context("read", key)
        target = self._path("/download/storage/v1/", key, {"alt": "media", "generation": generation})
        response = retry(lambda: self.client.open("GET", target, context, headers=_AS_STORED), ATTEMPTS)
        return self.client.incoming(response, context)

    def part(self, key: str, start: int, length: int, generation: str | None) -> bytes:
        """Read a range of the stored bytes. Raises ``RangeNotSatisfiable``, ``NotFound`` and ``Changed``."""
        context = self.client.context("read", key)
        query = {"alt": "media"} | ({"ifGenerationMatch": generation} if generation is not None else {})
        target = self._path("/download/storage/v1/", key, query)
        headers = _AS_STORED | range_header(start, length)

        def once() -> bytes:
            response = self.client.open("GET", target, context, headers=headers, accept=(416,))
            with closing(self.client.incoming(response, context)) as body:
                if body.status == 416:
                    raise RangeNotSatisfiable(key)
                return range_from_response(
                    body.status, body.headers, body.chunks(), key=key, start=start, length=length
                )

        return retry(once, ATTEMPTS)

    def put(
        self, key: str, data: bytes, md5: bytes, attributes: Attributes | None, *, create_only: bool
    ) -> StoredObject:
        """Write in one request. Google rejects it if the checksums differ.
        https://cloud.google.com/storage/docs/json_api/v1/objects/insert"""
        context = self.client.context("write", key)
        crc = Crc32c()
        crc.update(data)
        resource = self.resource(key, attributes) | {"md5Hash": md5_text(md5), "crc32c": crc.text()}
        boundary = secrets.token_hex(16)
        head = (
            f"--{boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n{json.dumps(resource)}\r\n"
        )
        kind = f"content-type: {resource['contentType']}\r\n\r\n"
        body = [f"{head}--{boundary}\r\n{kind}".encode(), data, f"\r\n--{boundary}--\r\n".encode()]
        headers = {"content-type": f"multipart/related; boundary={boundary}"}
        target = self._upload("multipart", create_only)
        maybe_written = False

        def attempt() -> Response:
            nonlocal maybe_written
            try:
                return self.client.request("POST", target, context, headers=headers, body=body)
            except StorageError as error:
                maybe_written = maybe_written or error.kind in (Kind.UNREACHABLE, Kind.TIMEOUT)
                raise

        try:
            return self.parse_object(key, retry(attempt, ATTEMPTS), context)
        except Exists:
            # An earlier attempt may have written it, and only its response was lost.
            found = self.head(key) if maybe_written else None
            if found is None or found.info.md5 != md5.hex() or not _has_metadata(found.info, attributes):
                raise
            return found

    def delete(self, key: str, *, generation: str | None = None) -> None:
        """Delete an object. Raises ``NotFound``, and ``Changed`` if its generation is not ``generation``."""
        query = {"ifGenerationMatch": generation} if generation is not None else {}
        self.client.send("DELETE", self._path("/storage/v1/", key, query), self.client.context("delete", key))

    def target(self, key: str) -> str:
        """The path of an object's metadata."""
        return self._path("/storage/v1/", key, {})

    def list(self, prefix: str, start_offset: str) -> Iterator[Entry]:
        """List objects by full key, page by page, from ``start_offset`` on.
        https://cloud.google.com/storage/docs/json_api/v1/objects/list"""
        context = self.client.context("list")
        query = {"fields": _FIELDS} | ({"prefix": prefix} if prefix else {})
        query |= {"startOffset": start_offset} if start_offset else {}
        for entry, _ in self._list_rows(query, context):
            yield entry

    def _list_rows(self, query: Mapping[str, str], context: ErrorContext) -> Iterator[_Row]:
        """Fetch every row of a listing. Raises ``StorageError`` if Google does not clearly mark the end, even
        after fetching that page again."""

        def fetch(token: str) -> bytes:
            page = {"maxResults": str(_PAGE_SIZE), **query, **({"pageToken": token} if token else {})}
            return self.client.send("GET", self._listing(page), context).body

        failed = partial(ERRORS.incomplete_listing_error, context)
        return paginate(fetch, _parse_page, lambda row: (row[0].key, row[0].etag or ""), failed, ATTEMPTS)

    def keeps_generations(self) -> bool:
        """Whether the bucket keeps older generations.
        https://cloud.google.com/storage/docs/json_api/v1/buckets/get"""
        context = self.client.context("settings")
        target = self.client.bucket_target({"fields": "versioning"})
        document = self.client.parse_document(self.client.send("GET", target, context), context)
        with ERRORS.translate_parse_errors(context):
            return bool(document.get("versioning", {}).get("enabled"))

    def generations(self, prefix: str) -> Iterator[tuple[Entry, bool]]:
        """List every generation by full key, and whether it is an older one."""
        context = self.client.context("versions")
        fields = _FIELDS.replace("generation", "generation,timeDeleted")
        query = {"versions": "true", "fields": fields} | ({"prefix": prefix} if prefix else {})
        return self._list_rows(query, context)

    def check_access(self, operation: str, *, attempts: int = ATTEMPTS, idle: float = IDLE_SECONDS) -> None:
        """List one key: the cheapest request that needs no permission on the bucket itself. Raises
        ``StorageError``."""
        target = self._listing({"maxResults": "1", "fields": "kind,nextPageToken"})
        context = self.client.context(operation)
        # A web page at this address answers every request with 200.
        document = self.client.parse_document(
            self.client.send("GET", target, context, attempts=attempts, idle=idle), context
        )
        if document.get("kind") != _LISTING:
            raise ERRORS.transport_error("unreadable", context)

    def create_bucket(self) -> None:
        """Create the bucket: private, with uniform access.
        https://cloud.google.com/storage/docs/json_api/v1/buckets/insert"""
        context, config = self.client.context("create bucket"), self.client.config
        if not config.project:
            raise translate(RequestFailure(400, "project"), context)
        resource: dict[str, Any] = {
            "name": config.bucket,
            "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": True}},
        }
        if config.location:
            resource["location"] = config.location
        target = f"/storage/v1/b?{urlencode({'project': config.project})}"
        self.client.request("POST", target, context, headers=JSON, body=json.dumps(resource).encode())

    def rewrite(
        self,
        source: Objects,
        key: str,
        generation: str,
        to: str,
        attributes: Attributes,
        *,
        operation: str = "copy",
        allow_noncurrent: bool = False,
        storage_class: str = "",
    ) -> StoredObject:
        """Copy one generation of an object on the server, in as many steps as Google needs. With
        ``allow_noncurrent`` it may be an older one. A copy onto itself replaces nothing newer.
        https://cloud.google.com/storage/docs/json_api/v1/objects/rewrite"""
        context = self.client.context(operation, key)
        source_path = source._path("", key, {})
        target_path = self._path("", to, {})
        # Without a body Google keeps all attributes; with a storage class all of them must be sent.
        requested_class = storage_class or self.client.config.storage_class
        resource = (
            self.resource(to, attributes) | {"storageClass": requested_class} if requested_class else None
        )
        body = json.dumps(resource).encode() if resource else b""
        query = {"sourceGeneration" if allow_noncurrent else "ifSourceGenerationMatch": generation}
        query |= {"ifGenerationMatch": generation} if storage_class else {}
        copied, idle_steps = -1, 0
        while idle_steps < _MAX_REWRITES_WITHOUT_PROGRESS:
            target = f"/storage/v1/{source_path}/rewriteTo/{target_path}?{urlencode(query)}"
            document = self.client.parse_document(
                self.client.send("POST", target, context, headers=JSON if body else {}, body=body), context
            )
            if document.get("done"):
                return self._to_stored_object(to, document.get("resource"), context)
            query["rewriteToken"] = str(document.get("rewriteToken", ""))
            with ERRORS.translate_parse_errors(context):
                so_far = parse_size(document.get("totalBytesRewritten", "0"))
            copied, idle_steps = max(copied, so_far), idle_steps + 1 if so_far <= copied else 0
        raise ERRORS.transport_error("unreadable", context)

    # Uploads in parts

    def create_upload(self, key: str, attributes: Attributes | None, *, create_only: bool) -> str:
        """Create a resumable upload and return the target for its parts.
        https://cloud.google.com/storage/docs/performing-resumable-uploads"""
        context = self.client.context("write", key)
        resource = self.resource(key, attributes)
        body = json.dumps(resource).encode()
        headers = {**JSON, "x-upload-content-type": resource["contentType"]}
        response = self.client.send(
            "POST", self._upload("resumable", create_only), context, headers=headers, body=body
        )
        # Use only the path, so that the token never goes to another server.
        parts = urlsplit(response.headers.get("location", ""))
        if not parts.path.startswith("/") or not parts.query:
            raise ERRORS.transport_error("unreadable", context)
        return f"{parts.path}?{parts.query}"

    def abort_upload(self, target: str, context: ErrorContext) -> None:
        """Abort an upload. Succeeds if it is gone. Raises ``StorageError``."""
        self.client.request("DELETE", target, context, body=b"", accept=(404, 410, 499), idle=10.0)

    def parse_object(self, key: str, response: Response, context: ErrorContext) -> StoredObject:
        """Parse a response that describes an object."""
        return self._to_stored_object(key, self.client.parse_document(response, context), context)

    def resource(self, key: str, attributes: Attributes | None) -> dict[str, Any]:
        """Google's resource for an object that is to be written. Omits attributes that no header can hold."""
        resource: dict[str, Any] = {"name": self._prefix + key, "contentType": "application/octet-stream"}
        if attributes is not None:
            for field, name in ATTRIBUTE_FIELDS.items():
                value = getattr(attributes, name)
                if value and _PRINTABLE.match(value):
                    resource[field] = value
            if attributes.metadata:
                resource["metadata"] = dict(attributes.metadata)
        if self.client.config.storage_class:
            resource["storageClass"] = self.client.config.storage_class
        return resource

    def _path(self, base: str, key: str, query: Mapping[str, str]) -> str:
        name = quote(self._prefix + key, safe="~")
        return f"{base}{self._collection}/{name}" + (f"?{urlencode(query)}" if query else "")

    def _listing(self, query: Mapping[str, str]) -> str:
        return f"/storage/v1/{self._collection}?{urlencode(query)}"

    def _upload(self, kind: str, create_only: bool) -> str:
        query = {"uploadType": kind} | ({"ifGenerationMatch": "0"} if create_only else {})
        return f"/upload/storage/v1/{self._collection}?{urlencode(query)}"

    def _to_stored_object(self, key: str, found: Any, context: ErrorContext) -> StoredObject:
        with ERRORS.translate_parse_errors(context):
            if found["name"] != self._prefix + key:
                raise ValueError("another object")
            generation = str(found["generation"])
            info = ObjectInfo(
                key=key,
                size=parse_size(found["size"]),
                modified=_parse_time(found["updated"]),
                etag=generation,
                version=generation,
                md5=md5_hex(found.get("md5Hash", "")),
                attributes=Attributes(
                    **{name: found.get(field) or None for field, name in ATTRIBUTE_FIELDS.items()},
                    metadata=dict(found.get("metadata") or {}),
                ),
            )
            return StoredObject(
                info,
                str(found["crc32c"]),
                str(found.get("storageClass", "")),
                str(found.get("metageneration", "")),
            )


def check_attributes(attributes: Attributes) -> None:
    """Raise ``InvalidInput`` for a header that Google would not store as it is."""
    for name in ATTRIBUTE_FIELDS.values():
        value = getattr(attributes, name)
        if value and not _PRINTABLE.match(value):
            raise InvalidInput(name, f"Google cannot store this as {name.replace('_', '-')}.")


def copy_receipt(before: StoredObject, after: StoredObject) -> Written:
    """The receipt of a copy, which compares Google's checksums of both objects."""
    by_md5 = before.info.md5 is not None and after.info.md5 is not None
    return Written(
        key=after.info.key,
        size=after.info.size,
        md5=after.info.md5 or "",
        etag=after.info.etag,
        expected_checksum=before.info.md5 if by_md5 else before.crc32c,
        stored_checksum=after.info.md5 if by_md5 else after.crc32c,
    )


def _has_metadata(info: ObjectInfo, attributes: Attributes | None) -> bool:
    """Whether an object has the metadata we sent. If not, another writer wrote the same content."""
    return dict(info.attributes.metadata) == dict(attributes.metadata if attributes else {})


def _parse_page(body: bytes) -> tuple[list[_Row], str]:
    """Parse a page of a listing and the token of the next page, empty on the last one. Raises
    ``MalformedResponse``."""
    document = parse_json_object(body)
    if document.get("kind") != _LISTING:
        raise WrongProtocol("the response is not a listing")
    items, token = document.get("items", []), document.get("nextPageToken", "")
    # Google omits the token on the last page; it is never empty.
    if (
        not isinstance(items, list)
        or not isinstance(token, str)
        or ("nextPageToken" in document and not token)
    ):
        raise MalformedResponse("a page does not say whether more follows")
    try:
        return [(_parse_entry(item), "timeDeleted" in item) for item in items], token
    except (ValueError, OverflowError, KeyError, TypeError) as error:
        raise MalformedResponse("a row is invalid") from error


def _parse_entry(item: Any) -> Entry:
    return parse_entry(item["name"], item["size"], _parse_time(item["updated"]), str(item["generation"]))


def _parse_time(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
