"""An object as a file: seekable for reading, or written in any number of calls."""

from __future__ import annotations

import io
import tempfile
from types import TracebackType
from typing import IO, BinaryIO, cast

from dashboard.storage.driver import SMALL, ReadsRanges, Writing
from dashboard.storage.library.operations import Operations
from dashboard.storage.types import ObjectInfo

BLOCK = 1024 * 1024
"""Minimum number of bytes per request."""


def open_file(backend: Operations, key: str) -> BinaryIO:
    """Return a seekable binary file. All reads are from the version that was opened; raises ``Changed`` if it
    was replaced. If a driver reads only complete objects, the object is downloaded first. Raises
    ``NotFound``."""
    if isinstance(backend.driver, ReadsRanges):
        info = backend.stat(key)
        return cast(BinaryIO, io.BufferedReader(_RangeReader(backend, info), BLOCK))
    whole: IO[bytes] = tempfile.SpooledTemporaryFile(SMALL)  # noqa: SIM115 - the caller closes it
    try:
        with backend.read_stream(key) as reading:
            for chunk in reading.chunks():
                whole.write(chunk)
        whole.seek(0)
    except BaseException:
        whole.close()
        raise
    return cast(BinaryIO, whole)


class _RangeReader(io.RawIOBase):
    """Reads ranges of one version. Used by one thread."""

    def __init__(self, backend: Operations, info: ObjectInfo) -> None:
        self._backend = backend
        self._info = info
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._info.size}[whence]
        if base + offset < 0:
            raise ValueError("before the beginning of the file")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # the buffers io hands in
        part = self._backend.read_range(
            self._info.key, self._position, len(buffer), if_version=self._info.version
        )
        buffer[: len(part)] = part
        self._position += len(part)
        return len(part)


class ObjectWriter(io.IOBase):
    """An object being written like a file. :meth:`close` stores it atomically. An exception inside ``with``
    discards what was written, and so does a writer that is never closed. Text is stored as UTF-8. Used by one
    thread."""

    def __init__(self, writing: Writing, *, text: bool) -> None:
        self._writing = writing.__enter__()
        self._text = text
        self._waiting = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: str | bytes | bytearray | memoryview) -> int:
        """Write the next bytes, or characters of a text file. Raises ``TypeError`` for the other type."""
        self._check_open()
        if isinstance(data, str) is not self._text:
            raise TypeError(
                f"This file takes {'text' if self._text else 'bytes'}, not {type(data).__name__}."
            )
        self._waiting += data.encode() if isinstance(data, str) else data
        if len(self._waiting) >= BLOCK:
            self._hand_over()
        return len(data)

    def close(self) -> None:
        """Store the object. Idempotent. Raises ``StorageError``; nothing is stored then."""
        if self.closed:
            return
        try:
            self._hand_over()
            self._writing.commit()
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Discard what is not stored yet. Idempotent."""
        if not self.closed:
            super().close()
            self._writing.__exit__(None, None, None)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()

    def __del__(self) -> None:
        self.abandon()

    def _hand_over(self) -> None:
        waiting, self._waiting = bytes(self._waiting), bytearray()
        if waiting:
            self._writing.write(waiting)

    def _check_open(self) -> None:
        if self.closed:
            raise ValueError("The file is closed.")
