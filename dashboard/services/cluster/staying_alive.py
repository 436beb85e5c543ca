"""The signs of life of a task: renewed by its process, which ends itself when it cannot.

Whoever gives the task's work to others waits until its time is over, and then knows that the process is gone,
on whichever machine: cut off from the database, it has ended itself.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from dashboard.errors import StowageError
from dashboard.services.workers.worker_values import BEAT_SECONDS, LIFE_SECONDS
from dashboard.services.workers.workers import Workers

log = logging.getLogger(__name__)

END_SECONDS = 5.0
"""For which the end of a task is tried to be recorded."""


class SignsOfLife:
    """While it is entered, a thread renews the task. ``renew`` is called each time as well, such as for the
    lease of a job; ``copied`` returns how many objects it has copied."""

    def __init__(
        self,
        workers: Workers,
        task: int,
        *,
        copied: Callable[[], int] = lambda: 0,
        renew: Callable[[], None] = lambda: None,
        every: float = BEAT_SECONDS,
        life: float = LIFE_SECONDS,
        end_process: Callable[[], None] = lambda: os.kill(os.getpid(), signal.SIGKILL),
    ) -> None:
        self._workers = workers
        self._task = task
        self._copied = copied
        self._renew = renew
        self._every = every
        self._life = life
        self._end_process = end_process
        self._ended = threading.Event()
        self._left = False
        self._deadline = time.monotonic() + life
        self._threads = (
            threading.Thread(target=self._keep, name="signs-of-life", daemon=True),
            # Of its own, because the other may hang in a connection that is cut off.
            threading.Thread(target=self._watch, name="end-of-life", daemon=True),
        )

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        if self._left:
            return
        give_up = time.monotonic() + END_SECONDS
        while True:
            try:
                self._workers.end_task(self._task)
                return
            except StowageError as problem:
                if time.monotonic() >= give_up:
                    # Others wait until its time is over.
                    log.warning("The end of a task could not be recorded: %s", problem)
                    return
            time.sleep(0.2)

    @property
    def is_over(self) -> bool:
        """Whether others may take this process for gone: it is about to end itself, and writes nothing more.
        Tells a process that was suspended, too."""
        return time.monotonic() >= self._deadline

    def leave_to_others(self) -> None:
        """This process is about to end, and what it does is over only then: the end is not recorded."""
        self._left = True

    def _keep(self) -> None:
        before, at = 0, time.monotonic()
        while not self._ended.wait(self._every):
            began, copied = time.monotonic(), self._copied()
            rate = (copied - before) / max(began - at, 0.001)
            before, at = copied, began
            try:
                if not self._workers.renew_task(self._task, objects=copied, rate=rate):
                    # Somebody took this process for dead.
                    self._deadline = began
                    return
                self._deadline = began + self._life
                self._renew()
            except StowageError as error:
                log.warning("A sign of life could not be given: %s", error)

    def _watch(self) -> None:
        while not self._ended.wait(max(0.05, min(1.0, self._deadline - time.monotonic()))):
            if time.monotonic() >= self._deadline:
                log.error("No sign of life for %g seconds: this process ends itself", self._life)
                logging.shutdown()
                self._end_process()
                return
