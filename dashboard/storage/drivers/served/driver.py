"""The driver protocol over a pool of sessions; SFTP and FTP differ only in theirs.

What a file server cannot store: object attributes are discarded on write, and the content type is guessed
from the name. Keys that are not exactly a path raise ``InvalidKey``. Links and special files are not objects.
Changes are detected by size and modification time, which servers count in seconds: a second change by someone
else within one second that keeps the size goes unnoticed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

from dashboard.errors import Kind
from dashboard.storage.drivers.common.folder_pages import FolderPagesMixin
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

_PUT_ATTEMPTS = 3


def _describe(key: str, found: FileStat) -> ObjectInfo:
    return ObjectInfo(
        key=key,
        size=found.size,
        modified=found.modified,
        version=found.version,
        attributes=Attributes(content_type=guess_content_type(key)),
    )


class _EmptyReader:
    """A read of no bytes, without a request."""

    longer = False

    def chunks(self, size: int) -> Iterator[bytes]:
        return iter(())

    def close(self) -> None:
        """Do nothing."""


class ServedReading(CheckedReading):
    """An open read, which holds a session until it is closed. Checks at its end that the file has not changed
    since it was opened."""

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
        """Release the session. Idempotent."""
        self._source.close()
        self._lease.release()

    def __del__(self) -> None:
        self.close()


class ServedDriver(FolderPagesMixin):
    """Objects as files below one folder of a server. Thread-safe."""

    name = ""
    ordered = True
    create_only_unsupported = ""
    """The reason of ``Unsupported`` if this server cannot create a file without replacing one."""

    def __init__(self, pool: SessionPool[Session], display_name: str) -> None:
        self._pool = pool
        self._tree = Tree(pool, display_name)

    def check_key(self, key: str) -> None:
        """Refuse empty parts between slashes, ``.``, ``..``, NUL, parts above 255 bytes, and names of
        unfinished writes."""
        split_key(key)

    def supports_create_only(self) -> bool:
        """Whether ``create_only`` is supported; otherwise it raises ``Unsupported``. May connect."""
        return self._pool.run(lambda session: session.supports_create_only())

    def max_connections(self) -> int:
        """The configured limit; a copy within the backend uses one more for each thread."""
        return self._pool.limit

    def read(self, key: str, *, if_version: str | None = None) -> ServedReading:
        """Open a file. Raises ``ContainerMissing`` if the root does not exist."""
        return self._open(key, 0, None, if_version)

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        check_range(start, length)
        with self._open(key, start, length, if_version) as reading:
            return reading.read_all()

    def _open(self, key: str, start: int, length: int | None, if_version: str | None) -> ServedReading:
        """Open ``length`` bytes from ``start``, or everything to the end. An empty range sends no request."""
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
        """Open a write. Atomic if the server's rename replaces files; otherwise an existing object is missing
        for a moment. ``create_only`` raises ``Unsupported`` if :meth:`supports_create_only` is false. With
        ``size``, a commit after another number of bytes raises ``Damaged``. A file in place of a needed
        folder, or the reverse, raises kind ``conflict``."""
        self.check_key(key)
        self.forget_listings()
        return ServedWriting(
            self._tree, key, size=size, create_only=create_only, refusal=self.create_only_unsupported
        )

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Like ``write``, and again if the server loses the unfinished file: rclone does now and then when
        several connections create one folder."""
        for _ in range(_PUT_ATTEMPTS - 1):
            try:
                return self._put(key, data, create_only)
            except StorageError as error:
                if not (error.retryable and error.kind in (Kind.CONFLICT, Kind.CHANGED)):
                    raise
        return self._put(key, data, create_only)

    def _put(self, key: str, data: bytes, create_only: bool) -> Written:
        with self.write(key, size=len(data), create_only=create_only) as writing:
            writing.write(data)
            return self.changed(writing.commit())

    def stat(self, key: str) -> ObjectInfo:
        """Return the file's metadata without reading it."""
        self.check_key(key)
        return _describe(key, self._pool.run(lambda session: self._tree.find(session, key, "stat"))[1])

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """List in UTF-8 byte order. Not a snapshot: concurrent changes may or may not appear."""
        return self._tree.walk(key_bytes(prefix), key_bytes(start_after))

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``. Cannot detect a server that lists an unreadable folder as empty."""
        return self._tree.walk(key_bytes(prefix), key_bytes(start_after), SkipUnreadable(unreadable, enters))

    def delete(self, key: str) -> None:
        """Delete an object and the folders this leaves empty, but never the root."""
        self.check_key(key)
        self._pool.run(lambda session: self._tree.remove(session, key))
        self.forget_listings()

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """Remove leftovers in the folder of each key."""
        return self._tree.sweep(keys, since)

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Deleting the last object in it removes it."""
        self.check_key(folder)
        folders = split_key(folder)
        self._pool.run(lambda session: self._tree.make_folder(session, folders, folder))
        self.forget_listings()

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``. Excludes symbolic links if the server reports them."""
        if folder:
            self.check_key(folder)
        path = split_key(folder) if folder else []
        return map(key_text, self._pool.run(lambda session: self._tree.list_subfolders(session, path)))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. Also removes the folders above that this leaves empty, as ``delete`` does."""
        self.check_key(folder)
        path = split_key(folder)
        self._pool.run(lambda session: self._tree.remove_folder(session, path))
        self.forget_listings()

    def bucket_exists(self) -> bool:
        """Whether the root folder is there. Raises kind ``conflict`` when it is a file."""
        return self._pool.run(self._root_exists)

    def create_bucket(self) -> None:
        """Create the root folder and its parents. Idempotent."""
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
        """Sign in on a new connection."""
        self._pool.lease(fresh=True).release()

    def close(self) -> None:
        """Close the connections. Idempotent."""
        self._pool.close()
