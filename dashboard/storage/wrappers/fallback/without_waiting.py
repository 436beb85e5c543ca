"""A backend without the folder in which objects wait for others: they are not its own.

Reading one by its exact key is allowed, so that a program can fetch what was overtaken.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import ClassVar

from dashboard.storage.driver import (
    CopiesWithin,
    CreatesBuckets,
    DeletesUnchanged,
    Driver,
    KeepsFolders,
    KeepsMetadata,
    Links,
    LooksBeforeCreating,
    ReadsInParallel,
    ReadsRanges,
    RefusesWrites,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import InvalidKey, StorageError
from dashboard.storage.object_powers import (
    DeletesMany,
    HasTiers,
    HoldsTags,
    KeepsVersions,
    SignedUpload,
    SignsUploads,
    Version,
)
from dashboard.storage.places.powers import ChecksSettings, KeepsUnfinished
from dashboard.storage.types import Attributes, Entry, Written
from dashboard.storage.wrappers.common.versions import ForwardsVersions
from dashboard.storage.wrappers.fallback.standing_in import FOLDER
from dashboard.storage.wrapping import CONNECTION, Wrapper


def _refuse(key: str) -> None:
    if key.startswith(FOLDER):
        raise InvalidKey(key, f"“{FOLDER}” is where Stowage keeps what waits to be sent to another backend.")


class _Copies(Wrapper):
    """Copies on the server, to keys outside the folder."""

    def can_copy_from(self, source: Driver) -> bool:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        return self.inner.can_copy_from(source)

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """See ``CopiesWithin``."""
        assert isinstance(self.inner, CopiesWithin)
        _refuse(to)
        return self.inner.copy_from(source, key, to, if_version=if_version)


class _Deletes(Wrapper):
    """Deletes many objects outside the folder."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``."""
        assert isinstance(self.inner, DeletesMany)
        known = list(keys)
        for key in known:
            _refuse(key)
        return self.inner.delete_many(known)


class _DeletesKnown(Wrapper):
    """Deletes what was read, outside the folder."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``."""
        assert isinstance(self.inner, DeletesUnchanged)
        _refuse(key)
        self.inner.delete_unchanged(key, version)


class _Folders(Wrapper):
    """Folders but this one."""

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        _refuse(f"{folder}/")
        self.inner.make_folder(folder)

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        above = f"{folder}/" if folder else ""
        names = self.inner.folders(folder)
        return (name for name in names if not f"{above}{name}/".startswith(FOLDER))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        _refuse(f"{folder}/")
        self.inner.remove_folder(folder)


class _Versions(ForwardsVersions):
    """Older states of what is outside the folder."""

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``."""
        return (each for each in self._kept.versions(prefix) if not each.key.startswith(FOLDER))

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``."""
        _refuse(key)
        return self._kept.restore_version(key, version)


class _Uploads(Wrapper):
    """Signs uploads to keys outside the folder."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``."""
        assert isinstance(self.inner, SignsUploads)
        _refuse(key)
        return self.inner.upload_url(key, seconds=seconds, content_type=content_type, size=size)


class WithoutWaiting(Wrapper):
    """See above. No listing shows the folder, and nothing in it is written or deleted."""

    transparent = True
    forwards = CONNECTION | {
        ChecksSettings,
        KeepsUnfinished,
        CreatesBuckets,
        HasTiers,
        HoldsTags,
        KeepsMetadata,
        Links,
        LooksBeforeCreating,
        ReadsInParallel,
        ReadsRanges,
        RefusesWrites,
        SetsVisibility,
    }
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CopiesWithin: _Copies,
            DeletesMany: _Deletes,
            DeletesUnchanged: _DeletesKnown,
            KeepsFolders: _Folders,
            KeepsVersions: _Versions,
            SignsUploads: _Uploads,
        }
    )

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""
        for entry in self.inner.list(prefix, start_after=start_after):
            if not entry.key.startswith(FOLDER):
                yield entry

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        _refuse(key)
        return self.inner.write(key, size=size, attributes=attributes, create_only=create_only)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        _refuse(key)
        return self.inner.put(key, data, attributes=attributes, create_only=create_only)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        _refuse(key)
        self.inner.delete(key)
