"""The dispatcher: the one process at a time that tells workers which jobs there are.

It reads the table of jobs several times a second and sends a message for each job that may be claimed. What
nobody has claimed after a while is sent again, so nothing depends on a message.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from dashboard.errors import StowageError
from dashboard.jobs.loop import SCHEDULE_EVERY
from dashboard.services.cluster.job_routes import Route, Routes
from dashboard.services.jobs import DueJob, Jobs
from dashboard.services.workers.workers import Workers

log = logging.getLogger(__name__)

POLL_SECONDS = 0.5
"""Between two looks at the table."""
BURY_SECONDS = 1.0
"""Between two looks for what killed processes left."""
AGAIN_SECONDS = 10.0
"""After which a message is sent again if nobody has claimed its job; twice as long each time after that."""
MAX_AGAIN_SECONDS = 300.0
UNCLAIMED_SECONDS = 60.0
"""After which the log says that no worker takes jobs of a queue, and then every so often."""


class SendsJobs(Protocol):
    """Where messages go; ``messages.JobMessages``."""

    def send_job(self, job_id: int, queue: str) -> bool: ...


@dataclass(slots=True)
class _Sent:
    fence: int
    again_at: float
    pause: float


class Dispatcher:
    """``ready``: whether jobs may begin at all. Not thread-safe: one thread at a time."""

    def __init__(
        self,
        jobs: Jobs,
        workers: Workers,
        routes: Routes,
        sender: SendsJobs,
        *,
        ready: Callable[[], bool] = lambda: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._jobs = jobs
        self._workers = workers
        self._routes = routes
        self._sender = sender
        self._ready = ready
        self._clock = clock
        self._sent: dict[int, _Sent] = {}
        self._lacking: dict[str, float] = {}
        self._tick_at = self._bury_at = float("-inf")

    def run(self, stop: threading.Event) -> int:
        """Dispatch until ``stop`` is set. Returns 0."""
        while not stop.wait(POLL_SECONDS):
            try:
                self.step()
            except StowageError as error:
                log.warning("The table of jobs cannot be used just now: %s", error)
        return 0

    def step(self) -> int:
        """Look once; return how many messages were sent. Raises ``StowageError`` while the database cannot be
        used."""
        now = self._clock()
        if not self._ready():
            return 0
        if now >= self._bury_at:
            self._bury_at = now + BURY_SECONDS
            self._workers.bury_dead()
        if now >= self._tick_at:
            self._tick_at = now + SCHEDULE_EVERY
            self._jobs.tick()
        due = self._jobs.due()
        waiting = {job.id for job in due}
        self._sent = {number: sent for number, sent in self._sent.items() if number in waiting}
        return sum(self._send(job, now) for job in due)

    def _send(self, job: DueJob, now: float) -> bool:
        sent = self._sent.get(job.id)
        # Claimed since and due again: it was interrupted.
        fresh = sent is None or sent.fence != job.fence
        if sent is not None and not fresh and now < sent.again_at:
            return False
        route = self._routes.of(job.kind, job.subject_id)
        # A message for nobody would only wait, and be doubled.
        if not self._is_taken(route, now) or not self._sender.send_job(job.id, route.name):
            return False
        pause = AGAIN_SECONDS if sent is None or fresh else min(MAX_AGAIN_SECONDS, 2 * sent.pause)
        self._sent[job.id] = _Sent(job.fence, now + pause, pause)
        return True

    def _is_taken(self, route: Route, now: float) -> bool:
        if self._workers.slots(route.queue, with_files=route.local):
            self._lacking.pop(route.name, None)
            return True
        since = self._lacking.setdefault(route.name, now)
        if now - since >= UNCLAIMED_SECONDS:
            self._lacking[route.name] = now
            log.warning(
                "No worker takes jobs of the queue “%s”%s",
                route.queue,
                " that need the folders of the console's machine" if route.local else "",
            )
        return False
