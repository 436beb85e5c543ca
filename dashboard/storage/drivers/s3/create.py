"""Create-only writes on servers with or without support for If-None-Match."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from dashboard.storage.errors import Exists, Unsupported

_MAX_TRIAL_BYTES = 256 * 1024


class Send(Protocol):
    """Write an object in one request and return its ETag."""

    def __call__(self, *, create_only: bool) -> str | None: ...


class ConditionalCreate:
    """Detects with the first create-only write whether the server supports If-None-Match.

    Until that is known, and on servers without support, every such write is preceded by a check. Detection
    repeats a write that has just succeeded: a server with support refuses the repetition, others store the
    same bytes again. Thread-safe.
    """

    def __init__(self) -> None:
        self._supported: bool | None = None
        self._trial_lock = threading.Lock()

    def check_absent(self, exists: Callable[[], bool], key: str) -> bool:
        """Raise ``Exists`` if the object exists. Returns whether to send the header as well."""
        if self._supported is True:
            return True
        if exists():
            raise Exists(key)
        return False

    def put(self, send: Send, exists: Callable[[], bool], key: str, size: int) -> str | None:
        """Write an object. Raises ``Exists`` if it exists."""
        if self._supported is True:
            return send(create_only=True)
        if exists():
            raise Exists(key)
        if self._supported is False:
            return send(create_only=False)
        try:
            etag = send(create_only=True)
        except Unsupported:
            self._supported = False
            return send(create_only=False)
        if size <= _MAX_TRIAL_BYTES and self._trial_lock.acquire(blocking=False):
            try:
                self._detect_support(send)
            finally:
                self._trial_lock.release()
        return etag

    def _detect_support(self, send: Send) -> None:
        if self._supported is not None:
            return
        try:
            send(create_only=True)
        except Exists:
            self._supported = True
        else:
            self._supported = False
