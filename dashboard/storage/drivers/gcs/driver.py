"""Google Cloud Storage: one bucket, signed in with a service account key or this machine's identity.

A configured prefix is a plain string before every key. The generation of an object is its version and its
ETag, so that a read returns exactly what was listed. Compressed content is transferred as it is stored.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.common.deleting import delete_unchanged
from dashboard.storage.drivers.common.keys import entries_under
from dashboard.storage.drivers.common.locations import public_bucket
from dashboard.storage.drivers.common.multipart import UploadThreads, WriteRequest
from dashboard.storage.drivers.gcs.acl import GcsVisibilityMixin
from dashboard.storage.drivers.gcs.attributes import GcsAttributesMixin
from dashboard.storage.drivers.gcs.bucket_settings import GcsBucketSettingsMixin
from dashboard.storage.drivers.gcs.client import GcsClient
from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.drivers.gcs.deleting import GcsBatchDeleteMixin
from dashboard.storage.drivers.gcs.digests import GcsReading
from dashboard.storage.drivers.gcs.links import GcsLinksMixin
from dashboard.storage.drivers.gcs.objects import Objects, copy_receipt
from dashboard.storage.drivers.gcs.versions import GcsVersionsMixin
from dashboard.storage.drivers.gcs.writing import GcsWriting
from dashboard.storage.errors import Changed, ContainerMissing, NotFound, StorageError, Unsupported
from dashboard.storage.inspection.places import Bucket
from dashboard.storage.net.ranges import read_part
from dashboard.storage.net.resuming import PARALLEL_READS
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written

_SIGN_IN_SECONDS = 15.0


class GcsDriver(
    GcsLinksMixin,
    GcsVersionsMixin,
    GcsAttributesMixin,
    GcsBucketSettingsMixin,
    GcsBatchDeleteMixin,
    GcsVisibilityMixin,
):
    """A bucket, or the part of it under a prefix. Thread-safe."""

    name = "gcs"
    ordered = True

    def __init__(self, config: GcsConfig) -> None:
        self._config = config
        self._client = GcsClient(config)
        self._objects = Objects(self._client)
        self._senders = UploadThreads("gcs-part")

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        return cls(GcsConfig.from_options(options, secrets))

    def __repr__(self) -> str:
        return f"GcsDriver({self._config.endpoint}/{self._config.bucket}/{self._config.prefix})"

    @property
    def place(self) -> Bucket | None:
        """See ``KnowsPlace``."""
        return public_bucket(self._config)

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. Up to 1,024 bytes, prefix included, without line breaks."""
        check_key(key, self._config.prefix + key)

    def read(self, key: str, *, if_version: str | None = None) -> GcsReading:
        """See ``Driver``. ``version`` is the generation."""
        self.check_key(key)
        stored = self._objects.head(key, "read", generation=if_version)
        if stored.info.size == 0:
            return GcsReading(stored.info, stored.crc32c, None)
        try:
            return GcsReading(stored.info, stored.crc32c, self._objects.open(key, stored.info.version or ""))
        except NotFound as error:
            # It existed a moment ago.
            raise Changed(key) from error

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        self.check_key(key)
        return read_part(self.stat, self._objects.part, key, (start, length), if_version)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> GcsWriting:
        """See ``Driver``. Up to 8 MiB go in one request."""
        self.check_key(key)
        return GcsWriting(
            self._objects, self._senders, WriteRequest(key, size, attributes, create_only, self.put)
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. Google compares both checksums before anything is visible."""
        self.check_key(key)
        md5 = hashlib.md5(data, usedforsecurity=False)
        info = self._objects.put(key, data, md5.digest(), attributes, create_only=create_only).info
        return Written(
            key,
            len(data),
            md5.hexdigest(),
            info.etag,
            expected_checksum=md5.hexdigest(),
            stored_checksum=info.md5,
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``. A composite object has no ``md5``."""
        self.check_key(key)
        return self._objects.head(key).info

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Google lists in UTF-8 byte order and starts at any key."""
        base = self._config.prefix
        start_offset = base + start_after if start_after else ""
        yield from entries_under(base, self._objects.list(base + prefix, start_offset), start_after)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.check_key(key)
        with suppress(NotFound):
            self._objects.delete(key)

    def keeps_metadata(self) -> bool:
        """See ``KeepsMetadata``."""
        return True

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. ``version`` is the generation. Google compares it: atomic."""
        self.check_key(key)
        delete_unchanged(
            lambda: self._objects.delete(key, generation=version), lambda: self._objects.head(key)
        )

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Does nothing: Google never lists resumable uploads and discards them after a
        week."""
        return 0

    def close(self) -> None:
        """See ``Driver``."""
        self._senders.close()
        self._client.close()

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``. Needs the same endpoint and the same identity."""
        if not isinstance(source, GcsDriver):
            return False
        here, there = self._config, source._config
        return (here.endpoint, here.account) == (there.endpoint, there.account)

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. The receipt compares Google's checksums of both objects."""
        if not isinstance(source, GcsDriver) or not self.can_copy_from(source):
            raise Unsupported("copy", "The two backends do not share an endpoint and an identity.")
        self.check_key(to)
        before = source._objects.head(key, "copy", generation=if_version)
        info = before.info
        after = self._objects.rewrite(source._objects, key, info.version or "", to, info.attributes)
        return copy_receipt(before, after)

    # ReadsInParallel

    def parallel_reads(self) -> int:
        """See ``ReadsInParallel``."""
        return PARALLEL_READS

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``."""
        try:
            self._objects.check_access("list")
        except ContainerMissing:
            return False
        except StorageError as error:
            # Only an existing bucket denies a listing.
            if error.kind is not Kind.DENIED:
                raise
        return True

    def create_bucket(self) -> None:
        """See ``CreatesBuckets``. The bucket is private, with access by roles only."""
        try:
            self._objects.create_bucket()
        except StorageError as error:
            # The bucket may exist and be ours: then it can be listed.
            if error.kind is not Kind.CONFLICT or not self._can_list():
                raise

    def _can_list(self) -> bool:
        try:
            self._objects.check_access("list")
        except StorageError:
            return False
        return True

    # Connects

    def address(self) -> tuple[str, int, bool]:
        """See ``Connects``."""
        return (*self._client.server.address, self._client.server.tls)

    def authenticate(self) -> None:
        """See ``Connects``. Ignores a bucket that is missing or may not be listed: the key is still right."""
        try:
            self._objects.check_access("authenticate", attempts=1, idle=_SIGN_IN_SECONDS)
        except StorageError as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.DENIED):
                raise

    # SecuresConnections

    def tls_context(self) -> ssl.SSLContext:
        """See ``SecuresConnections``."""
        return self._client.server.tls_context()
