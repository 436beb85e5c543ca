"""Renaming a file on an SFTP server by hard links: atomic, and never over another file by accident."""

from __future__ import annotations

from dashboard.errors import Kind
from dashboard.storage.drivers.served.operations import (
    AlreadyExists,
    FileStat,
    Missing,
    Session,
    join,
    path_conflict_error,
    split_key,
    temporary_name,
)
from dashboard.storage.drivers.served.session_pool import SessionPool
from dashboard.storage.drivers.served.tree import Tree
from dashboard.storage.drivers.served.writing import distinct_mtime
from dashboard.storage.errors import Changed, Exists, NotFound, StorageError, Unsupported


class SftpMovingMixin:
    """``MovesWithin`` for a driver that has these parts."""

    _pool: SessionPool[Session]
    _tree: Tree
    create_only_unsupported: str

    def move_within(self, key: str, to: str, *, if_version: str | None = None, replace: bool = False) -> None:
        """See ``MovesWithin``. Gives the file its new name first, by ``hardlink@openssh.com``, and then takes
        the old one away. If the connection is lost between the two, it has both. ``Unsupported`` without
        hard links."""
        *folders, name = split_key(to)
        lease, (path, found) = self._pool.borrow(lambda session: self._tree.find(session, key, "move"))
        with lease:
            session = lease.session
            if if_version is not None and found.version != if_version:
                raise Changed(key, operation="move")
            if not session.supports_create_only():
                raise Unsupported("move", self.create_only_unsupported)
            try:
                target = join(self._tree.make_folder(session, folders, to), name)
                if replace:
                    self._link_over(session, path, target, to, found)
                else:
                    _link(session, path, target, to)
            except Missing as error:
                raise NotFound(key, operation="move") from error
            after = session.stat(path)
            if after is None or (after.size, after.identity) != (found.size, found.identity):
                raise _changed_error(key, to)
            self._remove(session, path, target, found)
            self._tree.prune(session, split_key(key)[:-1])

    def _link_over(self, session: Session, path: bytes, target: bytes, to: str, found: FileStat) -> None:
        """Replace what has the new name, atomically, by a link under a temporary name."""
        old = session.stat(target)
        if old is None:
            try:
                _link(session, path, target, to)
                return
            except Exists:
                old = session.stat(target)
        if old is not None and old.kind != "file":
            raise path_conflict_error(to, to)
        temporary = join(target.rpartition(b"/")[0], temporary_name(to))
        session.link(path, temporary)
        if old is not None and (later := distinct_mtime(old, found)):
            session.set_modified(temporary, later)
        session.rename(temporary, target)
        # Of two names of one file, a rename removes neither.
        if session.stat(temporary) is not None:
            session.remove(temporary)

    def _remove(self, session: Session, path: bytes, target: bytes, found: FileStat) -> None:
        try:
            session.remove(path)
        except Missing:
            return
        except StorageError:
            # The server may have done it before the connection was lost.
            now, there = self._pool.run(lambda fresh: (fresh.stat(path), fresh.stat(target)))
            if now is not None or there is None or there.size != found.size:
                raise


def _link(session: Session, path: bytes, target: bytes, to: str) -> None:
    try:
        session.link(path, target)
    except AlreadyExists as error:
        there = session.stat(target)
        if there is not None and there.kind == "folder":
            raise path_conflict_error(to, to) from error
        raise Exists(to, operation="move") from error


def _changed_error(key: str, to: str) -> StorageError:
    return StorageError(
        Kind.CONFLICT,
        f"“{key}” was changed by somebody else while it was moved, so it was not removed.",
        operation="move",
        subject=key,
        remedy=f"Compare it with “{to}”, and delete one of the two.",
    )
