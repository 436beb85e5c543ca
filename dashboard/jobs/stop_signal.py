"""SIGTERM and SIGINT as something to wait for.

A Python signal handler is no place to stop a process from. It runs between two instructions of the main
thread: a signal that arrives just before that thread blocks is only handled when it wakes again, an
``Event`` set from the handler deadlocks if the thread is inside ``Event.wait``, and an exception raised there
may end up in code that swallows it. Ignoring further signals instead makes every child that is started
afterwards ignore them too, because ``exec`` keeps ignored signals ignored.
"""

from __future__ import annotations

import select
import signal
import socket
from collections.abc import Callable
from threading import Thread


class StopSignal:
    """Whether this process was asked to stop.

    From its creation on, the signals do nothing but make :meth:`fileno` readable for good, however often
    they arrive. Create it on the main thread, once a process. The other methods are thread-safe.

    See https://docs.python.org/3/library/signal.html#signal.set_wakeup_fd
    """

    def __init__(self, *numbers: int) -> None:
        self._reader, self._writer = socket.socketpair()
        # A full buffer would block the handler; one byte says everything.
        self._writer.setblocking(False)
        signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            # Only a signal with a Python handler is written to the descriptor.
            signal.signal(number, lambda *_: None)

    def fileno(self) -> int:
        """The descriptor that is readable once a signal has arrived. Not to be read from."""
        return self._reader.fileno()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait for a signal, ``seconds`` at most; return whether one has arrived."""
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        return bool(poll.poll(None if seconds is None else seconds * 1000))

    def then(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` once, on a thread of its own, when a signal arrives."""

        def watch() -> None:
            self.wait()
            callback()

        Thread(target=watch, name="stop-signal", daemon=True).start()
