"""Powers over single objects that only some containers have: versions, tags, tiers, signed uploads.

Like those in ``driver.py`` each is a protocol of its own. For a driver that does not have one, the library
raises ``Unsupported`` with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, runtime_checkable

from dashboard.storage.driver import Driver, Reading, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Attributes, Entry, ObjectInfo, PowerBase, Written


@dataclass(frozen=True, slots=True)
class SignedUpload:
    """A request with which anyone can write one object, until ``expires_at`` (epoch seconds).

    ``headers`` are covered by the signature: the upload must send exactly these.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    expires_at: float


@dataclass(frozen=True, slots=True)
class SentPart:
    """A part that the server has. ``size`` in bytes."""

    number: int
    size: int
    etag: str


@dataclass(frozen=True, slots=True)
class Version:
    """One of the states an object was in.

    ``deleted``: a delete marker, which has no content. ``current``: what a read without a version returns
    (nothing, for a deleted object). ``size`` in bytes, ``modified`` in epoch seconds.
    """

    key: str
    id: str
    size: int
    modified: float | None
    etag: str | None
    current: bool
    deleted: bool


@runtime_checkable
class TakesChecksum(PowerBase, Protocol):
    """A :class:`Writing` that need not hash what its caller hashes."""

    def take_checksum(self, checksum: Callable[[], str]) -> None:
        """Compute no checksum: the receipt has this one of the complete content, an MD5 or the ETag of its
        parts. Called before the first write; ``checksum`` is called by ``commit``."""
        ...


@runtime_checkable
class HashesParts(PowerBase, Protocol):
    """A :class:`Writing` that sends parts of equal size with their MD5s."""

    @property
    def part_bytes(self) -> int:
        """Bytes of each part but the last; 0 if the content is sent in one request."""
        ...

    def finish_parts(self) -> str:
        """Send what is left, and return the MD5 of the parts' MD5s as S3 writes it in ETags. Nothing is
        visible before ``commit``; nothing is written in between."""
        ...


@runtime_checkable
class PassesBytes(PowerBase, Protocol):
    """A :class:`Writing` around another one, which gets the same bytes."""

    @property
    def passed_to(self) -> Writing:
        """The other one."""
        ...


