"""A backend's driver with what belongs to it elsewhere: what waits to be sent home, and who stands in."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.services.backends.circuits import Circuits
from dashboard.services.backends.values import Stored
from dashboard.services.database import Database
from dashboard.services.fallback.book import Neighbours, SqlBook, waits_for
from dashboard.services.fallback.write_back import LABEL as WRITE_BACK
from dashboard.storage.checks.wrappers import has_fallback
from dashboard.storage.driver import Driver
from dashboard.storage.wrappers.fallback.guarded import Guarded
from dashboard.storage.wrappers.fallback.without_waiting import WithoutWaiting

STAND_IN = "stand-in"

DriverOf = Callable[[str], Driver]
"""The driver of a backend that stands in, by name."""


def around(
    database: Database, circuits: Circuits, stored: Stored, place: Driver, *, label: str, driver_of: DriverOf
) -> Driver:
    """What the user of a label gets: the place itself, without what waits there for others, or with others
    behind it. Applications wait for a silent one only once, whether it is home or stands in."""
    if label == STAND_IN:
        return Guarded(place, circuits.of(stored, place))
    if label.startswith(WRITE_BACK):
        return place
    if label or not has_fallback(stored.options):
        return WithoutWaiting(place)
    home = Guarded(WithoutWaiting(place), circuits.of(stored, place))
    # Only who reads and writes like an application needs others behind a backend.
    from dashboard.storage.wrappers.fallback.driver import Fallback

    others = Neighbours(database, stored.id, driver_of, (stored.driver, stored.options))
    return Fallback(home, SqlBook(database, stored.id), others)


def with_what_waits(database: Database, stored: Stored, home: Driver, driver_of: DriverOf) -> Driver:
    """Home, and what waits to be sent there. While nothing does, that is home itself."""
    with database.read() as session:
        if not waits_for(session, stored.id):
            return home
    from dashboard.storage.wrappers.fallback.with_waiting import WithWaiting

    others = Neighbours(database, stored.id, driver_of, (stored.driver, stored.options))
    return WithWaiting(home, SqlBook(database, stored.id), others)
