"""Open reads whose length is checked against what was announced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.errors import Damaged
from dashboard.storage.net.parsing import join_chunks
from dashboard.storage.types import ObjectInfo

_NOTHING: Iterator[bytes] = iter(())


class CheckedReading:
    """An open read of one version of an object, see ``Reading``. Used by one thread.

    Yields exactly ``expected_size`` bytes (by default ``info.size``) and raises ``Damaged`` if fewer
    arrive, or before it would yield one more.
    """

    def __init__(
        self,
        info: ObjectInfo,
        pieces: Iterator[bytes] = _NOTHING,
        close: Callable[[], object] | None = None,
        *,
        expected_size: int | None = None,
    ) -> None:
        self.info = info
        self._body = pieces
        self._close = close
        self._expected_size = info.size if expected_size is None else expected_size

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        key, expected_size, arrived = self.info.key, self._expected_size, 0
        for piece in self._raw_chunks():
            arrived += len(piece)
            if arrived > expected_size:
                raise Damaged(key, f"“{key}” has {expected_size:,} bytes, but more arrived.")
            yield piece
        self._check_unchanged()
        if arrived != expected_size:
            raise Damaged(key, f"“{key}” has {expected_size:,} bytes, but {arrived:,} arrived.")

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return join_chunks(self.chunks())

    def close(self) -> None:
        """Free the connection or the file. Idempotent."""
        close, self._close = self._close, None
        if close is not None:
            close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _raw_chunks(self) -> Iterator[bytes]:
        """The content as it arrives."""
        return self._body

    def _check_unchanged(self) -> None:
        """Raise ``Changed`` if the object is no longer the one that was opened; called after the last
        chunk."""
