"""Decides what each channel is told: every cause once when it begins and once when it ends, without storms.

What was told to a channel is stored in the transaction that queues the message, and what there is to tell is
derived from the rows that say so. Killed at any moment, the next turn finds the same again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, delete, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.models.notifications import announced, causes, watch
from dashboard.services.attention.causes import Cause, CauseKind, Page
from dashboard.services.database import Database
from dashboard.services.notifications.channels import Channels
from dashboard.services.notifications.ended_causes import Situation, ending
from dashboard.services.notifications.happened import Happened, gap
from dashboard.services.notifications.notification_values import (
    MAX_TITLE,
    Channel,
    Event,
    EventKind,
    Phase,
    clean,
)
from dashboard.services.notifications.outbox import Outbox

KINDS: Mapping[CauseKind, EventKind] = MappingProxyType(
    {
        CauseKind.BACKEND_DOWN: EventKind.BACKEND_DOWN,
        CauseKind.BACKEND_IMPAIRED: EventKind.BACKEND_IMPAIRED,
        CauseKind.DISK_FULL: EventKind.DISK_FULL,
        CauseKind.KEY_ROTATION: EventKind.KEY_ROTATION,
        CauseKind.BACKUP_OVERDUE: EventKind.BACKUP,
        CauseKind.BACKUP_FAILED: EventKind.BACKUP,
        CauseKind.SIGN_IN_LOCKED: EventKind.SIGN_IN_LOCKED,
        CauseKind.JOBS_LATE: EventKind.RUNNER,
        CauseKind.COPY_NOT_MADE: EventKind.MIGRATION_FAILED,
        CauseKind.MIGRATION_PAUSED: EventKind.MIGRATION_PAUSED,
        CauseKind.WAITING_WRITES: EventKind.WAITING_WRITES,
    }
)
"""The causes that are told. How a migration ends is told when it does, by :mod:`happened`."""
PATIENCE: Mapping[CauseKind, float] = MappingProxyType(
    {
        CauseKind.BACKEND_DOWN: 60.0,
        CauseKind.BACKEND_IMPAIRED: 300.0,
        CauseKind.JOBS_LATE: 600.0,
        CauseKind.WAITING_WRITES: 600.0,
    }
)
"""Seconds for which a cause must last before it is told: most of these end by themselves."""
BURST = 2
"""Messages about one cause within an hour that are sent at once: that it began and that it ended."""
BURST_SECONDS = 3600.0
DAMPED_SECONDS = 1800.0
"""Seconds between later messages about a cause that comes and goes."""
REMINDER_SECONDS = 86_400.0
_PATHS = {
    Page.BACKEND: "/backend/{}",
    Page.MIGRATION: "/migrations/{}",
    Page.COPY: "/settings/schedules/copies/{}",
    Page.BACKENDS: "/backends",
    Page.DISKS: "/",
    Page.KEYS: "/settings/keys",
    Page.BACKUPS: "/settings/backups",
    Page.HEALTH: "/health",
    Page.AUDIT: "/audit",
}
"""Pages of the console; a test compares them with its routes."""


class CauseWatch:
    """Used by one job at a time."""

    def __init__(
        self,
        database: Database,
        channels: Channels,
        outbox: Outbox,
        *,
        happened: Happened,
        situation: Callable[[], Situation],
    ) -> None:
        self._database = database
        self._channels = channels
        self._outbox = outbox
        self._happened = happened
        self._situation = situation

    def watch(self, now: float) -> None:
        """Queue what there is to tell. The first time nothing of the past is told."""
        on = [channel for channel in self._channels.list() if channel.enabled]
        with self._database.work_read() as connection:
            last = connection.execute(select(watch)).one_or_none()
        if last is None or not on:
            number = self._happened.newest()
            events, situation = list[Event](), None
        else:
            events, number = self._happened.since(last.audit_id)
            missed = gap(last.watched_at, now)
            events = [missed, *events] if missed is not None else events
            situation = self._situation()
        with self._database.work_write() as connection:
            if situation is not None:
                seen = _note_causes(connection, situation.unfolded, now)
                look = _Look(connection, situation, seen, now)
                for channel in on:
                    self._tell(channel, events, look)
            # Read only now: a channel that was added meanwhile may have a test already.
            ids = self._channels.ids()
            connection.execute(delete(announced).where(announced.c.channel_id.not_in(ids)))
            self._outbox.forget_channels(connection, ids)
            values = {"audit_id": number, "watched_at": now}
            statement = upsert(watch).values(id=1, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=values))

    def _tell(self, channel: Channel, happened: Sequence[Event], look: _Look) -> None:
        events = [event for event in happened if _wants(channel, event.kind)]
        # While it is muted nothing counts as told, so what is still so afterwards is told then.
        if not channel.is_muted(look.now):
            turn = _Turn(channel, look)
            events += [*turn.ended(), *turn.begun()]
        if events:
            self._outbox.add(look.connection, channel, events, look.now)


@dataclass(frozen=True, slots=True)
class _Look:
    """How things are in one turn, inside a transaction. ``seen``: the rows of the causes by key."""

    connection: Connection
    situation: Situation
    seen: Mapping[str, Row[Any]]
    now: float


def _wants(channel: Channel, kind: EventKind) -> bool:
    if kind is EventKind.OBJECTS_FAILED and EventKind.MIGRATION_FINISHED in channel.events:
        return True
    return kind in channel.events


@dataclass(frozen=True, slots=True)
class _Turn:
    """What is told to one channel in one turn."""

    channel: Channel
    look: _Look

    def begun(self) -> Iterator[Event]:
        """What the channel was not told yet, or has to be reminded of."""
        rows = self._rows()
        for key, cause in self._wanted().items():
            row, event = rows.get(key), self._event(cause)
            if row is not None and row.open:
                before = Event.from_json(row.event)
                if self._is_worse(before, event):
                    yield from self._announce(row, event, Phase.BEGAN)
                elif self.channel.reminders and self.look.now - row.at >= REMINDER_SECONDS:
                    yield from self._announce(row, event, Phase.REMINDER)
            elif self.look.now - self.look.seen[key].seen_at >= PATIENCE.get(cause.kind, 0.0):
                yield from self._announce(row, event, Phase.BEGAN)

    def ended(self) -> Iterator[Event]:
        """What the channel was told and is no more."""
        for row in self._rows().values():
            before = Event.from_json(row.event)
            if before.kind not in self.channel.events or (
                not row.open and self.look.now - row.at > BURST_SECONDS
            ):
                mine = (announced.c.channel_id == self.channel.id) & (announced.c.key == row.key)
                self.look.connection.execute(delete(announced).where(mine))
                continue
            present = self.look.situation.unfolded.get(row.key)
            still = present is not None and KINDS[present.kind] in self.channel.events
            if not row.open or still:
                continue
            end = ending(before, self.look.situation)
            if end is None:
                continue
            event = replace(
                before, tone="ok", title=clean(end.title, MAX_TITLE), text=clean(end.text), at=self.look.now
            )
            yield from self._announce(row, event, Phase.ENDED)

    def _wanted(self) -> dict[str, Cause]:
        # Whoever is told of the backend is told there what follows from it.
        folds = EventKind.BACKEND_DOWN in self.channel.events
        found = self.look.situation.folded if folds else self.look.situation.unfolded
        return {key: cause for key, cause in found.items() if KINDS[cause.kind] in self.channel.events}

    def _rows(self) -> dict[str, Row[Any]]:
        found = self.look.connection.execute(
            select(announced).where(announced.c.channel_id == self.channel.id)
        )
        return {row.key: row for row in found}

    @staticmethod
    def _is_worse(before: Event, event: Event) -> bool:
        ranks = {"info": 0, "warn": 1, "bad": 2}
        changed = before.kind is not event.kind
        return changed or ranks.get(event.tone, 0) > ranks.get(before.tone, 0)

    def _event(self, cause: Cause) -> Event:
        text = " ".join([cause.text, *(f"{line}." for line in cause.follows)])
        begun = self.look.seen[cause.key].begun
        if begun > BURST:
            text = f"{text} It came and went {begun} times lately."
        return Event(
            kind=KINDS[cause.kind],
            phase=Phase.BEGAN,
            key=cause.key,
            tone=cause.tone,
            title=clean(cause.title, MAX_TITLE),
            text=clean(text),
            at=self.look.now,
            since=cause.since if cause.since is not None else self.look.seen[cause.key].seen_at,
            path=_PATHS[cause.page].format(cause.subject),
            subject=cause.subject,
        )

    def _announce(self, row: Row[Any] | None, event: Event, phase: Phase) -> Iterator[Event]:
        """Store that the channel is told this, and return it; or nothing, if there was too much about it."""
        burst, burst_at = (row.burst, row.burst_at) if row is not None else (0, self.look.now)
        # A clock that was put back: as if it had been told just now.
        waited = self.look.now - row.at if row is not None and row.at <= self.look.now else DAMPED_SECONDS
        if not 0 <= self.look.now - burst_at < BURST_SECONDS:
            burst, burst_at = 0, self.look.now
        if phase is not Phase.REMINDER and burst >= BURST and waited < DAMPED_SECONDS:
            return
        event = replace(event, phase=phase)
        if phase is not Phase.ENDED or event.title:
            yield event
        values = {
            "open": phase is not Phase.ENDED,
            "event": event.as_json(),
            "at": self.look.now,
            "burst": burst + 1,
            "burst_at": burst_at,
        }
        statement = upsert(announced).values(channel_id=self.channel.id, key=event.key, **values)
        self.look.connection.execute(
            statement.on_conflict_do_update(index_elements=["channel_id", "key"], set_=values)
        )


def _note_causes(connection: Connection, present: Mapping[str, Cause], now: float) -> Mapping[str, Row[Any]]:
    """Note since when each cause is there, and how often it began lately; return these rows."""
    known = {row.key: row for row in connection.execute(select(causes))}
    for key in present:
        row = known.get(key)
        if row is None:
            connection.execute(insert(causes).values(key=key, seen_at=now, begun=1))
        elif row.gone_at is not None:
            again = {"seen_at": now, "gone_at": None, "begun": row.begun + 1}
            connection.execute(update(causes).where(causes.c.key == key).values(**again))
    for key, row in known.items():
        if key in present:
            continue
        if row.gone_at is None:
            connection.execute(update(causes).where(causes.c.key == key).values(gone_at=now))
        elif not 0 <= now - row.gone_at < BURST_SECONDS:
            connection.execute(delete(causes).where(causes.c.key == key))
    return {row.key: row for row in connection.execute(select(causes))}
