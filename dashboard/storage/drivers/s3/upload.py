"""Writes: small ones in one request, large ones in parts. An object appears complete or not at all.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/mpuoverview.html. Every part is sent
with its checksum. An upload that fails is aborted.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from xml.etree import ElementTree

from dashboard.errors import Kind
from dashboard.storage.drivers.common.multipart import (
    ProvenByParts,
    UploadThreads,
    WriteRequest,
    composite_checksum,
    part_size,
)
from dashboard.storage.drivers.s3.client import S3Client, parse_document, parse_failure, strip_quotes
from dashboard.storage.drivers.s3.errors import ERRORS, ErrorContext, translate
from dashboard.storage.drivers.s3.key_rules import to_headers
from dashboard.storage.errors import Damaged, StorageError, Unsupported
from dashboard.storage.types import EMPTY, Attributes, ObjectInfo, Written

MAX_PARTS = 10_000
MD5 = re.compile(r"[0-9a-f]{32}\Z")
COPY_SECONDS = 900.0
"""The server may send nothing until a copy is complete."""
SSE_C_HEADER = "x-amz-server-side-encryption-customer-algorithm"
"""The response header of a server that used the customer's key."""


@dataclass(frozen=True, slots=True)
class Part:
    """A stored part. ``digest``: the MD5 of what was sent."""

    number: int
    etag: str
    digest: bytes


class MultipartClient:
    """Multipart uploads to one bucket. Thread-safe."""

    def __init__(self, client: S3Client) -> None:
        self._client = client

    def create(
        self,
        context: ErrorContext,
        full_key: str,
        attributes: Attributes | None,
        more: Mapping[str, str] = EMPTY,
    ) -> str:
        """Create an upload and return its id. ``more``: further headers."""
        headers = {**to_headers(attributes), **self._client.config.write_headers(), **more}
        response = self._client.send("POST", context, key=full_key, query={"uploads": ""}, headers=headers)
        upload_id: str | None = parse_document(response.body, context).findtext("UploadId")
        if not upload_id:
            raise ERRORS.transport_error("unreadable", context)
        return upload_id

    def complete(
        self, context: ErrorContext, full_key: str, upload_id: str, parts: list[Part], *, if_absent: bool
    ) -> str | None:
        """Turn the parts into an object and return its ETag."""
        root = ElementTree.Element("CompleteMultipartUpload")
        for part in parts:
            item = ElementTree.SubElement(root, "Part")
            ElementTree.SubElement(item, "PartNumber").text = str(part.number)
            ElementTree.SubElement(item, "ETag").text = f'"{part.etag}"'
        headers = {"content-type": "application/xml", **self._client.config.sse_c_headers()}
        if if_absent:
            headers["if-none-match"] = "*"
        response = self._client.send(
            "POST",
            context,
            key=full_key,
            query={"uploadId": upload_id},
            headers=headers,
            body=ElementTree.tostring(root),
        )
        document = parse_document(response.body, context)
        if document.tag == "Error":
            # The server may fail after it has sent status 200.
            raise translate(parse_failure(500, response.body), context)
        return strip_quotes(document.findtext("ETag"))

    def abort(self, context: ErrorContext, full_key: str, upload_id: str) -> None:
        """Abort an upload. Idempotent; ignores errors."""
        with suppress(StorageError):
            self._client.send(
                "DELETE", context, key=full_key, query={"uploadId": upload_id}, attempts=2, idle=10.0
            )

    def upload_part(
        self, context: ErrorContext, full_key: str, upload_id: str, number: int, data: memoryview
    ) -> Part:
        """Upload a part. Raises ``Unsupported`` if the server does not encrypt it with the customer's key."""
        config = self._client.config
        md5 = hashlib.md5(data, usedforsecurity=False)
        response = self._client.send(
            "PUT",
            context,
            key=full_key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers={"content-md5": base64.b64encode(md5.digest()).decode(), **config.sse_c_headers()},
            body=[data],
            length=len(data),
        )
        if config.customer_key and SSE_C_HEADER not in response.headers:
            raise Unsupported(
                "write", f"{self._client.server.host} stores objects without using your own key (SSE-C)."
            )
        etag = response.etag or md5.hexdigest()
        encrypted = response.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        if etag != md5.hexdigest() and len(etag) == 32 and not encrypted and config.etags_are_md5:
            raise Damaged(
                context.key, f"Part {number} of “{context.key}” was damaged in transit.", operation="write"
            )
        return Part(number, etag, md5.digest())

    def copy_part(
        self,
        context: ErrorContext,
        full_key: str,
        upload_id: str,
        number: int,
        headers: Mapping[str, str],
    ) -> Part:
        """Make bytes of an object, which the headers name, a part. Raises ``Unsupported`` if the response has
        no MD5 of the part."""
        response = self._client.send(
            "PUT",
            context,
            key=full_key,
            query={"partNumber": str(number), "uploadId": upload_id},
            headers=headers,
            idle=COPY_SECONDS,
        )
        document = parse_document(response.body, context)
        if document.tag == "Error":
            raise translate(parse_failure(500, response.body), context)
        etag = strip_quotes(document.findtext("ETag")) or ""
        encrypted = response.headers.get("x-amz-server-side-encryption", "").startswith("aws:kms")
        if encrypted or not MD5.match(etag):
            raise Unsupported("copy", f"{self._client.server.host} does not tell the checksum of a part.")
        return Part(number, etag, bytes.fromhex(etag))


