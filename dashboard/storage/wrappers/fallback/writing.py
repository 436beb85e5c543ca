"""A streamed write to home that is buffered in case a stand-in has to store it."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import BinaryIO, Protocol, Self, TypeVar, cast

from dashboard.storage.driver import SMALL, Driver, Writing
from dashboard.storage.errors import StorageError
from dashboard.storage.types import Attributes, Written
from dashboard.storage.wrappers.fallback.fallback_base import RecentWrites, ReplaceAtHome
from dashboard.storage.wrappers.fallback.long_writes import LongWrites
from dashboard.storage.wrappers.fallback.waiting_writes import EarlierWritePending, is_unavailable

T = TypeVar("T")

MAX_BUFFERED_BYTES = 1024**3
"""The most that is buffered of a streamed write; beyond 8 MiB in an unlinked temporary file."""
_CHUNK_BYTES = 1024 * 1024


class StoresOnStandIns(Protocol):
    """What a write needs from the fallback."""

    inner: Driver
    recent: RecentWrites
    long_writes: LongWrites

    def replacing(self, key: str) -> ReplaceAtHome:
        """See ``FallbackBase``."""
        ...

    def store_on_stand_in(
        self,
        key: str,
        send: Callable[[Driver, str], Written],
        md5_and_size: tuple[str, int],
        attributes: Attributes | None,
        cause: StorageError,
        *,
        create_only: bool,
    ) -> Written:
        """See ``Fallback``."""
        ...


class FallbackWriting:
    """See above. Used by one thread."""

    def __init__(
        self,
        fallback: StoresOnStandIns,
        key: str,
        attributes: Attributes | None,
        size: int | None,
        *,
        create_only: bool = False,
    ) -> None:
        self._fallback = fallback
        self._key = key
        self._attributes = attributes
        self._create_only = create_only
        self._open = ExitStack()
        self._buffer: BinaryIO | None = cast(
            BinaryIO,
            self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=SMALL)),  # noqa: SIM115
        )
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._cause: StorageError | None = None
        self._home: Writing | None = None
        try:
            self._call_home(
                lambda: fallback.inner.write(key, size=size, attributes=attributes, create_only=create_only),
                self._set_home,
            )
        except BaseException:
            self._open.close()
            raise

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        self._md5.update(chunk)
        if self._buffer is not None:
            if self._size > MAX_BUFFERED_BYTES:
                self._discard_buffer()
            else:
                self._buffer.write(chunk)
        if self._home is not None:
            home = self._home
            self._call_home(lambda: home.write(chunk))
        elif self._buffer is None and self._cause is not None:
            raise self._cause

    def commit(self) -> Written:
        """See ``Writing``. Returns once the object is at home, or is stored on a stand-in and recorded."""
        with self._fallback.long_writes.watch(self._key, lambda: (self._md5.hexdigest(), self._size)):
            return self._commit()

    def _commit(self) -> Written:
        if self._home is not None:
            home, recent = self._home, self._fallback.recent
            done: list[Written] = []
            try:
                with self._fallback.replacing(self._key) as succeeded:
                    self._call_home(lambda: done.append(home.commit()))
                    if done:
                        succeeded()
            except EarlierWritePending as error:
                self._cause = error
            if done:
                recent.note(self._key, self._md5.hexdigest(), self._size)
                return done[0]
            # Before the commit home could not have made the object visible.
            recent.note(self._key, self._md5.hexdigest(), self._size, self._cause)
        assert self._cause is not None
        if self._buffer is None:
            raise self._cause
        buffer = self._buffer

        def send(driver: Driver, stored_key: str) -> Written:
            buffer.seek(0)
            with driver.write(stored_key, size=self._size, attributes=self._attributes) as writing:
                while chunk := buffer.read(_CHUNK_BYTES):
                    writing.write(chunk)
                return writing.commit()

        return self._fallback.store_on_stand_in(
            self._key,
            send,
            (self._md5.hexdigest(), self._size),
            self._attributes,
            self._cause,
            create_only=self._create_only,
        )

    def _set_home(self, writing: Writing) -> None:
        self._home = self._open.enter_context(writing)

    def _call_home(self, call: Callable[[], T], accept: Callable[[T], object] = lambda result: None) -> None:
        """Call home. Once it is unavailable, this write does not call it again."""
        try:
            accept(call())
        except StorageError as error:
            if not is_unavailable(error) or self._buffer is None:
                raise
            self._cause, self._home = error, None

    def _discard_buffer(self) -> None:
        if self._buffer is not None:
            self._buffer.close()
            self._buffer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(StorageError):
            self._open.__exit__(kind, error, trace)
