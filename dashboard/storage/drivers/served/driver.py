"""The driver protocol over a pool of sessions; SFTP and FTP differ only in theirs.

What a file server cannot hold: object attributes are dropped on write and the content type is guessed
from the name on the way out; keys that are not exactly a path raise ``InvalidKey``. Links and special
files are no objects. Whether an object changed is told by size and time, which servers count in
seconds: of two changes by others within one second that keep the size, the second is not seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from dashboard.storage.drivers.common.path_errors import not_a_folder_error
from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.drivers.common.walking import SkipUnreadable
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileReader,
    FileStat,
    Missing,
    Session,
    split_key,
)
from dashboard.storage.drivers.served.session_pool import Lease, SessionPool
from dashboard.storage.drivers.served.tree import Tree
from dashboard.storage.drivers.served.writing import ServedWriting
from dashboard.storage.errors import Changed, ContainerMissing, Damaged, NotFound, StorageError
from dashboard.storage.net.ranges import check_range
from dashboard.storage.paths import guess_content_type, key_bytes, key_text
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written


def _describe(key: str, found: FileStat) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=found.size,
        modified=found.modified,
        version=found.version,
        attributes=Attributes(content_type=guess_content_type(key)),
    )


class _EmptyReader:
    """A part of no bytes."""

    longer = False

    def chunks(self, size: int) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """There is nothing to stop."""


class ServedReading(CheckedReading):
    """One open read; holds a connection until it is left. Looks at its end whether the file is still
    the one that was opened."""

    def __init__(
        self,
        key: str,
        path: bytes,
        found: FileStat,
        lease: Lease[Session],
        source: FileReader,
        *,
        size: int,
        to_end: bool,
    ) -> None:
        super().__init__(_describe(key, found), source.chunks(size), expected_size=size)
        self._to_end = to_end
        self._path = path
        self._lease = lease
        self._source = source

    def _check_unchanged(self) -> None:
        self._source.close()
        key, after = self.info.key, self._lease.session.stat(self._path)
        if after is None or after.kind != "file" or after.version != self.info.version:
            raise Changed(key)
        if self._to_end and self._source.longer:
            raise Damaged(key, f"“{key}” has {self.info.size:,} bytes, but more arrived.")

    def close(self) -> None:
        """Give the connection back. Idempotent."""
        self._source.close()
        self._lease.release()

    def __del__(self) -> None:
        self.close()


class ServedDriver:
    """Objects as files below one folder of a server. Thread-safe."""

    name = ""
    ordered = True
    create_only_unsupported = ""
    """Why this server cannot create a file only where there is none."""

    def __init__(self, pool: SessionPool[Session], display_name: str) -> None:
        self._pool = pool
        self._tree = Tree(pool, display_name)

    def check_key(self, key: str) -> None:
        """No empty part between slashes, no ``.`` or ``..``, no NUL, no part above 255 bytes or like our
        names for unfinished writes."""
        split_key(key)

    def supports_create_only(self) -> bool:
        """Whether ``create_only`` is kept; where not it raises ``Unsupported``. Connects if need be."""
        return self._pool.run(lambda session: session.supports_create_only())

    def max_connections(self) -> int:
        """As set; a copy within the backend uses one more for each thread."""
        return self._pool.limit

    def read(self, key: str, *, if_version: str | None = None) -> ServedReading:
        """Open a file. A missing root raises ``ContainerMissing``."""
        return self._open(key, 0, None, if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        check_range(start, length)
        with self._open(key, start, length, if_version) as reading:
            return reading.read_all()

    def _open(self, key: str, start: int, length: int | None, if_version: str | None) -> ServedReading:
        """A part, or from ``start`` to the end; where that is nothing, nothing is asked for."""
        self.check_key(key)

        def opened(session: Session) -> tuple[bytes, FileStat, FileReader, int]:
            path, found = self._tree.find(session, key, "read")
            if if_version is not None and if_version != found.version:
                raise Changed(key)
            left = max(0, found.size - start)
            size = left if length is None else min(length, left)
            try:
                source: FileReader = (
                    session.open_reader(path, start) if size or length is None else _EmptyReader()
                )
            except Missing as error:
                raise NotFound(key) from error
            return path, found, source, size

        lease, (path, found, source, size) = self._pool.borrow(opened)
        to_end = start + size >= found.size
        return ServedReading(key, path, found, lease, source, size=size, to_end=to_end)

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> ServedWriting:
        """Atomic where the server renames over an existing file, else that file is missing for a moment.
        ``create_only`` raises ``Unsupported`` where :meth:`supports_create_only` says no. With ``size``,
        a commit after another number of bytes raises ``Damaged``. A file where a folder is
        needed, or the reverse, raises kind ``conflict``."""
        self.check_key(key)
        return ServedWriting(
            self._tree, key, size=size, create_only=create_only, refusal=self.create_only_unsupported
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """As ``write``."""
        with self.write(key, size=len(data), create_only=create_only) as writing:
            writing.write(data)
            return writing.commit()

    def stat(self, key: str) -> ObjectInfo:
        """From what the server says of the file; nothing is read."""
        self.check_key(key)
        return _describe(key, self._pool.run(lambda session: self._tree.find(session, key, "stat"))[1])

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """In UTF-8 byte order. Not a snapshot: what comes or goes meanwhile may or may not be listed."""
        return self._tree.walk(key_bytes(prefix), key_bytes(start_after))

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``. A server that shows a folder as empty to who may not read it is believed."""
        return self._tree.walk(key_bytes(prefix), key_bytes(start_after), SkipUnreadable(unreadable, enters))

    def delete(self, key: str) -> None:
        """Also removes the folders this leaves empty, but never the root."""
        self.check_key(key)
        self._pool.run(lambda session: self._tree.remove(session, key))

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """Looks in each key's folder."""
        return self._tree.sweep(keys, since)

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Deleting the last object in it removes it."""
        self.check_key(folder)
        folders = split_key(folder)
        self._pool.run(lambda session: self._tree.make_folder(session, folders, folder))

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``. Symbolic links are no folders where the server tells them apart."""
        if folder:
            self.check_key(folder)
        path = split_key(folder) if folder else []
        return map(key_text, self._pool.run(lambda session: self._tree.list_subfolders(session, path)))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Also removes the folders above that this leaves empty, as ``delete`` does."""
        self.check_key(folder)
        path = split_key(folder)
        self._pool.run(lambda session: self._tree.remove_folder(session, path))

    def bucket_exists(self) -> bool:
        """Whether the root folder is there. Raises kind ``conflict`` when it is a file."""
        return self._pool.run(self._root_exists)

    def create_bucket(self) -> None:
        """Make the root folder and those above it."""
        self._pool.run(self._create_root)

    def _root_exists(self, session: Session) -> bool:
        try:
            self._tree.require_root(session, "stat")
        except ContainerMissing as error:
            found = session.stat(session.root)
            if found is not None and found.kind == "file":
                raise not_a_folder_error(
                    self._tree.display_name, "is a file on the server or lies below one"
                ) from error
            return False
        return True

    def _create_root(self, session: Session) -> None:
        parts = session.root.strip(b"/").split(b"/")
        lead = b"/" if session.root.startswith(b"/") else b""
        for depth in range(len(parts), -1, -1):
            found = session.stat(lead + b"/".join(parts[:depth])) if depth else FileStat("folder")
            if found is not None and found.kind == "file":
                raise not_a_folder_error(self._tree.display_name, "is a file on the server or lies below one")
            if found is not None:
                break
        for more in range(depth + 1, len(parts) + 1):
            with suppress(AlreadyExists):
                session.make_folder(lead + b"/".join(parts[:more]))

    def authenticate(self) -> None:
        """Sign in on a connection of its own, or find one that is signed in."""
        self._pool.lease(fresh=True).release()

    def close(self) -> None:
        """Sign off."""
        self._pool.close()
