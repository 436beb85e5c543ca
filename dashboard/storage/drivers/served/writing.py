"""Atomic writes to a file server: a temporary file next to the target, renamed when it is complete. The
temporary name contains a digest of the key and the start time, so that a sweep finds the leftovers of a
killed process by key."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from types import TracebackType
from typing import Self

from dashboard.storage.drivers.common.path_errors import removed_meanwhile_error, wrong_size_error
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileStat,
    FileWriter,
    Missing,
    Session,
    join,
    path_conflict_error,
    split_key,
    temporary_name,
)
from dashboard.storage.drivers.served.tree import Tree
from dashboard.storage.errors import Damaged, Exists, StorageError, Unsupported
from dashboard.storage.types import Written

_MAX_ATTEMPTS = 20
_MAX_CLOCK_SKEW_SECONDS = 3600.0
"""Seconds by which a new file may appear older than the one it replaces. Beyond that the clocks are wrong."""


class ServedWriting:
    """An open write, which holds a session until it ends. Not thread-safe."""

    def __init__(self, tree: Tree, key: str, *, size: int | None, create_only: bool, refusal: str) -> None:
        self._tree = tree
        self._key = key
        *self._folders, self._name = split_key(key)
        self._expected = size
        self._create_only = create_only
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._size = 0
        self._temporary = temporary_name(key)
        self._made_folders = False
        self._has_temporary = False
        self._done = False
        self._lease, (self._folder, self._sink) = tree.pool.borrow(
            lambda session: self._open(session, refusal)
        )

    def _open(self, session: Session, refusal: str) -> tuple[bytes, FileWriter]:
        if self._create_only and not session.supports_create_only():
            raise Unsupported("write", refusal)
        for attempt in range(_MAX_ATTEMPTS):
            try:
                if attempt == 0:
                    self._tree.require_root(session, "write")
                    folder = self._tree.resolve_folder(session, self._folders)
                else:
                    self._made_folders = bool(self._folders)
                    folder = self._tree.make_folder(session, self._folders, self._key)
                sink = session.open_writer(join(folder, self._temporary), join(folder, self._name))
            except Missing:
                # The folder does not exist yet, was just removed, or even the root is missing.
                self._tree.forget(self._folders, session.root)
                continue
            self._has_temporary = True
            return folder, sink
        raise removed_meanwhile_error("folder or the unfinished file", self._key)

    def write(self, chunk: bytes) -> None:
        """Append bytes. Raises ``StorageError``, of kind ``full`` for example."""
        self._sink.write(chunk)
        self._md5.update(chunk)
        self._size += len(chunk)

    def commit(self) -> Written:
        """Flush the file, compare its size on the server and rename it into place. There is no
        ``stored_checksum``: only reading the object back proves its content."""
        key = self._key
        try:
            if self._expected is not None and self._size != self._expected:
                raise wrong_size_error(key, self._expected, self._size)
            stored = self._sink.finish()
            if stored.size != self._size:
                raise Damaged(
                    key,
                    f"Of the {self._size:,} bytes of “{key}” the server holds {stored.size:,}.",
                    operation="write",
                )
            self._rename_into_place(self._lease.session, stored)
        except Missing as error:
            raise removed_meanwhile_error("folder or the unfinished file", self._key) from error
        finally:
            self._discard()
        digest = self._md5.hexdigest()
        return Written(key=key, size=self._size, md5=digest, expected_checksum=digest)

    def _rename_into_place(self, session: Session, stored: FileStat) -> None:
        temporary, target = join(self._folder, self._temporary), join(self._folder, self._name)
        if self._create_only:
            try:
                session.link(temporary, target)
            except AlreadyExists as error:
                raise Exists(self._key) from error
            return
        old = session.stat(target)
        if old is not None and old.kind != "file":
            raise path_conflict_error(self._key, self._key)
        if old is not None and (later := distinct_mtime(old, stored)):
            session.set_modified(temporary, later)
        session.rename(temporary, target)
        self._has_temporary = False

    def _discard(self) -> None:
        """Remove the temporary file, if it still exists, and release the session. Idempotent."""
        if self._done:
            return
        self._done = True
        if self._has_temporary:
            # The write may have failed because a remembered folder was removed.
            self._tree.forget(self._folders, self._lease.session.root)
        self._sink.abort()
        session = self._lease.session
        if self._has_temporary and not session.broken:
            self._remove_temporary(session)
        self._lease.release()
        if self._has_temporary:
            # The connection is lost: remove the file over another one, or leave it to a later sweep.
            with suppress(StorageError):
                self._tree.pool.run(self._remove_temporary)

    def _remove_temporary(self, session: Session) -> None:
        with suppress(StorageError, Missing):
            try:
                session.remove(join(self._folder, self._temporary))
            finally:
                self._has_temporary = self._has_temporary and session.broken
            if self._made_folders:
                self._tree.prune(session, self._folders)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._discard()


def distinct_mtime(old: FileStat, new: FileStat) -> float | None:
    """Return the modification time a new file needs to differ from the one it replaces; None if it differs.
    Servers count whole seconds, and two writes of the same size may happen within one."""
    if old.size != new.size or old.modified is None or new.modified is None:
        return None
    if old.identity != new.identity or not 0 <= old.modified - new.modified < _MAX_CLOCK_SKEW_SECONDS:
        return None
    return old.modified + 1
