"""What people see of the carriers of a run: where each works, on what, since when, and how fast."""

from __future__ import annotations

import os
import platform
import time
from collections import deque
from collections.abc import Iterable, Mapping
from functools import cache

from dashboard.migration.carrying.carriers import CarrierReport
from dashboard.migration.live import WINDOW_SECONDS, rates
from dashboard.migration.types import CarrierProgress
from dashboard.services.migrations.carrying.run_ledger import OWN


@cache
def machine() -> str:
    """This machine's name, as other machines and people know it."""
    return platform.node()[:64] or "localhost"


class ObservedCarriers:
    """Remembers what each carrier had copied a few seconds ago. Used by one thread."""

    def __init__(self) -> None:
        self._since = time.time()
        self._samples: dict[int, deque[tuple[float, int, int]]] = {}

    def progress(
        self,
        own: CarrierReport,
        others: Mapping[int, tuple[float, CarrierReport]],
        chunks: Mapping[int, Iterable[int]],
    ) -> tuple[CarrierProgress, ...]:
        """Return what is shown, the run first. ``others``: their last reports and when they came, in seconds
        since the epoch. ``chunks``: what each has claimed."""
        reports = {OWN: (time.time(), own), **others}
        for gone in set(self._samples) - set(reports):
            del self._samples[gone]
        return tuple(
            self._one(number, at, report, tuple(chunks.get(number, ())))
            for number, (at, report) in sorted(reports.items())
            if report.pid
        )

    def own(self, copied: int, copied_bytes: int, at_once: int) -> CarrierReport:
        """Return the report of this process."""
        return CarrierReport(
            pid=os.getpid(),
            machine=machine(),
            since=self._since,
            at_once=at_once,
            copied=copied,
            copied_bytes=copied_bytes,
        )

    def _one(self, number: int, at: float, report: CarrierReport, chunks: tuple[int, ...]) -> CarrierProgress:
        samples = self._samples.setdefault(number, deque())
        samples.append((at, report.copied_bytes, report.copied))
        while len(samples) > 2 and at - samples[0][0] > WINDOW_SECONDS:
            samples.popleft()
        rate_bytes, rate_objects = rates(samples[0], samples[-1])
        return CarrierProgress(
            number=number,
            machine=report.machine,
            pid=report.pid,
            since=report.since,
            chunks=chunks,
            at_once=report.at_once,
            copied=report.copied,
            copied_bytes=report.copied_bytes,
            rate_objects=rate_objects,
            rate_bytes=rate_bytes,
        )
