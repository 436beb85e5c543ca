"""A backend with its waiting writes, but without stand-ins: for counting, comparing and migrating."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from dashboard.storage.driver import DeletesUnchanged, Writing
from dashboard.storage.object_powers import HasTrash, SetsAttributes
from dashboard.storage.types import Attributes, Written
from dashboard.storage.wrappers.common.streams import WrappedWriting
from dashboard.storage.wrappers.fallback.driver import Fallback
from dashboard.storage.wrappers.fallback.fallback_base import FallbackBase, ReplaceAtHome


class _ReplacingWriting(WrappedWriting):
    """A write at home whose commit discards the waiting writes of its key."""

    def __init__(self, inner: Writing, replacing: ReplaceAtHome) -> None:
        super().__init__(inner)
        self._replacing = replacing

    def commit(self) -> Written:
        """See ``Writing``."""
        with self._replacing as succeeded:
            written = self._inner.commit()
            succeeded()
            return written


class _DeletesUnchanged(FallbackBase):
    """``DeletesUnchanged`` of objects at home."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """See ``DeletesUnchanged``. Raises kind ``conflict`` for a waiting write."""
        assert isinstance(self.inner, DeletesUnchanged)
        self.refuse_while_waiting(key, "delete", retryable=False)
        self.inner.delete_unchanged(key, version)


class _Trash(FallbackBase):
    """``HasTrash`` of objects at home."""

    def move_to_trash(self, key: str, name: str, *, if_version: str | None = None) -> None:
        """See ``HasTrash``. Raises kind ``conflict`` for a waiting write."""
        assert isinstance(self.inner, HasTrash)
        self.refuse_while_waiting(key, "delete", retryable=False)
        self.inner.move_to_trash(key, name, if_version=if_version)

    def restore_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``. Raises kind ``conflict`` for a waiting write."""
        assert isinstance(self.inner, HasTrash)
        self.refuse_while_waiting(key, "restore", retryable=False)
        self.inner.restore_from_trash(name, key)

    def remove_from_trash(self, name: str, key: str) -> None:
        """See ``HasTrash``."""
        assert isinstance(self.inner, HasTrash)
        self.inner.remove_from_trash(name, key)


class _Attributes(FallbackBase):
    """``SetsAttributes`` of objects at home."""

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """See ``SetsAttributes``. Raises kind ``conflict`` for a waiting write."""
        assert isinstance(self.inner, SetsAttributes)
        self.refuse_while_waiting(key, "attributes")
        self.inner.set_attributes(key, attributes, if_version=if_version)


_OF_HOME: Mapping[type, type] = MappingProxyType(
    {DeletesUnchanged: _DeletesUnchanged, HasTrash: _Trash, SetsAttributes: _Attributes}
)


class IncludingWaiting(Fallback):
    """See above. Waiting writes cannot be deleted, because home may have something newer."""

    alone = True
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({**Fallback.adapts, **_OF_HOME})
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType(
        {power: reason for power, reason in Fallback.withholds.items() if power not in _OF_HOME}
    )

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """See ``Driver``."""
        self.check_key(key)
        if create_only:
            return super().write(key, size=size, attributes=attributes, create_only=True)
        return _ReplacingWriting(self.inner.write(key, size=size, attributes=attributes), self.replacing(key))

    def delete(self, key: str) -> None:
        """See ``Driver``. Raises kind ``conflict`` for a waiting write."""
        self.refuse_while_waiting(key, "delete", retryable=False)
        self.inner.delete(key)
