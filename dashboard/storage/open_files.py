"""An object as a file that a program reads from wherever it likes."""

from __future__ import annotations

import io
import tempfile
from typing import IO, BinaryIO, cast

from dashboard.storage.driver import SMALL, ReadsRanges
from dashboard.storage.operations import Operations
from dashboard.storage.types import ObjectInfo

BLOCK = 1024 * 1024
"""Bytes asked for at once, at least."""


def open_file(backend: Operations, key: str) -> BinaryIO:
    """A seekable binary file. Reads go on in the version that was opened: ``Changed`` when it was replaced.
    Where a driver reads only whole objects, it is brought here first. Raises ``NotFound``."""
    if isinstance(backend.driver, ReadsRanges):
        info = backend.stat(key)
        return cast(BinaryIO, io.BufferedReader(_Parts(backend, info), BLOCK))
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


class _Parts(io.RawIOBase):
    """Reads by parts of one version. Used by one thread."""

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
