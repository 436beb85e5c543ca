"""A carrier in a thread of the test, with the face of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from dashboard.migration.carrying.carriers import CarrierReport, Orders
from dashboard.migration.ledger import FencedOut
from dashboard.migration.live import Spent
from dashboard.migration.provenance import Provenance
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import Spec
from dashboard.services.migrations.carrying.carrier import Carrier
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.run_ledger import RunLedger
from dashboard.storage.driver import Driver
from dashboard.storage.net.rate_limits import RateLimits

MEMORY = 64 * 1024 * 1024


class ThreadKilled(BaseException):
    """Nothing runs in a process after it was killed."""


class CarrierThread:
    """``kill`` lets nothing of it reach a driver or the ledger any more, as the system does with a
    process."""

    def __init__(
        self,
        run: RunLedger,
        number: int,
        ends: tuple[Driver, Driver],
        *,
        spec: Spec,
        lease: float,
        dies: Callable[[], bool] = lambda: False,
    ) -> None:
        self.number = number
        self._run = run
        self._ends = ends
        self._spec = spec
        self._dies = dies
        self._lease = lease
        self._stop = threading.Event()
        self.killed = threading.Event()
        self.reported = threading.Event()
        self._code: int | None = None
        self.limits = RateLimits()
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def _work(self) -> None:
        ledger = _Mortal(self._run.engine, 1, carrier=self.number, fence=self._run.fence, lease=self._lease)
        ledger.join(self._run.fence)
        ledger.check, ledger.reported = self._check, self.reported
        spent = Spent()
        transfer = Transfer(
            Provenance(*self._ends, self._spec, ledger.token()), "old disk", spent, self.limits
        )
        try:
            Carrier(ledger, transfer, spent, memory=MEMORY, stop=self._stop.is_set, clock=time.time).run()
            self._code = 0
        except FencedOut:
            self._code = 3
        except ThreadKilled:
            self._code = -9

    def _check(self) -> None:
        if self.killed.is_set() or self._dies():
            self.killed.set()
            raise ThreadKilled

    def poll(self) -> int | None:
        return self._code

    def terminate(self) -> None:
        self._stop.set()

    def kill(self) -> bool:
        self.killed.set()
        self._thread.join(120)
        return not self._thread.is_alive()


class _Mortal(CarrierLedger):
    """Asks before every transaction whether it still lives."""

    check: Callable[[], None]
    reported: threading.Event

    def report(self, found: CarrierReport) -> Orders:
        orders = super().report(found)
        self.reported.set()
        return orders

    def _check_lease(self, connection: object) -> None:
        self.check()
        super()._check_lease(connection)  # type: ignore[arg-type]
