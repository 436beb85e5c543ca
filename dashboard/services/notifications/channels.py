"""The channels: added, changed, muted and removed, with their secrets sealed."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, selectinload

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.notifications import NotificationChannel, NotificationSecret
from dashboard.services.audit import AuditLog, shorten
from dashboard.services.database import Database
from dashboard.services.keys import Keys
from dashboard.services.notifications.channel_rules import (
    KeptSecret,
    Resolved,
    check_name,
    check_timing,
    recipient_of,
    resolve,
)
from dashboard.services.notifications.notification_values import (
    Channel,
    ChannelDraft,
    ChannelKind,
    EventKind,
)
from dashboard.services.permissions import Actor, Permission
from dashboard.services.sealed_rows import binding_of_notification_secret
from dashboard.storage.types import Secret

MAX_CHANNELS = 50
MAX_MUTE_HOURS = 24 * 30
_HINTED = ("url", "secret")
"""Made by programs, so their ends may be shown; a person chose the password."""
_MIN_HINTED, _HINT = 16, 4


@dataclass(frozen=True, slots=True)
class Saved:
    """A channel that was added or changed. ``made_key``: the key for signatures that was made for it, to be
    shown once, or None."""

    channel: Channel
    made_key: Secret | None = None


class Channels:
    """Thread-safe; every call is one short transaction. All changes need the permission ``configure``."""

    def __init__(
        self, database: Database, audit: AuditLog, keys: Keys, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._audit = audit
        self._keys = keys
        self._clock = clock

    def list(self) -> tuple[Channel, ...]:
        """All of them, by name."""
        query = select(NotificationChannel).order_by(NotificationChannel.name)
        with self._database.read() as session:
            rows = session.scalars(query.options(selectinload(NotificationChannel.secrets)))
            return tuple(_channel(row) for row in rows)

    def ids(self) -> frozenset[int]:
        """Of all of them."""
        with self._database.read() as session:
            return frozenset(session.scalars(select(NotificationChannel.id)))

    def get(self, name: str) -> Channel:
        """One channel. Raises ``NOT_FOUND``."""
        with self._database.read() as session:
            return _channel(_row(session, name))

    def save(self, actor: Actor, draft: ChannelDraft) -> Saved:
        """Add a channel, or change ``draft.existing``. A webhook without a key for signatures gets one.

        Raises ``InvalidInput`` naming the field, ``NOT_FOUND``, and ``CONFLICT`` if it was changed since
        ``draft.version``.
        """
        actor.require(Permission.CONFIGURE)
        resolved = self.resolve(actor, draft)
        made = None
        if resolved.kind is ChannelKind.WEBHOOK and "secret" not in resolved.secrets:
            made = Secret(secrets.token_urlsafe(32))
            resolved = Resolved(resolved.kind, resolved.options, {**resolved.secrets, "secret": made})
        try:
            with self._database.write() as session:
                row = self._find_or_make(session, draft, actor.name)
                self._record(session, actor, draft, row)
                _copy(row, draft, resolved)
                session.add(row)
                session.flush()
                self._seal(session, row, resolved.secrets)
                session.flush()
                return Saved(_channel(row), made)
        except IntegrityError:
            raise InvalidInput("name", f"There is already a channel “{draft.name}”.") from None

    def resolve(self, actor: Actor, draft: ChannelDraft) -> Resolved:
        """Check a draft without saving it. Raises what :meth:`save` raises."""
        actor.require(Permission.CONFIGURE)
        check_name(draft.name)
        check_timing(draft)
        kept: Mapping[str, KeptSecret] = {}
        with self._database.read() as session:
            if draft.existing:
                row = _row(session, draft.existing)
                _refuse_other(row, draft)
                kept = self._open(row)
            taken = select(NotificationChannel.id).where(NotificationChannel.name == draft.name)
            if draft.name != draft.existing and session.scalar(taken) is not None:
                raise InvalidInput("name", f"There is already a channel “{draft.name}”.")
        return resolve(draft, kept)

    def target(self, channel_id: int) -> Resolved:
        """A saved channel with its secrets opened, for sending. Raises ``NOT_FOUND``, ``SEALED``, and
        ``DAMAGED`` for a secret that was moved or whose server was changed outside Stowage."""
        # A rotation may reseal between reading the row and opening its secrets.
        for last in (False, True):
            with self._database.read() as session:
                row = session.get(NotificationChannel, channel_id)
                if row is None:
                    raise _not_found("")
                kind, options = ChannelKind(row.kind), dict(row.options)
                try:
                    kept = self._open(row)
                except StowageError as error:
                    if last or error.kind is not Kind.SEALED:
                        raise
                    continue
            for name, each in kept.items():
                if each.sent_to != recipient_of(kind, options, name):
                    raise StowageError(
                        Kind.DAMAGED,
                        "Where this channel goes was changed outside Stowage: nothing secret is sent.",
                        operation="notify",
                        subject=row.name,
                        remedy="Look at its settings, and enter its password again.",
                        retryable=False,
                    )
            return Resolved(kind, options, {name: each.value for name, each in kept.items()})
        raise AssertionError("unreachable")

    def remove(self, actor: Actor, name: str) -> int:
        """Remove a channel and its secrets; return its id. What was not sent yet is not sent."""
        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = _row(session, name)
            session.delete(row)
            self._audit.record(session, actor, "notification.remove", name)
            return row.id

    def mute(self, actor: Actor, name: str, hours: float | None) -> Channel:
        """Hold messages back for some hours (at most 30 days), or no longer with None. What happened
        meanwhile is told afterwards, as far as it is still so."""
        actor.require(Permission.CONFIGURE)
        if hours is not None and not 0 < hours <= MAX_MUTE_HOURS:
            raise InvalidInput("hours", f"A channel can be muted for up to {MAX_MUTE_HOURS} hours.")
        with self._database.write() as session:
            row = _row(session, name)
            row.muted_until = self._clock() + hours * 3600 if hours is not None else None
            action = "notification.mute" if hours is not None else "notification.unmute"
            detail = {"hours": f"{hours:g}"} if hours is not None else {}
            self._audit.record(session, actor, action, name, **detail)
            return _channel(row)

    def _find_or_make(self, session: Session, draft: ChannelDraft, created_by: str) -> NotificationChannel:
        if draft.existing:
            row = _row(session, draft.existing)
            _refuse_other(row, draft)
            return row
        if (session.scalar(select(func.count(NotificationChannel.id))) or 0) >= MAX_CHANNELS:
            raise InvalidInput("name", f"There can be {MAX_CHANNELS} channels; remove one first.")
        return NotificationChannel(
            kind=draft.kind.value,
            muted_until=None,
            version=0,
            created_by=created_by[:64],
            created_at=self._clock(),
        )

    def _record(self, session: Session, actor: Actor, draft: ChannelDraft, row: NotificationChannel) -> None:
        """Before the row is changed. Neither an address nor its end is written down."""
        if not draft.existing:
            self._audit.record(session, actor, "notification.add", draft.name, kind=draft.kind.value)
            return
        was = _shown(_channel(row))
        now = _shown(draft) | ({"to": draft.options["to"]} if "to" in draft.options else {})
        changed = {name: now[name] for name in now if now[name] != was.get(name, "")}
        changed |= {f"before.{name}": was.get(name, "") for name in changed}
        replaced = ", ".join(sorted(name for name, value in draft.secrets.items() if value))
        renamed = draft.name if draft.name != draft.existing else ""
        extra = {"secrets": replaced, "renamed_to": renamed}
        changed |= {name: value for name, value in extra.items() if value}
        self._audit.record(session, actor, "notification.edit", draft.existing, **changed)

    def _seal(self, session: Session, row: NotificationChannel, values: Mapping[str, Secret]) -> None:
        present = {each.name: each for each in row.secrets}
        for name in present.keys() - values.keys():
            row.secrets.remove(present[name])
        kind = ChannelKind(row.kind)
        options = dict(row.options)
        for name, value in values.items():
            sent_to = recipient_of(kind, options, name)
            binding = binding_of_notification_secret(row.id, name, sent_to)
            sealed, hint = self._keys.seal(session, value, binding), _hint(name, value)
            if name in present:
                present[name].sealed, present[name].sent_to, present[name].hint = sealed, sent_to, hint
            else:
                row.secrets.append(NotificationSecret(name=name, sealed=sealed, sent_to=sent_to, hint=hint))

    def _open(self, row: NotificationChannel) -> dict[str, KeptSecret]:
        return {
            each.name: KeptSecret(
                each.sent_to,
                self._keys.open(each.sealed, binding_of_notification_secret(row.id, each.name, each.sent_to)),
            )
            for each in row.secrets
        }


def _copy(row: NotificationChannel, draft: ChannelDraft, resolved: Resolved) -> None:
    row.name, row.options = draft.name, dict(resolved.options)
    row.events = sorted(each.value for each in draft.events)
    row.every, row.reminders, row.enabled = draft.every, draft.reminders, draft.enabled
    row.version += 1


def _refuse_other(row: NotificationChannel, draft: ChannelDraft) -> None:
    if row.kind != draft.kind.value:
        raise InvalidInput("kind", "The kind of a channel stays; add another one instead.")
    if draft.version is not None and draft.version != row.version:
        raise StowageError(
            Kind.CONFLICT,
            f"Somebody else changed “{row.name}” meanwhile.",
            operation="edit channel",
            subject=row.name,
            remedy="Open the form again and repeat the change.",
        )


def _shown(found: Channel | ChannelDraft) -> dict[str, str]:
    """What the audit log says of a channel: nothing that an address or a password can be told from."""
    shown = {
        "events": ", ".join(sorted(each.value for each in found.events)),
        "every": str(found.every),
        "reminders": "on" if found.reminders else "off",
        "enabled": "on" if found.enabled else "off",
    }
    return shown | {name: found.options[name] for name in ("host", "to") if name in found.options}


def _hint(name: str, value: Secret) -> str:
    plain = value.reveal()
    return plain[-_HINT:] if name in _HINTED and len(plain) >= _MIN_HINTED else ""


def _row(session: Session, name: str) -> NotificationChannel:
    row = session.scalar(select(NotificationChannel).where(NotificationChannel.name == name[:64]))
    if row is None:
        raise _not_found(name)
    return row


def _not_found(name: str) -> StowageError:
    shown = shorten(name)
    return StowageError(
        Kind.NOT_FOUND,
        f"There is no channel “{shown}”." if shown else "This channel was removed.",
        operation="channel",
        subject=shown,
        remedy="See Settings, Notifications for the channels there are.",
    )


def _channel(row: NotificationChannel) -> Channel:
    return Channel(
        id=row.id,
        name=row.name,
        kind=ChannelKind(row.kind),
        options=dict(row.options),
        hints={each.name: each.hint for each in row.secrets},
        events=frozenset(map(EventKind, row.events)),
        every=row.every,
        reminders=row.reminders,
        enabled=row.enabled,
        muted_until=row.muted_until,
        version=row.version,
        created_by=row.created_by,
        created_at=row.created_at,
    )
