"""What a worker checks before it takes any work: that it can do what the console asks of it."""

from __future__ import annotations

from importlib.util import find_spec

from sqlalchemy import inspect, select

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend
from dashboard.services.consoles.presence import check_clock
from dashboard.services.database import Database, translated_errors
from dashboard.services.keys import Keys
from dashboard.settings import Settings
from dashboard.storage.registry import DRIVERS

JOIN = "join"


def require_broker(settings: Settings) -> str:
    """Return the broker's address. Raises ``StowageError`` if there is none, or Celery is not installed."""
    if not settings.broker_url:
        raise StowageError(
            Kind.INVALID,
            "STOWAGE_BROKER_URL is not set, so nobody would tell this worker of jobs.",
            operation=JOIN,
            remedy="Set it to the Redis server of the console, as in: redis://redis.example.com:6379/0. "
            "Without one the console's own runner does all jobs.",
        )
    require_celery()
    return settings.broker_url


def require_celery() -> None:
    """Raise ``UNSUPPORTED`` if it is not installed. Does not load it."""
    if find_spec("celery") is None:
        raise StowageError(
            Kind.UNSUPPORTED,
            "STOWAGE_BROKER_URL is set, and Celery is not installed.",
            operation=JOIN,
            remedy="Install it with: pip install 'stowage[cluster]'",
        )


def require_console(database: Database) -> None:
    """Raise ``NOT_FOUND`` if no console has used this database: who only joins one creates no keys and no
    tables."""
    with translated_errors():
        found = inspect(database.main).has_table("settings")
    if not found:
        raise StowageError(
            Kind.NOT_FOUND,
            "No console has used this database yet.",
            operation=JOIN,
            remedy="Start the console first, with the same STOWAGE_DATABASE_URL; or correct it here.",
        )


def require_fit(keys: Keys, database: Database) -> None:
    """Raise ``StowageError`` if this machine cannot open the secrets, or use one of the backends."""
    keys.require_unsealed()
    check_clock(database)
    query = select(Backend.name, Backend.driver, Backend.preset).order_by(Backend.name)
    with database.read() as session:
        rows = session.execute(query).all()
    for row in rows:
        kind = DRIVERS.get(row.driver)
        problem = f"no driver “{row.driver}” is installed here" if kind is None else kind.unusable
        if problem:
            raise StowageError(
                Kind.UNSUPPORTED,
                f"The backend “{row.name}” cannot be used on this machine: {problem.rstrip('.')}.",
                operation=JOIN,
                subject=row.name,
                remedy="Install the same packages, in the same versions, as on the console's machine.",
            )
