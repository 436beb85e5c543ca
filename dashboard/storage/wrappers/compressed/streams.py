"""Open reads and writes of objects that may be compressed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from dashboard.storage.driver import SMALL, Reading, Writing
from dashboard.storage.errors import Damaged
from dashboard.storage.types import ObjectInfo, Written
from dashboard.storage.wrappers.common.recoding import info_of_content, receipt_of_content, without_md5
from dashboard.storage.wrappers.common.streams import WrappedReading, WrappedWriting
from dashboard.storage.wrappers.compressed.format import END, HEAD, Head, whole, without_end
from dashboard.storage.wrappers.compressed.zstd import BadFrame, Packing, unpack

MARK = "packed-"
"""Stands before every token of stored bytes."""


class CompressedReading(WrappedReading):
    """An open read of an object that may be compressed."""

    def __init__(self, inner: Reading) -> None:
        self._pieces = inner.chunks()
        first = b""
        while len(first) < HEAD and (piece := next(self._pieces, None)) is not None:
            first += piece
        self._head = Head.parse(first[:HEAD])
        self._first = first[HEAD:] if self._head else first
        stored = inner.info.size
        size = self._head.content_size(stored) if self._head else stored
        super().__init__(inner, info_of_content(inner.info, size, MARK))

    @property
    def stored(self) -> ObjectInfo:
        """What is stored, as the backend describes it."""
        return self._inner.info

    @property
    def size_is_told(self) -> bool:
        """Whether the content's size is its own and not worked out from what is stored as its end."""
        return self._head is None or self._head.size is not None

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``. Raises ``Damaged`` where it is not the whole content."""
        key = self.info.key
        if self._head is None:
            yield from self._foreign()
            return
        pieces = without_end(self._stored())
        try:
            yield from unpack(pieces, self.info.size) if self._head.packed else whole(pieces, self.info.size)
        except (BadFrame, ValueError) as error:
            raise Damaged(key, f"“{key}” is damaged: it cannot be unpacked as it was packed.") from error

    def _foreign(self) -> Iterator[bytes]:
        """Of another program, or of ours with a damaged head: those end as ours do."""
        last = b""
        for piece in self._stored():
            last = (last + piece)[-len(END) :]
            yield piece
        if last == END:
            key = self.info.key
            raise Damaged(key, f"“{key}” is damaged: it ends as a compressed object and begins otherwise.")

    def _stored(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from self._pieces


class PackingWriting(WrappedWriting):
    """An open write of known size, compressed as it comes. Used by one thread."""

    def __init__(self, inner: Writing, key: str, size: int) -> None:
        super().__init__(inner)
        without_md5(inner)
        self._key = key
        self._promised = size
        self._size = 0
        self._packing = Packing(size)
        self._head = Head(True, size).encode()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        if self._size > self._promised:
            raise self._broken_promise()
        self._md5.update(chunk)
        packed = self._head + self._packing.take(chunk)
        self._head = b""
        if packed:
            self._inner.write(packed)

    def commit(self) -> Written:
        """See ``Writing``. Raises ``Damaged`` after another number of bytes than was told."""
        if self._size != self._promised:
            raise self._broken_promise()
        self._inner.write(self._head + self._packing.end() + END)
        return receipt_of_content(self._inner.commit(), self._size, self._md5.hexdigest(), MARK)

    def _broken_promise(self) -> Damaged:
        return Damaged(
            self._key,
            f"“{self._key}” was to have {self._promised:,} bytes and has another number.",
            operation="write",
        )


class AwaitingWriting:
    """An open write of unknown size: compressed if it turns out small, else stored as it is, because the
    size of the content has to stand before it. Used by one thread."""

    def __init__(self, put: Callable[[bytes], Written], begin: Callable[[], Writing]) -> None:
        self._put = put
        self._begin = begin
        self._held: bytearray | None = bytearray()
        self._inner: Writing | None = None
        self._open = ExitStack()
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        if self._inner is None:
            assert self._held is not None
            self._held += chunk
            if len(self._held) > SMALL:
                self._md5.update(self._held)
                self._inner = self._open.enter_context(self._begin())
                without_md5(self._inner)
                self._inner.write(Head(False, None).encode() + bytes(self._held))
                self._held = None
            return
        self._md5.update(chunk)
        self._inner.write(chunk)

    def commit(self) -> Written:
        """See ``Writing``."""
        if self._inner is None:
            assert self._held is not None
            return self._put(bytes(self._held))
        self._inner.write(END)
        return receipt_of_content(self._inner.commit(), self._size, self._md5.hexdigest(), MARK)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._held = None if self._inner is not None else bytearray()
        self._open.__exit__(kind, error, trace)
