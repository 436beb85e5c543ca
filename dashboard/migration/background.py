"""One thread for a phase that may block in the network, so that the one who waits can still listen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Background:
    """Runs ``phase(stop)`` in a daemon thread; what it raises is raised by :meth:`check`."""

    def __init__(self, phase: Callable[[threading.Event], None], name: str) -> None:
        self._phase = phase
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def check(self) -> bool:
        """Whether the phase has ended; raises what it raised."""
        if self._thread.is_alive():
            return False
        if self._error is not None:
            raise self._error
        return True

    def wait(self, seconds: float) -> None:
        """Wait for its end, at most so long."""
        self._thread.join(seconds)

    def halt(self) -> None:
        """Ask it to end."""
        self._stop.set()

    def stop(self, deadline: float) -> int:
        """Ask it to end; 1 if it still hangs in a call at ``deadline`` (monotonic seconds)."""
        self._stop.set()
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return int(self._thread.is_alive())

    def _run(self) -> None:
        # Nothing is swallowed: whoever waits for the phase gets it from ``check``.
        try:
            self._phase(self._stop)
        except BaseException as error:  # noqa: BLE001
            self._error = error
