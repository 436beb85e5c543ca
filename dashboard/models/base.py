"""The one ``SQLAlchemy`` object: it names the two databases and holds their metadata.

Sessions are opened explicitly by ``services.database``; ``db.session`` and ``Model.query`` are not used,
so nothing depends on a request being under way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import MetaData
from sqlalchemy.orm import DeclarativeBase

from dashboard.models import work

WORK_BIND = "work"
"""The bind key of ``work.db``: ledgers and counters, apart from the main database."""

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The declarative base of every table of the main database."""

    metadata = MetaData(naming_convention=NAMING)


db = SQLAlchemy(model_class=Base)

# The ledger's tables are plain Core; this makes Flask-SQLAlchemy know which engine they live in.
db.metadatas[WORK_BIND] = work.metadata
work.metadata.info["bind_key"] = WORK_BIND

# Flask-SQLAlchemy derives its own base at run time; a type checker needs a class it can see.
if TYPE_CHECKING:

    class Model(Base):
        """What every table of the main database inherits."""

        __abstract__ = True

else:
    Model = db.Model
