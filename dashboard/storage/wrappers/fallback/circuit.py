"""Remembering that a place does not answer, so that only the first call waits for it in vain.

While the circuit is open, calls fail at once and one thread looks now and then whether the place is back.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.storage.errors import StorageError
from dashboard.storage.wrappers.fallback.waiting_writes import CircuitOpen, is_unavailable

T = TypeVar("T")

SLOW_SECONDS = 2.0
"""Seconds that a call must have waited in vain before others are spared it; a quick failure costs nothing."""
PROBE_SECONDS = 5.0
"""Seconds from the end of one look to the next, if anybody asks."""
_SILENT = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT})


class CircuitBreaker:
    """One for each place and process. Thread-safe.

    ``probe`` is a cheap call to the place. ``told`` is called with the failure that opened the circuit, and
    with None when it is closed again; it must not raise.
    """

    def __init__(
        self, probe: Callable[[], object], told: Callable[[StorageError | None], None] = lambda trouble: None
    ) -> None:
        self._probe = probe
        self._told = told
        self._lock = threading.Lock()
        self._trouble: StorageError | None = None
        self._next_look = 0.0
        self._looking = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once."""
        return self._trouble is not None

    def ask(self, call: Callable[[], T]) -> T:
        """Make a call, or raise ``CircuitOpen`` while the circuit is open."""
        self._refuse_while_open()
        began = time.monotonic()
        try:
            return call()
        except StorageError as error:
            silent = error.kind in _SILENT and not isinstance(error, CircuitOpen)
            if silent and time.monotonic() - began >= SLOW_SECONDS:
                self._opened(error)
            raise

    def _refuse_while_open(self) -> None:
        with self._lock:
            trouble = self._trouble
            if trouble is None:
                return
            looks = not self._looking and time.monotonic() >= self._next_look
            self._looking = self._looking or looks
        if looks:
            # A daemon, so that no program waits for a silent server when it ends.
            threading.Thread(target=self._look, name="circuit-probe", daemon=True).start()
        raise CircuitOpen(
            trouble.kind,
            trouble.reason,
            operation=trouble.operation,
            subject=trouble.subject,
            remedy=trouble.remedy,
            retryable=True,
        ) from trouble

    def _opened(self, error: StorageError) -> None:
        with self._lock:
            news = self._trouble is None
            self._trouble = error
            self._next_look = time.monotonic() + PROBE_SECONDS
        if news:
            self._told(error)

    def _look(self) -> None:
        well = False
        try:
            self._probe()
            well = True
        except StorageError as error:
            # A refusal is an answer.
            well = not is_unavailable(error)
        finally:
            with self._lock:
                self._looking = False
                self._next_look = time.monotonic() + PROBE_SECONDS
                if well:
                    self._trouble = None
        if well:
            self._told(None)
