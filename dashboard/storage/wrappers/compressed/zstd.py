"""Zstandard frames, in chunks; the only file that knows the library.

Level 3 of the reference implementation, with a checksum of the content (RFC 8878, 3.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

_LEVEL = 3
_MAX_WINDOW_BYTES = 8 * 1024 * 1024
"""No frame of ours needs more memory to be opened; one that asks for more is not ours."""
_CHUNK_BYTES = 1024 * 1024


class FrameError(Exception):
    """The bytes are no whole frame of the promised size."""


def compress(data: bytes) -> bytes:
    """One frame."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


class Compressor:
    """A frame made chunk by chunk. Used by one thread."""

    def __init__(self, size: int) -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._frame = compressor.compressobj(size=size)

    def compress(self, data: bytes) -> bytes:
        """What the next bytes of content add to the frame; often nothing yet.

        Raises ``FrameError`` when that is more content than was promised."""
        try:
            return self._frame.compress(data)
        except zstandard.ZstdError as error:
            raise FrameError from error

    def finish(self) -> bytes:
        """The end of the frame. Raises ``FrameError`` when less content came than was promised."""
        try:
            return self._frame.flush()
        except zstandard.ZstdError as error:
            raise FrameError from error


def decompress(chunks: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The content of one frame, in chunks of at most 1 MiB whatever the frame says.

    Raises ``FrameError`` where it is no frame or has not exactly ``size`` bytes of content. A frame that ends
    in the middle of its checksum passes: who cares marks the end.
    """
    source = _Source(chunks)
    opener = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
    reader = opener.stream_reader(source)  # type: ignore[arg-type]  # all it calls is read()
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
    """Pieces as the file the library wants to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._buffer = b""

    def read(self, size: int = -1) -> bytes:
        while not self._buffer:
            chunk = next(self._chunks, None)
            if chunk is None:
                return b""
            self._buffer = chunk
        found, self._buffer = self._buffer[:size], self._buffer[size:]
        return found
