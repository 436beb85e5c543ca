"""A backend without the folders in which Stowage itself keeps something: waiting writes of other backends,
uploads that are not checked yet, and what scheduled copies have replaced.

Reading a waiting write or a replaced file by its exact key is allowed, so that a program can fetch it. An
upload that is not checked yet can be read by nobody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import ClassVar

from dashboard.storage.driver import (
    KeepsFolders,
    Links,
    Reading,
    ReadsInParallel,
    ReadsRanges,
    SetsVisibility,
    Writing,
)
from dashboard.storage.errors import InvalidKey, NotFound
from dashboard.storage.object_powers import (
    HasTiers,
    HoldsTags,
    KeepsVersions,
    SentPart,
    SignedUpload,
    SignsParts,
    SignsUploads,
    Version,
)
from dashboard.storage.types import Attributes, Entry, ObjectInfo
from dashboard.storage.wrappers.common.changes import CHANGE_POWERS, ObservesChanges, ObservesRestore
from dashboard.storage.wrappers.fallback.waiting_writes import FOLDER
from dashboard.storage.wrapping import CONTAINER_POWERS, Wrapper

UPLOADS = ".stowage-uploads/"
"""Where uploads that go directly to a bucket are kept until they are checked."""
REPLACED = ".stowage-replaced/"
"""Where a scheduled copy keeps what it replaces, a folder for each run."""
HIDDEN = (FOLDER, UPLOADS, REPLACED)
_NOTHING = nullcontext()


def _refuse(key: str) -> None:
    if key.startswith(FOLDER):
        raise InvalidKey(key, f"“{FOLDER}” is reserved: Stowage stores objects of other backends there.")
    if key.startswith(UPLOADS):
        raise InvalidKey(
            key, f"“{UPLOADS}” is reserved: Stowage keeps uploads that are not checked yet there."
        )
    if key.startswith(REPLACED):
        raise InvalidKey(key, f"“{REPLACED}” is reserved: Stowage keeps files there that a copy replaced.")


def _refuse_unchecked(key: str) -> None:
    if key.startswith(UPLOADS):
        raise NotFound(key)


class _Ranges(Wrapper):
    """``ReadsRanges`` of what may be read."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        _refuse_unchecked(key)
        return self.inner.read_range(key, start, length, if_version=if_version)


class _Links(Wrapper):
    """``Links`` to what may be read."""

    def url(self, key: str) -> str:
        """See ``Links``."""
        assert isinstance(self.inner, Links)
        _refuse_unchecked(key)
        return self.inner.url(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``."""
        assert isinstance(self.inner, Links)
        _refuse_unchecked(key)
        return self.inner.temporary_url(key, seconds=seconds)


class _Folders(Wrapper):
    """``KeepsFolders`` without these folders."""

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
        return (name for name in names if not f"{above}{name}/".startswith(HIDDEN))

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        _refuse(f"{folder}/")
        self.inner.remove_folder(folder)


class _Versions(ObservesRestore):
    """``KeepsVersions`` of objects outside the folders."""

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """See ``KeepsVersions``."""
        return (version for version in self._kept.versions(prefix) if not version.key.startswith(HIDDEN))

    def read_version(self, key: str, version: str) -> Reading:
        """See ``KeepsVersions``."""
        _refuse_unchecked(key)
        return self._kept.read_version(key, version)


class _Uploads(Wrapper):
    """``SignsUploads`` for keys outside the folders."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``."""
        assert isinstance(self.inner, SignsUploads)
        _refuse(key)
        return self.inner.upload_url(key, seconds=seconds, content_type=content_type, size=size)


class _Parts(Wrapper):
    """``SignsParts`` for keys outside the folders."""

    def begin_parts(self, key: str, *, attributes: Attributes | None = None) -> str:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.begin_parts(key, attributes=attributes)

    def part_url(
        self, key: str, upload_id: str, number: int, *, seconds: int, size: int | None = None
    ) -> SignedUpload:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.part_url(key, upload_id, number, seconds=seconds, size=size)

    def sent_parts(self, key: str, upload_id: str) -> tuple[SentPart, ...]:
        """See ``SignsParts``."""
        assert isinstance(self.inner, SignsParts)
        _refuse(key)
        return self.inner.sent_parts(key, upload_id)

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
    """See above. Listings leave the folders out; writes and deletes in them raise ``InvalidKey``, and reads
    of unchecked uploads ``NotFound``."""

    transparent = True
    keeps_place = True
    forwards = CONTAINER_POWERS | {HasTiers, HoldsTags, ReadsInParallel, SetsVisibility}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            **CHANGE_POWERS,
            KeepsFolders: _Folders,
            KeepsVersions: _Versions,
            Links: _Links,
            ReadsRanges: _Ranges,
            SignsParts: _Parts,
            SignsUploads: _Uploads,
        }
    )

    def changing(self, key: str) -> AbstractContextManager[object]:
        """Refuse changes in the folders."""
        _refuse(key)
        return _NOTHING

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""
        for entry in self.inner.list(prefix, start_after=start_after):
            if not entry.key.startswith(HIDDEN):
                yield entry

    def hides_folder(self, folder: str) -> bool:
        """See ``Wrapper``."""
        return folder.startswith(HIDDEN)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        _refuse_unchecked(key)
        return self.inner.stat(key)

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
        _refuse_unchecked(key)
        return self.inner.read(key, if_version=if_version)

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
