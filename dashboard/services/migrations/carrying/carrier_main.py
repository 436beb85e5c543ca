"""A carrier in a process of its own: opens both backends, and carries.

:func:`carry` is all that a carrier runs: ``stowage carrier``, the command of the embedded processes, calls
it, and so does a worker on another machine. It needs the databases, the key and four values, which fit in a
message: the migration's id, the run's fence (``RunLedger.fence``), the number that the run has registered
with ``RunLedger.add_carrier`` (once in a run), and how many carriers share the memory. It copies nothing
before the run assigns it workers, so a message that arrives late or twice does no harm: its number is no
longer registered, or two that use one number are both fenced out when the second claims a chunk.

The run meets it as a ``Process`` (see ``embedded``): ``poll`` returns its exit code, ``terminate`` makes
``stop`` return true, which is asked every 50 ms, and ``kill`` returns true only when it is certain that it
writes nothing any more. What it had claimed is given to others after that, never before. A process that the
run cannot kill must therefore end by itself once its lease may have expired.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from dashboard.migration.carrying.carriers import memory_share
from dashboard.migration.ledger import FencedOut
from dashboard.migration.live import Spent
from dashboard.migration.provenance import Provenance
from dashboard.migration.transfer import Transfer
from dashboard.migration.types import AUTOMATIC
from dashboard.models.migrations import Migration
from dashboard.services.backends.backends import Backends
from dashboard.services.database import Database
from dashboard.services.migrations.carrying.carrier import Carrier
from dashboard.services.migrations.carrying.carrier_ledger import CarrierLedger
from dashboard.services.migrations.carrying.ends import MigrationEnds, catalogued_files
from dashboard.services.migrations.spec import from_json
from dashboard.storage.copying import MEMORY

log = logging.getLogger(__name__)

IDLE_SECONDS = 10.0
"""For which a worker waits for something to carry. Its run asks for another when there is more; one whose run
is gone would keep the next from beginning."""

FENCED_OUT = 3
"""The exit code of a carrier that another run, or the runner, has replaced."""
HANGING = 4
"""The exit code of one that ended, but for calls that hang."""


def _unwatched(copied: Callable[[], int]) -> None:
    """Nobody asks how many objects a carrier has copied."""


def carry(
    database: Database,
    backends: Backends,
    migration_id: int,
    *,
    fence: int,
    number: int,
    carriers: int,
    stop: Callable[[], bool],
    enter: bool = False,
    watch: Callable[[Callable[[], int]], None] = _unwatched,
    may_write: Callable[[], bool] = lambda: True,
) -> int:
    """Carry for a run until nothing is left or ``stop`` returns true; return the exit code. The caller ends
    the process, at least if that is not 0: threads may hang in calls. With ``enter`` nothing is done if the
    number has been used before. ``watch`` gets the function that returns how many objects were copied.
    ``may_write``: see ``Transfer``. ``carriers``: how many there may be, to share the memory. Raises
    ``StowageError`` if a backend or the key cannot be opened."""
    with database.read() as session:
        row = session.get(Migration, migration_id)
    if row is None:
        return FENCED_OUT
    spec = from_json(row.spec)
    tuned = spec.workers == AUTOMATIC
    ledger = CarrierLedger(database.work, row.id, carrier=number, fence=fence, files=catalogued_files(row))
    ledger.join(fence)
    if enter and not ledger.enter():
        return 0
    watch(lambda: ledger.copied)
    ends = MigrationEnds(database, backends, row, stop)
    source, destination = ends.open()
    memory = memory_share(carriers)
    # Other processes copy too.
    MEMORY.limit_to(memory)
    spent = Spent()
    provenance = Provenance(source, destination, spec, ledger.token())
    transfer = Transfer(provenance, row.source, spent, may_write=may_write)
    carrier = Carrier(
        *(ledger, transfer, spent),
        memory=memory,
        tuned=tuned,
        idle_seconds=IDLE_SECONDS if enter else float("inf"),
        stop=stop,
        clock=time.time,
    )
    try:
        ended = carrier.run()
    except FencedOut:
        log.warning("Carrier %d of migration %d stops: its rows were given to others", number, migration_id)
        return FENCED_OUT
    backends.requests.store()
    if not ended:
        return HANGING
    ends.release()
    return 0
