"""Prepared statements for the rows of ledgers in ``work.db``, and their parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    Connection,
    Float,
    Integer,
    Row,
    Select,
    Update,
    bindparam,
    case,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.sql.dml import ReturningUpdate

from dashboard.migration.ledger import Claimed, FinalCheck, Planned, Reason, Settled
from dashboard.migration.types import Action, ObjectState
from dashboard.models.work import counters, listing, live, names, objects
from dashboard.services.bulk import BulkStatement
from dashboard.services.database import clamp_integer
from dashboard.storage.types import Entry

MAX_SUM = 2**62
"""The largest sum of bytes: twice this would be too large for an integer column."""
MAX_ID = 2**63 - 1
_QUERY_BATCH = 1000
"""Keys in one query."""
_REASON = ("kind", "reason", "remedy")
_PLANNED = ("key", "size", "modified", "etag", "state", "action", "found", *_REASON)
_SETTLED = (
    "size",
    "state",
    "attempts",
    "interrupted",
    *_REASON,
    "destination_key",
    "source_checksum",
    "destination_checksum",
    "source_version",
    "destination_etag",
    "finished_at",
)

REPLAN = (
    update(objects)
    .where(objects.c.id == bindparam("b_id"))
    .values({name: bindparam(name) for name in _PLANNED})
)
PLAN = BulkStatement(insert(objects), ("migration_id", *_PLANNED))
_add_listed = upsert(listing)
SAVE_LISTED = BulkStatement(
    _add_listed.on_conflict_do_update(
        index_elements=[listing.c.migration_id, listing.c.key],
        set_={name: _add_listed.excluded[name] for name in ("size", "modified", "etag")},
    ),
    ("migration_id", "key", "size", "modified", "etag"),
)
SETTLE = BulkStatement(
    update(objects)
    .where(objects.c.id == bindparam("b_id"), objects.c.state == ObjectState.IN_FLIGHT.value)
    .values({name: bindparam(name) for name in _SETTLED}),
    ("b_id", *_SETTLED),
)
RETURN_ROW = BulkStatement(
    update(objects)
    .where(objects.c.id == bindparam("b_id"), objects.c.state == ObjectState.IN_FLIGHT.value)
    .values(state=ObjectState.PENDING.value, interrupted=bindparam("interrupted")),
    ("b_id", "interrupted"),
)
_publish = upsert(live)
PUBLISH = BulkStatement(
    _publish.on_conflict_do_update(
        index_elements=["migration_id"], set_={name: _publish.excluded[name] for name in ("at", "status")}
    ),
    ("migration_id", "at", "status"),
)
_SKIPPED = objects.c.state == ObjectState.SKIPPED.value
_AGREES = (objects.c.size == bindparam("b_size")) & (
    (objects.c.destination_etag == "")
    | (bindparam("b_etag") == "")
    | (objects.c.destination_etag == bindparam("b_etag"))
)
_SEEN = (
    update(objects)
    .where(
        objects.c.migration_id == bindparam("b_migration"),
        # Not IN: an expanding parameter cannot be repeated for many rows.
        (objects.c.state == ObjectState.COPIED.value)
        | (objects.c.state == ObjectState.VERIFIED.value)
        | _SKIPPED,
    )
    .values(seen=case((_SKIPPED | _AGREES, bindparam("b_fence")), else_=-bindparam("b_fence")))
)
_HAS_OWN_KEY = objects.c.destination_key != literal_column("''")
_LISTED = ("b_key", "b_size", "b_etag", "b_migration", "b_fence")
MARK_LISTED = BulkStatement(_SEEN.where(objects.c.key == bindparam("b_key"), ~_HAS_OWN_KEY), _LISTED)
MARK_OWN_KEY_LISTED = BulkStatement(
    _SEEN.where(objects.c.destination_key == bindparam("b_key"), _HAS_OWN_KEY), _LISTED
)
RECORD_FINAL_CHECK = (
    update(objects)
    .where(objects.c.id == bindparam("b_id"), objects.c.state == bindparam("b_before"))
    .values({name: bindparam(name) for name in ("state", *_REASON, "deleted")})
)


_ACTIONS = {action.value: action for action in Action}


def _reason_values(reason: Reason | None) -> dict[str, str]:
    return {
        "kind": reason.kind if reason else "",
        "reason": reason.sentence if reason else "",
        "remedy": reason.remedy if reason else "",
    }


def count_and_compare(
    connection: Connection, migration_id: int, fence: int, delta: Mapping[str, int]
) -> bool:
    """Add to the totals of a migration; return whether the fence is still this one."""
    # Sums are limited to what a column can hold: a server that lists such sizes is wrong.
    added = {f"b_{name}": max(-MAX_SUM, min(n, MAX_SUM)) for name, n in sorted(delta.items()) if n}
    changed = connection.execute(_adding(tuple(added)), {"b_id": migration_id, "b_fence": fence, **added})
    return changed.rowcount == 1


# Putting statements together takes longer than running them: those of every batch are put together once.


@cache
def _adding(parameters: tuple[str, ...]) -> Update:
    c = counters.c
    values: dict[str, Any] = {
        name: func.min(c[name] + bindparam(f"b_{name}", type_=Integer), MAX_SUM)
        for name in (each.removeprefix("b_") for each in parameters)
    }
    mine = (c.migration_id == bindparam("b_id")) & (c.fence == bindparam("b_fence"))
    return update(counters).where(mine).values(values or {"fence": c.fence})


def claim_rows(
    connection: Connection,
    migration_id: int,
    limit: int,
    now: float,
    *,
    first_id: int = 0,
    last_id: int = MAX_ID,
) -> list[Claimed]:
    """Put the oldest pending rows with ids in this range in flight and return them, in any order."""
    which = {"b_migration": migration_id, "b_first": first_id, "b_last": last_id}
    found = connection.execute(_claiming(), {**which, "b_limit": limit, "b_now": now})
    return [claimed_row(row) for row in found]


@cache
def _claiming() -> ReturningUpdate[Any]:
    c, now = objects.c, bindparam("b_now", type_=Float)
    pending = (c.migration_id == bindparam("b_migration")) & (c.state == ObjectState.PENDING.value)
    within = c.id.between(bindparam("b_first"), bindparam("b_last"))
    oldest = select(c.id).where(pending, within).order_by(c.id).limit(bindparam("b_limit", type_=Integer))
    return (
        update(objects)
        .where(c.id.in_(oldest.scalar_subquery()))
        .values(
            state=ObjectState.IN_FLIGHT.value,
            # An object that an earlier run may have written is as old as that run's claim.
            started_at=case(
                ((c.interrupted > 0) | (c.source_version != ""), func.coalesce(c.started_at, now)),
                else_=now,
            ),
        )
        .returning(
            c.id,
            c.key,
            c.size,
            c.action,
            c.modified,
            c.etag,
            c.attempts,
            c.interrupted > 0,
            c.source_version != "",
            c.destination_key,
            c.started_at,
            c.found,
        )
    )


def claimed_row(row: Row[Any]) -> Claimed:
    """Return a row that was put in flight as a value."""
    r = tuple(row)
    return Claimed(r[0], r[1], r[2], _ACTIONS[r[3]], r[4], r[5], r[6], bool(r[7]), bool(r[8]), *r[9:])


@cache
def finished_rows(*, unseen: bool) -> Select[Any]:
    """Return a query for the columns of ``Finished`` of rows in a state whose source was not deleted, the
    oldest first; with ``unseen``, of those that this run has not listed as they should be."""
    c, fence = objects.c, bindparam("fence", type_=Integer)
    mine = (c.migration_id == bindparam("migration")) & (c.state == bindparam("state"))
    query = select(
        c.id,
        c.key,
        c.size,
        c.state,
        c.modified,
        c.etag,
        c.destination_key,
        c.destination_etag,
        c.source_version,
        func.abs(c.seen) == fence,
    ).where(mine, c.id > bindparam("after"), c.deleted.is_(False))
    query = query.where(c.seen != fence) if unseen else query
    return query.order_by(c.id).limit(bindparam("limit", type_=Integer))


def plan_values(row: Planned) -> dict[str, Any]:
    """Return the parameters of a new or re-planned row."""
    return {
        "key": row.key,
        "size": row.size,
        "modified": row.modified,
        "etag": row.etag,
        "state": row.state.value,
        "action": row.action.value,
        "found": row.found,
        **_reason_values(row.reason),
    }


def may_change(old: Row[Any], row: Planned, *, recheck: bool) -> bool:
    """Whether a decision is out of date and may be replaced: if the row was never tried, or with ``recheck``
    if it was skipped or refused by the plan."""
    untouched = old.state == ObjectState.PENDING.value and not old.attempts and not old.interrupted
    refused = old.state == ObjectState.FAILED.value and not old.attempts
    recheckable = recheck and (refused or old.state in (ObjectState.SKIPPED.value, ObjectState.PENDING.value))
    seen = (old.size, old.modified, old.etag, old.found)
    now = (row.size, row.modified, row.etag, row.found)
    return (untouched or recheckable) and (seen != now or (untouched and old.action != row.action.value))


def entry_values(entry: Entry) -> dict[str, Any]:
    """Parameters of a kept destination entry."""
    return {
        "key": entry.key,
        "size": clamp_integer(entry.size),
        "modified": entry.modified,
        "etag": entry.etag,
    }


def settle_values(result: Settled) -> dict[str, Any]:
    """Parameters of ``SETTLE``."""
    row, done = result.row, result.done
    return {
        "b_id": row.id,
        "size": done.size,
        "state": done.state.value,
        "attempts": result.attempts,
        "interrupted": int(result.interrupted),
        **_reason_values(done.reason),
        "destination_key": "" if done.destination_key == row.key else done.destination_key,
        "source_checksum": done.source_checksum,
        "destination_checksum": done.destination_checksum,
        "source_version": done.source_version,
        "destination_etag": done.destination_etag,
        "finished_at": result.at,
    }


def own_keys_among(connection: Connection, migration_id: int, keys: Sequence[str]) -> set[str]:
    """Return those of these keys that rows have as their own key at the destination."""
    return set(connection.scalars(_own_keys(), {"migration": migration_id, "keys": list(keys)}))


@cache
def _own_keys() -> Select[Any]:
    c = objects.c
    among = c.destination_key.in_(bindparam("keys", expanding=True))
    return select(c.destination_key).where(c.migration_id == bindparam("migration"), among, _HAS_OWN_KEY)


def seen_values(entry: Entry, migration_id: int, fence: int) -> dict[str, Any]:
    """Parameters of ``MARK_LISTED`` and ``MARK_OWN_KEY_LISTED``."""
    return {
        "b_key": entry.key,
        "b_size": clamp_integer(entry.size),
        "b_etag": entry.etag or "",
        "b_migration": migration_id,
        "b_fence": fence,
    }


def return_values(result: Settled) -> dict[str, Any]:
    """Parameters of ``RETURN_ROW``."""
    return {"b_id": result.row.id, "interrupted": int(result.interrupted)}


def final_check_values(check: FinalCheck) -> dict[str, Any]:
    """Parameters of ``RECORD_FINAL_CHECK``."""
    return {
        "b_id": check.row.id,
        "b_before": check.row.state.value,
        "state": check.state.value,
        "deleted": check.deleted,
        **_reason_values(check.reason),
    }


def reserve_names(
    connection: Connection, migration_id: int, pairs: Sequence[tuple[str, str]]
) -> dict[str, str]:
    """See ``Ledger.reserve_names``. At least one pair."""
    rows = [{"migration_id": migration_id, "folded": folded, "name": name} for folded, name in pairs]
    connection.execute(upsert(names).on_conflict_do_nothing(), rows)
    held: dict[str, str] = {}
    for start in range(0, len(pairs), _QUERY_BATCH):
        some = [folded for folded, _ in pairs[start : start + _QUERY_BATCH]]
        query = select(names.c.folded, names.c.name).where(
            names.c.migration_id == migration_id, names.c.folded.in_(some)
        )
        held |= {row.folded: row.name for row in connection.execute(query)}
    return held