@runtime_checkable
class SignsUploads(PowerBase, Protocol):
    """Can let anyone without credentials write one object, directly from a browser."""

    def upload_url(
        self, key: str, *, seconds: int, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """Return the request to send. It can neither read nor delete, and replaces an existing object. If
        headers are signed, the server refuses any other ``content_type`` and ``size`` (bytes). No network
        call."""
        ...


@runtime_checkable
class SignsParts(PowerBase, Protocol):
    """Can let anyone without credentials send the parts of one object, directly from a browser. Nothing is
    visible before :meth:`finish_parts`."""

    def begin_parts(self, key: str, *, attributes: Attributes | None = None) -> str:
        """Begin an upload in parts and return its id. Not idempotent: an upload that is neither finished nor
        aborted costs storage until it is swept."""
        ...

    def part_url(
        self, key: str, upload_id: str, number: int, *, seconds: int, size: int | None = None
    ) -> SignedUpload:
        """Return the request for one part (the first is 1). The response has the part's ETag. A part that is
        sent again replaces the earlier one. Servers that check signed headers refuse any other ``size``
        (bytes). No network call."""
        ...

    def sent_parts(self, key: str, upload_id: str) -> tuple[SentPart, ...]:
        """Return the parts that the server has, in ascending order. Some servers list a part that was sent
        again twice, with different ETags if the bytes differ. Raises ``NotFound`` for an upload that was
        finished or aborted."""
        ...

    def finish_parts(
        self, key: str, upload_id: str, parts: Sequence[tuple[int, str]], *, create_only: bool = False
    ) -> str | None:
        """Make the parts the object and return its ETag. ``parts``: number and ETag of each, in ascending
        order. Replaces an existing object unless ``create_only``, which raises ``Exists``, and is atomic
        where that of ``put`` is. Raises ``StorageError`` if a part is missing or has another ETag."""
        ...

    def abort_parts(self, key: str, upload_id: str) -> None:
        """Discard an upload. Idempotent; ignores errors, because unfinished uploads are swept."""
        ...


@runtime_checkable
class DeletesMany(PowerBase, Protocol):
    """Can delete many objects with few requests."""

    def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """Delete these objects; returns the keys that still exist, each with its error. Missing objects count
        as deleted. Raises only if nothing more can be done, for example with wrong credentials. Idempotent,
        not atomic."""
        ...


@runtime_checkable
class CopiesListed(PowerBase, Protocol):
    """Has ``CopiesWithin``, and can copy an object as it was listed, mostly in one request: nothing is asked
    about it before or afterwards."""

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """Copy the listed object on the server, with all attributes; the source is one that
        ``can_copy_from`` accepts. The receipt's MD5 is empty unless the response proves it.

        Raises ``Changed`` if the source has another ETag than in the listing. ``create_only`` raises
        ``Exists`` and is atomic where the server can make it so. Raises ``Unsupported`` if moving the bytes
        is better. Idempotent without ``create_only``.
        """
        ...


class Prepared(Protocol):
    """A new object that is written completely, and that nobody can see yet."""

    key: str

    def discard(self) -> None:
        """Forget it: nothing of it stays. Idempotent; without effect once it is published."""
        ...


@runtime_checkable
class WritesInGroups(PowerBase, Protocol):
    """Can make many small objects durable in hardly more time than one."""

    def prepare(self, key: str, data: bytes, *, md5: str = "") -> Prepared | None:
        """Write a new object, without its key. ``md5``: that of ``data`` in hex, if it is known. Returns None
        if ``put`` is better; otherwise it is kept, perhaps with an open file, until it is published or
        discarded. Raises what ``put`` raises, except for what becomes known when it gets its key."""
        ...

    def publish(self, prepared: Sequence[Any]) -> list[Written | StorageError]:
        """Make these objects durable, then visible, each as an own ``put`` with ``create_only`` does; what
        failed is not visible unless the error came last, as there. Returns what each ``put`` would have
        returned or raised, in this order. Called once for each; from any thread."""
        ...


@runtime_checkable
class ResumesWrites(PowerBase, Protocol):
    """Has ``KeepsUnfinished``: the parts of a write stay when its process is killed."""

    def resume_write(
        self,
        key: str,
        *,
        size: int,
        since: float,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """Like ``write``, but what an unfinished upload of this key has already is not sent again. For a
        caller that alone writes to this key, and began to not before ``since`` (epoch seconds).

        The content is passed to ``write`` completely: a part is only skipped if its size and MD5 are those of
        what is written. Of several uploads the one with most parts is continued, the others are aborted. The
        upload keeps the attributes that it was begun with. Without such an upload it is a ``write``.
        """
        ...


@runtime_checkable
class KeepsVersions(PowerBase, Protocol):
    """May keep what was overwritten or deleted."""

    def keeps_versions(self) -> bool:
        """Whether the container keeps versions now."""
        ...

    def versions(self, prefix: str = "") -> Iterator[Version]:
        """Yield every version of every object under a prefix, the newest of each key first."""
        ...

    def read_version(self, key: str, version: str) -> Reading:
        """Open an older version. Raises ``NotFound`` for an unknown version and for a delete marker."""
        ...

    def restore_version(self, key: str, version: str) -> Written:
        """Make an older version the current one, by a copy on the server; nothing is lost. Raises
        ``NotFound``. Idempotent, except for one more version each time."""
        ...


@runtime_checkable
class HoldsTags(PowerBase, Protocol):
    """Stores names and values with an object, which lifecycle rules and bills can use."""

    def tags(self, key: str) -> Mapping[str, str]:
        """Return the object's tags. Raises ``NotFound``."""
        ...

    def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace all tags; an empty mapping removes them. Raises ``NotFound``, and ``InvalidInput`` for tags
        that the container cannot store. Idempotent."""
        ...


@runtime_checkable
class HasTiers(PowerBase, Protocol):
    """Stores objects more or less readily available, at different prices."""

    def tier(self, key: str) -> str:
        """Return the tier of an object in the provider's own word, such as ``STANDARD``. Raises
        ``NotFound``."""
        ...

    def set_tier(self, key: str, tier: str) -> None:
        """Move an object to another tier, with all its attributes. Raises ``NotFound``, and ``Unsupported``
        for tiers that the container does not have. Objects in some tiers cannot be read immediately.
        Idempotent."""
        ...


@runtime_checkable
class HasFile(PowerBase, Protocol):
    """A :class:`Reading` of an open file of this machine whose bytes are the object's, so that a web server
    can send them itself."""

    info: ObjectInfo

    def fileno(self) -> int:
        """Return the descriptor, open until the context is left."""
        ...

    def check_unchanged(self) -> None:
        """Raise ``Changed`` if the file was changed, replaced or deleted since it was opened."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class HasTrash(PowerBase, Protocol):
    """Can delete an object so that it can be restored, without copying it. What is in the trash is in no
    listing and takes up space until it is removed from there."""

    def move_to_trash(self, key: str, name: str, *, if_version: str | None = None) -> None:
        """Delete an object, and keep it under ``name`` (ASCII letters and digits), which the caller chooses
        and has recorded. Atomic. Raises ``NotFound``; ``Changed`` if ``if_version`` no longer matches, or if
        a program is known to be writing to it."""
        ...

    def restore_from_trash(self, name: str, key: str) -> None:
        """Give it its key back. Raises ``Exists`` if that is taken, and ``NotFound`` if the trash has no such
        object."""
        ...

    def remove_from_trash(self, name: str, key: str) -> None:
        """Delete it for good; ``key`` is what it was called. Idempotent."""
        ...


@runtime_checkable
class SetsAttributes(PowerBase, Protocol):
    """Can change the headers and the metadata of an object without writing its content again."""

    def set_attributes(self, key: str, attributes: Attributes, *, if_version: str | None = None) -> None:
        """Replace all attributes; content, tags, tier and visibility stay. Raises ``NotFound``; ``Changed``
        if ``if_version`` no longer matches; ``InvalidInput`` for what the container cannot store exactly. The
        version may be another one afterwards. Idempotent."""
        ...


@runtime_checkable
class MovesWithin(PowerBase, Protocol):
    """Can give an object another key without copying it."""

    def move_within(self, key: str, to: str, *, if_version: str | None = None, replace: bool = False) -> None:
        """Move an object. At every moment it has at least one of the two keys. Raises ``NotFound``;
        ``Changed`` as ``move_to_trash`` does; ``Exists`` if ``to`` is taken, unless ``replace``;
        ``Unsupported`` if it has to be copied, for example to another disk."""
        ...
