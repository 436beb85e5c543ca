"""Create-only writes on servers that may or may not honour If-None-Match."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from dashboard.storage.errors import Exists, Unsupported

_MAX_TRIAL_BYTES = 256 * 1024


class Send(Protocol):
    """One request that writes an object and returns its ETag."""

    def __call__(self, *, create_only: bool) -> str | None: ...


class ConditionalCreate:
    """Learns with the first create-only write whether the server honours If-None-Match.

    Until it is known, and wherever it is not honoured, a look goes before every such write. The trial
    repeats a write that has just succeeded: a server that honours the header refuses the repetition,
    and any other stores the same bytes again. Nothing else is ever left behind. Thread-safe.
    """

    def __init__(self) -> None:
        self._supported: bool | None = None
        self._trial_lock = threading.Lock()

    def check_absent(self, exists: Callable[[], bool], key: str) -> bool:
        """Raise ``Exists`` if the key is taken, else say whether to send the header as well."""
        if self._supported is True:
            return True
        if exists():
            raise Exists(key)
        return False

    def put(self, send: Send, exists: Callable[[], bool], key: str, size: int) -> str | None:
        """Write unless the key is taken, which raises ``Exists``."""
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
