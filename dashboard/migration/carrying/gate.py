"""Whether rows may be copied yet: decided by the thread that lists, obeyed by those that copy.

Copying waits for the complete plan, unless source and destination are certainly apart and each recorded row
is final: then it begins while the listing goes on. If a listing turns out not to be in order, what was taken
as missing at the destination may exist after all: copying is held up, and the plan corrected, before it goes
on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from dashboard.migration.plan import is_ordered
from dashboard.migration.types import OnConflict, Spec
from dashboard.storage.copying import Interrupted
from dashboard.storage.driver import Driver
from dashboard.storage.inspection.name_rules import NameRules
from dashboard.storage.inspection.places import certainly_apart
from dashboard.storage.wrapping import place_of

_POLL_SECONDS = 0.05


def may_copy_while_listing(source: Driver, destination: Driver, spec: Spec, rules: NameRules) -> bool:
    """Whether every row is final as soon as it is recorded, and no copy can appear in the source's listing.

    Not for what needs all names first, to keep both or to find those that the destination treats as the same.
    Not for moves either: what is going to be deleted is not touched before everything is known.
    """
    if spec.delete_source or spec.on_conflict is OnConflict.KEEP_BOTH:
        return False
    ordered = is_ordered(source, destination, rules)
    return ordered and certainly_apart(place_of(source), place_of(destination))


class CopyGate:
    """Closed at first. Thread-safe."""

    def __init__(self) -> None:
        self._open = threading.Event()
        self._idle = threading.Event()
        self._complete = threading.Event()
        self._was_held = False

    @property
    def is_open(self) -> bool:
        """Whether rows may be claimed."""
        return self._open.is_set()

    def wait(self, seconds: float) -> None:
        """Wait until it is open, at most ``seconds``."""
        self._open.wait(seconds)

    def open(self) -> None:
        """The rows that are recorded from now on are final. No effect after :meth:`hold`."""
        if not self._was_held:
            self._open.set()

    def complete(self) -> None:
        """All rows are recorded and final."""
        self._complete.set()
        self._open.set()

    def hold(self, stop: Callable[[], bool]) -> None:
        """Close it until the plan is complete; return when nothing is being copied, or ``stop`` returns
        true."""
        self._was_held = True
        self._open.clear()
        self._idle.clear()
        while not self._idle.wait(_POLL_SECONDS) and not stop():
            pass

    def idle(self) -> None:
        """Nothing is being copied, and nothing will be until it is open."""
        self._idle.set()

    def await_plan(self, stop: Callable[[], bool]) -> None:
        """Wait until the plan is complete. Raises ``Interrupted`` if ``stop`` returns true or copying is held
        up before."""
        while not self._complete.wait(_POLL_SECONDS):
            if stop() or not self._open.is_set():
                raise Interrupted
