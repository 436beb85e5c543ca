"""The declarative base of every table of the main database, and the names of its constraints.

Sessions are opened explicitly by ``services.database``, so nothing depends on a request being under way,
and the command line and the runner need not load the web framework.
"""

from __future__ import annotations

from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

WORK_BIND = "work"
"""Flask-SQLAlchemy's bind key of ``work.db``: ledgers and counters, apart from the main database."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Model(DeclarativeBase):
    """The base class of every table of the main database."""

    metadata = MetaData(naming_convention=NAMING)
