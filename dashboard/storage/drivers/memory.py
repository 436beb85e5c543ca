"""Objects in the memory of this process, for tests and demos: lost when it ends, invisible to other
processes.

Keeps every promise of the protocol: any key that is text, all attributes, atomic writes.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Self

from dashboard.storage.driver import Driver
from dashboard.storage.driver_types import DriverType
from dashboard.storage.errors import Changed, Exists, InvalidKey, NotFound, Unsupported
from dashboard.storage.net.ranges import check_range
from dashboard.storage.paths import key_bytes
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Secret, Written
from dashboard.storage.whole import WholeReading, WholeWriting


@dataclass(frozen=True, slots=True)
class _Object:
    info: ObjectInfo
    data: bytes


class MemoryDriver:
    """A container in memory. Safe to use from many threads."""

    name = "memory"
    ordered = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._objects: dict[bytes, _Object] = {}
        self._versions = count(1)

    @classmethod
    def from_options(cls, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Return a new, empty container; there are no options."""
        return cls()

    # Driver

    def check_key(self, key: str) -> None:
        """See ``Driver``. Accepts any text that is not empty."""
        if not key_bytes(key):
            raise InvalidKey(key, "The key is empty.")

    def read(self, key: str, *, if_version: str | None = None) -> WholeReading:
        """See ``Driver``."""
        found = self._find(key, "read")
        if if_version is not None and found.info.version != if_version:
            raise Changed(key)
        return WholeReading(found.info, found.data)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        check_range(start, length)
        return self.read(key, if_version=if_version).read_all()[start : start + length]

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> WholeWriting:
        """See ``Driver``."""
        self.check_key(key)
        return WholeWriting(partial(self.put, key, attributes=attributes, create_only=create_only))

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        self.check_key(key)
        data = bytes(data)
        md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
        with self._lock:
            if create_only and key_bytes(key) in self._objects:
                raise Exists(key)
            etag = f"v{next(self._versions)}"
            held = attributes or Attributes()
            info = ObjectInfo(key, len(data), time.time(), etag, etag, md5, held)
            self._objects[key_bytes(key)] = _Object(info, data)
        return Written(key, len(data), md5, etag, expected_checksum=md5, stored_checksum=md5)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        return self._find(key, "stat").info

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``. Lists the keys that exist when it begins."""
        wanted, after = key_bytes(prefix), key_bytes(start_after)
        with self._lock:
            keys = sorted(key for key in self._objects if key.startswith(wanted) and key > after)
        for key in keys:
            found = self._objects.get(key)
            if found is not None:
                yield found.info.entry

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.check_key(key)
        with self._lock:
            self._objects.pop(key_bytes(key), None)

    def keeps_metadata(self) -> bool:
        """See ``KeepsMetadata``."""
        return True

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. No gap."""
        self.check_key(key)
        with self._lock:
            found = self._objects.get(key_bytes(key))
            if found is not None and found.info.version != version:
                raise Changed(key, operation="delete")
            self._objects.pop(key_bytes(key), None)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``. Unfinished writes leave nothing."""
        return 0

    def close(self) -> None:
        """See ``Driver``. The objects stay for as long as the driver does."""

    # CopiesWithin

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``: any container in this process."""
        return isinstance(source, MemoryDriver)

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``."""
        if not isinstance(source, MemoryDriver):
            raise Unsupported("copy", "The other backend is not in memory.")
        found = source._find(key, "copy")
        if if_version is not None and found.info.version != if_version:
            raise Changed(key, operation="copy")
        return self.put(to, found.data, attributes=found.info.attributes)

    def _find(self, key: str, operation: str) -> _Object:
        self.check_key(key)
        found = self._objects.get(key_bytes(key))
        if found is None:
            raise NotFound(key, operation=operation)
        return found


# Without a preset: neither the runner nor a restarted console would see its objects.
MEMORY = DriverType(
    "memory", "dashboard.storage.drivers.memory:MemoryDriver.from_options", (), in_process=True
)
