"""A circuit breaker: once a backend stops responding, only the first call waits for it.

While the circuit is open, calls fail immediately, and a thread probes whether the backend responds again.
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
"""How long a failed call must have taken to open the circuit. Quick failures do not need one."""
PROBE_SECONDS = 5.0
"""Pause between two probes. Only calls start one."""
_NO_RESPONSE = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT})


class CircuitBreaker:
    """One for each backend and process. Thread-safe.

    ``probe`` is a cheap call to the backend. ``on_change`` is called with the error that opened the circuit,
    and with None when it closes. It must not raise.
    """

    def __init__(
        self,
        probe: Callable[[], object],
        on_change: Callable[[StorageError | None], None] = lambda error: None,
    ) -> None:
        self._probe = probe
        self._on_change = on_change
        self._lock = threading.Lock()
        self._last_error: StorageError | None = None
        self._next_probe = 0.0
        self._probing = False

    @property
    def open(self) -> bool:
        """Whether calls fail at once."""
        return self._last_error is not None

    def call(self, function: Callable[[], T]) -> T:
        """Call a function, or raise ``CircuitOpen`` while the circuit is open."""
        self._refuse_while_open()
        began = time.monotonic()
        try:
            return function()
        except StorageError as error:
            no_response = error.kind in _NO_RESPONSE and not isinstance(error, CircuitOpen)
            if no_response and time.monotonic() - began >= SLOW_SECONDS:
                self._open_circuit(error)
            raise

    def _refuse_while_open(self) -> None:
        with self._lock:
            last_error = self._last_error
            if last_error is None:
                return
            starts = not self._probing and time.monotonic() >= self._next_probe
            self._probing = self._probing or starts
        if starts:
            # A daemon, so that no program waits for an unresponsive server when it ends.
            threading.Thread(target=self._run_probe, name="circuit-probe", daemon=True).start()
        raise CircuitOpen(
            last_error.kind,
            last_error.reason,
            operation=last_error.operation,
            subject=last_error.subject,
            remedy=last_error.remedy,
            retryable=True,
        ) from last_error

    def _open_circuit(self, error: StorageError) -> None:
        with self._lock:
            was_closed = self._last_error is None
            self._last_error = error
            self._next_probe = time.monotonic() + PROBE_SECONDS
        if was_closed:
            self._on_change(error)

    def _run_probe(self) -> None:
        responds = False
        try:
            self._probe()
            responds = True
        except StorageError as error:
            # A backend that refuses the probe responds.
            responds = not is_unavailable(error)
        finally:
            with self._lock:
                self._probing = False
                self._next_probe = time.monotonic() + PROBE_SECONDS
                if responds:
                    self._last_error = None
        if responds:
            self._on_change(None)
