"""The contract that every driver keeps, and one protocol for each optional power.

A driver is safe to use from many threads at once. It is built lazily (no network call in the constructor),
has bounded connect and idle timeouts, and retries only what its client retries within those bounds: callers
decide, from ``StorageError.retryable``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from dashboard.storage.errors import NotFound
from dashboard.storage.types import Attributes, Entry, ObjectInfo, PowerBase, Visibility, Written

if TYPE_CHECKING:
    import ssl

    from dashboard.storage.errors import StorageError

SMALL = 8 * 1024 * 1024
"""Objects up to this many bytes are moved in one request each way."""


class Reading(Protocol):
    """An open read. Use as a context manager; leaving it frees the connection."""

    info: ObjectInfo

    def chunks(self) -> Iterator[bytes]:
        """Yield the content in order, in chunks of at most a few MiB.

        Raises ``Damaged`` if it ends before ``info.size`` bytes, and ``Changed`` if the object was replaced
        during the read and the backend shows it. Can be consumed once.
        """
        ...

    def read_all(self) -> bytes:
        """Return the complete content; for objects up to ``SMALL``. Promises the same as :meth:`chunks`."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Writing(Protocol):
    """An open write. Nothing is visible under the key before :meth:`commit` returns.

    Leaving the context without a commit discards everything written (temporary file, multipart upload).
    """

    def write(self, chunk: bytes) -> None:
        """Write the next bytes. May block while the backend catches up."""
        ...

    def commit(self) -> Written:
        """Make the object visible, complete and durable, and return its receipt. Called once."""
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


