"""Large objects whose reading goes on where the line broke, from then on in several parts at once.

Of 50 GB of which 49 have arrived only what is missing is asked for, and each part is tried again by itself.
While nothing breaks there is one stream, which takes least work at both ends.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from types import TracebackType
from typing import Self

from dashboard.errors import Kind
from dashboard.storage.driver import Driver, Reading, ReadsInParallel, ReadsRanges, TellsParts
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.types import ObjectInfo

PIECE = 4 * 1024 * 1024
PARALLEL_READS = 2
"""Parts at once that the object stores of this project are asked for: more only take more memory where many
objects move at the same time."""
_ATTEMPTS = 4
_PAUSE = 0.5


def resumable(driver: Driver, reading: Reading) -> Reading:
    """The open read, made to go on after a broken line where the driver is made for that."""
    if isinstance(driver, ReadsInParallel) and isinstance(driver, ReadsRanges) and reading.info.version:
        return ResumingReading(driver, reading)
    return reading


class ResumingReading:
    """An open read of one version of an object, see ``Reading``. Used by one thread.

    Parts are asked for under the version of ``info``, so ``Changed`` is raised when the object was replaced
    meanwhile. Holds ``parallel_reads`` parts and the one handed out in memory, once the line broke.
    """

    def __init__(self, driver: Driver, reading: Reading) -> None:
        assert isinstance(driver, ReadsInParallel)
        assert isinstance(driver, ReadsRanges)
        self.info: ObjectInfo = reading.info
        self._reading = reading
        self._ranges: ReadsRanges = driver
        self._at_once = driver.parallel_reads()
        self._threads: ThreadPoolExecutor | None = None
        self._flying: deque[Future[bytes]] = deque()
        self._closed = threading.Event()

    def chunks(self) -> Iterator[bytes]:
        """See ``Reading.chunks``."""
        arrived = 0
        try:
            for chunk in self._reading.chunks():
                arrived += len(chunk)
                yield chunk
        except StorageError as error:
            # What is all here and wrong stays wrong.
            if not error.retryable or error.kind is Kind.CHANGED or arrived >= self.info.size:
                raise
            self._reading.__exit__(None, None, None)
            yield from self._rest(arrived)

    def _rest(self, arrived: int) -> Iterator[bytes]:
        self._threads = ThreadPoolExecutor(self._at_once, thread_name_prefix="part")
        starts = iter(range(arrived, self.info.size, PIECE))
        for start in islice(starts, self._at_once):
            self._flying.append(self._threads.submit(copy_context().run, self._part, start))
        while self._flying:
            piece = self._flying.popleft().result()
            for start in islice(starts, 1):
                self._flying.append(self._threads.submit(copy_context().run, self._part, start))
            yield piece

    def part_size(self, number: int) -> int | None:
        """See ``TellsParts``."""
        return self._reading.part_size(number) if isinstance(self._reading, TellsParts) else None

    def read_all(self) -> bytes:
        """See ``Reading.read_all``."""
        return b"".join(self.chunks())

    def __enter__(self) -> Self:
        self._reading.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        for flight in self._flying:
            flight.cancel()
        self._flying.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._reading.__exit__(kind, error, trace)

    def _part(self, start: int) -> bytes:
        key, length = self.info.key, min(PIECE, self.info.size - start)
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                piece = self._ranges.read_range(key, start, length, if_version=self.info.version)
                if len(piece) != length:
                    raise Damaged(key, f"Of “{key}” {length:,} bytes were due, but {len(piece):,} arrived.")
                return piece
            except StorageError as error:
                hopeless = not error.retryable or error.kind is Kind.CHANGED
                if hopeless or attempt == _ATTEMPTS or self._closed.wait(_PAUSE * attempt):
                    raise
        raise AssertionError("unreachable")
