"""The narrow contract every driver keeps, and one protocol per optional power.

A driver is safe to use from many threads at once. It is built lazily (no network call in the
constructor), has bounded connect and idle timeouts, and retries nothing by itself beyond what its
client does within those bounds: callers decide, from ``StorageError.retryable``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from dashboard.storage.errors import NotFound
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Visibility, Written

if TYPE_CHECKING:
    import ssl

    from dashboard.storage.errors import StorageError

SMALL = 8 * 1024 * 1024
"""Objects up to this many bytes are moved whole, in one request each way."""


class Reading(Protocol):
    """An open read. Use as a context manager; leaving it frees the connection."""

    info: ObjectInfo

    def chunks(self) -> Iterator[bytes]:
        """The content in order, in pieces of at most a few MiB.

        Raises ``Damaged`` if it ends before ``info.size`` bytes and ``Changed`` if the object was
        replaced under the read and the backend tells. Can be consumed once.
        """
        ...

    def read_all(self) -> bytes:
        """The whole content; for objects up to ``SMALL``. Same promises as :meth:`chunks`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Writing(Protocol):
    """An open write. Nothing is visible under the key before :meth:`commit` returns.

    Leaving the context without a commit drops everything written (temporary file, multipart upload).
    """

    def write(self, chunk: bytes) -> None:
        """Hand over the next bytes. May block while the backend catches up."""
        ...

    def commit(self) -> Written:
        """Make the object visible, whole and durable, and return its receipt. Called once."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Driver(Protocol):
    """One protocol to one configured place. Where the place itself is not there, calls that look at an object
    may raise ``ContainerMissing``, which is no ``NotFound``."""

    name: str
    """The driver's registered name, such as ``s3``."""

    def check_key(self, key: str) -> None:
        """Raise ``InvalidKey`` if this backend cannot hold exactly this key. No network call."""
        ...

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """Open an object. Raises ``NotFound``; ``Changed`` when ``if_version`` no longer matches."""
        ...

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """Open a write. ``size`` in bytes when known, so that parts can be sized. With ``create_only``
        the commit raises ``Exists`` if the key is taken. Attributes a backend cannot hold are dropped."""
        ...

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Write a small object in one request. Atomic; the same promises as a committed ``write``."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Describe one object. Raises ``NotFound``."""
        ...

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """Every object whose key starts with ``prefix``, streamed, in memory that does not grow.

        ``ordered`` says whether keys come in UTF-8 byte order. A missing bucket or root raises
        ``ContainerMissing``. ``prefix`` is a plain string prefix, not a folder. ``start_after`` is exclusive
        and raises ``Unsupported`` where ``ordered`` is false.
        """
        ...

    ordered: bool
    """Whether ``list`` is *expected* in UTF-8 byte order; callers that rely on it still check."""

    def delete(self, key: str) -> None:
        """Remove an object. Idempotent: a missing object is success."""
        ...

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """Remove what writes to these keys, begun at or after ``since`` (epoch seconds) and never
        committed, left behind: temporary files, unfinished multipart uploads. Returns how many."""
        ...

    def close(self) -> None:
        """Free connections. Idempotent; the driver is not used afterwards."""
        ...


def stat_or_none(driver: Driver, key: str) -> ObjectInfo | None:
    """The object, or None where there is none. Raises whatever else ``stat`` does."""
    try:
        return driver.stat(key)
    except NotFound:
        return None


@runtime_checkable
class ProvesByParts(Protocol):
    """A :class:`Writing` whose receipt can be proven without the MD5 of the whole content."""

    def without_md5(self) -> None:
        """Before the first write: leave ``Written.md5`` empty if the receipt can be proven otherwise."""
        ...


@runtime_checkable
class TellsParts(Protocol):
    """A :class:`Reading` of an object that may have been uploaded in parts, whose MD5s then make its ETag."""

    def part_size(self, number: int) -> int | None:
        """Bytes of one part, the first is 1; None where the server does not tell. Asks it."""
        ...


@runtime_checkable
class CopiesWithin(Protocol):
    """Can copy between two keys of places that share credentials, without moving the bytes here."""

    def can_copy_from(self, source: Driver) -> bool:
        """Whether :meth:`copy_from` may be used with this source. No network call."""
        ...

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """Server-side copy that keeps all attributes. Raises as ``read`` and ``write`` do."""
        ...


