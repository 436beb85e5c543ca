"""A backend that can be read and copied from, and is never written to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import ClassVar, NoReturn, Self

from dashboard.errors import Kind
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
    SetsVisibility,
)
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.powers import ChecksSettings, Finding, KeepsUnfinished
from dashboard.storage.object_powers import (
    CopiesListed,
    DeletesMany,
    HasTiers,
    HasTrash,
    HoldsTags,
    KeepsVersions,
    MovesWithin,
    ResumesWrites,
    SetsAttributes,
    SignsParts,
    SignsUploads,
    WritesInGroups,
)
from dashboard.storage.types import Attributes, Secret, Visibility
from dashboard.storage.wrappers.common.changes import ForwardsVersions
from dashboard.storage.wrapping import CONNECTION_POWERS, Wrapper

_REASON = "This backend is read-only in Stowage."
_REMEDY = "Switch “Read-only” off in the backend's form to let Stowage write there."


def _refuse(operation: str, subject: str) -> NoReturn:
    raise StorageError(Kind.DENIED, _REASON, operation=operation, subject=subject, remedy=_REMEDY)


class _ReadOnlyContainer(Wrapper):
    """``CreatesBuckets``: reports whether the bucket exists; creates nothing."""

    def bucket_exists(self) -> bool:
        """See ``CreatesBuckets``."""
        assert isinstance(self.inner, CreatesBuckets)
        return self.inner.bucket_exists()

    def create_bucket(self) -> None:
        """Refused."""
        _refuse("create bucket", "")


class _ReadOnlyFolders(Wrapper):
    """``KeepsFolders``: lists folders; creates and deletes none."""

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        return self.inner.folders(folder)

    def make_folder(self, folder: str) -> None:
        """Refused."""
        _refuse("make directory", folder)

    def remove_folder(self, folder: str) -> None:
        """Refused."""
        _refuse("delete", folder)


class _ReadOnlyVisibility(Wrapper):
    """``SetsVisibility``: reports the visibility; never changes it."""

    def visibility(self, key: str) -> Visibility:
        """See ``SetsVisibility``."""
        assert isinstance(self.inner, SetsVisibility)
        return self.inner.visibility(key)

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Refused."""
        _refuse("set visibility", key)


class _ReadOnlyVersions(ForwardsVersions):
    """``KeepsVersions``: lists and reads versions; restores none."""

    def restore_version(self, key: str, version: str) -> NoReturn:
        """Refused."""
        _refuse("restore", key)


class _ReadOnlyTags(Wrapper):
    """``HoldsTags``: reads tags; never changes them."""

    def tags(self, key: str) -> Mapping[str, str]:
        """See ``HoldsTags``."""
        assert isinstance(self.inner, HoldsTags)
        return self.inner.tags(key)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> NoReturn:
        """Refused."""
        _refuse("tags", key)


class _ReadOnlyTier(Wrapper):
    """``HasTiers``: reports the tier; never changes it."""

    def tier(self, key: str) -> str:
        """See ``HasTiers``."""
        assert isinstance(self.inner, HasTiers)
        return self.inner.tier(key)

    def set_tier(self, key: str, tier: str) -> NoReturn:
        """Refused."""
        _refuse("tier", key)


class _ReadOnlySettings(Wrapper):
    """``ChecksSettings``: reports findings; fixes none."""

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``; nothing is fixable here."""
        assert isinstance(self.inner, ChecksSettings)
        return tuple(replace(finding, fixable=False) for finding in self.inner.findings(origin))

    def fix(self, name: str, origin: str) -> NoReturn:
        """Refused."""
        _refuse("change settings", name)


class ReadOnly(Wrapper):
    """Every call that would change the backend raises kind ``DENIED`` before anything is sent."""

    transparent = True
    keeps_place = True
    forwards = CONNECTION_POWERS | {KeepsMetadata, Links, ReadsInParallel, ReadsRanges}
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType(
        {
            CreatesBuckets: _ReadOnlyContainer,
            KeepsFolders: _ReadOnlyFolders,
            SetsVisibility: _ReadOnlyVisibility,
            KeepsVersions: _ReadOnlyVersions,
            HoldsTags: _ReadOnlyTags,
            HasTiers: _ReadOnlyTier,
            ChecksSettings: _ReadOnlySettings,
        }
    )
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {
            ResumesWrites: "Nothing is written.",
            CopiesListed: "A copy on the server would be a write.",
            CopiesWithin: "A copy on the server would be a write.",
            LooksBeforeCreating: "It would create something.",
            DeletesMany: "Nothing is deleted.",
            KeepsUnfinished: "No upload is created or aborted.",
            DeletesUnchanged: "Nothing is deleted.",
            SignsParts: "An upload would be a write.",
            SignsUploads: "An upload would be a write.",
            WritesInGroups: "Nothing is written.",
            HasTrash: "Nothing is deleted.",
            MovesWithin: "Nothing is moved.",
            SetsAttributes: "Nothing is changed.",
        }
    )

    @classmethod
    def from_options(cls, inner: Driver, options: Mapping[str, str], secrets: Mapping[str, Secret]) -> Self:
        """Build the wrapper. It has no options of its own."""
        return cls(inner)

    # RefusesWrites

    def read_only_reason(self) -> str:
        """See ``RefusesWrites``."""
        return _REASON

    # Driver

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> NoReturn:
        """Refused."""
        _refuse("write", key)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> NoReturn:
        """Refused."""
        _refuse("write", key)

    def delete(self, key: str) -> NoReturn:
        """Refused, also for missing objects."""
        _refuse("delete", key)

    def sweep(self, keys: Iterable[str], *, since: float) -> NoReturn:
        """Refused, because other programs' unfinished writes are not ours to delete."""
        _refuse("sweep", "")
