"""The facade application code works with: a named backend with everything a driver leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from dashboard.storage.copying import copy_object
from dashboard.storage.driver import Driver, Links, Reading, ReadsRanges, Writing
from dashboard.storage.errors import NotFound, PlaceMissing, Unsupported
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written


class Backend:
    """One backend by name. Thread-safe. Every method raises ``StorageError`` and nothing else."""

    def __init__(self, name: str, driver: Driver) -> None:
        self.name = name
        self.driver = driver

    def put(
        self, key: str, data: bytes | str, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Store a small object, atomically; text is stored as UTF-8. Replaces what is there unless
        ``create_only``, which raises ``Exists``."""
        content = data.encode() if isinstance(data, str) else data
        return self.driver.put(key, content, attributes=attributes, create_only=create_only)

    def get(self, key: str) -> bytes:
        """The whole content, in memory; use :meth:`read_stream` for large objects. Raises ``NotFound``."""
        with self.driver.read(key) as reading:
            return b"".join(reading.chunks())

    def read_stream(self, key: str, *, if_version: str | None = None) -> Reading:
        """An open read, to be used as a context manager. Raises ``NotFound`` and ``Changed``."""
        return self.driver.read(key, if_version=if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """``length`` bytes from ``start``, in memory; fewer where the object ends, none past its end. Raises
        ``NotFound``, ``Changed``, and ``Unsupported`` where the driver reads only whole objects."""
        if not isinstance(self.driver, ReadsRanges):
            raise Unsupported(
                "read range", f"The driver of “{self.name}” ({self.driver.name}) reads only whole objects."
            )
        return self.driver.read_range(key, start, length, if_version=if_version)

    def write_stream(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """An open write, to be used as a context manager; without ``commit()`` nothing is stored."""
        return self.driver.write(key, size=size, attributes=attributes, create_only=create_only)

    def exists(self, key: str) -> bool:
        """Whether there is such an object. Raises ``PlaceMissing`` where not even the bucket is there."""
        try:
            self.driver.stat(key)
        except PlaceMissing:
            raise
        except NotFound:
            return False
        return True

    def stat(self, key: str) -> ObjectInfo:
        """Size, time, type and version. Raises ``NotFound``."""
        return self.driver.stat(key)

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose key starts with ``prefix``, streamed."""
        return self.driver.list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is success."""
        self.driver.delete(key)

    def copy(self, key: str, to: str) -> Written | None:
        """Copy within this backend, on the server where it can. Replaces ``to``. Raises ``NotFound``.
        None when both keys are the same and nothing was to be done."""
        info = self.driver.stat(key)
        if key == to:
            return None
        listed = Entry(key, info.size, info.modified, info.etag)
        copied = copy_object(
            self.driver, self.driver, listed, to=to, progress=_untold, stop=_never, need_md5=False
        )
        return copied.written

    def move(self, key: str, to: str) -> None:
        """Copy, then delete. Not atomic: after a crash between the two, both keys are there."""
        if self.copy(key, to) is not None:
            self.driver.delete(key)

    def url(self, key: str) -> str:
        """The object's public address. Raises ``Unsupported`` where there is none."""
        return self._links("url").url(key)

    def temporary_url(self, key: str, *, seconds: int = 3600) -> str:
        """An address that expires. Raises ``Unsupported`` where the driver cannot make one."""
        return self._links("temporary url").temporary_url(key, seconds=seconds)

    def _links(self, operation: str) -> Links:
        if isinstance(self.driver, Links):
            return self.driver
        raise Unsupported(operation, f"Objects of “{self.name}” have no address of their own.")


def _untold(done: int) -> None:
    """Nobody watches a copy within a backend."""


def _never() -> bool:
    return False
