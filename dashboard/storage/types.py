"""Values that cross the driver boundary. All are immutable and safe to share between threads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol
from weakref import WeakKeyDictionary

EMPTY: Mapping[str, str] = MappingProxyType({})


_KNOWN_POWERS: WeakKeyDictionary[type, dict[type, bool]] = WeakKeyDictionary()


class _DecidedByClass(type(Protocol)):  # type: ignore[misc]
    """Remembers which classes have a power: Python looks at every method again for each check, and the checks
    of a small object took longer than signing its request."""

    def __instancecheck__(cls, instance: Any) -> bool:
        kind = type(instance)
        known = _KNOWN_POWERS.get(kind)
        if known is None:
            known = _KNOWN_POWERS.setdefault(kind, {})
        found = known.get(cls)
        if found is None:
            found = bool(super().__instancecheck__(instance))
            # What passes attributes on may differ from instance to instance.
            if not hasattr(kind, "__getattr__"):
                known[cls] = found
        return found


class PowerBase(Protocol, metaclass=_DecidedByClass):
    """The base of every optional power of drivers, and of what they open. Whether an object has one is a
    matter of its class."""


class Secret:
    """A value that prints as ``***``. Open it with :meth:`reveal`, at the last possible moment."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The plain value."""
        return self._value

    def __repr__(self) -> str:
        return "***"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return "***"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(("Secret", self._value))

    def __reduce__(self) -> str | tuple[object, ...]:
        raise TypeError("a Secret does not leave the process")


class Visibility(StrEnum):
    """Who may read an object at its permanent URL."""

    PUBLIC = "public"
    PRIVATE = "private"


class Entry(NamedTuple):
    """What a listing says about an object. A named tuple, because creating one takes half the time of a
    dataclass.

    ``size`` in bytes; ``modified`` in seconds since the epoch (UTC), as precise as the backend reports it;
    ``etag`` without quotes, or None if the backend has none.
    """

    key: str
    size: int
    modified: float | None = None
    etag: str | None = None


@dataclass(frozen=True, slots=True)
class Attributes:
    """The HTTP headers and user metadata that are stored with an object."""

    content_type: str | None = None
    cache_control: str | None = None
    content_disposition: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    metadata: Mapping[str, str] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """What ``stat`` and an open read know about an object.

    ``version`` is an opaque token that changes when the content changes: the ETag if there is one; inode,
    ctime, mtime and size on a disk; some servers report only time and size, see ``DeletesUnchanged``. ``md5``
    is the hex MD5 of the content if the backend vouches for it. ``settled`` is false while the version is so
    recent that the write that created it may still be in progress.
    """

    key: str
    size: int
    modified: float | None = None
    etag: str | None = None
    version: str | None = None
    md5: str | None = None
    attributes: Attributes = field(default_factory=Attributes)
    settled: bool = True

    @property
    def entry(self) -> Entry:
        """The object as a listing shows it."""
        return Entry(self.key, self.size, self.modified, self.etag)

    def __getitem__(self, name: str) -> object:
        """Return a field, or an attribute such as ``content_type``, by name, for programs that expect a
        mapping. ``path`` and ``last_modified`` are other names of ``key`` and ``modified``. Raises
        ``KeyError``."""
        name = {"path": "key", "last_modified": "modified"}.get(name, name)
        for holder in (self, self.attributes):
            if name in holder.__slots__:
                return getattr(holder, name)
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class Written:
    """The receipt of a finished write.

    ``size``: bytes written. ``md5``: hex MD5 of the bytes written, computed during the write.
    ``stored_checksum``: what the *backend* says it stored, in the form of ``expected_checksum``, or None if
    it returned nothing comparable. The write is proven if both are set and equal. Examples: S3 single put,
    both are the MD5; S3 multipart, both are ``<md5 of part md5s>-<parts>``.
    """

    key: str
    size: int
    md5: str
    etag: str | None = None
    expected_checksum: str | None = None
    stored_checksum: str | None = None

    @property
    def proven(self) -> bool:
        """Whether the backend's own checksum equals the one computed from the bytes sent."""
        return self.stored_checksum is not None and self.stored_checksum == self.expected_checksum
