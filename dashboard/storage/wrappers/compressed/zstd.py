"""Zstandard frames, in pieces; the only file that knows the library.

Level 3 of the reference implementation, with a checksum of the content (RFC 8878, 3.1.1).
"""

from __future__ import annotations

from collections.abc import Iterator

import zstandard

_LEVEL = 3
_WINDOW = 8 * 1024 * 1024
"""No frame of ours needs more memory to be opened; one that asks for more is not ours."""
_PIECE = 1024 * 1024


class BadFrame(Exception):
    """The bytes are no whole frame of the promised size."""


def pack(data: bytes) -> bytes:
    """One frame."""
    return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(data)


class Packing:
    """A frame made piece by piece. Used by one thread."""

    def __init__(self, size: int) -> None:
        compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
        self._frame = compressor.compressobj(size=size)

    def take(self, data: bytes) -> bytes:
        """What the next bytes of content add to the frame; often nothing yet.

        Raises ``BadFrame`` when that is more content than was promised."""
        try:
            return self._frame.compress(data)
        except zstandard.ZstdError as error:
            raise BadFrame from error

    def end(self) -> bytes:
        """The end of the frame. Raises ``BadFrame`` when less content came than was promised."""
        try:
            return self._frame.flush()
        except zstandard.ZstdError as error:
            raise BadFrame from error


def unpack(pieces: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The content of one frame, in pieces of at most 1 MiB whatever the frame says.

    Raises ``BadFrame`` where it is no frame or has not exactly ``size`` bytes of content. A frame that ends
    in the middle of its checksum passes: who cares marks the end.
    """
    source = _Source(pieces)
    opener = zstandard.ZstdDecompressor(max_window_size=_WINDOW)
    reader = opener.stream_reader(source)  # type: ignore[arg-type]  # all it calls is read()
    done = 0
    while True:
        try:
            piece = reader.read(_PIECE)
        except zstandard.ZstdError as error:
            raise BadFrame from error
        if not piece:
            break
        done += len(piece)
        if done > size:
            raise BadFrame
        yield piece
    if done != size or source.read(1):
        raise BadFrame


class _Source:
    """Pieces as the file the library wants to read from."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._held = piece
        found, self._held = self._held[:size], self._held[size:]
        return found
