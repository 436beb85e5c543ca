"""The copying of a run: its own workers and, if there are any, the other carriers."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from random import Random

from dashboard.migration.carrying.carriers import Carried, Carriers
from dashboard.migration.execute import Execution
from dashboard.migration.ledger import Ledger
from dashboard.migration.pool import Result, Task, WorkerPool
from dashboard.migration.transfer import Transfer
from dashboard.storage.copying import MEMORY_BYTES


class CopyPhase:
    """Copies all rows of a ledger. Used by one thread.

    ``failed_keys``: receives the keys of which an attempt failed.
    """

    def __init__(
        self,
        transfer: Transfer,
        ledger: Ledger,
        workers: int,
        *,
        tuned: bool,
        carriers: Carriers,
        failed_keys: set[str],
        clock: Callable[[], float],
        random: Random,
    ) -> None:
        self._ledger = ledger
        self._workers = workers
        self._tuned = tuned
        self._carriers = carriers
        self._failed_keys = failed_keys
        self._clock = clock
        self._random = random
        self._limits = transfer.limits
        self._pool: WorkerPool[Task, Result] = WorkerPool(transfer.move, 0, transfer.publish)
        self._execution = self._new_execution()

    def step(self, timeout: float, *, listing_final: bool) -> bool:
        """Run one round; return whether every row is settled. Raises ``RunAborted`` or ``FencedOut``.

        While listing goes on, this process copies alone."""
        # Rows of other carriers may come back: only when none are left has this one seen its last.
        last = listing_final and self._carriers.tend(self._execution, self._workers, listing_final=True)
        self._execution.step(timeout, listing_final=last)
        if not (last and self._execution.finished):
            return False
        if self._ledger.is_settled():
            return True
        self._execution = self._new_execution()
        return False

    def drain(self, timeout: float) -> bool:
        """Begin nothing more, from now on; run one round and return whether nothing is being copied. Raises
        as :meth:`step` does. While listing goes on only."""
        self._execution.limit_to(0, MEMORY_BYTES)
        self._execution.step(timeout, listing_final=False)
        return not self._execution.busy

    def carried(self, spent: Mapping[str, float]) -> Carried:
        """Return what all carriers together do. ``spent``: by the workers of this process."""
        own = self._execution
        return self._carriers.carried(Carried(tuple(own.in_flight()), spent, own.at_once, own.limited_by))

    # ---- ends

    def request_stop(self) -> None:
        """Ask everything to stop. Returns at once."""
        self._pool.request_stop()
        self._carriers.request_stop()

    def stop(self, deadline: float) -> int:
        """Let small objects finish until ``deadline`` (monotonic seconds), abort the others and return their
        rows to pending. Return how many threads of this process still hang in a call."""
        hanging = self._execution.stop(deadline)
        self._failed_keys.update(self._carriers.stop(deadline))
        # Idle threads also need a moment to end; they are not stragglers.
        return max(hanging, self._pool.close(max(deadline, time.monotonic() + 0.2)))

    def close(self, deadline: float) -> int:
        """End what has nothing left to do; return how many threads still hang in a call."""
        self._carriers.request_stop()
        self._failed_keys.update(self._carriers.stop(deadline))
        self._limits.share(1)
        return self._pool.close(deadline)

    def abort(self, deadline: float) -> None:
        """Stop without writing to the ledger."""
        self._pool.request_stop()
        self._carriers.kill()
        self._pool.close(deadline)

    def _new_execution(self) -> Execution:
        execution = Execution(
            self._pool,
            self._ledger,
            self._workers,
            self._tuned,
            limits=self._limits,
            clock=self._clock,
            random=self._random,
        )
        execution.failed_keys = self._failed_keys
        return execution
