"""The base of every wrapper: a driver around a driver that keeps the powers of the wrapped one.

Whether a driver has a power is checked with ``isinstance(driver, Links)`` and the like. Each wrapper instance
therefore gets a class that has exactly the powers it may pass on: those it forwards or adapts *and* that the
wrapped driver has. A power that a wrapper neither forwards, adapts nor withholds fails a test, so that nobody
adds one without considering where it could show the wrong bytes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
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
from dashboard.storage.inspection.places import KnowsPlace, Place
from dashboard.storage.inspection.powers import (
    ChecksSettings,
    FolderListing,
    KeepsUnfinished,
    ListsFolders,
)
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Written

CONNECTION_POWERS: frozenset[type] = frozenset(
    {Connects, LimitsConnections, OpensWithKey, Purges, IdentifiesCaller, SecuresConnections, ServesFolders}
)
"""Powers about how a container is reached, not about its content: every wrapper forwards them."""

CONTAINER_POWERS: frozenset[type] = CONNECTION_POWERS | {
    ChecksSettings,
    CreatesBuckets,
    KeepsMetadata,
    KeepsUnfinished,
    LooksBeforeCreating,
    RefusesWrites,
}
"""These, and the powers about the container itself: forwarded by every wrapper that writes to it."""


class Wrapper:
    """A driver that passes every call to another one. As thread-safe as the wrapped driver.

    Subclasses override what they change, and declare what happens to each optional power.
    """

    forwards: ClassVar[frozenset[type]] = frozenset()
    """Powers of the wrapped driver that are passed on unchanged."""
    adapts: ClassVar[Mapping[type, type]] = MappingProxyType({})
    """Powers that this wrapper implements itself if the wrapped driver has them: the class to mix in."""
    withholds: ClassVar[Mapping[type, str]] = MappingProxyType({})
    """Powers that it removes, and why."""
    common_powers: ClassVar[Mapping[type, type]] = MappingProxyType({})
    """Powers that every wrapper has in the same way, based on its other methods; set below."""
    transparent: ClassVar[bool] = False
    """Whether the wrapped driver stores the same bytes under the same keys."""

    keeps_place: ClassVar[bool] = False
    """Whether it shows and changes only objects of the wrapped driver, in their order under their keys."""

    reads_ranges_from_start: ClassVar[bool] = False
    """Whether a range takes reading everything before it."""

    authenticates: ClassVar[bool] = False
    """Whether its reads raise for every byte that differs from what was written."""

    def __new__(cls, inner: Driver, *args: Any, **more: Any) -> Self:
        """Create an instance of the subclass that has the remaining powers of the wrapped driver."""
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

    def hides_folder(self, folder: str) -> bool:
        """Whether listings of folders leave one out; its path ends in a slash."""
        return False

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
    """A driver whose ``list`` skips the folders that may not be read."""

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
    """``ListsReadable`` for any wrapper: its own ``list``, over what can be read below."""

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


class _OnePage(Wrapper):
    """A driver whose ``list`` returns the objects of a page that was already fetched."""

    forwards = frozenset({ReadsRanges})

    def __init__(self, inner: Driver, entries: tuple[Entry, ...]) -> None:
        super().__init__(inner)
        self._entries = entries

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        return iter(self._entries)


class _ListsFolders(Wrapper):
    """``ListsFolders`` for any wrapper: its own ``list``, over a page from below."""

    def list_folder(self, prefix: str, *, cursor: str = "", limit: int) -> FolderListing:
        """See ``ListsFolders``. Objects that the wrapper adds are on the first page, beyond ``limit``."""
        assert isinstance(self.inner, ListsFolders)
        page = self.inner.list_folder(prefix, cursor=cursor, limit=limit)
        added = {entry.key: entry for entry in self._over(()).list(prefix)}
        entries = [entry for entry in self._over(page.entries).list(prefix) if entry.key not in added]
        folders = dict.fromkeys(each for each in page.folders if not self.hides_folder(each))
        for entry in added.values():
            name, slash, _ = entry.key[len(prefix) :].partition("/")
            if not cursor and slash:
                folders[f"{prefix}{name}/"] = None
            elif not cursor:
                entries.append(entry)
            else:
                folders.pop(f"{prefix}{name}{slash}", None)
        return replace(page, entries=tuple(entries), folders=tuple(folders))

    def _over(self, entries: tuple[Entry, ...]) -> Self:
        """Return this wrapper over a page instead of over its driver."""
        twin: Self = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        twin.inner = _OnePage(self.inner, entries)
        return twin


Wrapper.common_powers = MappingProxyType({ListsFolders: _ListsFolders, ListsReadable: _ListsReadable})


def unwrap_transparent(driver: Driver) -> Driver:
    """Return the driver below all wrappers that do not change bytes and keys: what a server-side copy
    copies."""
    while isinstance(driver, Wrapper) and driver.transparent:
        driver = driver.inner
    return driver


def place_of(driver: Driver) -> Place | None:
    """Return where a driver's objects are; None if that is not certain, as below most wrappers."""
    while isinstance(driver, Wrapper):
        if not driver.keeps_place:
            return None
        driver = driver.inner
    return driver.place if isinstance(driver, KnowsPlace) else None


@cache
def _class_with_powers(kind: type[Wrapper], powers: frozenset[type]) -> type[Any]:
    """Return the subclass of a wrapper that has these powers."""
    if not powers:
        return kind
    ordered = sorted(powers, key=lambda power: power.__name__)
    parts = [
        kind.adapts.get(power) or kind.common_powers.get(power) or _forwarding(power) for power in ordered
    ]
    return type(kind.__name__, (*parts, kind), {"__doc__": kind.__doc__, "__module__": kind.__module__})


@cache
def _forwarding(power: type) -> type:
    """Return a class whose methods are the power's, each passing its call to the wrapped driver."""
    names = [name for name, member in vars(power).items() if not name.startswith("_") and callable(member)]
    methods = {name: _delegate(name, getattr(power, name).__doc__) for name in names}
    return type(f"Forwards{power.__name__}", (), methods)


def _delegate(name: str, promise: str | None) -> Callable[..., Any]:
    def call(self: Wrapper, *args: Any, **more: Any) -> Any:
        return getattr(self.inner, name)(*args, **more)

    call.__name__, call.__doc__ = name, promise
    return call
