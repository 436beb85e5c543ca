"""What every wrapper stands on: a driver around a driver that keeps the powers of what it wraps.

Whether a driver has a power is asked with ``isinstance(driver, Links)`` and the like. A wrapper made
around a driver is therefore of a class of its own that has exactly the powers it may pass on: those it
forwards or adapts *and* that the wrapped driver has. A power that a wrapper neither forwards, adapts nor
withholds fails a test, so that a new one is thought about where it might show the wrong bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, ClassVar, Self

from dashboard.storage.driver import (
    Connects,
    CreatesBuckets,
    Driver,
    IdentifiesCaller,
    KeepsMetadata,
    LimitsConnections,
    ListsReadable,
    LooksBeforeCreating,
    OpensWithKey,
    Purges,
    Reading,
    ReadsRanges,
    RefusesWrites,
    SecuresConnections,
    ServesFolders,
    Writing,
)
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.powers import ChecksSettings, KeepsUnfinished
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written

CONNECTION_POWERS: frozenset[type] = frozenset(
    {Connects, LimitsConnections, OpensWithKey, Purges, IdentifiesCaller, SecuresConnections, ServesFolders}
)
"""Powers that say how a place is reached and nothing of what it holds: every wrapper forwards them."""

CONTAINER_POWERS: frozenset[type] = CONNECTION_POWERS | {
    ChecksSettings,
    CreatesBuckets,
    KeepsMetadata,
    KeepsUnfinished,
    LooksBeforeCreating,
    RefusesWrites,
}
"""These, and what speaks of the place as a whole: forwarded by every wrapper that writes to it."""


class Wrapper:
    """A driver that hands every call to another one. As thread-safe as what it wraps.

    Subclasses change what they are for and say of every optional power what becomes of it.
    """

    forwards: ClassVar[frozenset[type]] = frozenset()
    """Powers that are the wrapped driver's own, unchanged."""
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({})
    """Powers that this wrapper has in its own way where the wrapped driver has them: the class to mix in."""
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType({})
    """Powers it takes away, and why."""
    common_powers: ClassVar[Mapping[type, type]] = MappingProxyType({})
    """Powers that every wrapper has in the same way, from what it does already; set below."""
    transparent: ClassVar[bool] = False
    """Whether the wrapped driver holds the very same bytes under the very same keys."""

    authenticates: ClassVar[bool] = False
    """Whether its reads raise for every byte that is not what was written."""

    def __new__(cls, inner: Driver, *args: Any, **more: Any) -> Self:
        """An instance of the subclass with the powers that are left of the wrapped driver's."""
        known = (*cls.forwards, *cls.adapts, *cls.common_powers)
        kind: Any = cls
        made: Self = object.__new__(
            _class_with_powers(kind, frozenset(each for each in known if isinstance(inner, each)))
        )
        return made

    def __init__(self, inner: Driver) -> None:
        self.inner = inner
        self.name = inner.name
        self.ordered = inner.ordered

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.inner!r})"

    def check_key(self, key: str) -> None:
        """See ``Driver``."""
        self.inner.check_key(key)

    def read(self, key: str, *, if_version: str | None = None) -> Reading:
        """See ``Driver``."""
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
        return self.inner.write(key, size=size, attributes=attributes, create_only=create_only)

    def put(
        self, key: str, data: bytes, *, attributes: Attributes | None = None, create_only: bool = False
    ) -> Written:
        """See ``Driver``."""
        return self.inner.put(key, data, attributes=attributes, create_only=create_only)

    def stat(self, key: str) -> ObjectInfo:
        """See ``Driver``."""
        return self.inner.stat(key)

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        """See ``Driver``."""
        return self.inner.list(prefix, start_after=start_after)

    def delete(self, key: str) -> None:
        """See ``Driver``."""
        self.inner.delete(key)

    def sweep(self, keys: Iterable[str], *, since: float) -> int:
        """See ``Driver``."""
        return self.inner.sweep(keys, since=since)

    def close(self) -> None:
        """See ``Driver``."""
        self.inner.close()


class _SkipsUnreadable(Wrapper):
    """A driver whose ``list`` leaves out the folders that may not be read."""

    forwards = frozenset({ReadsRanges})

    def __init__(
        self, inner: Driver, unreadable: Callable[[str, StorageError], None], enters: Callable[[str], bool]
    ) -> None:
        super().__init__(inner)
        self._unreadable = unreadable
        self._enters = enters

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        assert isinstance(self.inner, ListsReadable)
        return self.inner.list_readable(
            prefix, start_after=start_after, unreadable=self._unreadable, enters=self._enters
        )


class _ListsReadable(Wrapper):
    """``ListsReadable`` as each wrapper would have it: its own ``list`` over what can be read below."""

    def list_readable(
        self,
        prefix: str = "",
        *,
        start_after: str = "",
        unreadable: Callable[[str, StorageError], None],
        enters: Callable[[str], bool] = lambda folder: True,
    ) -> Iterator[Entry]:
        """See ``ListsReadable``."""
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.inner = _SkipsUnreadable(self.inner, unreadable, enters)
        return twin.list(prefix, start_after=start_after)


Wrapper.common_powers = MappingProxyType({ListsReadable: _ListsReadable})


def unwrap_transparent(driver: Driver) -> Driver:
    """The driver below all wrappers that leave bytes and keys as they are: what a server-side copy from
    there is a copy of."""
    while isinstance(driver, Wrapper) and driver.transparent:
        driver = driver.inner
    return driver


@cache
def _class_with_powers(kind: type[Wrapper], powers: frozenset[type]) -> type[Any]:
    """The subclass of a wrapper that has these powers."""
    if not powers:
        return kind
    ordered = sorted(powers, key=lambda power: power.__name__)
    parts = [
        kind.adapts.get(power) or kind.common_powers.get(power) or _forwarding(power) for power in ordered
    ]
    return type(kind.__name__, (*parts, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


@cache
def _forwarding(power: type) -> type:
    """A class whose methods are the power's, each handing its call to the wrapped driver."""
    names = [name for name, member in vars(power).items() if not name.startswith("_") and callable(member)]
    methods = {name: _delegate(name, getattr(power, name).__doc__) for name in names}
    return type(f"Forwards{power.__name__}", (), methods)


def _delegate(name: str, promise: str | None) -> Callable[..., Any]:
    def call(self: Wrapper, *args: Any, **more: Any) -> Any:
        return getattr(self.inner, name)(*args, **more)

    call.__name__, call.__doc__ = name, promise
    return call
