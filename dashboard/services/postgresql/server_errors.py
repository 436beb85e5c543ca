"""What PostgreSQL's errors mean. Loads nothing of it: an error is known by its SQLSTATE."""

from __future__ import annotations

from dashboard.errors import Kind, StowageError

_SETTINGS = "Check STOWAGE_DATABASE_URL and the password."
_MEANINGS: tuple[tuple[str, Kind, str, str], ...] = (
    ("28", Kind.DENIED, "The database server does not accept the name or the password.", _SETTINGS),
    (
        "3D",
        Kind.DENIED,
        "There is no such database on the server.",
        "Create it, or correct STOWAGE_DATABASE_URL.",
    ),
    (
        "42501",
        Kind.DENIED,
        "The database server denies this to our user.",
        "Make that user the database's owner.",
    ),
    ("53100", Kind.FULL, "The disk of the database server is full.", "Free some space there and try again."),
    (
        "53300",
        Kind.TIMEOUT,
        "The database server takes no more connections.",
        "Try again in a moment, or raise its max_connections.",
    ),
    (
        "54000",
        Kind.INVALID_KEY,
        "A name is too long for PostgreSQL, which orders names of up to about 2,600 bytes.",
        "Give that object a shorter name.",
    ),
    (
        "25006",
        Kind.UNREACHABLE,
        "The database server accepts no changes: it is a standby.",
        "Name the primary server in STOWAGE_DATABASE_URL.",
    ),
)
_UNREACHABLE = ("08", "57P", "25P03")
"""A connection that broke, a server that shuts down or starts, a transaction that took too long."""


def server_error(error: BaseException | None) -> StowageError | None:
    """Return an error of psycopg as one that a person can act on; None for one of SQLite, or of no known
    meaning."""
    if error is None or not hasattr(error, "sqlstate"):
        return None
    state = error.sqlstate or ""
    for begin, kind, reason, remedy in _MEANINGS:
        if state.startswith(begin):
            return StowageError(kind, reason, operation="database", remedy=remedy)
    if state.startswith(_UNREACHABLE) or (not state and type(error).__name__ == "OperationalError"):
        return _connecting(str(error)) or StowageError(
            Kind.UNREACHABLE,
            "The database server does not answer.",
            operation="database",
            remedy="Nothing is lost. Work goes on by itself when it is back.",
        )
    return None


def _connecting(text: str) -> StowageError | None:
    """What happened before there was a session, which only the text tells."""
    for words, (_, kind, reason, remedy) in (
        (("password authentication failed", "no password supplied", "no pg_hba.conf entry"), _MEANINGS[0]),
        (("does not exist",), _MEANINGS[1]),
        (("too many clients", "remaining connection slots"), _MEANINGS[4]),
    ):
        if any(each in text for each in words):
            return StowageError(kind, reason, operation="database", remedy=remedy)
    return None
