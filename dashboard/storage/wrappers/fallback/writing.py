"""A streamed write to home that is held until it is committed there, or waits elsewhere."""

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

LARGEST = 1024**3
"""Bytes of a streamed write that are held, beyond 8 MiB in a file without a name, in case home goes away."""
_PIECE = 1024 * 1024


class StandsIn(Protocol):
    """What a write needs of the fallback."""

    inner: Driver
    recent: RecentWrites
    long_writes: LongWrites

    def replacing(self, key: str) -> ReplaceAtHome:
        """Around what replaces the object at home."""
        ...

    def store_on_stand_in(
        self,
        key: str,
        send: Callable[[Driver, str], Written],
        found: tuple[str, int],
        attributes: Attributes | None,
        trouble: StorageError,
        *,
        create_only: bool,
    ) -> Written:
        """Have another backend keep it."""
        ...


class FallbackWriting:
    """See above. Used by one thread."""

    def __init__(
        self,
        fallback: StandsIn,
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
        self._held: BinaryIO | None = cast(
            BinaryIO,
            self._open.enter_context(tempfile.SpooledTemporaryFile(max_size=SMALL)),  # noqa: SIM115
        )
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._trouble: StorageError | None = None
        self._home: Writing | None = None
        try:
            self._ask(
                lambda: fallback.inner.write(key, size=size, attributes=attributes, create_only=create_only),
                self._begun,
            )
        except BaseException:
            self._open.close()
            raise

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        self._md5.update(chunk)
        if self._held is not None:
            if self._size > LARGEST:
                self._drop_held()
            else:
                self._held.write(chunk)
        if self._home is not None:
            home = self._home
            self._ask(lambda: home.write(chunk))
        elif self._held is None and self._trouble is not None:
            raise self._trouble

    def commit(self) -> Written:
        """See ``Writing``. Returns when the object is at home, or waits elsewhere and is noted."""
        with self._fallback.long_writes.watch(self._key, lambda: (self._md5.hexdigest(), self._size)):
            return self._commit()

    def _commit(self) -> Written:
        if self._home is not None:
            home, recent = self._home, self._fallback.recent
            done: list[Written] = []
            try:
                with self._fallback.replacing(self._key) as succeeded:
                    self._ask(lambda: done.append(home.commit()))
                    if done:
                        succeeded()
            except EarlierWritePending as error:
                self._trouble = error
            if done:
                recent.note(self._key, self._md5.hexdigest(), self._size)
                return done[0]
            # Before the commit home had not everything that it could have made visible.
            recent.note(self._key, self._md5.hexdigest(), self._size, self._trouble)
        assert self._trouble is not None
        if self._held is None:
            raise self._trouble
        held = self._held

        def send(driver: Driver, stored_key: str) -> Written:
            held.seek(0)
            with driver.write(stored_key, size=self._size, attributes=self._attributes) as writing:
                while piece := held.read(_PIECE):
                    writing.write(piece)
                return writing.commit()

        return self._fallback.store_on_stand_in(
            self._key,
            send,
            (self._md5.hexdigest(), self._size),
            self._attributes,
            self._trouble,
            create_only=self._create_only,
        )

    def _begun(self, writing: Writing) -> None:
        self._home = self._open.enter_context(writing)

    def _ask(self, call: Callable[[], T], take: Callable[[T], object] = lambda found: None) -> None:
        """Do something at home; once it is away, it is not asked again in this write."""
        try:
            take(call())
        except StorageError as error:
            if not is_unavailable(error) or self._held is None:
                raise
            self._trouble, self._home = error, None

    def _drop_held(self) -> None:
        if self._held is not None:
            self._held.close()
            self._held = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(StorageError):
            self._open.__exit__(kind, error, trace)
