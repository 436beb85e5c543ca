"""Renaming a file on a WebDAV server: one MOVE (RFC 4918, 9.9), whose answer may be lost."""

from __future__ import annotations

from contextlib import suppress

from dashboard.storage.drivers.webdav.client import WebDavClient
from dashboard.storage.drivers.webdav.config import WebDavConfig, check_key
from dashboard.storage.drivers.webdav.writing import Writer
from dashboard.storage.errors import Changed, Exists, NotFound, StorageError, Unsupported
from dashboard.storage.types import ObjectInfo


class WebDavMovingMixin:
    """``MovesWithin`` for a driver that has these parts."""

    _config: WebDavConfig
    _client: WebDavClient
    _writer: Writer

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        raise NotImplementedError

    def move_within(self, key: str, to: str, *, if_version: str | None = None, replace: bool = False) -> None:
        """See ``MovesWithin``. As atomic as the server's MOVE; what another program writes to ``key`` between
        the check of its version and the MOVE is moved with it."""
        check_key(to)
        before = self.stat(key)
        if if_version is not None and not same_version(before.version, if_version):
            raise Changed(key, operation="move")
        if not self._writer.name_probe.can_move_to(to):
            raise Unsupported("move", f"{self._config.host} cannot move an object to “{to}”.")
        there = self._found(to)
        if there is not None and not replace:
            # Some servers replace although they are told not to.
            raise Exists(to, operation="move")
        if there is not None and there.version == before.version:
            raise Unsupported("move", "Readers could not tell the two files apart by size and time.")
        context = self._client.context("move", to)
        known = self._writer.make_folders(to, context)
        try:
            self._move(key, to, before, replace)
        except StorageError as error:
            self._writer.raise_unless_folder_missing(error, to, context)
            if not known:
                raise
            self._writer.make_folders(to, context)
            self._move(key, to, before, replace)

    def _move(self, key: str, to: str, before: ObjectInfo, replace: bool) -> None:
        try:
            self._writer.move(key, to, self._client.context("move", key), create_only=not replace)
        except StorageError as error:
            # The server may have done it before the connection was lost; a repeated MOVE finds nothing then.
            if isinstance(error, Exists) or not self._has_moved(key, to, before):
                raise

    def _has_moved(self, key: str, to: str, before: ObjectInfo) -> bool:
        with suppress(StorageError):
            there = self._found(to)
            same = there is not None and (there.size, there.modified) == (before.size, before.modified)
            return same and self._found(key) is None
        return False

    def _found(self, key: str) -> ObjectInfo | None:
        try:
            return self.stat(key)
        except NotFound:
            return None


def same_version(version: str | None, other: str | None) -> bool:
    """Whether two versions are the same, weak or not: Apache turns weak ETags into strong ones over time."""
    return (version or "").removeprefix("W/") == (other or "").removeprefix("W/")
