"""Older generations of objects, and storage classes.

https://cloud.google.com/storage/docs/object-versioning
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from dashboard.storage.drivers.gcs.config import GcsConfig, check_key
from dashboard.storage.drivers.gcs.digests import GcsReading
from dashboard.storage.drivers.gcs.objects import Objects, copy_receipt
from dashboard.storage.errors import NotFound, Unsupported
from dashboard.storage.object_powers import Version
from dashboard.storage.types import Written

TIERS = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
"""https://cloud.google.com/storage/docs/storage-classes"""
_GENERATION = re.compile(r"[0-9]{1,19}\Z")


class GcsVersionsMixin:
    """``KeepsVersions`` and ``HasTiers`` for a driver that has these parts."""

    _config: GcsConfig
    _objects: Objects

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``. Needs a role that may read the bucket's settings."""
        return self._objects.keeps_generations()

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``. A deleted object has older versions and no delete marker."""
        base = self._config.prefix
        listed = self._objects.generations(base + prefix)
        # Google lists the generations of a key together, oldest first.
        for full_key, versions in groupby(listed, key=lambda state: state[0].key):
            key = full_key.removeprefix(base)
            for entry, noncurrent in reversed(list(versions)) if key else ():
                etag = entry.etag or ""
                yield Version(
                    key, etag, entry.size, entry.modified, etag, current=not noncurrent, deleted=False
                )

    def read_version(self, key: str, version: str) -> GcsReading:
        """See ``KeepsVersions``."""
        stored = self._objects.head(key, "read", exact_generation=self._check_version(key, version))
        return GcsReading(
            stored.info, stored.crc32c, self._objects.open(key, version) if stored.info.size else None
        )

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``. Google copies the version onto the key."""
        stored = self._objects.head(key, "restore", exact_generation=self._check_version(key, version))
        restored = self._objects.rewrite(
            self._objects,
            key,
            version,
            key,
            stored.info.attributes,
            operation="restore",
            allow_noncurrent=True,
        )
        return copy_receipt(stored, restored)

    def tier(self, key: str) -> str:
        """See ``HasTiers``."""
        check_key(key, self._config.prefix + key)
        return self._objects.head(key).storage_class

    def set_tier(self, key: str, tier: str) -> None:
        """See ``HasTiers``. Google copies the object onto itself. All tiers can be read immediately."""
        check_key(key, self._config.prefix + key)
        if tier not in TIERS:
            raise Unsupported("tier", f"Google Cloud Storage has no class “{tier}”, only {', '.join(TIERS)}.")
        stored = self._objects.head(key, "tier")
        if stored.storage_class != tier:
            info = stored.info
            self._objects.rewrite(
                self._objects,
                key,
                info.version or "",
                key,
                info.attributes,
                operation="tier",
                storage_class=tier,
            )

    def _check_version(self, key: str, version: str) -> str:
        check_key(key, self._config.prefix + key)
        if not _GENERATION.match(version):
            raise NotFound(key)
        return version
