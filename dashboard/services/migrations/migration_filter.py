"""Which migrations a list shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import ColumnElement, String, cast, func, or_

from dashboard.migration.types import Outcome, State
from dashboard.models.migrations import Migration

_RUNNING = tuple(state.value for state in State if not state.final)
_WITH_ERRORS = Migration.outcome == Outcome.WITH_ERRORS.value
_FINISHED = Migration.state == State.FINISHED.value

STATES: Mapping[str, ColumnElement[bool]] = MappingProxyType(
    {
        "active": Migration.state.in_(_RUNNING),
        "failed": or_(Migration.state == State.FAILED.value, _FINISHED & _WITH_ERRORS),
        "finished": _FINISHED & ~func.coalesce(_WITH_ERRORS, False),
        "cancelled": Migration.state == State.CANCELLED.value,
    }
)
"""What people call the states: ``failed`` is every migration that stopped, or in which objects failed."""


@dataclass(frozen=True, slots=True)
class MigrationFilter:
    """All that match everything given. ``state``: one of ``STATES``. ``backend``: the name of the source or
    the destination. ``text``: part of a number, a name, a prefix or of who created it."""

    state: str = ""
    backend: str = ""
    text: str = ""

    @property
    def empty(self) -> bool:
        """Whether it lets everything through."""
        return not (self.state or self.backend or self.text)

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a query of migrations. A state that does not exist matches nothing."""
        found: list[ColumnElement[bool]] = []
        if self.state:
            found.append(STATES.get(self.state, Migration.id < 0))
        if self.backend:
            found.append(or_(Migration.source == self.backend, Migration.destination == self.backend))
        if self.text:
            places: tuple[Any, ...] = (
                Migration.source,
                Migration.destination,
                Migration.created_by,
                cast(Migration.id, String),
                func.json_extract(Migration.spec, "$.prefix"),
            )
            found.append(or_(*(place.icontains(self.text, autoescape=True) for place in places)))
        return found
