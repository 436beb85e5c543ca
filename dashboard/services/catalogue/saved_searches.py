"""Searches that people have saved under a name: the filters, and the order."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.sharing import SavedSearch as SavedSearchRow
from dashboard.services.audit import shorten
from dashboard.services.catalogue.filters import FileFilters, Sort, parse_filters
from dashboard.services.database import Database
from dashboard.services.permissions import Actor, Permission

MAX_NAME = 63
MAX_SAVED = 100


@dataclass(frozen=True, slots=True)
class SavedSearch:
    """A person's search. ``created_at`` in seconds since the epoch."""

    id: int
    name: str
    filters: FileFilters
    sort: Sort
    descending: bool
    created_at: float

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON."""
        order = {"sort": self.sort.value, "descending": self.descending}
        shown = {"id": self.id, "name": self.name, "filters": self.filters.as_dict()}
        return {**shown, **order, "created_at": self.created_at}


class SavedSearches:
    """Everybody sees only their own. Thread-safe; every call is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, actor: Actor) -> tuple[SavedSearch, ...]:
        """Return the actor's searches by name. Filters that this version does not know any more are left
        out."""
        query = select(SavedSearchRow).where(SavedSearchRow.username == actor.name)
        with self._database.read() as session:
            return tuple(_value(row) for row in session.scalars(query.order_by(SavedSearchRow.name)))

    def save(
        self,
        actor: Actor,
        name: str,
        filters: FileFilters,
        *,
        sort: Sort = Sort.NAME,
        descending: bool = False,
    ) -> SavedSearch:
        """Save a search; one of the same name is replaced. Raises ``InvalidInput`` naming the field."""
        actor.require(Permission.READ_FILES)
        name = name.strip()
        if not name or len(name) > MAX_NAME or not name.isprintable():
            raise InvalidInput(
                "name", "This name cannot be used.", remedy=f"Enter one of at most {MAX_NAME} characters."
            )
        held = {**filters.as_dict(), "sort": sort.value, "descending": descending}
        values = {"username": actor.name, "name": name, "filters": held}
        add = upsert(SavedSearchRow).values(**values, created_at=time.time())
        with self._database.write() as session:
            mine = SavedSearchRow.username == actor.name
            others = select(func.count()).where(mine, SavedSearchRow.name != name)
            if (session.scalar(others) or 0) >= MAX_SAVED:
                raise StowageError(
                    Kind.CONFLICT,
                    f"At most {MAX_SAVED} searches can be saved.",
                    operation="save search",
                    subject=shorten(name),
                    remedy="Delete one that is no longer needed.",
                )
            session.execute(
                add.on_conflict_do_update(
                    index_elements=["username", "name"], set_={"filters": add.excluded.filters}
                )
            )
            row = session.scalars(select(SavedSearchRow).where(mine, SavedSearchRow.name == name)).one()
            return _value(row)

    def remove(self, actor: Actor, search_id: int) -> None:
        """Delete one of the actor's searches. Idempotent."""
        actor.require(Permission.READ_FILES)
        mine = (SavedSearchRow.username == actor.name) & (SavedSearchRow.id == search_id)
        with self._database.write() as session:
            session.execute(delete(SavedSearchRow).where(mine))


def _value(row: SavedSearchRow) -> SavedSearch:
    held: Mapping[str, Any] = row.filters
    known = FileFilters.__dataclass_fields__.keys()
    sort = held.get("sort")
    return SavedSearch(
        id=row.id,
        name=row.name,
        filters=parse_filters({name: value for name, value in held.items() if name in known}),
        sort=Sort(sort) if sort in list(Sort) else Sort.NAME,
        descending=bool(held.get("descending")),
        created_at=row.created_at,
    )
