"""The bytes of one request on their way into the quarantine."""

from __future__ import annotations

import hashlib
import hmac
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.receiving.quarantine import Appending, locked_error
from dashboard.services.files.receiving.upload_rows import UploadInfo

CHECKSUMS = ("sha1", "sha256")
"""The algorithms of the checksum extension of tus."""
STALE_SECONDS = 5.0
"""Seconds without a byte after which another connection may take an upload over."""


class ChecksumMismatch(StowageError):
    """What arrived differs from the client's checksum and has been discarded."""

    def __init__(self) -> None:
        super().__init__(
            Kind.INVALID,
            "What arrived is not what was sent: its checksum differs.",
            operation="upload",
            remedy="Send it again.",
            retryable=True,
        )


class Receiver:
    """Writes a request's body to an upload, from whichever thread has the bytes. Thread-safe.

    Leaving the context without :meth:`finish` keeps what has arrived, unless there is a checksum for all of
    it: what was not compared is discarded.
    """

    def __init__(
        self,
        upload: UploadInfo,
        appending: Appending,
        *,
        checksum: tuple[str, bytes] | None,
        record: Callable[[UploadInfo, int], UploadInfo],
        closed: Callable[[], None],
    ) -> None:
        self.upload = upload
        self.start = appending.offset
        self._appending = appending
        self._digest = hashlib.new(checksum[0], usedforsecurity=False) if checksum else None
        self._expected = checksum[1] if checksum else b""
        self._record = record
        self._on_close = closed
        self._lock = threading.Lock()
        self._open = True
        self._last = time.monotonic()

    @property
    def received(self) -> int:
        """Bytes of the upload so far."""
        return self._appending.offset

    @property
    def is_stale(self) -> bool:
        """Whether nothing has arrived for a while."""
        return time.monotonic() - self._last > STALE_SECONDS

    def write(self, data: bytes) -> None:
        """Append bytes. Raises ``OVER_LIMIT`` beyond the announced size, ``FULL``, and ``LOCKED`` if another
        connection has taken over."""
        with self._lock:
            if not self._open:
                raise locked_error()
            size = self.upload.size
            if size is not None and self._appending.offset + len(data) > size:
                raise beyond_size_error(size)
            self._appending.write(data)
            if self._digest is not None:
                self._digest.update(data)
            self._last = time.monotonic()

    def finish(self) -> UploadInfo:
        """Make everything durable, record it, and return the upload as it is now. Raises
        :class:`ChecksumMismatch`, after which nothing of this request is left."""
        with self._lock:
            if not self._open:
                raise locked_error()
            if self._digest is not None:
                if not hmac.compare_digest(self._digest.digest(), self._expected):
                    self._appending.truncate(self.start)
                    self._close()
                    raise ChecksumMismatch
                self._digest = None
            self._appending.sync()
            try:
                return self._record(self.upload, self._appending.offset)
            finally:
                self._close()

    def abandon(self) -> None:
        """End an incomplete request. Idempotent."""
        with self._lock:
            if not self._open:
                return
            try:
                if self._digest is not None:
                    self._appending.truncate(self.start)
                elif self._appending.offset != self.start:
                    self._appending.sync()
                    self._record(self.upload, self._appending.offset)
            finally:
                self._close()

    def _close(self) -> None:
        self._open = False
        self._appending.close()
        self._on_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abandon()


def parse_checksum(algorithm: str, digest: bytes) -> tuple[str, bytes]:
    """Check a client's checksum. Raises ``InvalidInput``."""
    if algorithm not in CHECKSUMS or len(digest) != hashlib.new(algorithm, usedforsecurity=False).digest_size:
        raise InvalidInput(
            "Upload-Checksum",
            "This checksum cannot be used.",
            remedy=f"Use one of {', '.join(CHECKSUMS)}, a space, and the digest in base64.",
        )
    return algorithm, digest


def beyond_size_error(size: int) -> StowageError:
    """For bytes beyond the announced size."""
    return StowageError(
        Kind.OVER_LIMIT,
        f"More arrived than the {size:,} bytes that were announced.",
        operation="upload",
        remedy="Begin a new upload with the right size.",
    )
