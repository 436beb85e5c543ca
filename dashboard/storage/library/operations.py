"""Everything application code does with one place, on top of what a driver can."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO, TYPE_CHECKING

from dashboard.storage.driver import (
    SMALL,
    DeletesUnchanged,
    Links,
    Reading,
    ReadsRanges,
    SetsVisibility,
    Writing,
    stat_or_none,
)
from dashboard.storage.errors import Changed, Unsupported
from dashboard.storage.library.extras import Extras
from dashboard.storage.library.folders import Folders
from dashboard.storage.paths import guess_content_type
from dashboard.storage.powers import unsupported_error
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Visibility, Written

if TYPE_CHECKING:
    from dashboard.storage.copying import Copied

Content = bytes | str | IO[bytes]
"""What can be stored: bytes, text (as UTF-8), or an open binary file, read from where it stands."""


LARGEST_GET = 1024**3
"""Bytes of the largest object that ``get`` holds in memory."""
_READ_AGAIN = 4


class Operations(Extras):
    """Thread-safe. Every method raises ``StorageError``; a number or text that makes no sense raises
    ``InvalidInput``, and a backend that cannot be built the ``StowageError`` that says why."""

    # Objects

    def put(
        self, key: str, content: Content, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Store an object, atomically. Replaces what is there unless ``create_only``, which raises
        ``Exists``. Without ``attributes`` the content type is what the key's ending says. A file is
        streamed, never read whole, and not closed."""
        held = attributes if attributes is not None else Attributes(content_type=guess_content_type(key))
        if isinstance(content, str):
            content = content.encode()
        if not isinstance(content, bytes | bytearray | memoryview):
            with self.write_stream(key, attributes=held, create_only=create_only) as writing:
                while chunk := content.read(SMALL // 8):
                    writing.write(chunk)
                return writing.commit()
        if len(content) > SMALL:
            size = len(content)
            with self.write_stream(key, size=size, attributes=held, create_only=create_only) as writing:
                view = memoryview(content)
                for start in range(0, size, SMALL):
                    writing.write(bytes(view[start : start + SMALL]))
                return writing.commit()
        return self.driver.put(key, bytes(content), attributes=held, create_only=create_only)

    def get(self, key: str) -> bytes:
        """The whole content, in memory; use :meth:`read_stream` for large objects. Raises ``NotFound``, and
        ``Unsupported`` above ``LARGEST_GET``. One that is replaced meanwhile is read again, a few times."""
        for _ in range(_READ_AGAIN):
            try:
                return self._whole(key)
            except Changed:
                continue
        return self._whole(key)

    def _whole(self, key: str) -> bytes:
        with self.driver.read(key) as reading:
            if reading.info.size > LARGEST_GET:
                # Of a compressed object little is stored, and whoever wrote it said how much comes of it.
                raise Unsupported(
                    "get", f"“{key}” has {reading.info.size:,} bytes, too many to hold: read it as a stream."
                )
            return b"".join(reading.chunks())

    def read_stream(self, key: str, *, if_version: str | None = None) -> Reading:
        """An open read, to be used as a context manager. Raises ``NotFound`` and ``Changed``."""
        return self.driver.read(key, if_version=if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """``length`` bytes from ``start``, in memory; fewer where the object ends, none past its end. Raises
        ``NotFound``, ``Changed``, and ``Unsupported`` where the driver reads only whole objects."""
        driver = self.driver
        if not isinstance(driver, ReadsRanges):
            raise unsupported_error(driver, "range", "read range")
        return driver.read_range(key, start, length, if_version=if_version)

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
        """Whether there is such an object. Raises ``ContainerMissing`` where not even the bucket is there."""
        return stat_or_none(self.driver, key) is not None

    def stat(self, key: str) -> ObjectInfo:
        """Size, time, attributes and version. Raises ``NotFound``."""
        return self.driver.stat(key)

    metadata = stat
    """The same call under the name other frameworks know it by."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Every object whose key starts with ``prefix``, streamed."""
        return self.driver.list(prefix)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is success."""
        self.driver.delete(key)

    def copy(self, key: str, to: str) -> Written | None:
        """Copy within this backend, on the server where it can. Replaces ``to``. Raises ``NotFound``.
        None when both keys are the same and nothing was to be done."""
        if key == to:
            self.driver.stat(key)
            return None
        return self.copy_to(key, self, to)

    def copy_to(self, key: str, target: Operations, to: str = "") -> Written:
        """Copy to another backend, under the same key or ``to``: on the server where both ends allow it,
        else as a stream, compared with a checksum as it flows. Replaces. Raises ``NotFound``, ``Changed``
        and ``Damaged``."""
        return self._copied(key, target, to or key).written

    def move(self, key: str, to: str) -> None:
        """Copy, then delete. Not atomic: after a crash between the two, both keys are there. So they are
        when ``Changed`` is raised, because the object was written to after it was copied, which only a
        backend can tell whose versions change with every write (see ``DeletesUnchanged``)."""
        if key == to:
            self.driver.stat(key)
            return
        version = self._copied(key, self, to).info.version
        if version is not None and isinstance(self.driver, DeletesUnchanged):
            self.driver.delete_unchanged(key, version)
        else:
            self.driver.delete(key)

    def _copied(self, key: str, target: Operations, to: str) -> Copied:
        from dashboard.storage.copying import copy_object

        info = self.driver.stat(key)
        return copy_object(
            self.driver,
            target.driver,
            Entry(key, info.size, info.modified, info.etag),
            to=to,
            progress=_no_progress,
            stop=_never_stop,
            need_md5=False,
        )

    # Folders

    def files(self, directory: str = "", *, recursive: bool = False) -> Iterator[Entry]:
        """The objects directly in a directory, or with ``recursive`` all below it, streamed. The whole
        listing below is read either way. None where there is no such directory."""
        return Folders(self.driver).files(directory, recursive=recursive)

    def directories(self, directory: str = "", *, recursive: bool = False) -> Iterator[str]:
        """The paths of the directories directly in a directory, or of all below it, each once. Where a
        driver keeps no folders they come out of the whole listing below."""
        return Folders(self.driver).directories(directory, recursive=recursive)

    def make_directory(self, directory: str) -> None:
        """Make a directory that is there without an object in it. Idempotent. An object store holds it as
        an empty object whose key ends in a slash. Raises ``Unsupported`` where there is neither."""
        Folders(self.driver).make(directory)

    def delete_directory(self, directory: str) -> int:
        """Remove a directory and every object below it; returns how many objects. Not atomic: what was
        not reached when it fails is still there. A missing one is success. Never the whole place."""
        return Folders(self.driver).delete(directory)

    # Addresses

    def url(self, key: str) -> str:
        """The object's lasting address. Raises ``Unsupported`` where there is none."""
        driver = self.driver
        if not isinstance(driver, Links):
            raise unsupported_error(driver, "url", "url")
        return driver.url(key)

    def temporary_url(self, key: str, *, seconds: int = 3600) -> str:
        """An address that expires. Raises ``Unsupported`` where the driver cannot make one."""
        driver = self.driver
        if not isinstance(driver, Links):
            raise unsupported_error(driver, "url", "temporary url")
        return driver.temporary_url(key, seconds=seconds)

    def visibility(self, key: str) -> Visibility:
        """Whether everybody may read the object by its address, as far as the object itself decides.
        Raises ``NotFound``, and ``Unsupported`` where single objects have no permissions of their own."""
        return self._require_visibility("visibility").visibility(key)

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Open an object to everybody, or close it. Raises as :meth:`visibility`."""
        self._require_visibility("set visibility").set_visibility(key, Visibility(visibility))

    def _require_visibility(self, operation: str) -> SetsVisibility:
        driver = self.driver
        if not isinstance(driver, SetsVisibility):
            raise unsupported_error(driver, "visibility", operation)
        return driver


def _no_progress(done: int) -> None:
    """Nobody watches a copy within a backend."""


def _never_stop() -> bool:
    return False
