"""Everything that application code does with one container."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, overload

from dashboard.storage.driver import (
    SMALL,
    DeletesUnchanged,
    Links,
    ReadsRanges,
    SetsVisibility,
    Writing,
    stat_or_none,
)
from dashboard.storage.errors import Changed, Unsupported
from dashboard.storage.library.contents import Content, OpenRead, StoredBytes, chunks_of
from dashboard.storage.library.extras import Extras
from dashboard.storage.library.folders import Folders
from dashboard.storage.library.lazy_listing import Listing
from dashboard.storage.library.web_files import WebFiles
from dashboard.storage.paths import guess_content_type
from dashboard.storage.powers import unsupported_error
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Visibility, Written

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from dashboard.storage.copying import Copied

MAX_GET_BYTES = 1024**3
"""The size of the largest object that ``get`` returns."""
_READ_ATTEMPTS = 4


class Operations(Extras, WebFiles):
    """Thread-safe. Every method raises ``StorageError``; ``InvalidInput`` for invalid arguments; and the
    ``StowageError`` of a backend that cannot be built."""

    # Objects

    def put(
        self, key: str, content: Content, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Store an object. Atomic. Replaces an existing object unless ``create_only``, which raises
        ``Exists``. Without ``attributes`` the content type is guessed from the key. A file or an iterable is
        streamed, never read into memory, and a file is not closed. If reading it fails, nothing is stored."""
        held = attributes if attributes is not None else Attributes(content_type=guess_content_type(key))
        if isinstance(content, str):
            content = content.encode()
        if not isinstance(content, bytes | bytearray | memoryview):
            with self.write_stream(key, attributes=held, create_only=create_only) as writing:
                for chunk in chunks_of(content):
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

    def get(self, key: str) -> StoredBytes:
        """Return the complete content, in memory; use :meth:`read_stream` for large objects. Raises
        ``NotFound``, and ``Unsupported`` above ``MAX_GET_BYTES``. An object that is replaced meanwhile is
        read again, a few times. Comparing it with text raises ``TypeError``."""
        for _ in range(_READ_ATTEMPTS):
            try:
                return self._whole(key)
            except Changed:
                continue
        return self._whole(key)

    def get_text(self, key: str, encoding: str = "utf-8") -> str:
        """Return the complete content as text. Raises what :meth:`get` raises, and ``UnicodeDecodeError``."""
        return self.get(key).decode(encoding)

    def _whole(self, key: str) -> StoredBytes:
        with self.driver.read(key) as reading:
            if reading.info.size > MAX_GET_BYTES:
                # A compressed object is small, and its size is only what its writer recorded.
                raise Unsupported(
                    "get", f"“{key}” has {reading.info.size:,} bytes, too many to hold: read it as a stream."
                )
            return StoredBytes(b"".join(reading.chunks()))

    def read_stream(self, key: str, *, if_version: str | None = None) -> OpenRead:
        """Open a read; use as a context manager, and iterate over it or call ``read(n)``. Raises ``NotFound``
        and ``Changed``."""
        return OpenRead(self.driver.read(key, if_version=if_version))

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """Return ``length`` bytes from ``start``, in memory; fewer if the object ends before, none past its
        end. Raises ``NotFound``, ``Changed``, and ``Unsupported`` if the driver reads only complete
        objects."""
        driver = self.driver
        if not isinstance(driver, ReadsRanges):
            raise unsupported_error(driver, "range", "read range")
        return driver.read_range(key, start, length, if_version=if_version)

    @overload
    def write_stream(
        self,
        key: str,
        content: None = None,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing: ...
    @overload
    def write_stream(
        self,
        key: str,
        content: IO[bytes] | Iterable[bytes] | Iterable[str],
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Written: ...
    def write_stream(
        self,
        key: str,
        content: IO[bytes] | Iterable[bytes] | Iterable[str] | None = None,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing | Written:
        """Open a write; use as a context manager. Nothing is stored without ``commit()``. With ``content``,
        store it like :meth:`put`."""
        if content is not None:
            return self.put(key, content, attributes=attributes, create_only=create_only)
        return self.driver.write(key, size=size, attributes=attributes, create_only=create_only)

    def exists(self, key: str) -> bool:
        """Whether the object exists. Raises ``ContainerMissing`` if the bucket or folder does not."""
        return stat_or_none(self.driver, key) is not None

    def stat(self, key: str) -> ObjectInfo:
        """Return size, time, attributes and version. Raises ``NotFound``."""
        return self.driver.stat(key)

    metadata = stat
    """The same call under the name that other frameworks use."""

    def list(self, prefix: str = "") -> Iterator[Entry]:
        """Yield every object whose key starts with ``prefix``."""
        return self.driver.list(prefix)

    def delete(self, key: str) -> None:
        """Delete an object. Succeeds if it does not exist."""
        self.driver.delete(key)

    def copy(self, key: str, to: str) -> Written | None:
        """Copy within this backend, on the server if possible. Replaces ``to``. Raises ``NotFound``. Returns
        None, and does nothing, if both keys are the same."""
        if key == to:
            self.driver.stat(key)
            return None
        return self.copy_to(key, self, to)

    def copy_to(self, key: str, target: Operations, to: str = "") -> Written:
        """Copy to another backend, under the same key or ``to``: on the server if both ends allow it, else as
        a stream whose checksum is compared. Replaces. Raises ``NotFound``, ``Changed`` and ``Damaged``."""
        return self._copied(key, target, to or key).written

    def move(self, key: str, to: str) -> None:
        """Copy, then delete. Not atomic: after a crash between the two, both keys exist. They also exist if
        ``Changed`` is raised because the object was written to after it was copied; only backends whose
        versions change with every write notice that (see ``DeletesUnchanged``)."""
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

    def files(self, directory: str = "", *, recursive: bool = False) -> Listing[Entry]:
        """Yield the objects directly in a directory, or with ``recursive`` all below it. Either way
        everything below is listed. Yields nothing if there is no such directory. The result also has a
        length."""
        return Listing(lambda: Folders(self.driver).files(directory, recursive=recursive))

    def directories(self, directory: str = "", *, recursive: bool = False) -> Listing[str]:
        """Yield the paths of the directories directly in a directory, or of all below it, each once. If the
        driver keeps no folders, they are derived from a complete listing. The result also has a length."""
        return Listing(lambda: Folders(self.driver).directories(directory, recursive=recursive))

    def find_files_older_than(
        self, cutoff: datetime | timedelta | float, prefix: str = ""
    ) -> Iterator[Entry]:
        """Yield the objects that were last modified before ``cutoff``: a time, an age, or seconds since the
        epoch. Objects without a time are not among them. A time without a zone is local time."""
        from datetime import datetime, timedelta

        if isinstance(cutoff, timedelta):
            limit = time.time() - cutoff.total_seconds()
        else:
            limit = cutoff.timestamp() if isinstance(cutoff, datetime) else float(cutoff)
        for entry in self.list(prefix):
            if entry.modified is not None and entry.modified < limit:
                yield entry

    def make_directory(self, directory: str) -> None:
        """Create a directory that exists without an object in it. An object store keeps it as an empty object
        whose key ends in a slash. Raises ``Unsupported`` if neither is possible. Idempotent."""
        Folders(self.driver).make(directory)

    def delete_directory(self, directory: str) -> int:
        """Delete a directory and every object below it; returns how many objects. Not atomic: if it fails,
        the remaining objects still exist. Succeeds if it does not exist. Never the whole container."""
        return Folders(self.driver).delete(directory)

    # Addresses

    def url(self, key: str) -> str:
        """Return the object's permanent URL. Raises ``Unsupported`` if it has none."""
        driver = self.driver
        if not isinstance(driver, Links):
            raise unsupported_error(driver, "url", "url")
        return driver.url(key)

    def temporary_url(self, key: str, *, seconds: int = 3600, expires: int | None = None) -> str:
        """Return a URL that expires; ``expires`` is another name of ``seconds``. Raises ``Unsupported`` if
        the driver cannot create one."""
        seconds = seconds if expires is None else expires
        driver = self.driver
        if not isinstance(driver, Links):
            raise unsupported_error(driver, "url", "temporary url")
        return driver.temporary_url(key, seconds=seconds)

    def visibility(self, key: str) -> Visibility:
        """Return whether everybody may read the object at its URL, as far as the object itself decides.
        Raises ``NotFound``, and ``Unsupported`` if single objects have no permissions of their own."""
        return self._require_visibility("visibility").visibility(key)

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Make an object public or private. Raises what :meth:`visibility` raises."""
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
