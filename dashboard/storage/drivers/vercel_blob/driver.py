"""Vercel Blob: one store, signed in with its read-write token.

A store keeps no user metadata and, of the headers, only the content type and the cache lifetime. Keys must be
normalized paths. Vercel reports no checksums, so no write is proven, and it does not list incomplete uploads.
Stores are created in Vercel's dashboard, not through its API.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, suppress
from typing import Self
from urllib.parse import quote

from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common.keys import entries_under
from dashboard.storage.drivers.common.multipart import (
    MultipartWriting,
    UploadThreads,
    WriteRequest,
    part_size,
)
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.drivers.vercel_blob.client import VercelBlobClient
from dashboard.storage.drivers.vercel_blob.config import VercelBlobConfig, check_key
from dashboard.storage.errors import Changed, ContainerMissing, NotFound, Unsupported
from dashboard.storage.net.http_client import ResponseBody
from dashboard.storage.net.ranges import check_range, range_from_response
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written

MAX_PARTS = 10_000
_SIGN_IN_SECONDS = 15.0


class VercelBlobWriting(MultipartWriting[str]):
    """An open write, see ``Writing``. Vercel documents no request that aborts an upload; its parts are never
    visible."""

    max_parts = MAX_PARTS

    def __init__(self, client: VercelBlobClient, senders: UploadThreads, request: WriteRequest) -> None:
        super().__init__(senders, request, part_size(request.size, MAX_PARTS))
        self._client = client
        self._upload: Mapping[str, str] = {}
        self._etag: str | None = None

    def _create_upload(self) -> None:
        self._upload = self._client.create_upload(
            self._key, self._request.attributes, create_only=self._request.create_only
        )

    def _send_part(self, number: int, data: memoryview) -> str:
        return self._client.part(self._key, self._upload, number, data)

    def _complete_upload(self, last: memoryview) -> None:
        self._etag = self._client.complete(self._key, self._upload, self._parts)

    def _receipt(self) -> Written:
        self._check_size(self._client.head(self._key)[0].size)
        return Written(self._key, self._size, self._md5_hex(), self._etag)

    def _abort_upload(self) -> None:
        """There is no request for it."""


class VercelBlobDriver:
    """A store, or the part of it under a prefix. Thread-safe."""

    name = "vercel_blob"
    ordered = False
    """Vercel does not document the order of listings."""

    def __init__(self, config: VercelBlobConfig) -> None:
        self._config = config
        self._client = VercelBlobClient(config)
        self._senders = UploadThreads("vercel-part")

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        return cls(VercelBlobConfig.from_options(options, secrets))

    def __repr__(self) -> str:
        return f"VercelBlobDriver({self._config.store}/{self._config.prefix})"

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. Paths of up to 950 characters, prefix included."""
        check_key(key, self._config.prefix + key)

    def read(self, key: str, *, if_version: str | None = None) -> CheckedReading:
        """See ``Driver``. ``version`` is the ETag. For up to a minute after a public blob was replaced, the
        CDN may still deliver the older one; then raises ``Changed``."""
        self.check_key(key)
        info, path = self._stat_version(key, if_version)
        if not info.size:
            return CheckedReading(info, iter(()))
        body = self._open_version(info, path)
        return CheckedReading(info, body.chunks(), body.close)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``. Each call also fetches the blob's information."""
        self.check_key(key)
        check_range(start, length)
        info, path = self._stat_version(key, if_version)
        length = min(length, info.size - start)
        if length <= 0:
            return b""
        with closing(self._open_version(info, path, (start, length))) as body:
            return range_from_response(
                body.status, body.headers, body.chunks(), key=key, start=start, length=length
            )

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> VercelBlobWriting:
        """See ``Driver``. Up to 8 MiB go in one request if the size is known."""
        self.check_key(key)
        return VercelBlobWriting(
            self._client, self._senders, WriteRequest(key, size, attributes, create_only, self.put)
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. The receipt proves nothing."""
        self.check_key(key)
        etag = self._client.put(key, data, attributes, create_only=create_only)
        return Written(key, len(data), hashlib.md5(data, usedforsecurity=False).hexdigest(), etag)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        self.check_key(key)
        return self._client.head(key)[0]

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Skips the entries that Vercel creates for folders."""
        if start_after:
            raise Unsupported(
                "list", "Vercel Blob does not list in order, so a listing cannot start after a key."
            )
        base = self._config.prefix
        for entry in entries_under(base, self._client.list(base + prefix)):
            if not entry.key.endswith("/"):
                yield entry

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.check_key(key)
        with suppress(NotFound):
            self._client.delete(key)

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. ``version`` is the ETag. Not atomic: Vercel supports no condition, so a
        write between the check and the deletion, one request later, is lost."""
        self.check_key(key)
        with suppress(NotFound):
            if self._client.head(key, "delete")[0].version != version:
                raise Changed(key, operation="delete")
            self._client.delete(key)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Does nothing: Vercel neither lists nor aborts incomplete uploads."""
        return 0

    def close(self) -> None:
        """See ``Driver``."""
        self._senders.close()
        self._client.close()

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``. Needs the same store."""
        if not isinstance(source, VercelBlobDriver):
            return False
        here, other = self._config, source._config
        return (here.api, here.token, here.access) == (other.api, other.token, other.access)

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. The receipt proves nothing. Checks the source before and after the copy."""
        if not isinstance(source, VercelBlobDriver) or not self.can_copy_from(source):
            raise Unsupported("copy", "The two backends do not share a store.")
        self.check_key(to)
        before = source._client.head(key, "copy")[0]
        if if_version is not None and before.version != if_version:
            raise Changed(key, operation="copy")
        etag = self._client.copy(source._config.prefix + key, key, to, before.attributes)
        after = self._client.head(to, "copy")[0]
        if source._client.head(key, "copy")[0].version != before.version or after.size != before.size:
            self.delete(to)
            raise Changed(key, operation="copy")
        return Written(key=to, size=after.size, md5="", etag=etag)

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``."""
        try:
            self._client.check_access("list")
        except ContainerMissing:
            return False
        return True

    def create_bucket(self) -> None:
        """See ``CreatesBuckets``. Raises ``Unsupported`` if the store does not exist."""
        if not self.bucket_exists():
            raise Unsupported("create bucket", "Create the store in the Vercel dashboard, under Storage.")

    # Connects

    def address(self) -> tuple[str, int, bool]:
        """See ``Connects``."""
        return (*self._client.api.address, self._client.api.tls)

    def authenticate(self) -> None:
        """See ``Connects``. The token contains the store's ID, so a missing store means a wrong token."""
        self._client.check_access("authenticate", attempts=1, idle=_SIGN_IN_SECONDS)

    # SecuresConnections

    def tls_context(self) -> ssl.SSLContext:
        """See ``SecuresConnections``."""
        return self._client.api.tls_context()

    # Links

    def url(self, key: str) -> str:
        """See ``Links``. Raises ``Unsupported`` for a private store."""
        self.check_key(key)
        if self._config.access == "private":
            raise Unsupported("url", "The blobs of a private store have no public URL.")
        return f"{self._config.blobs}/{quote(self._config.prefix + key, safe='/~')}"

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """Raises ``Unsupported``."""
        self.check_key(key)
        raise Unsupported("temporary url", "Stowage does not sign links to Vercel Blob.")

    def _stat_version(self, key: str, if_version: str | None) -> tuple[ObjectInfo, str]:
        info, path = self._client.head(key, "read")
        if if_version is not None and info.version != if_version:
            raise Changed(key)
        return info, path

    def _open_version(self, info: ObjectInfo, path: str, part: tuple[int, int] | None = None) -> ResponseBody:
        try:
            return self._client.open(info, path, part)
        except NotFound as error:
            # It existed a moment ago.
            raise Changed(info.key) from error
