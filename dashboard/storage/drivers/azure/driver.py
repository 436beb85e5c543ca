"""Azure Blob Storage: one container, signed in with an account key or a SAS token.

A configured prefix is a plain string before every key. Keys that Azure would change are refused; metadata
that Azure does not accept is escaped. Archived blobs are listed but cannot be read.
"""

from __future__ import annotations

import hashlib
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.azure.attributes import AzureAttributesMixin
from dashboard.storage.drivers.azure.bucket_settings import AzureBucketSettingsMixin
from dashboard.storage.drivers.azure.client import AzureClient
from dashboard.storage.drivers.azure.config import AzureConfig, check_key
from dashboard.storage.drivers.azure.deleting import AzureBatchDeleteMixin
from dashboard.storage.drivers.azure.links_and_tags import AzureLinksAndTagsMixin
from dashboard.storage.drivers.azure.writing import AzureWriting
from dashboard.storage.drivers.common.deleting import delete_unchanged
from dashboard.storage.drivers.common.keys import entries_under
from dashboard.storage.drivers.common.multipart import UploadThreads, WriteRequest
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.errors import (
    Changed,
    ContainerMissing,
    NotFound,
    StorageError,
    Unsupported,
)
from dashboard.storage.inspection.places import Bucket
from dashboard.storage.net.connecting import make_tls_context
from dashboard.storage.net.ranges import read_part
from dashboard.storage.net.resuming import PARALLEL_READS
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written

_COPY_SECONDS = 900.0


class AzureDriver(
    AzureLinksAndTagsMixin, AzureAttributesMixin, AzureBatchDeleteMixin, AzureBucketSettingsMixin
):
    """A container, or the part of it under a prefix. Thread-safe."""

    name = "azure"
    ordered = True
    missing_powers: Mapping[str, str] = MappingProxyType(
        # Azurite keeps no versions, so reading them could not be tested against a real server.
        {"versions": "shows no older versions; restore those that an account keeps in the portal."}
    )

    def __init__(self, config: AzureConfig) -> None:
        self._config = config
        self._client = AzureClient(config)
        self._senders = UploadThreads("azure-block")

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build from checked options. No network call."""
        return cls(AzureConfig.from_options(options, secrets))

    def __repr__(self) -> str:
        return f"AzureDriver({self._config.endpoint}/{self._config.container}/{self._config.prefix})"

    @property
    def place(self) -> Bucket | None:
        """See ``KnowsPlace``."""
        config = self._config
        own = config.endpoint == f"https://{config.account}.blob.core.windows.net"
        if not own or not config.tls_verify or config.ca_certificate:
            return None
        return Bucket("microsoft", f"{config.account}/{config.container}")

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. Up to 1,024 characters, prefix included; no segment ends in a dot; no backslash."""
        check_key(key, self._config.prefix + key)

    def read(self, key: str, *, if_version: str | None = None) -> CheckedReading:
        """See ``Driver``. ``version`` is the ETag, which the service compares."""
        self.check_key(key)
        return CheckedReading(*self._client.open(key, if_version))

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        self.check_key(key)
        return read_part(self.stat, self._client.part, key, (start, length), if_version)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> AzureWriting:
        """See ``Driver``. Up to 8 MiB go in one request."""
        self.check_key(key)
        return AzureWriting(
            self._client, self._senders, WriteRequest(key, size, attributes, create_only, self.put)
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``. The receipt compares the content's MD5 with the one the service computed."""
        self.check_key(key)
        md5 = hashlib.md5(data, usedforsecurity=False)
        etag, stored = self._client.put(key, data, md5.digest(), attributes, create_only=create_only)
        return Written(
            key, len(data), md5.hexdigest(), etag, expected_checksum=md5.hexdigest(), stored_checksum=stored
        )

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``. The ``md5`` of a large blob is what its writer claimed."""
        self.check_key(key)
        return self._client.head(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Skips keys up to ``start_after`` that an older service sends.

        Azure does not document where it sorts characters beyond U+FFFF (its emulator differs from UTF-8),
        so a listing only starts at a key without them.
        """
        base = self._config.prefix
        start_from = base + start_after if start_after and max(start_after) < "\ud800" else ""
        yield from entries_under(base, self._client.list(base + prefix, start_from), start_after)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.check_key(key)
        with suppress(NotFound):
            self._client.delete(key)

    def keeps_metadata(self) -> bool:
        """See ``KeepsMetadata``."""
        return True

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. ``version`` is the ETag. The service compares it: atomic."""
        self.check_key(key)
        delete_unchanged(lambda: self._client.delete(key, if_etag=version), lambda: self._client.head(key))

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Does nothing: Azure has no request to discard uncommitted blocks, does not list
        them as objects, and deletes them after a week."""
        return 0

    def close(self) -> None:
        """See ``Driver``."""
        self._senders.close()
        self._client.close()

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``. Needs the same account, signed in with its key. A SAS token would be part of
        the source's URL, which Azure stores with the copy."""
        if not isinstance(source, AzureDriver):
            return False
        here, other = self._config, source._config
        return here.credential.account_key is not None and (here.endpoint, here.credential) == (
            other.endpoint,
            other.credential,
        )

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``. The receipt compares the MD5s stored with both blobs."""
        if not isinstance(source, AzureDriver) or not self.can_copy_from(source):
            raise Unsupported("copy", "The two backends do not share an account and its key.")
        self.check_key(to)
        before = source._client.head(key, "copy")
        if if_version is not None and before.etag != if_version:
            raise Changed(key, operation="copy")
        status = self._client.start_copy(source._client, key, before.etag or "", to)
        self._wait_for(status, to)
        after = self._client.head(to, "copy")
        return Written(
            key=to,
            size=after.size,
            md5=after.md5 or "",
            etag=after.etag,
            expected_checksum=before.md5,
            stored_checksum=after.md5,
        )

    def _wait_for(self, status: str, to: str) -> None:
        deadline = time.monotonic() + _COPY_SECONDS
        while status == "pending" and time.monotonic() < deadline:
            time.sleep(0.5)
            status = self._client.copy_status(to)
        if status != "success":
            # The copy is incomplete.
            self.delete(to)
            raise StorageError(
                Kind.TIMEOUT if status == "pending" else Kind.UNREACHABLE,
                f"{self._config.host} did not finish copying to “{to}”.",
                operation="copy",
                subject=to,
                remedy="Try again.",
            )

    # ReadsInParallel

    def parallel_reads(self) -> int:
        """See ``ReadsInParallel``."""
        return PARALLEL_READS

    # CreatesBuckets

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``."""
        try:
            self._client.check_access("list")
        except ContainerMissing:
            return False
        except StorageError as error:
            # Only an existing container denies a listing.
            if error.kind is not Kind.DENIED:
                raise
        return True

    def create_bucket(self) -> None:
        """See ``CreatesBuckets``. The container is private."""
        self._client.create_container()

    # Connects

    def address(self) -> tuple[str, int, bool]:
        """See ``Connects``."""
        return (*self._config.server, self._config.tls)

    def authenticate(self) -> None:
        """See ``Connects``. Ignores a container that is missing or may not be listed: the key is still
        right."""
        try:
            self._client.check_access("authenticate", patient=False)
        except StorageError as error:
            if error.kind not in (Kind.NOT_FOUND, Kind.DENIED):
                raise

    # SecuresConnections

    def tls_context(self) -> ssl.SSLContext:
        """See ``SecuresConnections``."""
        return make_tls_context(tls_verify=self._config.tls_verify, authority=self._config.ca_certificate)
