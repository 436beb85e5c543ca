"""``AsyncStorage``: every backend of a program with an event loop, such as an ASGI application."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from dashboard.storage.library.aio.async_operations import AsyncOperations
from dashboard.storage.library.aio.async_threads import THREADS, Threads
from dashboard.storage.library.configuring import Value
from dashboard.storage.library.fakes import FakeBackend
from dashboard.storage.library.manager import Storage
from dashboard.storage.library.operations import Operations
from dashboard.storage.types import EMPTY


class AsyncBackend(AsyncOperations):
    """One backend by name; see ``AsyncOperations`` for its calls."""

    def __init__(self, storage: Storage, name: str, threads: Threads) -> None:
        self.name = name
        self.threads = threads
        self._storage = storage

    def operations(self) -> Operations:
        """See ``AsyncOperations``."""
        return self._storage.backend(self.name)


class AsyncStorage(AsyncOperations):
    """A ``Storage`` whose calls are awaited.

    ::

        async with AsyncStorage() as storage:
            storage.configure("media", "local", root="/srv/media")
            await storage.put("hello.txt", "Hello")
            async for entry in storage.list():
                ...

    ``storage``: an existing one, such as that of a running console; closed together with this. ``threads``:
    how many calls run at once; more wait. An open stream occupies none between two of its calls. May be used
    from several event loops.
    """

    def __init__(self, storage: Storage | None = None, *, threads: int = THREADS) -> None:
        self.storage = storage if storage is not None else Storage()
        """The same backends, for calls that are not awaited."""
        self.threads = Threads(threads)
        self._closed = False

    @classmethod
    def from_mapping(
        cls, tree: Mapping[str, object], *, environ: Mapping[str, str] = EMPTY, threads: int = THREADS
    ) -> Self:
        """See ``Storage.from_mapping``."""
        return cls(Storage.from_mapping(tree, environ=environ), threads=threads)

    @classmethod
    def from_toml(
        cls, path: str | Path, *, environ: Mapping[str, str] = EMPTY, threads: int = THREADS
    ) -> Self:
        """See ``Storage.from_toml``. Reads the file at once."""
        return cls(Storage.from_toml(path, environ=environ), threads=threads)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], *, name: str = "media", threads: int = THREADS
    ) -> Self:
        """See ``Storage.from_environment``."""
        return cls(Storage.from_environment(environ, name=name), threads=threads)

    def configure(self, name: str, driver: str, /, **options: Value | None) -> AsyncBackend:
        """Add a backend, or replace the one of this name; see ``Storage.configure``. No network call."""
        self.storage.configure(name, driver, **options)
        return self.backend(name)

    def backend(self, name: str = "") -> AsyncBackend:
        """Return the backend of this name, or the default one. An unknown name raises when it is used."""
        return AsyncBackend(self.storage, name, self.threads)

    disk = backend
    """The same call under the name that other frameworks use."""

    def names(self) -> tuple[str, ...]:
        """Return the configured backends."""
        return self.storage.names()

    def fake(self, name: str = "") -> FakeBackend:
        """Replace a backend with one in memory that has assertions for tests; see ``Storage.fake``."""
        return self.storage.fake(name)

    def operations(self) -> Operations:
        """See ``AsyncOperations``."""
        return self.storage

    async def close(self) -> None:
        """Close every backend. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            await self.threads.finish(self.storage.close)
        finally:
            self.threads.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