@dataclass(frozen=True, slots=True)
class Head:
    """A response to HEAD. ``etag_is_opaque``: due to encryption, the ETag says nothing of the content."""

    info: ObjectInfo
    etag_is_opaque: bool
    storage_class: str
    has_tags: bool


@dataclass(frozen=True, slots=True)
class Begun:
    """An unfinished upload: its id, and size and ETag of each part that the server has."""

    upload_id: str
    parts: Mapping[int, tuple[int, str]]


@dataclass(frozen=True, slots=True)
class UploadTarget:
    """What a write needs from its driver."""

    uploads: MultipartClient
    context: ErrorContext
    full_key: str
    head: Callable[[], Head]
    before_upload: Callable[[], object]
    """Called before an upload is created; raises if the server cannot store the key."""
    commit_guard: Callable[[], AbstractContextManager[bool]]
    """Entered around completion; yields whether to make the server refuse an existing key."""
    begun: Callable[[], Begun | None] = lambda: None
    """Returns the upload to continue, if there is one."""


class S3Writing(ProvenByParts[Part]):
    """An open write, see ``Writing``."""

    max_parts = MAX_PARTS

    def __init__(self, senders: UploadThreads, request: WriteRequest, target: UploadTarget) -> None:
        super().__init__(senders, request, part_size(request.size, MAX_PARTS))
        self._target = target
        self._upload_id = ""
        self._has: Mapping[int, tuple[int, str]] = {}

    def _create_upload(self) -> None:
        target = self._target
        target.before_upload()
        if begun := target.begun():
            self._upload_id, self._has = begun.upload_id, begun.parts
            return
        self._upload_id = target.uploads.create(target.context, target.full_key, self._request.attributes)

    def _send_part(self, number: int, data: memoryview) -> Part:
        target = self._target
        if number in self._has:
            md5 = hashlib.md5(data, usedforsecurity=False)
            if self._has[number] == (len(data), md5.hexdigest()):
                return Part(number, md5.hexdigest(), md5.digest())
        return target.uploads.upload_part(target.context, target.full_key, self._upload_id, number, data)

    def _complete_upload(self, last: memoryview) -> None:
        target = self._target
        with target.commit_guard() as if_absent:
            try:
                target.uploads.complete(
                    target.context, target.full_key, self._upload_id, self._parts, if_absent=if_absent
                )
            except StorageError as error:
                # If only the response was lost, the object exists, and a retry gets "no such upload".
                if not self._already_stored(error):
                    raise

    def _abort_upload(self) -> None:
        self._target.uploads.abort(self._target.context, self._target.full_key, self._upload_id)

    @property
    def part_bytes(self) -> int:
        """See ``HashesParts``."""
        return self._part_bytes if (self._request.size or 0) > self._part_bytes else 0

    def finish_parts(self) -> str:
        """See ``HashesParts``."""
        self._send_rest()
        return self._expected()

    def _expected(self) -> str:
        return composite_checksum(part.digest for part in self._parts)

    def _already_stored(self, error: StorageError) -> bool:
        if error.kind not in (Kind.NOT_FOUND, Kind.UNREACHABLE, Kind.TIMEOUT):
            return False
        try:
            info = self._target.head().info
            requested = self._request.attributes
            # Another writer may have stored the same content, but not with the same metadata.
            same = dict(info.attributes.metadata) == dict(requested.metadata if requested else {})
            return info.etag == self._expected() and same
        except StorageError:
            return False

    def _receipt(self) -> Written:
        head = self._target.head()
        info = head.info
        self._check_size(info.size)
        comparable = info.etag and info.etag.endswith(f"-{len(self._parts)}") and not head.etag_is_opaque
        return Written(
            key=info.key,
            size=self._size,
            md5=self._md5_hex(),
            etag=info.etag,
            expected_checksum=self._expected(),
            stored_checksum=info.etag if comparable else None,
        )
