"""What a carrier does: claim chunks of a running migration, copy their rows, and settle them.

The same in a process of its own and wherever else it is called: all that connects it with the run is the
ledger. It ends when nothing is left for it, when it is asked to, and when it is fenced out.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from heapq import nlargest
from random import Random

from dashboard.migration.carrying.carriers import STOP, CarrierReport, Orders
from dashboard.migration.execute import Execution
from dashboard.migration.ledger import FencedOut, Reason
from dashboard.migration.live import MAX_SHOWN, Spent
from dashboard.migration.pool import Result, Task, WorkerPool
from dashboard.migration.retry_policy import RunAborted
from dashboard.migration.transfer import Transfer
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.observed import machine

REPORT_SECONDS = 0.5
"""Between two reports."""
IDLE_SECONDS = 0.1
"""The same while nothing may be copied."""
STOP_SECONDS = 1.0
"""How long calls in progress may take to end."""


class Carrier:
    """One carrier of one run. ``memory``: bytes for what it copies. ``idle_seconds``: after which it ends if
    nothing is left for it: its run may be gone, or others have all there is."""

    def __init__(
        self,
        ledger: CarrierLedger,
        transfer: Transfer,
        spent: Spent,
        *,
        memory: int,
        tuned: bool = False,
        idle_seconds: float = float("inf"),
        stop: Callable[[], bool],
        clock: Callable[[], float] = time.time,
        random: Random | None = None,
    ) -> None:
        self._ledger = ledger
        self._spent = spent
        self._stop = stop
        self._idle_seconds = idle_seconds
        self._memory = ledger.memory = memory
        self._pool: WorkerPool[Task, Result] = WorkerPool(transfer.move, 0, transfer.publish)
        self._execution = Execution(
            self._pool,
            ledger,
            1,
            tuned,
            limits=transfer.limits,
            clock=clock,
            random=random or Random(),  # noqa: S311
        )
        self._execution.limit_to(0, memory)
        self._since = time.time()
        self._orders: Orders | None = None
        self._reported_at = float("-inf")

    def run(self) -> bool:
        """Carry until nothing is left; return whether all of it ended in time. Raises ``FencedOut``."""
        try:
            return self._close(self._carry())
        except FencedOut:
            self._pool.request_stop()
            raise

    def _carry(self) -> Reason | None:
        busy_at = time.monotonic()
        try:
            while not self._stop():
                orders = self._report()
                if self._execution.busy or self._ledger.holds_chunks:
                    busy_at = time.monotonic()
                if orders.workers == STOP or time.monotonic() - busy_at >= self._idle_seconds:
                    break
                last = orders.nothing_waits
                self._execution.step(0.05, listing_final=last)
                if last and self._execution.finished:
                    break
        except RunAborted as aborted:
            return aborted.reason
        return None

    def _close(self, reason: Reason | None) -> bool:
        deadline = time.monotonic() + STOP_SECONDS
        hanging = self._execution.stop(deadline)
        keys = tuple(sorted(self._execution.failed_keys))
        self._ledger.report(self._describe(abort=reason, failed_keys=keys))
        return not (hanging or self._pool.close(max(deadline, time.monotonic() + 0.2)))

    def _report(self) -> Orders:
        now, before = time.monotonic(), self._orders
        pause = REPORT_SECONDS if before and before.workers else IDLE_SECONDS
        if before and now - self._reported_at < pause:
            return before
        self._reported_at = now
        self._orders = self._ledger.report(self._describe())
        # Before the first report others may have copied in earlier runs.
        if before and self._orders.others > before.others:
            self._execution.others_copied()
        self._execution.limits.change(self._orders.rates)
        self._execution.limit_to(max(0, self._orders.workers), self._memory)
        return self._orders

    def _describe(self, *, abort: Reason | None = None, failed_keys: tuple[str, ...] = ()) -> CarrierReport:
        moving = list(self._execution.in_flight())
        return CarrierReport(
            pid=os.getpid(),
            machine=machine(),
            since=self._since,
            in_flight=tuple(nlargest(MAX_SHOWN, moving, key=lambda one: one.size)),
            at_once=self._execution.at_once,
            spent=self._spent.seconds(),
            copied=self._ledger.copied,
            copied_bytes=self._ledger.copied_bytes,
            outage=self._execution.outage,
            abort=abort,
            failed_keys=failed_keys,
        )
