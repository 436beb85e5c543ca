"""A backend without the folder in which it stores waiting writes of other backends.

Reading one by its exact key is allowed, so that a program can fetch one that was overtaken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import ClassVar

from dashboard.storage.driver import (
    KeepsFolders,
    Links,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import InvalidKey
from dashboard.storage.object_powers import (
    HasTiers,
    HoldsTags,
    KeepsVersions,
    SignedUpload,
    SignsParts,
    SignsUploads,
    Version,
)
from dashboard.storage.types import Attributes, Entry
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges, ObservesRestore
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper


def _refuse(key: str) -> None:
    if key.startswith(FOLDER):
        raise InvalidKey(key, f"“{FOLDER}” is reserved: Stowage stores objects of other backends there.")


class _Folders(Wrapper):
    """``KeepsFolders`` without this folder."""

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


class _Versions(ObservesRestore):
    """``KeepsVersions`` of objects outside the folder."""

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``."""
        return (version for version in self._kept.versions(prefix) if not version.key.startswith(FOLDER))


class _Uploads(Wrapper):
    """``SignsUploads`` for keys outside the folder."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``."""
        assert isinstance(self.inner, SignsUploads)
        _refuse(key)
        return self.inner.upload_url(key, seconds=seconds, content_type=content_type, size=size)


class _Parts(Wrapper):
    """``SignsParts`` for keys outside the folder."""

    def begin_parts(self, key: str, *, attributes: Attributes | None = None) -> str:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.begin_parts(key, attributes=attributes)

    def part_url(self, key: str, upload_id: str, number: int, *, seconds: int) -> SignedUpload:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.part_url(key, upload_id, number, seconds=seconds)

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], *, create_only: bool = False
    ) -> str | None:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.finish_parts(key, upload_id, parts, create_only=create_only)

    def abort_parts(self, key: str, upload_id: str) -> None:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        self.inner.abort_parts(key, upload_id)


class HidingWaiting(ObservesChanges):
    """See above. Listings leave the folder out; writes and deletes in it raise ``InvalidKey``."""

    transparent = True
    forwards = CONTAINER_POWERS | {HasTiers, HoldsTags, Links, ReadsInParallel, ReadsRanges, SetsVisibility}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            **CHANGE_POWERS,
            KeepsFolders: _Folders,
            KeepsVersions: _Versions,
            SignsParts: _Parts,
            SignsUploads: _Uploads,
        }
    )

    @contextmanager
    def changing(self, key: str) -> Iterator[None]:
        """Refuse changes in the folder."""
        _refuse(key)
        yield

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
