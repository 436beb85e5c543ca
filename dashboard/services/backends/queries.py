"""Queries of pages, the API and commands about backends. There may be thousands: few are read completely."""

from __future__ import annotations

import time
from functools import cache, partial
from typing import Any

from sqlalchemy import BigInteger, Float, Select, bindparam, exists, func, or_, select
from sqlalchemy.orm import Session, selectinload

from dashboard.errors import Kind, StowageError
from dashboard.models.backends import Backend, BackendStatus
from dashboard.services.audit import shorten
from dashboard.services.backends.drafts import NAME
from dashboard.services.backends.status import COUNT_IS_STALE, Badge, status_of
from dashboard.services.backends.values import BackendChoice, BackendInfo, Summary
from dashboard.services.database import MAX_INTEGER, Database, clamp_integer
from dashboard.storage import registry
from dashboard.storage.registry import label_of
from dashboard.storage.types import EMPTY

MAX_FALLBACK = 50
"""Backends in the fallback order: a read that finds nothing tries all of them."""
MAX_WORST = 20
MAX_KEPT = 100
"""Backends of a list that is kept until one of them changes."""
_MOMENT_SECONDS = 10

_ORDER = (Backend.active.desc(), Backend.fallback_position.nulls_last(), Backend.name)
_WHOLE = (selectinload(Backend.secrets), selectinload(Backend.status))
"""Everything that is shown, in two statements more for all backends together."""
_UNHEALTHY = (Badge.DOWN.value, Badge.DEGRADED.value, Badge.READ_ONLY.value)


class BackendQueries:
    """Thread-safe; every call is one short transaction."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def list(self, *, offset: int = 0, limit: int | None = None) -> tuple[BackendInfo, ...]:
        """The active one, then the fallback order, then by name; ``limit`` from ``offset``, or all."""
        first = clamp_integer(max(0, offset))

        def read() -> tuple[BackendInfo, ...]:
            with self._database.read() as session:
                values = {"first": first, "most": MAX_INTEGER if limit is None else clamp_integer(limit)}
                return tuple(map(info, session.scalars(_in_order(), values)))

        key = ("backends", first, limit, _moment())
        return self._database.kept(key, read, of="main", keep_if=lambda found: len(found) <= MAX_KEPT)

    def get(self, name: str) -> BackendInfo:
        """One backend. Raises ``NOT_FOUND``."""
        with self._database.read() as session:
            return info(get_row(session, name))

    def name_of(self, backend_id: int) -> str | None:
        """The name of a backend, or None when it was removed."""
        with self._database.read() as session:
            return session.scalar(select(Backend.name).where(Backend.id == backend_id))

    def count(self) -> int:
        """How many there are."""
        return self._database.kept("backends.count", partial(self._number, _number_of_all()), of="main")

    def failing(self) -> int:
        """How many are down, degraded or deny writes."""
        return self._database.kept("backends.failing", partial(self._number, _number_of_failing()), of="main")

    def _number(self, query: Select[Any]) -> int:
        with self._database.read() as session:
            return session.scalar(query) or 0

    def choices(self) -> tuple[BackendChoice, ...]:
        """All of them in the order of :meth:`list`, with only the columns that a selection needs."""
        return self._database.kept("backends.choices", self._choices, of="main")

    def _choices(self) -> tuple[BackendChoice, ...]:
        with self._database.read() as session:
            return tuple(BackendChoice(*row) for row in session.execute(_names_in_order()))

    def summary(self) -> Summary:
        """Figures about all backends together."""
        return self._database.kept(("backends.summary", _moment()), self._summary, of="main")

    def _summary(self) -> Summary:
        with self._database.read() as session:
            row = session.execute(_figures(), {"counting_since": time.time() - COUNT_IS_STALE}).one()
            return Summary(
                count=row.number,
                active=row.active or "",
                newest=row.newest or "",
                fallback=tuple(map(info, session.scalars(_in_fallback_order()))),
                busy=bool(row.busy),
                failing=row.failing,
                worst=tuple(map(info, session.scalars(_worst()))) if row.failing else (),
            )


def _moment() -> int:
    """What belongs to the key of what is kept: a count is over when nothing was heard of it for a while, and
    that may be noticed some seconds late."""
    return int(time.time() // _MOMENT_SECONDS)


# Putting these together takes longer than running them, and many pages ask.


@cache
def _in_order() -> Select[Any]:
    page = select(Backend).order_by(*_ORDER).limit(bindparam("most", type_=BigInteger))
    return page.offset(bindparam("first", type_=BigInteger)).options(*_WHOLE)


@cache
def _names_in_order() -> Select[*tuple[Any, ...]]:
    columns = (Backend.name, Backend.active, BackendStatus.objects, Backend.preset)
    query = select(*columns).outerjoin(BackendStatus, BackendStatus.backend_id == Backend.id)
    return query.order_by(*_ORDER)


@cache
def _number_of_all() -> Select[Any]:
    return select(func.count(Backend.id))


@cache
def _number_of_failing() -> Select[Any]:
    return select(func.count()).where(BackendStatus.badge.in_(_UNHEALTHY))


@cache
def _figures() -> Select[Any]:
    """The figures of a :class:`Summary` in one row; ``counting_since``: counts with no sign of life since
    then are over."""
    counting = BackendStatus.counting_at > bindparam("counting_since", type_=Float)
    unsettled = or_(counting, BackendStatus.badge == Badge.UNKNOWN.value)
    newest = select(func.max(Backend.id)).where(Backend.active.is_(False)).scalar_subquery()
    return select(
        select(func.count(Backend.id)).scalar_subquery().label("number"),
        select(Backend.name).where(Backend.active.is_(True)).limit(1).scalar_subquery().label("active"),
        select(Backend.name).where(Backend.id == newest).scalar_subquery().label("newest"),
        exists().where(unsettled).label("busy"),
        select(func.count()).where(BackendStatus.badge.in_(_UNHEALTHY)).scalar_subquery().label("failing"),
    )


@cache
def _in_fallback_order() -> Select[Any]:
    query = select(Backend).where(Backend.fallback_position.is_not(None), Backend.active.is_(False))
    return query.order_by(Backend.fallback_position).limit(MAX_FALLBACK).options(*_WHOLE)


@cache
def _worst() -> Select[Any]:
    unhealthy = select(Backend).join(BackendStatus, BackendStatus.backend_id == Backend.id)
    unhealthy = unhealthy.where(BackendStatus.badge.in_(_UNHEALTHY)).order_by(
        (BackendStatus.badge == Badge.DOWN.value).desc(), Backend.name
    )
    return unhealthy.limit(MAX_WORST).options(*_WHOLE)


def get_row(session: Session, name: str) -> Backend:
    """The row of a backend. Raises ``NOT_FOUND``."""
    row = None
    if NAME.fullmatch(name):
        row = session.scalar(select(Backend).where(Backend.name == name))
    if row is None:
        shown = shorten(name)
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no backend “{shown}”.",
            operation="backend",
            subject=shown,
            remedy="See the list of backends for the names there are.",
        )
    return row


def info(row: Backend) -> BackendInfo:
    """A row as shown."""
    return BackendInfo(
        id=row.id,
        name=row.name,
        driver=row.driver,
        preset=row.preset,
        preset_label=label_of(row.preset),
        summary=registry.summary(row.driver, row.options),
        options=dict(row.options) or EMPTY,
        secrets={secret.name: secret.hint for secret in row.secrets},
        active=row.active,
        fallback_position=row.fallback_position,
        version=row.version,
        status=status_of(row.status),
        created_at=row.created_at,
    )
