"""The two databases: how transactions begin and end, and what SQLite's errors mean."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from dashboard.errors import Kind, StowageError
from dashboard.services.engines import is_busy, is_postgresql, open_engines, prepare, reader, writer
from dashboard.services.keeping.kept_reads import KeptReads, Of, Versions, kept_read
from dashboard.services.postgresql.server_errors import server_error
from dashboard.services.upgrade import bring_up_to_date
from dashboard.settings import Settings

T = TypeVar("T")

MAX_INTEGER = 2**63 - 1
"""The largest integer of SQLite; one more is an OverflowError of its driver."""


def open_database(settings: Settings) -> Database:
    """Both databases without a web application."""
    return Database(*open_engines(settings))


def prepare_instance(settings: Settings) -> None:
    """Create the instance folder and the database files, readable by their owner only. Idempotent."""
    try:
        settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        _restrict_permissions(settings.instance)
        for path in () if settings.database_url else (settings.database, settings.work_database):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"The folder {settings.instance} cannot be used: {error.strerror}.",
            operation="open database",
            remedy="Give this user write access to it, or set STOWAGE_INSTANCE to another folder.",
        ) from error


def _restrict_permissions(folder: Path) -> None:
    """Close the folder to other users: a checkout or an unpacked archive may have left it open."""
    mode = folder.stat().st_mode
    if mode & 0o077:
        # A folder of another user, who gives this one access, stays as it is.
        with suppress(PermissionError):
            folder.chmod(mode & 0o700)


class Database:
    """Both databases. Thread-safe; each context manager is one transaction on one connection.

    Writing transactions take the write lock at once, commit on leaving and roll back on an exception,
    so keep them short and never do network calls inside one.
    """

    def __init__(self, main: Engine, work: Engine) -> None:
        self.main = main
        self.work = work
        for engine in (main, work):
            prepare(engine)
        self._main_reader = reader(main)
        self._work_reader = reader(work)
        self._main_writer = writer(main)
        self._work_writer = writer(work)
        self.on_server = is_postgresql(main)
        """Whether other machines may have it open too."""
        self._row_writer = main if self.on_server else self._main_writer
        self._together = threading.local()
        self._reads = KeptReads(main, work)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view of the main database."""
        together = getattr(self._together, "session", None)
        if together is not None:
            with translated_errors():
                yield together
            return
        with translated_errors(), Session(self._main_reader) as session:
            yield session

    @contextmanager
    def read_together(self) -> Iterator[None]:
        """One view of each database for every read of this thread until the end, for what is put together
        from many of them. Reads do not see what this thread writes meanwhile, so write nothing inside; and,
        as in any other read, make no network calls. Reentrant."""
        if getattr(self._together, "session", None) is not None:
            yield
            return
        before = self._reads.versions()
        with (
            translated_errors(),
            Session(self._main_reader) as session,
            self._work_reader.connect() as connection,
        ):
            self._together.session, self._together.connection = session, connection
            self._together.view = self._view_since(before, session.connection(), connection)
            try:
                yield
            finally:
                self._together.session = self._together.connection = self._together.view = None

    def _view_since(self, before: Versions, *connections: Connection) -> Versions:
        """The versions that these connections see from now on; unknown ones if they have just changed."""
        if None not in before:
            for connection in connections:
                # A transaction has its view from the first time that it reads.
                connection.exec_driver_sql("PRAGMA data_version")
        return before if self._reads.versions() == before else Versions(None, None)

    def kept(
        self,
        key: Hashable,
        read: Callable[[], T],
        *,
        of: Of = "both",
        keep_if: Callable[[T], bool] = lambda _value: True,
    ) -> T:
        """Return what ``read`` returns, or returned for the same key if the databases ``of`` which it reads
        have not been changed since, by this process or another.

        What ``read`` reads of these databases and what is in the key decide its result; a time that it
        depends on belongs to the key. Nobody changes a result. ``keep_if``: whether one is kept. On
        PostgreSQL nothing is kept.
        """
        view: Versions | None = getattr(self._together, "view", None)
        return kept_read(self._reads, key, read, of=of, view=view, keep_if=keep_if)

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction on the main database."""
        with (
            translated_errors(),
            Session(self._main_writer, expire_on_commit=False) as session,
            session.begin(),
        ):
            # Sessions begin lazily; files that the lock protects may be read before the first statement.
            session.connection()
            yield session

    @contextmanager
    def write_one_row(self) -> Iterator[Connection]:
        """One transaction on the main database for statements about rows that nothing else depends on. On a
        server it does not wait for other writers."""
        with translated_errors(), self._row_writer.begin() as connection:
            yield connection

    @contextmanager
    def work_read(self) -> Iterator[Connection]:
        """One consistent view of ``work.db``. Do not stream an export inside one: it holds up the WAL."""
        together = getattr(self._together, "connection", None)
        if together is not None:
            with translated_errors():
                yield together
            return
        with translated_errors(), self._work_reader.connect() as connection:
            yield connection

    @contextmanager
    def work_write(self) -> Iterator[Connection]:
        """One transaction on ``work.db``."""
        with translated_errors(), self._work_writer.begin() as connection:
            yield connection

    def upgrade(self, *, shared: bool = False) -> None:
        """Bring both to the schema of this version. Idempotent; safe from several processes. A database on a
        server is upgraded from an earlier version only if ``shared`` says so; else ``CONFLICT`` is raised."""
        with translated_errors():
            bring_up_to_date(self.main, "main", shared=shared)
            bring_up_to_date(self.work, "work", shared=shared)

    def close(self) -> None:
        """Free all connections; a later use opens new ones."""
        self._reads.close()
        self.main.dispose()
        self.work.dispose()


def clamp_integer(number: int) -> int:
    """Return the number, or the nearest one that SQLite can store. For numbers from people and servers."""
    return max(-MAX_INTEGER, min(number, MAX_INTEGER))


@contextmanager
def translated_errors() -> Iterator[None]:
    """Translate the databases' errors into ones that a person can act on."""
    try:
        yield
    except IntegrityError:
        raise
    except (DBAPIError, PoolTimeout, sqlite3.DatabaseError) as error:
        raise translate_error(error) from error


