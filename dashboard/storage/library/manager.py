"""Backends by name, for application code. Does not know where their settings are stored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Self, overload

from dashboard.errors import InvalidInput
from dashboard.storage.driver import Driver
from dashboard.storage.library.backend import Backend, LazyBackend, LiveBackend
from dashboard.storage.library.class_level import answer_at_class_level
from dashboard.storage.library.configuring import BackendConfig, Value, describe_any, parse_mapping, toml
from dashboard.storage.library.fakes import FakeBackend
from dashboard.storage.library.operations import Operations
from dashboard.storage.types import EMPTY

Resolve = Callable[[str], Driver]


@answer_at_class_level
class Storage(Operations):
    """Every backend of a program, built when it is first requested and kept. Thread-safe.

    ::

        storage = Storage()
        storage.configure("media", "local", root="/srv/media")
        storage.put("hello.txt", "Hello")
        storage.backend("media").get("hello.txt")

    The same calls on the class itself, such as ``Storage.put(...)``, use one ``Storage`` for the process.

    What :class:`Backend` does, a ``Storage`` does with its default backend: the one named ``default``, or
    the first that was configured. ``resolve`` turns other names into drivers and raises ``StowageError``
    for those it does not know. With ``keep`` off it is called before every call and owns the drivers: for
    settings that change while the program runs; ``names`` tells those it knows. ``on_close`` is called
    once, by :meth:`close`.
    """

    def __init__(
        self,
        resolve: Resolve | None = None,
        *,
        default: str | Callable[[], str] = "",
        keep: bool = True,
        names: Callable[[], Iterable[str]] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self._resolve = resolve or _unknown
        self._default = default
        self._keep = keep
        self._names = names or tuple
        self._on_close = on_close
        self._lock = RLock()
        self._backends: dict[str, Backend] = {}
        self._described: dict[str, BackendConfig] = {}
        self._identity = os.urandom(16).hex()
        self._fakes: dict[str, list[FakeBackend]] = {}

    @classmethod
    def from_mapping(cls, tree: Mapping[str, object], *, environ: Mapping[str, str] = EMPTY) -> Self:
        """Create from ``{"default": ..., "backends": {name: {"driver": ..., option: value}}}``. ``{"env":
        NAME}`` is looked up in ``environ``. Every backend is checked immediately. Raises ``InvalidInput``."""
        default, backends = parse_mapping(tree, environ)
        storage = cls(default=default)
        for name, described in backends.items():
            described.check()
            storage._described[name] = described
        return storage

    @classmethod
    def from_toml(cls, path: str | Path, *, environ: Mapping[str, str] = EMPTY) -> Self:
        """Create from a TOML file of the same form. Raises ``InvalidInput``."""
        return cls.from_mapping(toml(path), environ=environ)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, name: str = "media") -> Self:
        """Create one backend, called ``name``, from the variables that other programs use, such as ``AWS_*``
        or ``MEDIA_ROOT``; docs/library.md lists them. Pass the process's own environment. Raises
        ``InvalidInput`` naming the variable."""
        from dashboard.storage.library.environment import naming_variables, parse_environment

        found = parse_environment(environ)
        storage = cls(default=name)
        with naming_variables(found.used):
            found.described.check()
        storage._described[name] = found.described
        return storage

    @overload
    def configure(self, tree: Mapping[str, object], /) -> Backend: ...
    @overload
    def configure(self, name: str, driver: str, /, **options: Value | None) -> Backend: ...
    def configure(
        self, name: str | Mapping[str, object], driver: str = "", /, **options: Value | None
    ) -> Backend:
        """Add a backend, or replace the one of this name. ``driver`` is a driver or a preset; the options are
        its own, including secrets, or the names that other storage layers use for them. With a mapping
        instead, see :meth:`from_mapping`, all of its backends are added, and its default becomes the default;
        returns that one. Raises ``InvalidInput`` naming the option, and then changes nothing. Loads no driver
        and makes no network call; the first use does."""
        if not isinstance(name, str):
            return self._configure_all(name)
        described = describe_any(driver, options)
        described.check()
        return self._add(name, described)

    configure_disk = configure
    """The same call under the name that other frameworks use."""

    def _configure_all(self, tree: Mapping[str, object]) -> Backend:
        default, backends = parse_mapping(tree, EMPTY)
        for described in backends.values():
            described.check()
        with self._lock:
            self._default = default
            for each, described in backends.items():
                self._add(each, described)
        return self.backend(default)

    def _add(self, name: str, described: BackendConfig) -> Backend:
        with self._lock:
            before = self._backends.get(name)
            self._described[name] = described
            self._backends[name] = made = self._lazy(name, described)
            if not self._default:
                self._default = name
        if before is not None:
            before.close()
        return made

    def backend(self, name: str = "") -> Backend:
        """Return the backend of this name, or the default one; the same object every time."""
        with self._lock:
            name = name or self._default_name()
            if fakes := self._fakes_of(name):
                return fakes[-1]
            found = self._backends.get(name)
            if found is None:
                found = self._backends[name] = self._open(name)
            return found

    def names(self) -> tuple[str, ...]:
        """Return the configured backends, and those that ``resolve`` knows."""
        with self._lock:
            return tuple(dict.fromkeys((*self._described, *self._names())))

    disk = backend
    """The same call under the name that other frameworks use."""

    @property
    def driver(self) -> Driver:
        """The driver of the default backend."""
        return self.backend().driver

    def fake(self, name: str = "") -> FakeBackend:
        """Replace the backend of this name with an empty one in memory that has assertions for tests, until
        its ``restore()``, the end of a ``with`` block around it, or :meth:`close`. The real one is neither
        built nor used, not even by a ``Backend`` that was requested before."""
        with self._lock:
            name = name or self._default_name()
            fake = FakeBackend(name, self._remove_fake)
            self._fakes_of(name).append(fake)
        return fake

    def _remove_fake(self, fake: FakeBackend) -> None:
        with self._lock:
            fakes = self._fakes_of(fake.name)
            # By identity: the order in which tests end is theirs.
            fakes[:] = [each for each in fakes if each is not fake]

    def _fakes_of(self, name: str) -> list[FakeBackend]:
        """Return the same list every time, because backends that were handed out use it."""
        return self._fakes.setdefault(name, [])

    def forget(self, name: str) -> None:
        """Close the backend, and build it again when it is next requested, because its settings changed."""
        with self._lock:
            found = self._backends.pop(name, None)
        if found is not None:
            found.close()

    def close(self) -> None:
        """Close every backend. Idempotent."""
        with self._lock:
            backends, self._backends = list(self._backends.values()), {}
            for fakes in self._fakes.values():
                fakes.clear()
            on_close, self._on_close = self._on_close, None
        for each in backends:
            each.close()
        if on_close is not None:
            on_close()

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """Return what distinguishes these backends, for programs that name their results after their input
        (https://docs.dask.org/en/stable/custom-collections.html#implementing-deterministic-hashing). The same
        in every process in which all backends were configured with the same options. No secret."""
        with self._lock:
            described = dict(self._described)
        if self._resolve is not _unknown or any(each.driver.in_process for each in described.values()):
            return ("stowage", self._identity)
        plain = [(name, each.kind, *sorted(each.options.items())) for name, each in sorted(described.items())]
        return ("stowage", self._default if isinstance(self._default, str) else "", *plain)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self, name: str) -> Backend:
        if name in self._described:
            return self._lazy(name, self._described[name])
        fakes = self._fakes_of(name)
        if self._keep:
            return Backend(name, self._resolve(name), fakes=fakes)
        # Resolved once here, so that an unknown name raises immediately.
        self._resolve(name)
        return LiveBackend(name, self._resolve, fakes=fakes)

    def _lazy(self, name: str, described: BackendConfig) -> LazyBackend:
        return LazyBackend(name, described.build, fakes=self._fakes_of(name))

    def _default_name(self) -> str:
        name = self._default() if callable(self._default) else self._default
        if not name:
            raise InvalidInput(
                "backend", "No backend is the default one.", remedy="Name one, or configure one first."
            )
        return name


def _unknown(name: str) -> Driver:
    raise InvalidInput("backend", f"There is no backend “{name}”.", remedy="Configure it first.")