@runtime_checkable
class Driver(Protocol):
    """One protocol to one configured container. If the container itself does not exist, calls that look up an
    object may raise ``ContainerMissing``, which is not a ``NotFound``."""

    name: str
    """The driver's registered name, such as ``s3``."""

    def check_key(self, key: str) -> None:
        """Raise ``InvalidKey`` if this backend cannot store exactly this key. No network call."""
        ...

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """Open an object. Raises ``NotFound``, and ``Changed`` if ``if_version`` no longer matches."""
        ...

    def write(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Writing:
        """Open a write. ``size`` in bytes if known, so that parts can be sized. With ``create_only`` the
        commit raises ``Exists`` if the key is taken. Attributes that a backend cannot store are dropped."""
        ...

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """Write a small object in one request. Atomic. Promises the same as a committed ``write``."""
        ...

    def stat(self, key: str) -> ObjectInfo:
        """Return the metadata of one object. Raises ``NotFound``."""
        ...

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """Yield every object whose key starts with ``prefix``, in memory that does not grow.

        ``ordered`` says whether keys come in UTF-8 byte order. Raises ``ContainerMissing`` if the bucket or
        root does not exist. ``prefix`` is a plain string prefix, not a folder. ``start_after`` is exclusive;
        raises ``Unsupported`` if ``ordered`` is false.
        """
        ...

    ordered: bool
    """Whether ``list`` is *expected* in UTF-8 byte order; callers that rely on it still check."""

    def delete(self, key: str) -> None:
        """Delete an object. Succeeds if it does not exist. Idempotent."""
        ...

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """Remove the temporary files and multipart uploads of writes to these keys that began at or after
        ``since`` (epoch seconds) and were never committed. Returns how many."""
        ...

    def close(self) -> None:
        """Free connections. Idempotent; the driver is not used afterwards."""
        ...


def stat_or_none(driver: Driver, key: str) -> ObjectInfo | None:
    """Return the object's metadata, or None if it does not exist. Raises whatever else ``stat`` raises."""
    try:
        return driver.stat(key)
    except NotFound:
        return None


@runtime_checkable
class ProvesByParts(PowerBase, Protocol):
    """A :class:`Writing` whose receipt can be proven without the MD5 of the complete content."""

    def without_md5(self) -> None:
        """Leave ``Written.md5`` empty if the receipt can be proven otherwise. Called before the first
        write."""
        ...


@runtime_checkable
class TellsParts(PowerBase, Protocol):
    """A :class:`Reading` of an object that may have been uploaded in parts, whose MD5s then make up its
    ETag."""

    def part_size(self, number: int) -> int | None:
        """Return the bytes of one part (the first is 1), or None if the server does not report it. Sends a
        request."""
        ...


@runtime_checkable
class CopiesWithin(PowerBase, Protocol):
    """Can copy between two keys of containers that share credentials, without moving the bytes through
    here."""

    def can_copy_from(self, source: Driver) -> bool:
        """Whether :meth:`copy_from` may be used with this source. No network call."""
        ...

    def copy_from(self, source: Driver, key: str, to: str, *, if_version: str | None = None) -> Written:
        """Copy on the server, with all attributes. Raises what ``read`` and ``write`` raise."""
        ...


@runtime_checkable
class ReadsRanges(PowerBase, Protocol):
    """Can read a part of an object without everything before it."""

    def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """Return ``length`` bytes from ``start`` (0 is the first); fewer only if the object ends before.

        A range that starts at or after the end, and one of length zero, is ``b""``, but the object must
        exist. Raises ``NotFound``; ``Changed`` if ``if_version`` no longer matches; ``Damaged`` if the range
        arrives incomplete; ``InvalidInput`` for negative numbers. From a server that cannot send ranges, the
        object is read from its beginning to the end of the range. Idempotent.
        """
        ...


@runtime_checkable
class ReadsInParallel(PowerBase, Protocol):
    """Can read several ranges of one object at the same time without extra work. Has ``ReadsRanges`` too."""

    def parallel_reads(self) -> int:
        """Return how many ranges at a time are worthwhile. No network call."""
        ...


@runtime_checkable
class ListsReadable(PowerBase, Protocol):
    """Keeps objects in folders, some of which it may not be allowed to read."""

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """Like ``list``, but report and skip folders that may not be read, where ``list`` raises. The listing
        is complete except for those folders.

        ``unreadable`` is called with the folder, which ends in a slash, and the error, on the thread that
        consumes the entries. ``enters`` is called with the path of every folder, with a slash at the end; a
        folder for which it returns False is not opened. Raises if the container itself may not be read, and
        for every error that is not about a single folder.
        """
        ...


@runtime_checkable
class CreatesBuckets(PowerBase, Protocol):
    """Can create the container itself: bucket, container, root folder."""

    def bucket_exists(self) -> bool:
        """Whether the container exists. Raises if that cannot be determined."""
        ...

    def create_bucket(self) -> None:
        """Create the container. Succeeds if it is already ours. Idempotent."""
        ...


@runtime_checkable
class Connects(PowerBase, Protocol):
    """Has a network address that the probe can resolve and connect to before it signs in."""

    def address(self) -> tuple[str, int, bool]:
        """Return the host, the port, and whether TLS is used."""
        ...

    def authenticate(self) -> None:
        """Verify the credentials with the cheapest call there is. Raises ``StorageError``."""
        ...


@runtime_checkable
class ServesFolders(PowerBase, Protocol):
    """A file server: its container is a folder, and it may encrypt with a protocol of its own."""

    def encryption(self) -> str:
        """Return what encrypts the connection once it is established, such as ``SSH``; empty if nothing
        does."""
        ...


@runtime_checkable
class LooksBeforeCreating(PowerBase, Protocol):
    """May be unable to write only where nothing exists, because its server has no such call."""

    def supports_create_only(self) -> bool:
        """Whether ``create_only`` is supported. If not, it raises ``Unsupported``; callers that can live with
        a gap between the two check first and then write. May connect."""
        ...


@runtime_checkable
class LimitsConnections(PowerBase, Protocol):
    """Opens a limited number of connections; callers that need more wait."""

    def max_connections(self) -> int:
        """Return how many reads or writes can be open at once. No network call."""
        ...


@runtime_checkable
class OpensWithKey(PowerBase, Protocol):
    """Its server returns an object that was stored with a customer's key only to a client that sends that
    key."""

    def check_one_object(self) -> str:
        """Check whether the key that is sent, or none, opens an existing object, and say so in a sentence;
        empty if there is no object or checking is not allowed. Raises ``OtherKey``."""
        ...


@runtime_checkable
class IdentifiesCaller(PowerBase, Protocol):
    """May be able to say whose credentials it uses."""

    def can_identify_caller(self) -> bool:
        """Whether there is a service to ask. No network call."""
        ...

    def caller_identity(self) -> str:
        """Return a sentence that says whose credentials these are. Raises ``StorageError``; the credentials
        may work even then."""
        ...


@runtime_checkable
class SecuresConnections(PowerBase, Protocol):
    """Decides which certificates it trusts; the probe's TLS handshake uses the same settings."""

    def tls_context(self) -> ssl.SSLContext:
        """Return the settings that its connections are made with. No network call."""
        ...


@runtime_checkable
class RefusesWrites(PowerBase, Protocol):
    """A container that is read-only by choice: every write, delete and sweep raises ``DENIED``."""

    def read_only_reason(self) -> str:
        """Return the sentence that its errors contain."""
        ...


@runtime_checkable
class Purges(PowerBase, Protocol):
    """Is behind a content delivery network that can be notified of changes."""

    def purge(self, keys: Iterable[str]) -> None:
        """Make the network discard its copies of these objects now, which writes do in the background. Raises
        ``StorageError`` if it cannot be notified, ``Unsupported`` if no key for that is set."""
        ...


@runtime_checkable
class Links(PowerBase, Protocol):
    """Has URLs for objects that a browser opens without our credentials."""

    def url(self, key: str) -> str:
        """Return the permanent public URL. No network call; does not check that the object exists."""
        ...

    def temporary_url(self, key: str, *, seconds: int) -> str:
        """Return a URL with which anyone can read this one object until it expires."""
        ...


@runtime_checkable
class KeepsMetadata(PowerBase, Protocol):
    """Returns ``Attributes.metadata`` exactly as it was stored."""

    def keeps_metadata(self) -> bool:
        """Whether it does so for every object. No network call."""
        ...


@runtime_checkable
class DeletesUnchanged(PowerBase, Protocol):
    """Has versions that differ after every change of content, even one that keeps size and time, so that it
    can delete an object only if it is still the one that was read. A driver without such versions has no such
    power."""

    def delete_unchanged(self, key: str, version: str) -> None:
        """Delete an object if ``ObjectInfo.version`` is still this one. Raises ``Changed`` if it is not, or
        if a program is known to be writing to it. Succeeds if the object does not exist. Each driver
        documents the gap that remains between comparing and deleting."""
        ...


@runtime_checkable
class KeepsFolders(PowerBase, Protocol):
    """Has folders that can exist without an object in them."""

    def make_folder(self, folder: str) -> None:
        """Create a folder and its parents; ``folder`` has no slash at either end. Raises ``InvalidKey``, and
        kind ``conflict`` if a file has that name. Deleting the last object of a folder may remove it again.
        Idempotent."""
        ...

    def folders(self, folder: str) -> Iterator[str]:
        """Yield the names of the folders directly in a folder, or in the container (``""``), in no order.
        Yields nothing if there is no such folder; raises ``ContainerMissing`` if there is no container."""
        ...

    def remove_folder(self, folder: str) -> None:
        """Remove a folder and those below it, except folders that contain objects. Succeeds if it does not
        exist."""
        ...


@runtime_checkable
class SetsVisibility(PowerBase, Protocol):
    """Can make a single object public or private."""

    def visibility(self, key: str) -> Visibility:
        """Return what the object's own permissions say; the container may allow more. Raises ``NotFound``."""
        ...

    def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Change it. Raises ``NotFound``, and ``Unsupported`` if the container forbids it. Idempotent."""
        ...
