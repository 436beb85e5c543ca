"""Powers over single objects that only some places have: versions, tags, tiers, signed uploads.

Like those in ``driver.py`` each is a protocol of its own; a driver that lacks one is refused by the facade
with ``Unsupported`` and a reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from dashboard.storage.driver import Reading
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Written


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A request that lets whoever holds it write one object, until ``expires_at`` (epoch seconds).

    ``headers`` are covered by the signature: the upload must send exactly these.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class Version:
    """One of the states an object was in.

    ``deleted``: a mark that says it was deleted then; it has no content. ``current``: what a read without a
    version gets (of a deleted object, nothing). ``size`` in bytes, ``modified`` in epoch seconds.
    """

    key: str
    id: str
    size: int
    modified: float | None
    etag: str | None
    current: bool
    deleted: bool


@runtime_checkable
class SignsUploads(Protocol):
    """Can let somebody without credentials write one object, straight from their browser."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """The request to make. It can neither read nor delete, and replaces what is there. Where headers are
        signed, the server refuses another ``content_type`` and ``size`` (bytes). No network call."""
        ...


@runtime_checkable
class DeletesMany(Protocol):
    """Can delete many objects with few requests."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """Delete them all; the keys that are still there, and why. Missing ones are success. Idempotent,
        not atomic. Raises only when nothing more can be done, such as for wrong credentials."""
        ...


@runtime_checkable
class KeepsVersions(Protocol):
    """May keep what was overwritten or deleted."""

    def keeps_versions(self) -> bool:
        """Whether the place does so now."""
        ...

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """Every version of every object under a prefix, streamed, the newest of each key first."""
        ...

    def read_version(self, key: str, version: str) -> Reading:
        """Open an older state. Raises ``NotFound`` for an unknown one and for a mark of deletion."""
        ...

    def restore_version(self, key: str, version: str) -> Written:
        """Make an older state the current one, by a copy on the server; nothing is lost by it. Raises
        ``NotFound``. Idempotent but for one more version each time."""
        ...


@runtime_checkable
class HoldsTags(Protocol):
    """Keeps names and values beside an object, which lifecycle rules and bills can go by."""

    def tags(self, key: str) -> Mapping[str, str]:
        """The object's tags. Raises ``NotFound``."""
        ...

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace them all; none at all removes them. Raises ``NotFound``, and ``InvalidInput`` for tags the
        place cannot hold. Idempotent."""
        ...


@runtime_checkable
class HasTiers(Protocol):
    """Keeps objects more or less at hand, for more or less money."""

    def tier(self, key: str) -> str:
        """The tier of an object in the provider's own word, such as ``STANDARD``. Raises ``NotFound``."""
        ...

    def set_tier(self, key: str, tier: str) -> None:
        """Move an object to another tier, with all it has. Raises ``NotFound``, and ``Unsupported`` for
        tiers the place does not know. Idempotent. Some tiers cannot be read from at once."""
        ...
