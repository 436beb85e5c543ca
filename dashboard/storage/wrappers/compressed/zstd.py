"""Zstandard frames in chunks. The only file that imports the library.

Level 3 of the reference implementation, with a checksum of the content (RFC 8878, 3.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

_LEVEL = 3
_MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""None of our frames needs a larger window; one that does is not ours."""
_CHUNK_BYTES = 1024 * 1024


class FrameError(Exception):
    """The bytes are not a complete frame of the expected size."""


def compress(data: bytes) -> bytes:
    """Compress into one frame."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


class Compressor:
    """Compresses a frame chunk by chunk. Used by one thread."""

    def __init__(self, size: int) -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._frame = compressor.compressobj(size=size)

    def compress(self, data: bytes) -> bytes:
        """Return what the next bytes add to the frame, which is often nothing yet.

        Raises ``FrameError`` if the content is longer than announced."""
        try:
            return self._frame.compress(data)
        except zstandard.ZstdError as error:
            raise FrameError from error

    def finish(self) -> bytes:
        """Return the end of the frame. Raises ``FrameError`` if the content is shorter than announced."""
        try:
            return self._frame.flush()
        except zstandard.ZstdError as error:
            raise FrameError from error


def decompress(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """Yield the content of one frame in chunks of at most 1 MiB.

    Raises ``FrameError`` if this is not a frame with exactly ``size`` bytes of content. Accepts a frame that
    is cut off within its checksum: our format has an end mark for that.
    """
    source = _Source(chunks)
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    reader = decompressor.stream_reader(source)  # type: ignore[arg-type]  # all it calls is read()
    done = 0
    while True:
        try:
            chunk = reader.read(_CHUNK_BYTES)
        except zstandard.ZstdError as error:
            raise FrameError from error
        if not chunk:
            break
        done += len(chunk)
        if done > size:
            raise FrameError
        yield chunk
    if done != size or source.read(1):
        raise FrameError


class _Source:
    """Presents chunks as the file object that the library needs."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def read(self, size: int = -1) -> bytes:
        while not self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._buffer = chunk
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data