def translate_error(error: DBAPIError | PoolTimeout | sqlite3.DatabaseError) -> StowageError:
    """Return the database's error as one that a person can act on."""
    orig = error.orig if isinstance(error, DBAPIError) else None
    if isinstance(error, PoolTimeout) or (isinstance(error, DBAPIError) and is_busy(error)):
        return _busy_error()
    if (found := server_error(orig)) is not None:
        return found
    text = str(orig or error).lower()
    if "locked" in text or "busy" in text:
        return _busy_error()
    if "full" in text:
        return StowageError(
            Kind.FULL,
            "The disk with the database is full.",
            operation="database",
            remedy="Free some space in the instance folder and try again.",
        )
    if "readonly" in text or "unable to open" in text or "not a database" in text or "malformed" in text:
        return StowageError(
            Kind.INTERNAL,
            "The database cannot be used: it is read-only, unreadable or damaged.",
            operation="database",
            remedy="Check the owner and the permissions of the files in the instance folder, "
            "or restore them from a backup.",
        )
    return StowageError(
        Kind.INTERNAL,
        "The database reported an error.",
        operation="database",
        remedy="The log has the details.",
    )


def is_server_away(error: Exception) -> bool:
    """Whether this is about a database server that does not answer, or was restarted."""
    found = translate_error(error) if isinstance(error, DBAPIError | PoolTimeout) else error
    return (
        isinstance(found, StowageError) and found.operation == "database" and found.kind is Kind.UNREACHABLE
    )


def _busy_error() -> StowageError:
    return StowageError(
        Kind.TIMEOUT,
        "The database is busy with another change.",
        operation="database",
        remedy="Try again in a moment.",
    )