@runtime_checkable
class ReadsRanges(Protocol):
    """Can bring a part of an object without all that stands before it."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """``length`` bytes from ``start`` (0 is the first) in memory; fewer only where the object ends.

        A part that begins at the end or beyond it, and one of length zero, is ``b""``; the object must be
        there all the same. Raises ``NotFound``; ``Changed`` when ``if_version`` no longer matches;
        ``Damaged`` when not all of the part arrives; ``InvalidInput`` for negative numbers. Idempotent.
        Of a server that cannot send parts the whole object is read up to the end of the part.
        """
        ...


@runtime_checkable
class ReadsInParallel(Protocol):
    """Brings several parts of one object at the same time without working harder for it: a server that
    really sends parts, over connections of which there are enough. Has ``ReadsRanges`` too."""

    def parallel_reads(self) -> int:
        """How many parts at once are worth it. No network call."""
        ...


@runtime_checkable
class ListsReadable(Protocol):
    """Keeps objects in folders of which it may be allowed to read some and not others."""

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """As ``list``, except that a folder which may not be read is told of and left out, where ``list``
        raises: the listing is complete but for those folders.

        ``unreadable`` is called with the folder, which ends in a slash, and why, on the thread that takes the
        entries. ``enters`` is asked of every folder by its path with a slash at the end; one for which it
        says no is not even opened. Raises where the place itself may not be read, and for everything that is
        no matter of one folder.
        """
        ...


@runtime_checkable
class CreatesBuckets(Protocol):
    """Can make the place itself: bucket, container, root folder."""

    def bucket_exists(self) -> bool:
        """Whether the place is there. Raises on anything but yes and no."""
        ...

    def create_bucket(self) -> None:
        """Make the place. Idempotent when it is already ours."""
        ...


@runtime_checkable
class Connects(Protocol):
    """Has a network address that the probe can resolve and connect to before it signs in."""

    def address(self) -> tuple[str, int, bool]:
        """Host, port, and whether TLS is spoken."""
        ...

    def authenticate(self) -> None:
        """Prove the credentials with the cheapest call there is. Raises ``StorageError``."""
        ...


@runtime_checkable
class ServesFolders(Protocol):
    """A file server: its place is a folder, and it may encrypt by a protocol of its own."""

    def encryption(self) -> str:
        """What encrypts the connection once it stands, such as ``SSH``; empty where nothing does."""
        ...


@runtime_checkable
class LooksBeforeCreating(Protocol):
    """May be unable to write only where nothing is, because its server has no such call."""

    def supports_create_only(self) -> bool:
        """Whether ``create_only`` is kept. Where not, it raises ``Unsupported``, and callers who can live
        with a gap between the two look first and write then. May connect."""
        ...


@runtime_checkable
class LimitsConnections(Protocol):
    """Opens only so many connections; who asks for more at once waits."""

    def max_connections(self) -> int:
        """How many reads or writes can be open at once. No network call."""
        ...


@runtime_checkable
class OpensWithKey(Protocol):
    """Its server hands out an object that was stored with somebody's key only to who sends that key."""

    def check_one_object(self) -> str:
        """Whether the key that is sent, or none, opens an object that is there, as a sentence; empty where
        there is nothing to look at or looking is not allowed. Raises ``OtherKey``."""
        ...


@runtime_checkable
class IdentifiesCaller(Protocol):
    """May be able to ask whose its credentials are."""

    def can_identify_caller(self) -> bool:
        """Whether there is anybody to ask. No network call."""
        ...

    def caller_identity(self) -> str:
        """Whose the credentials are, as a sentence. Raises ``StorageError``; they may work all the same."""
        ...


@runtime_checkable
class SecuresConnections(Protocol):
    """Decides which certificates it trusts; the probe shakes hands with the same settings."""

    def tls_context(self) -> ssl.SSLContext:
        """The settings its connections are made with. No network call."""
        ...


@runtime_checkable
class RefusesWrites(Protocol):
    """A place that is only read, by choice: every write, delete and sweep raises ``DENIED``."""

    def read_only_reason(self) -> str:
        """The sentence its refusals say."""
        ...


@runtime_checkable
class Purges(Protocol):
    """Stands behind a content delivery network that can be told of changes."""

    def purge(self, keys: Iterable[str]) -> None:
        """Have the network forget its copies of these objects now, which writes do in the background.

        Raises ``StorageError`` where it cannot be told, ``Unsupported`` where no key for that is set."""
        ...


@runtime_checkable
class Links(Protocol):
    """Can name an object by an address that a browser opens without credentials of ours."""

    def url(self, key: str) -> str:
        """The lasting public address. No network call; says nothing of whether the object is there."""
        ...

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """An address that lets whoever holds it read this one object, until it expires."""
        ...


@runtime_checkable
class KeepsMetadata(Protocol):
    """Gives ``Attributes.metadata`` back as it was handed in."""

    def keeps_metadata(self) -> bool:
        """Whether it does so for every object. No network call."""
        ...


@runtime_checkable
class DeletesUnchanged(Protocol):
    """Its versions differ after every change of content, also one that keeps size and time, so that it can
    delete an object that is still the one somebody read, and no other. A driver that goes by size and time
    alone does not have this power."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """Remove an object if ``ObjectInfo.version`` is still this one. Raises ``Changed`` where it is not,
        and where a program is seen to be writing to it. A missing object is success. What gap is left
        between the comparison and the deletion each driver says."""
        ...


@runtime_checkable
class KeepsFolders(Protocol):
    """Has folders that can be there without an object in them."""

    def make_folder(self, folder: str) -> None:
        """Make a folder and those above it; ``folder`` has no slash at either end. Idempotent. Raises
        ``InvalidKey``, and kind ``conflict`` where a file has the name. Deleting the last object of a
        folder may remove it again."""
        ...

    def folders(self, folder: str) -> Iterator[str]:
        """The names of the folders directly in a folder, or in the place (``""``), in no order. None where
        there is no such folder; ``ContainerMissing`` where there is no place."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder, and those below it, as far as no object is in them. A missing one is success."""
        ...


@runtime_checkable
class SetsVisibility(Protocol):
    """Can open a single object to everybody, or close it."""

    def visibility(self, key: str) -> Visibility:
        """What the object's own permissions say; the place may allow more. Raises ``NotFound``."""
        ...

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Change it. Idempotent. Raises ``NotFound``, and ``Unsupported`` where the place forbids it."""
        ...
