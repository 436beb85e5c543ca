"""What is still to be sent, and what became of the rest: rows of ``work.db``.

A channel never has many messages waiting: until the next one is sent, events gather in it.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, func, insert, or_, select, update

from dashboard.models.notifications import deliveries as table
from dashboard.models.notifications import tests
from dashboard.services.database import Database, clamp_integer
from dashboard.services.notifications.attempts import Answer, DeliveryError
from dashboard.services.notifications.notification_values import (
    MAX_EVENTS,
    Channel,
    ChannelMessage,
    Delivery,
    DeliveryState,
    Event,
    Reason,
)

GIVE_UP_SECONDS = 86_400.0
"""Seconds after the first attempt until a message is given up."""
BACKOFF = (10.0, 30.0, 60.0, 300.0, 900.0, 1800.0, 3600.0)
"""Seconds between attempts; the last value stays."""
MAX_REFUSALS = 5
"""Attempts of a message that the server clearly refuses: somebody may mend the settings meanwhile."""
MAX_WAITING = 20
"""Messages of one channel that wait; for a newer one the oldest is given up."""
MAX_KEPT = 100
"""Finished deliveries of a channel that are kept."""
MAX_LISTED = 501


class Outbox:
    """Thread-safe. Only one process sends at a time: the job has a lease."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: Connection, channel: Channel, events: Sequence[Event], now: float) -> None:
        """Queue events for a channel, in the caller's transaction: with those that wait to be sent, or in a
        message of their own, ``channel.every`` seconds after the last."""
        mine = and_(table.c.channel_id == channel.id, table.c.reason == Reason.EVENTS.value)
        waiting = and_(mine, table.c.state == DeliveryState.WAITING.value)
        query = select(table).where(waiting, table.c.attempts == 0).order_by(table.c.id.desc()).limit(1)
        open_row = connection.execute(query).one_or_none()
        stored = [event.as_json() for event in events]
        if open_row is not None:
            together = [*open_row.events, *stored]
            omitted = open_row.omitted + max(0, len(together) - MAX_EVENTS)
            change = update(table).where(table.c.id == open_row.id)
            connection.execute(change.values(events=together[:MAX_EVENTS], omitted=omitted))
            return
        self._make_room(connection, waiting, now)
        last = connection.scalar(select(func.max(table.c.tried_at)).where(mine))
        # A clock that was put back must not hold messages for longer than their distance.
        due = now if last is None else min(max(now, last + channel.every), now + channel.every)
        connection.execute(
            insert(table).values(
                uid=secrets.token_hex(16),
                channel_id=channel.id,
                reason=Reason.EVENTS.value,
                state=DeliveryState.WAITING.value,
                events=stored[:MAX_EVENTS],
                omitted=max(0, len(stored) - MAX_EVENTS),
                created_at=now,
                next_at=due,
            )
        )

    def next_due(self, channel_ids: Collection[int], now: float) -> Delivery | None:
        """The message to send next to one of these channels. While a server cannot be reached, only the
        first message to it is tried again, and the others wait for that."""
        earlier = table.alias()
        blocked = (
            select(earlier.c.id)
            .where(
                earlier.c.channel_id == table.c.channel_id,
                earlier.c.id < table.c.id,
                earlier.c.state == DeliveryState.WAITING.value,
                earlier.c.attempts > 0,
                earlier.c.refused.is_(False),
            )
            .exists()
        )
        query = select(table).where(
            table.c.state == DeliveryState.WAITING.value,
            # A clock that was put back by more than the longest wait is no reason to wait for it.
            or_(table.c.next_at <= now, table.c.next_at > now + GIVE_UP_SECONDS),
            table.c.channel_id.in_(tuple(channel_ids)),
            ~blocked,
        )
        with self._database.work_read() as connection:
            row = connection.execute(query.order_by(table.c.next_at, table.c.id).limit(1)).one_or_none()
        return _delivery(row, "") if row is not None else None

    def begin(self, delivery: Delivery, now: float) -> None:
        """Count an attempt before it is made: if it is killed, the next one comes after a pause."""
        pause = BACKOFF[min(delivery.attempts, len(BACKOFF) - 1)]
        with self._database.work_write() as connection:
            connection.execute(
                update(table)
                .where(table.c.id == delivery.id)
                .values(
                    attempts=delivery.attempts + 1,
                    first_at=func.coalesce(table.c.first_at, now),
                    tried_at=now,
                    next_at=now + pause,
                )
            )

    def settle_partly(self, delivery: Delivery, error: DeliveryError, now: float) -> None:
        """It was accepted, but not for everybody."""
        self.settle_sent(delivery, Answer(error.status, error.answer), now)
        self._change(delivery.id, error=error.reason, remedy=error.remedy)

    def settle_sent(self, delivery: Delivery, answer: Answer, now: float) -> None:
        """It was accepted."""
        self._change(
            delivery.id,
            state=DeliveryState.SENT.value,
            finished_at=now,
            status=answer.status,
            answer=answer.text[:300],
            error="",
            remedy="",
            refused=False,
        )
        self._forget_old(delivery.channel_id)

    def settle_failed(self, delivery: Delivery, error: DeliveryError, now: float) -> bool:
        """It was not accepted: it waits for the next attempt, or is given up. Returns whether it waits."""
        attempts = delivery.attempts + 1
        pause = max(BACKOFF[min(delivery.attempts, len(BACKOFF) - 1)], error.retry_after or 0.0)
        first = delivery.first_at if delivery.first_at is not None else now
        over = now + pause > first + GIVE_UP_SECONDS or (error.refused and attempts >= MAX_REFUSALS)
        self._change(
            delivery.id,
            state=(DeliveryState.FAILED if over else DeliveryState.WAITING).value,
            finished_at=now if over else None,
            next_at=now + pause,
            status=error.status,
            answer=error.answer,
            error=error.reason,
            remedy=error.remedy,
            refused=error.refused,
        )
        if over:
            self._forget_old(delivery.channel_id)
        return not over

    def record_test(
        self, channel: Channel, message: ChannelMessage, answer: Answer, error: DeliveryError | None
    ) -> None:
        """Keep the message of a finished test of a saved channel."""
        with self._database.work_write() as connection:
            connection.execute(
                insert(table).values(
                    uid=message.uid,
                    channel_id=channel.id,
                    reason=Reason.TEST.value,
                    state=(DeliveryState.FAILED if error else DeliveryState.SENT).value,
                    events=[event.as_json() for event in message.events],
                    attempts=1,
                    created_at=message.created_at,
                    next_at=message.created_at,
                    tried_at=message.created_at,
                    finished_at=message.created_at,
                    status=error.status if error else answer.status,
                    answer=error.answer if error else answer.text[:300],
                    error=error.reason if error else "",
                    remedy=error.remedy if error else "",
                )
            )
        self._forget_old(channel.id)

    def list(
        self,
        names: dict[int, str],
        *,
        limit: int = 50,
        before_id: int | None = None,
        failed: bool = False,
    ) -> tuple[Delivery, ...]:
        """The newest deliveries to these channels (names by id), or those older than ``before_id``.
        ``failed``: only those with an error."""
        query = select(table).where(table.c.channel_id.in_(tuple(names))).order_by(table.c.id.desc())
        if before_id is not None:
            query = query.where(table.c.id < clamp_integer(before_id))
        if failed:
            query = query.where(table.c.error != "")
        with self._database.work_read() as connection:
            rows = connection.execute(query.limit(max(1, min(limit, MAX_LISTED)))).all()
        return tuple(_delivery(row, names[row.channel_id]) for row in rows)

    def find(self, number: int) -> Delivery | None:
        """One delivery, without its channel's name; None if there is none."""
        with self._database.work_read() as connection:
            query = select(table).where(table.c.id == clamp_integer(number))
            row = connection.execute(query).one_or_none()
        return _delivery(row, "") if row is not None else None

    def send_again(self, delivery: Delivery, now: float) -> None:
        """Queue a finished or waiting delivery for now, under the same id and with a day of attempts."""
        self._change(
            delivery.id,
            state=DeliveryState.WAITING.value,
            attempts=0,
            next_at=now,
            first_at=None,
            finished_at=None,
            refused=False,
        )

    def forget_channels(self, connection: Connection, kept: Collection[int]) -> None:
        """Delete what belongs to channels that are no more, in the caller's transaction."""
        for each in (table, tests):
            connection.execute(delete(each).where(each.c.channel_id.not_in(tuple(kept))))

    def _make_room(self, connection: Connection, waiting: Any, now: float) -> None:
        rows = connection.scalars(select(table.c.id).where(waiting).order_by(table.c.id.desc())).all()
        for number in rows[MAX_WAITING - 1 :]:
            connection.execute(
                update(table)
                .where(table.c.id == number)
                .values(
                    state=DeliveryState.FAILED.value,
                    finished_at=now,
                    error="Given up: too many newer messages wait for this channel.",
                )
            )

    def _forget_old(self, channel_id: int) -> None:
        finished = and_(table.c.channel_id == channel_id, table.c.state != DeliveryState.WAITING.value)
        newest = select(table.c.id).where(finished).order_by(table.c.id.desc())
        old = newest.offset(MAX_KEPT).limit(1).scalar_subquery()
        with self._database.work_write() as connection:
            connection.execute(delete(table).where(finished, table.c.id <= old))

    def _change(self, number: int, **values: object) -> None:
        with self._database.work_write() as connection:
            connection.execute(update(table).where(table.c.id == number).values(**values))


def _delivery(row: Row[Any], channel: str) -> Delivery:
    events = tuple(Event.from_json(each) for each in row.events)
    title = ChannelMessage(row.uid, "", events, row.omitted, row.created_at, "").title
    return Delivery(
        id=row.id,
        uid=row.uid,
        channel_id=row.channel_id,
        channel=channel,
        reason=Reason(row.reason),
        state=DeliveryState(row.state),
        title=title,
        events=events,
        omitted=row.omitted,
        attempts=row.attempts,
        created_at=row.created_at,
        next_at=row.next_at,
        first_at=row.first_at,
        tried_at=row.tried_at,
        finished_at=row.finished_at,
        status=row.status,
        answer=row.answer,
        error=row.error,
        remedy=row.remedy,
    )
