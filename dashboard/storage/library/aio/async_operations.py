"""What application code does with one container, awaitable: the calls of ``Operations`` under their names."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import TypeVar

from dashboard.storage.driver import SMALL
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.powers import Finding
from dashboard.storage.library.aio.async_streams import AsyncRead, AsyncWrite, iterate
from dashboard.storage.library.aio.async_threads import Outcome, Stop, Threads, marked, outcome_of
from dashboard.storage.library.contents import Content, OpenRead, StoredBytes, chunks_of
from dashboard.storage.library.operations import Operations
from dashboard.storage.library.web_files import DownloadResponse
from dashboard.storage.object_powers import SignedUpload, Version
from dashboard.storage.paths import guess_content_type
from dashboard.storage.types import Attributes, Entry, ObjectInfo, Visibility, Written

T = TypeVar("T")
AsyncContent = Content | AsyncIterable[bytes] | AsyncIterable[str]
"""What can be stored: ``Content``, or an async iterable of bytes or texts."""


class AsyncOperations(ABC):
    """Each call promises and raises what the call of the same name of ``Operations`` does. Listings and
    streams are async iterators. The event loop never waits: the calls run in the threads of ``AsyncStorage``.

    A cancelled call that changes something says whether it did, see ``outcome_of``. A ``put`` that is
    cancelled before everything was handed over stores nothing.
    """

    threads: Threads

    @abstractmethod
    def operations(self) -> Operations:
        """The calls themselves. Called in a thread: it may load a driver."""

    # Objects

    async def put(
        self,
        key: str,
        content: AsyncContent,
        *,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> Written:
        """Store an object. Atomic. Async iterables are streamed too."""
        if isinstance(content, AsyncIterable):
            return await self._put_stream(key, content, attributes, create_only)
        stop = Stop()

        def store() -> Written:
            given: Content = content
            if isinstance(given, str):
                given = given.encode()
            if isinstance(given, bytes | bytearray | memoryview):
                given = bytes(given)
            if not isinstance(given, bytes):
                given = stop.through(chunks_of(given))
            elif len(given) > SMALL:
                view = memoryview(given)
                parts = (bytes(view[start : start + SMALL]) for start in range(0, len(view), SMALL))
                given = stop.through(parts)
            stop.check()
            return self.operations().put(key, given, attributes=attributes, create_only=create_only)

        return await self.threads.change(store, stop)

    async def _put_stream(
        self,
        key: str,
        content: AsyncIterable[bytes] | AsyncIterable[str],
        attributes: Attributes | None,
        create_only: bool,
    ) -> Written:
        held = attributes if attributes is not None else Attributes(content_type=guess_content_type(key))
        try:
            async with self.write_stream(key, attributes=held, create_only=create_only) as writing:
                async for chunk in content:
                    await writing.write(chunk)
                return await writing.commit()
        except asyncio.CancelledError as error:
            raise marked(error, outcome_of(error) or Outcome.NOT_DONE) from None

    async def get(self, key: str) -> StoredBytes:
        """Return the complete content, in memory."""
        return await self.threads.read(lambda: self.operations().get(key))

    async def get_text(self, key: str, encoding: str = "utf-8") -> str:
        """Return the complete content as text."""
        return await self.threads.read(lambda: self.operations().get_text(key, encoding))

    def read_stream(self, key: str, *, if_version: str | None = None) -> AsyncRead:
        """Open a read; use with ``async with``."""
        return AsyncRead(self.threads, lambda: self.operations().read_stream(key, if_version=if_version))

    async def read_range(self, key: str, start: int, length: int, *, if_version: str | None = None) -> bytes:
        """Return part of the content."""
        return await self.threads.read(
            lambda: self.operations().read_range(key, start, length, if_version=if_version)
        )

    def write_stream(
        self,
        key: str,
        *,
        size: int | None = None,
        attributes: Attributes | None = None,
        create_only: bool = False,
    ) -> AsyncWrite:
        """Open a write; use with ``async with``. Nothing is stored without ``commit()``."""
        return AsyncWrite(
            self.threads,
            lambda: self.operations().write_stream(
                key, size=size, attributes=attributes, create_only=create_only
            ),
        )

    async def exists(self, key: str) -> bool:
        """Whether the object exists."""
        return await self.threads.read(lambda: self.operations().exists(key))

    async def stat(self, key: str) -> ObjectInfo:
        """Return size, time, attributes and version."""
        return await self.threads.read(lambda: self.operations().stat(key))

    metadata = stat
    """The same call under the name that other frameworks use."""

    def list(self, prefix: str = "") -> AsyncIterator[Entry]:
        """Yield every object whose key starts with ``prefix``."""
        return iterate(self.threads, lambda: self.operations().list(prefix))

    async def delete(self, key: str) -> None:
        """Delete an object. Succeeds if it does not exist."""
        await self._change(lambda: self.operations().delete(key))

    async def delete_many(self, keys: Iterable[str]) -> Mapping[str, StorageError]:
        """Delete these objects; returns the keys that still exist, each with its error."""
        return await self._change(lambda: self.operations().delete_many(keys))

    async def copy(self, key: str, to: str) -> Written | None:
        """Copy within this backend."""
        return await self._change(lambda: self.operations().copy(key, to))

    async def copy_to(self, key: str, target: AsyncOperations | Operations, to: str = "") -> Written:
        """Copy to another backend."""

        def copy() -> Written:
            other = target.operations() if isinstance(target, AsyncOperations) else target
            return self.operations().copy_to(key, other, to)

        return await self._change(copy)

    async def move(self, key: str, to: str) -> None:
        """Copy, then delete. Not atomic."""
        await self._change(lambda: self.operations().move(key, to))

    async def put_upload(self, file: object, folder: str = "", *, content_type: str = "") -> str:
        """Store a file that a web framework has received, under a unique name; returns its key."""
        return await self._change(
            lambda: self.operations().put_upload(file, folder, content_type=content_type)
        )

    async def download_response(self, key: str, *, name: str = "") -> DownloadResponse:
        """Return an object as a download: an ASGI application. Raises ``NotFound`` now."""
        return await self.threads.open(
            lambda: self.operations().download_response(key, name=name), lambda response: response.close()
        )

    # Folders

    def files(self, directory: str = "", *, recursive: bool = False) -> AsyncIterator[Entry]:
        """Yield the objects directly in a directory, or all below it."""
        return iterate(self.threads, lambda: iter(self.operations().files(directory, recursive=recursive)))

    def directories(self, directory: str = "", *, recursive: bool = False) -> AsyncIterator[str]:
        """Yield the directories directly in a directory, or all below it."""
        return iterate(
            self.threads, lambda: iter(self.operations().directories(directory, recursive=recursive))
        )

    def find_files_older_than(
        self, cutoff: datetime | timedelta | float, prefix: str = ""
    ) -> AsyncIterator[Entry]:
        """Yield the objects that were last modified before ``cutoff``."""
        return iterate(self.threads, lambda: self.operations().find_files_older_than(cutoff, prefix))

    async def make_directory(self, directory: str) -> None:
        """Create a directory that exists without an object in it."""
        await self._change(lambda: self.operations().make_directory(directory))

    async def delete_directory(self, directory: str) -> int:
        """Delete a directory and everything below it; returns how many objects. Not atomic."""
        return await self._change(lambda: self.operations().delete_directory(directory))

    # Addresses

    async def url(self, key: str) -> str:
        """Return the object's permanent URL."""
        return await self.threads.read(lambda: self.operations().url(key))

    async def temporary_url(self, key: str, *, seconds: int = 3600, expires: int | None = None) -> str:
        """Return a URL that expires."""
        return await self.threads.read(
            lambda: self.operations().temporary_url(key, seconds=seconds, expires=expires)
        )

    async def upload_url(
        self, key: str, *, seconds: int = 3600, content_type: str = "", size: int | None = None
    ) -> SignedUpload:
        """Return a request with which anyone can write this one object."""
        return await self.threads.read(
            lambda: self.operations().upload_url(key, seconds=seconds, content_type=content_type, size=size)
        )

    async def visibility(self, key: str) -> Visibility:
        """Return whether everybody may read the object at its URL."""
        return await self.threads.read(lambda: self.operations().visibility(key))

    async def set_visibility(self, key: str, visibility: Visibility) -> None:
        """Make an object public or private."""
        await self._change(lambda: self.operations().set_visibility(key, visibility))

    # What only some containers support

    def versions(self, prefix: str = "") -> AsyncIterator[Version]:
        """Yield every version of every object under a prefix."""
        return iterate(self.threads, lambda: self.operations().versions(prefix))

    def read_version(self, key: str, version: str) -> AsyncRead:
        """Open an older version; use with ``async with``."""
        return AsyncRead(self.threads, lambda: OpenRead(self.operations().read_version(key, version)))

    async def restore_version(self, key: str, version: str) -> Written:
        """Make an older version the current one."""
        return await self._change(lambda: self.operations().restore_version(key, version))

    async def tags(self, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        return await self.threads.read(lambda: self.operations().tags(key))

    async def set_tags(self, key: str, tags: Mapping[str, str]) -> None:
        """Replace all tags of an object."""
        await self._change(lambda: self.operations().set_tags(key, tags))

    async def tier(self, key: str) -> str:
        """Return the object's tier."""
        return await self.threads.read(lambda: self.operations().tier(key))

    async def set_tier(self, key: str, tier: str) -> None:
        """Move an object to another tier."""
        await self._change(lambda: self.operations().set_tier(key, tier))

    async def findings(self, origin: str) -> tuple[Finding, ...]:
        """Return what should be known about the container's settings."""
        return await self.threads.read(lambda: self.operations().findings(origin))

    async def fix(self, name: str, origin: str) -> None:
        """Fix one of the findings."""
        await self._change(lambda: self.operations().fix(name, origin))

    async def _change(self, call: Callable[[], T]) -> T:
        return await self.threads.change(call)
