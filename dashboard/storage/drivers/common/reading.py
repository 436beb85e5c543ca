"""Open reads whose content is compared with what was announced of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Self

from dashboard.storage.errors import Damaged
from dashboard.storage.net.parsing import joined
from dashboard.storage.types import ObjectInfo

_NOTHING: Iterator[bytes] = iter(())


class CheckedReading:
    """An open read of one version of an object, see ``Reading``. Used by one thread.

    Hands out exactly ``due`` bytes, which is all of the object where nothing else is said: ``Damaged`` where
    fewer come, and with the first byte more instead of handing it on.
    """

    def __init__(
        self,
        info: ObjectInfo,
        pieces: Iterator[bytes] = _NOTHING,
        close: Callable[[], object] | None = None,
        *,
        due: int | None = None,
    ) -> None:
        self.info = info
        self._body = pieces
        self._close = close
        self._due = info.size if due is None else due

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        key, due, arrived = self.info.key, self._due, 0
        for piece in self._pieces():
            arrived += len(piece)
            if arrived > due:
                raise Damaged(key, f"“{key}” has {due:,} bytes, but more arrived.")
            yield piece
        self._look_again()
        if arrived != due:
            raise Damaged(key, f"“{key}” has {due:,} bytes, but {arrived:,} arrived.")

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return joined(self.chunks())

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

    def _pieces(self) -> Iterator[bytes]:
        """What comes, as it comes."""
        return self._body

    def _look_again(self) -> None:
        """Once no more comes: raise ``Changed`` where the object is no longer the one that was opened."""
