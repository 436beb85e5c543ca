"""What Google keeps of an object besides its present content: older generations and the storage class.

https://cloud.google.com/storage/docs/object-versioning
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby

from dashboard.storage.drivers.gcs.digests import GcsReading
from dashboard.storage.drivers.gcs.objects import Objects
from dashboard.storage.drivers.gcs.place import Place, check
from dashboard.storage.errors import NotFound, Unsupported
from dashboard.storage.object_powers import Version
from dashboard.storage.types import Written

TIERS = ("STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE")
"""https://cloud.google.com/storage/docs/storage-classes"""
_GENERATION = re.compile(r"[0-9]{1,19}\Z")


class KeepsGcsHistory:
    """``KeepsVersions`` and ``HasTiers`` for a driver that has these parts."""

    _place: Place
    _objects: Objects

    def keeps_versions(self) -> bool:
        """See ``KeepsVersions``. Needs a role that may look at the bucket."""
        return self._objects.keeps_generations()

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``. A deleted object has older states and no mark of its deletion."""
        own = self._place.prefix
        listed = self._objects.generations(own + prefix)
        # Google lists the generations of a name together, the oldest first.
        for full, states in groupby(listed, key=lambda state: state[0].key):
            key = full.removeprefix(own)
            for entry, gone in reversed(list(states)) if key else ():
                etag = entry.etag or ""
                yield Version(key, etag, entry.size, entry.modified, etag, current=not gone, deleted=False)

    def read_version(self, key: str, version: str) -> GcsReading:
        """See ``KeepsVersions``."""
        held = self._objects.head(key, "read", exactly=self._known(key, version))
        return GcsReading(
            held.info, held.crc32c, self._objects.open(key, version) if held.info.size else None
        )

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``: Google copies it onto the key."""
        held = self._objects.head(key, "restore", exactly=self._known(key, version))
        done = self._objects.rewrite(
            self._objects, key, version, key, held.info.attributes, operation="restore", older=True
        )
        by_md5 = held.info.md5 is not None
        return Written(
            key,
            done.info.size,
            done.info.md5 or "",
            done.info.etag,
            expected_checksum=held.info.md5 if by_md5 else held.crc32c,
            stored_checksum=done.info.md5 if by_md5 else done.crc32c,
        )

    def tier(self, key: str) -> str:
        """See ``HasTiers``."""
        check(key, self._place.prefix + key)
        return self._objects.head(key).storage_class

    def set_tier(self, key: str, tier: str) -> None:
        """See ``HasTiers``: Google copies the object onto itself. All tiers can be read from at once."""
        check(key, self._place.prefix + key)
        if tier not in TIERS:
            raise Unsupported(
                "tier", f"Google Cloud Storage has no class “{tier}”; it has {', '.join(TIERS)}."
            )
        held = self._objects.head(key, "tier")
        if held.storage_class != tier:
            info = held.info
            self._objects.rewrite(
                self._objects,
                key,
                info.version or "",
                key,
                info.attributes,
                operation="tier",
                storage_class=tier,
            )

    def _known(self, key: str, version: str) -> str:
        check(key, self._place.prefix + key)
        if not _GENERATION.match(version):
            raise NotFound(key)
        return version
