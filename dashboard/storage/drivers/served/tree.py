"""The tree of files below the root folder on a server, over a pool of sessions.

Symbolic links are neither objects nor entered as folders, so that nothing outside the root is read or
written. Neither SFTP nor FTP can open a path without following links: a link created between the check and
the call is followed. A checked folder counts as checked for ``CHECK_VALID_SECONDS``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress

from dashboard.storage.drivers.common.walking import (
    MAX_PATH_BYTES,
    UNKNOWN,
    ListingRange,
    ListingRow,
    SkipUnreadable,
    SortRows,
    check_name_length,
    collect_names,
    retry_listing,
    walk_folders,
)
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileStat,
    Missing,
    Session,
    invalid_listing_error,
    is_backup_name,
    is_leftover,
    is_name,
    join,
    key_digest,
    path_conflict_error,
    split_key,
)
from dashboard.storage.drivers.served.session_pool import SessionPool
from dashboard.storage.errors import ContainerMissing, InvalidKey, NotFound, StorageError
from dashboard.storage.paths import key_text
from dashboard.storage.types import Entry

CHECK_VALID_SECONDS = 10.0
_MAX_REMEMBERED_FOLDERS = 10_000
_MAX_ATTEMPTS = 20


class Tree:
    """Folders and files below a root. Thread-safe."""

    def __init__(self, pool: SessionPool[Session], display_name: str) -> None:
        self.pool = pool
        self.display_name = display_name
        self._lock = threading.Lock()
        self._checked_until: dict[bytes, float] = {}

    # ---- folders

    def resolve_folder(self, session: Session, folders: list[bytes]) -> bytes:
        """Return the path of a folder. Raises ``Missing`` if it does not exist or is reached through a
        link."""
        path = join(session.root, *folders)
        if not folders or self._is_recently_checked(path):
            return path
        if session.realpath(path) != path:
            raise Missing
        self._remember_checked(path)
        return path

    def make_folder(self, session: Session, folders: list[bytes], key: str) -> bytes:
        """Like :meth:`resolve_folder`, but create missing folders. Raises ``ContainerMissing`` if the root is
        missing, and kind ``conflict`` if a file has the name of a folder."""
        self.require_root(session, "write")
        for depth in range(1, len(folders) + 1):
            path = join(session.root, *folders[:depth])
            for _ in range(_MAX_ATTEMPTS):
                found = session.stat(path)
                if found is not None and found.kind != "folder":
                    raise path_conflict_error(key, key_text(b"/".join(folders[:depth])))
                if found is not None:
                    break
                with suppress(AlreadyExists):
                    session.make_folder(path)
        return self.resolve_folder(session, folders)

    def list_subfolders(self, session: Session, folders: list[bytes]) -> list[bytes]:
        """Return the names of the direct subfolders; empty if the folder is missing or reached through a
        link. Raises ``ContainerMissing``."""
        try:
            at = self.resolve_folder(session, folders)
            with closing(session.list_folder(at)) as names:
                return collect_names(
                    name for name, found in names if found.kind == "folder" and is_name(name)
                )
        except Missing:
            self.require_root(session, "list")
            return []

    def remove_folder(self, session: Session, folders: list[bytes]) -> None:
        """Remove a folder and its subfolders if they contain no files, then :meth:`prune`."""
        for name in self.list_subfolders(session, folders):
            self.remove_folder(session, [*folders, name])
        with suppress(Missing):
            self.resolve_folder(session, folders)
            self.prune(session, folders)

    def forget(self, folders: list[bytes], root: bytes) -> None:
        """Forget that these folders were checked, because one no longer exists."""
        with self._lock:
            for depth in range(len(folders) + 1):
                self._checked_until.pop(join(root, *folders[:depth]), None)

    def prune(self, session: Session, folders: list[bytes]) -> None:
        """Remove the deepest of these folders, then its parent and so on, as long as they are empty. Never
        removes the root. A write that loses its folder this way creates it again."""
        with suppress(StorageError):
            for depth in range(len(folders), 0, -1):
                if not session.remove_folder(join(session.root, *folders[:depth])):
                    return
                self.forget(folders[:depth], session.root)

    def require_root(self, session: Session, operation: str) -> None:
        """Raise ``ContainerMissing`` if the root does not exist or is a file."""
        if self._is_recently_checked(session.root):
            return
        found = session.stat(session.root)
        if found is None or found.kind == "file":
            problem = "does not exist" if found is None else "is not a folder"
            raise ContainerMissing(
                self.display_name,
                f"The folder “{self.display_name}” {problem} on the server.",
                operation=operation,
                remedy="Create it, or correct the folder in the backend's form.",
            )
        self._remember_checked(session.root)

    def _is_recently_checked(self, path: bytes) -> bool:
        with self._lock:
            return self._checked_until.get(path, 0.0) > time.monotonic()

    def _remember_checked(self, path: bytes) -> None:
        with self._lock:
            if len(self._checked_until) >= _MAX_REMEMBERED_FOLDERS:
                self._checked_until.clear()
            self._checked_until[path] = time.monotonic() + CHECK_VALID_SECONDS

    # ---- files

    def find(self, session: Session, key: str, operation: str) -> tuple[bytes, FileStat]:
        """Return the path and metadata of an object. Raises ``NotFound`` and ``ContainerMissing``."""
        *folders, name = split_key(key)
        with suppress(Missing):
            path = join(self.resolve_folder(session, folders), name)
            found = session.stat(path)
            if found is not None and found.kind == "file":
                return path, found
        self.require_root(session, operation)
        raise NotFound(key, operation=operation)

    def remove(self, session: Session, key: str) -> None:
        """Remove an object, if it exists, and the folders this leaves empty."""
        try:
            path, _ = self.find(session, key, "delete")
            session.remove(path)
        except (NotFound, Missing):
            return
        self.prune(session, split_key(key)[:-1])

    # ---- listings

    def walk(self, prefix: bytes, start_after: bytes, skip: SkipUnreadable | None = None) -> Iterator[Entry]:
        """Yield the entries of files in UTF-8 byte order, as ``Driver.list`` promises."""
        requested = ListingRange(prefix, start_after)
        base = requested.base.split(b"/")[:-1]
        if not all(is_name(name) for name in base) or b"\0" in prefix:
            self.pool.run(lambda session: self.require_root(session, "list"))
            return

        def rows(path: bytes, ordered: SortRows) -> Iterator[ListingRow]:
            return self.pool.run(lambda session: self._rows(session, path, requested, ordered))

        yield from walk_folders(
            lambda path, ordered: retry_listing(lambda: rows(path, ordered)),
            requested.base,
            max_path=MAX_PATH_BYTES,
            skip=skip,
        )

    def _rows(
        self, session: Session, path: bytes, requested: ListingRange, ordered: SortRows
    ) -> Iterator[ListingRow]:
        """Return the rows of one folder in order; none if it no longer exists."""
        folders = path.split(b"/")[:-1]
        try:
            # The listing already told links and folders apart for the folders below the first.
            at = (
                self.resolve_folder(session, folders)
                if path == requested.base
                else join(session.root, *folders)
            )
            with closing(session.list_folder(at)) as names:
                return ordered(_selected_rows(names, path, requested))
        except InvalidKey:
            # No object has such a prefix, but a folder from a listing does exist.
            if path != requested.base:
                raise
        except Missing:
            pass
        self.require_root(session, "list")
        return iter(())

    # ---- leftovers

    def sweep(self, keys: Iterable[str], since: float) -> int:
        """Remove the unfinished writes to these keys that started at or after ``since``, and return their
        number. Sweeps folders in parallel, because each costs a few round trips."""
        by_folder: dict[tuple[bytes, ...], dict[bytes, bytes]] = {}
        for key in keys:
            with suppress(InvalidKey):
                *folders, name = split_key(key)
                by_folder.setdefault(tuple(folders), {})[key_digest(key)] = name
        if not by_folder:
            return 0
        with ThreadPoolExecutor(min(self.pool.limit, len(by_folder))) as threads:
            return sum(
                threads.map(lambda each: self._sweep_folder(list(each[0]), each[1], since), by_folder.items())
            )

    def _sweep_folder(
        self, folders: list[bytes], names_by_digest: Mapping[bytes, bytes], since: float
    ) -> int:
        return self.pool.run(lambda session: self._sweep(session, folders, names_by_digest, since))

    def _sweep(
        self, session: Session, folders: list[bytes], names_by_digest: Mapping[bytes, bytes], since: float
    ) -> int:
        removed = 0
        with suppress(Missing):
            at = self.resolve_folder(session, folders)
            with closing(session.list_folder(at)) as names:
                leftovers = collect_names(
                    name for name, _ in names if is_leftover(name, names_by_digest, since)
                )
            for name in leftovers:
                with suppress(Missing):
                    target = join(at, names_by_digest[name.split(b".")[2]])
                    if is_backup_name(name) and session.stat(target) is None:
                        # A kill between the two renames left the object under this name.
                        session.rename(join(at, name), target)
                    else:
                        session.remove(join(at, name))
                    removed += 1
        if removed:
            self.prune(session, folders)
        return removed


def _selected_rows(
    names: Iterator[tuple[bytes, FileStat]], path: bytes, requested: ListingRange
) -> Iterator[ListingRow]:
    for name, found in names:
        if b"/" in name or b"\0" in name or not name:
            raise invalid_listing_error(path, name)
        check_name_length(name)
        if not is_name(name):
            continue
        if found.kind == "folder" and requested.overlaps(path + name + b"/"):
            yield name + b"/", 0, 0, b""
        elif found.kind == "file" and requested.includes(path + name):
            modified = UNKNOWN if found.modified is None else round(found.modified * 1e9)
            yield name, found.size, modified, b""
