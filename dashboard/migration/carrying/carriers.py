"""Carriers: what copies the chunks of a migration, the run itself and perhaps other processes.

The engine knows them by this protocol only. A run without other carriers copies alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from dashboard.migration.ledger import Reason
from dashboard.migration.types import CarrierProgress, InFlight
from dashboard.storage.copying import MEMORY_BYTES
from dashboard.storage.net.rate_limits import UNLIMITED, Rates

if TYPE_CHECKING:
    from dashboard.migration.execute import Execution


@dataclass(frozen=True, slots=True)
class CarrierReport:
    """What a carrier says about itself. ``spent`` as in ``Live``. ``at_once`` and ``copied``: how many
    objects it may copy now, and has copied. ``machine``: its name, and ``pid`` its process there. ``since``:
    when it began, in seconds since the epoch. ``outage``: its backends do not respond. ``abort``: what no
    carrier could get past. ``failed_keys``: with the last report, the keys of which an attempt failed."""

    pid: int = 0
    machine: str = ""
    since: float = 0.0
    in_flight: tuple[InFlight, ...] = ()
    at_once: int = 0
    spent: Mapping[str, float] = field(default_factory=dict)
    copied: int = 0
    copied_bytes: int = 0
    outage: bool = False
    abort: Reason | None = None
    failed_keys: tuple[str, ...] = ()


STOP = -1
"""Instead of how many objects a carrier may copy: it ends."""


@dataclass(frozen=True, slots=True)
class Orders:
    """What a carrier may do: ``workers`` objects at once, none for 0; it ends for ``STOP``.
    ``others``: how many objects all other carriers have copied. ``nothing_waits``: all rows are claimed, and
    no more will be planned. ``rates``: its part of the limits."""

    workers: int
    others: int
    nothing_waits: bool
    rates: Rates = UNLIMITED


@dataclass(frozen=True, slots=True)
class Carried:
    """What carriers do now: see ``Live``."""

    in_flight: tuple[InFlight, ...] = ()
    spent: Mapping[str, float] = field(default_factory=dict)
    at_once: int = 0
    limited_by: str = ""
    processes: tuple[CarrierProgress, ...] = ()


class Carriers(Protocol):
    """The other carriers of a run. Used by its one thread."""

    def tend(self, own: Execution, workers: int, *, listing_final: bool) -> bool:
        """Look after them; return whether all rows that are left are in the hands of ``own``. Shares out
        ``workers``, how many objects may be copied at once by all, ``own`` included, and the limits of
        ``own``. Raises ``RunAborted`` for what one of them could not get past."""
        ...

    def carried(self, own: Carried) -> Carried:
        """Return what all do together."""
        ...

    def request_stop(self) -> None:
        """Ask the others to stop. Returns at once."""
        ...

    def stop(self, deadline: float) -> Iterable[str]:
        """End the others, those that still work at ``deadline`` (monotonic seconds) by force; return their
        rows to pending. Return the keys of which an attempt failed."""
        ...

    def kill(self) -> None:
        """End the others by force, without the ledger."""
        ...


class Alone:
    """No other carriers."""

    def tend(self, own: Execution, workers: int, *, listing_final: bool) -> bool:
        """See ``Carriers.tend``."""
        return listing_final

    def carried(self, own: Carried) -> Carried:
        """See ``Carriers.carried``."""
        return own

    def request_stop(self) -> None:
        """See ``Carriers.request_stop``."""

    def stop(self, deadline: float) -> Iterable[str]:
        """See ``Carriers.stop``."""
        return ()

    def kill(self) -> None:
        """See ``Carriers.kill``."""


def memory_share(carriers: int) -> int:
    """Bytes of memory that each of this many carriers may use for what it copies."""
    return MEMORY_BYTES // carriers
