"""The powers of a backend with stand-ins: each checks for waiting writes before it calls home."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from dashboard.storage.driver import KeepsFolders, Links, ReadsRanges, SetsVisibility
from dashboard.storage.errors import NotFound, StorageError
from dashboard.storage.net.ranges import check_range, slice_chunks
from dashboard.storage.object_powers import (
    DeletesMany,
    HasTiers,
    HoldsTags,
    KeepsVersions,
    SignedUpload,
    SignsUploads,
)
from dashboard.storage.types import Visibility, Written
from dashboard.storage.wrappers.common.changes import ForwardsVersions
from dashboard.storage.wrappers.fallback.fallback_base import FallbackBase
from dashboard.storage.wrappers.fallback.waiting_writes import EarlierWritePending, Hold, is_unavailable


class DeletesManyAtHome(FallbackBase):
    """``DeletesMany``: discards waiting writes as well."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """See ``DeletesMany``. Keys with a pending write are not deleted, and reported."""
        assert isinstance(self.inner, DeletesMany)
        holds: dict[str, Hold | None] = {}
        pending: dict[str, StorageError] = {}
        failed: Mapping[str, StorageError] | None = None
        try:
            for key in keys:
                try:
                    holds[key] = self._store.hold(key)
                except EarlierWritePending as error:
                    pending[key] = error
            failed = self.inner.delete_many(list(holds))
            return {**failed, **pending}
        finally:
            for key, hold in holds.items():
                if hold is not None and (failed is None or key in failed):
                    self._store.release(hold)
                elif hold is not None:
                    self._store.discard(hold)


class RangesOfBoth(FallbackBase):
    """``ReadsRanges``: from home if it has the object, otherwise by reading everything before the range."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """See ``ReadsRanges``."""
        assert isinstance(self.inner, ReadsRanges)
        check_range(start, length)
        if self._store.newest(key) is None:
            try:
                return self.inner.read_range(key, start, length, if_version=if_version)
            except StorageError as error:
                if if_version is not None or not (isinstance(error, NotFound) or is_unavailable(error)):
                    raise
        with self.read(key, if_version=if_version) as reading:
            return slice_chunks(reading.chunks(), start, length)


class FoldersOfBoth(FallbackBase):
    """``KeepsFolders``: folders at home, and those of waiting writes."""

    def make_folder(self, folder: str) -> None:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        self.inner.make_folder(folder)

    def folders(self, folder: str) -> Iterator[str]:
        """See ``KeepsFolders``."""
        assert isinstance(self.inner, KeepsFolders)
        prefix = f"{folder}/" if folder else ""
        below = (write.key.removeprefix(prefix).split("/") for write in self._store.list_under(prefix))
        waiting = {names[0] for names in below if len(names) > 1}
        for name in self.inner.folders(folder):
            waiting.discard(name)
            yield name
        yield from sorted(waiting)

    def remove_folder(self, folder: str) -> None:
        """See ``KeepsFolders``. A folder with waiting writes is created again when they are written back."""
        assert isinstance(self.inner, KeepsFolders)
        self.inner.remove_folder(folder)


class LinksToHome(FallbackBase):
    """``Links`` to home. There are no temporary URLs of waiting writes."""

    def url(self, key: str) -> str:
        """See ``Links``."""
        assert isinstance(self.inner, Links)
        return self.inner.url(key)

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """See ``Links``. Raises a retryable error for a waiting write: the URL would lead to older
        content."""
        assert isinstance(self.inner, Links)
        self.refuse_while_waiting(key, "temporary url")
        return self.inner.temporary_url(key, seconds=seconds)


class TagsAtHome(FallbackBase):
    """``HoldsTags`` of objects at home."""

    def tags(self, key: str) -> Mapping[str, str]:
        """See ``HoldsTags``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, HoldsTags)
        self.refuse_while_waiting(key, "tags")
        return self.inner.tags(key)

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """See ``HoldsTags``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, HoldsTags)
        self.refuse_while_waiting(key, "tags")
        self.inner.set_tags(key, tags)


class TierAtHome(FallbackBase):
    """``HasTiers`` of objects at home."""

    def tier(self, key: str) -> str:
        """See ``HasTiers``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, HasTiers)
        self.refuse_while_waiting(key, "tier")
        return self.inner.tier(key)

    def set_tier(self, key: str, tier: str) -> None:
        """See ``HasTiers``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, HasTiers)
        self.refuse_while_waiting(key, "tier")
        self.inner.set_tier(key, tier)


class VisibilityAtHome(FallbackBase):
    """``SetsVisibility`` of objects at home."""

    def visibility(self, key: str) -> Visibility:
        """See ``SetsVisibility``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, SetsVisibility)
        self.refuse_while_waiting(key, "visibility")
        return self.inner.visibility(key)

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """See ``SetsVisibility``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, SetsVisibility)
        self.refuse_while_waiting(key, "set visibility")
        self.inner.set_visibility(key, visibility)


class VersionsAtHome(ForwardsVersions, FallbackBase):
    """``KeepsVersions`` at home. Waiting writes are not versions yet."""

    def restore_version(self, key: str, version: str) -> Written:
        """See ``KeepsVersions``. Raises a retryable error for a waiting write."""
        assert isinstance(self.inner, KeepsVersions)
        self.refuse_while_waiting(key, "restore")
        return self.inner.restore_version(key, version)


class UploadsToHome(FallbackBase):
    """``SignsUploads`` to home."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """See ``SignsUploads``. Raises a retryable error for a waiting write, which would hide the upload."""
        assert isinstance(self.inner, SignsUploads)
        self.refuse_while_waiting(key, "upload url")
        return self.inner.upload_url(key, seconds=seconds, content_type=content_type, size=size)
