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
from dashboard.storage.wrappers.common.content_view import content_info, content_receipt, without_md5
from dashboard.storage.wrappers.common.streams import WrappedReading, WrappedWriting
from dashboard.storage.wrappers.compressed.format import END, HEADER_BYTES, Header, exactly, strip_end
from dashboard.storage.wrappers.compressed.zstd import Compressor, FrameError, decompress

TOKEN_PREFIX = "packed-"
"""Precedes every version token of stored bytes."""


class CompressedReading(WrappedReading):
    """An open read of an object that may be compressed."""

    def __init__(self, inner: Reading) -> None:
        self._chunks = inner.chunks()
        first = b""
        while len(first) < HEADER_BYTES and (chunk := next(self._chunks, None)) is not None:
            first += chunk
        self._header = Header.parse(first[:HEADER_BYTES])
        self._first = first[HEADER_BYTES:] if self._header else first
        stored = inner.info.size
        size = self._header.content_size(stored) if self._header else stored
        super().__init__(inner, content_info(inner.info, size, TOKEN_PREFIX))

    @property
    def stored(self) -> ObjectInfo:
        """The info of the stored object."""
        return self._inner.info

    @property
    def has_recorded_size(self) -> bool:
        """Whether the content's size is recorded, not computed from the stored size."""
        return self._header is None or self._header.size is not None

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading``. Raises ``Damaged`` if the content is not complete."""
        key = self.info.key
        if self._header is None:
            yield from self._uncompressed()
            return
        chunks = strip_end(self._stored())
        try:
            yield from (
                decompress(chunks, self.info.size)
                if self._header.compressed
                else exactly(chunks, self.info.size)
            )
        except (FrameError, ValueError) as error:
            raise Damaged(key, f"“{key}” is damaged: it cannot be decompressed.") from error

    def _uncompressed(self) -> Iterator[bytes]:
        """Yield an object of another program. It may also be ours with a damaged header: ours have an end
        mark."""
        last = b""
        for chunk in self._stored():
            last = (last + chunk)[-len(END) :]
            yield chunk
        if last == END:
            key = self.info.key
            raise Damaged(
                key, f"“{key}” is damaged: it ends like a compressed object but does not begin like one."
            )

    def _stored(self) -> Iterator[bytes]:
        if self._first:
            yield self._first
        yield from self._chunks


class CompressingWriting(WrappedWriting):
    """An open write of known size that is compressed while it is written. Used by one thread."""

    def __init__(self, inner: Writing, key: str, size: int) -> None:
        super().__init__(inner)
        without_md5(inner)
        self._key = key
        self._expected_size = size
        self._size = 0
        self._compressor = Compressor(size)
        self._header = Header(True, size).encode()
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        if self._size > self._expected_size:
            raise self._size_mismatch_error()
        self._md5.update(chunk)
        data = self._header + self._compressor.compress(chunk)
        self._header = b""
        if data:
            self._inner.write(data)

    def commit(self) -> Written:
        """See ``Writing``. Raises ``Damaged`` if the number of bytes is not the announced one."""
        if self._size != self._expected_size:
            raise self._size_mismatch_error()
        self._inner.write(self._header + self._compressor.finish() + END)
        return content_receipt(self._inner.commit(), self._size, self._md5.hexdigest(), TOKEN_PREFIX)

    def _size_mismatch_error(self) -> Damaged:
        return Damaged(
            self._key,
            f"“{self._key}” does not have the announced {self._expected_size:,} bytes.",
            operation="write",
        )


class BufferingWriting:
    """An open write of unknown size: compressed if it is small, otherwise stored uncompressed, because the
    header of a compressed object contains the size. Used by one thread."""

    def __init__(self, put: Callable[[bytes], Written], open_write: Callable[[], Writing]) -> None:
        self._put = put
        self._open_write = open_write
        self._buffer: bytearray | None = bytearray()
        self._inner: Writing | None = None
        self._open = ExitStack()
        self._size = 0
        self._md5 = hashlib.md5(usedforsecurity=False)

    def write(self, chunk: bytes) -> None:
        """See ``Writing``."""
        self._size += len(chunk)
        if self._inner is None:
            assert self._buffer is not None
            self._buffer += chunk
            if len(self._buffer) > SMALL:
                self._md5.update(self._buffer)
                self._inner = self._open.enter_context(self._open_write())
                without_md5(self._inner)
                self._inner.write(Header(False, None).encode() + bytes(self._buffer))
                self._buffer = None
            return
        self._md5.update(chunk)
        self._inner.write(chunk)

    def commit(self) -> Written:
        """See ``Writing``."""
        if self._inner is None:
            assert self._buffer is not None
            return self._put(bytes(self._buffer))
        self._inner.write(END)
        return content_receipt(self._inner.commit(), self._size, self._md5.hexdigest(), TOKEN_PREFIX)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._buffer = None if self._inner is not None else bytearray()
        self._open.__exit__(kind, error, trace)
