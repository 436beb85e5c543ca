"""Notifications as services, pages, the API and commands see them. Times are seconds since the epoch."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from dashboard.services.text import printable
from dashboard.storage.probe import Step
from dashboard.storage.types import Secret

MAX_TITLE, MAX_TEXT = 200, 600
"""Characters of a title and of a text that a message holds: servers word some of them."""
MAX_EVENTS = 50
"""Events in one message; of more it says how many."""
EVERY = MappingProxyType({60: "a minute", 900: "15 minutes", 3600: "an hour", 86_400: "a day"})
"""The shortest time between two messages of a channel, in seconds, and in words."""

_BIDI = re.compile("[\u200e\u200f\u061c\u202a-\u202e\u2066-\u2069]")
_SPACES = re.compile(r"\s+")
_URL = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)(?:[^\s/?#@]*@)?([^\s?#]*)(?:[?#]\S*)?")


class ChannelKind(StrEnum):
    """How a channel is spoken to."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    EMAIL = "email"


class EventKind(StrEnum):
    """What a channel can be told about."""

    BACKEND_DOWN = "backend_down"
    BACKEND_IMPAIRED = "backend_impaired"
    MIGRATION_FAILED = "migration_failed"
    MIGRATION_PAUSED = "migration_paused"
    MIGRATION_FINISHED = "migration_finished"
    OBJECTS_FAILED = "objects_failed"
    WAITING_WRITES = "waiting_writes"
    DISK_FULL = "disk_full"
    BACKUP = "backup"
    KEY_ROTATION = "key_rotation"
    SIGN_IN_LOCKED = "sign_in_locked"
    RUNNER = "runner"
    TEST = "test"
    """Only in messages of a test."""


EVENT_LABELS: Mapping[EventKind, str] = MappingProxyType(
    {
        EventKind.BACKEND_DOWN: "A backend is down, or up again",
        EventKind.BACKEND_IMPAIRED: "A backend is slow, or cannot be written to",
        EventKind.MIGRATION_FAILED: "A migration stopped because of an error",
        EventKind.MIGRATION_PAUSED: "A migration was paused by an error",
        EventKind.MIGRATION_FINISHED: "A migration finished",
        EventKind.OBJECTS_FAILED: "Objects failed in a migration that finished",
        EventKind.WAITING_WRITES: "Writes wait for a backend, or were overtaken or lost",
        EventKind.DISK_FULL: "A disk is nearly full",
        EventKind.BACKUP: "A backup of the console failed or is overdue",
        EventKind.KEY_ROTATION: "The key should be rotated",
        EventKind.SIGN_IN_LOCKED: "Sign-ins are locked after failed attempts",
        EventKind.RUNNER: "The runner was not working, or is late",
    }
)
"""What can be chosen, in the order of the form."""
DEFAULT_EVENTS = frozenset(EVENT_LABELS) - {EventKind.BACKEND_IMPAIRED}


class Phase(StrEnum):
    """What an event says of its cause: it began, it is still there, it ended; or it happened once."""

    BEGAN = "began"
    REMINDER = "reminder"
    ENDED = "ended"
    HAPPENED = "happened"


class Reason(StrEnum):
    """Why there is a delivery."""

    EVENTS = "events"
    TEST = "test"


class DeliveryState(StrEnum):
    """How far a delivery is."""

    WAITING = "waiting"
    SENT = "sent"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that is told. ``key`` names its cause: the same when it begins, is repeated and ends.
    ``tone``: bad, warn, info or ok. ``path``: the page of the console, without its address. ``subject``: the
    backend or the number of the migration concerned, or nothing."""

    kind: EventKind
    phase: Phase
    key: str
    tone: str
    title: str
    text: str
    at: float
    since: float | None = None
    path: str = ""
    subject: str = ""

    def as_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> Event:
        """The reverse of :meth:`as_json`."""
        values = {**found, "kind": EventKind(found["kind"]), "phase": Phase(found["phase"])}
        return cls(**values)


def clean(text: str, limit: int = MAX_TEXT) -> str:
    """Text from elsewhere as one line: without control characters, marks that turn the direction of writing,
    passwords and queries in addresses, and at most ``limit`` characters long."""
    line = _SPACES.sub(" ", _BIDI.sub("", text)).strip()
    line = printable(_URL.sub(r"\1\2", line))
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """What one delivery says. ``uid`` stays the same when it is sent again; ``console``: the address of the
    console, or nothing; ``omitted``: how many events there were beside these."""

    uid: str
    channel: str
    events: tuple[Event, ...]
    omitted: int
    created_at: float
    console: str

    @property
    def title(self) -> str:
        """One line for all of it."""
        count = len(self.events) + self.omitted
        if count == 1:
            return self.events[0].title
        begun = [e for e in self.events if e.phase is not Phase.ENDED and e.tone in ("bad", "warn")]
        first = (begun or list(self.events))[0]
        return f"{first.title}, and {count - 1:,} more"

    def link(self, event: Event) -> str:
        """The page of the console about an event, or nothing where the console's address is not known."""
        return f"{self.console}{event.path}" if self.console and event.path else ""


@dataclass(frozen=True, slots=True)
class ChannelDraft:
    """A channel as typed. ``existing``: the name of the saved one that is changed; absent or empty secrets
    then keep their value, if they are still sent to the same place. ``version``: the one that the form
    showed, or None."""

    name: str
    kind: ChannelKind
    options: Mapping[str, str] = field(default_factory=dict)
    secrets: Mapping[str, Secret] = field(default_factory=dict)
    events: frozenset[EventKind] = DEFAULT_EVENTS
    every: int = 60
    reminders: bool = False
    enabled: bool = True
    existing: str = ""
    version: int | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """A saved channel, without its secrets: of each, ``hints`` has the last characters, or nothing."""

    id: int
    name: str
    kind: ChannelKind
    options: Mapping[str, str]
    hints: Mapping[str, str]
    events: frozenset[EventKind]
    every: int
    reminders: bool
    enabled: bool
    muted_until: float | None
    version: int
    created_by: str
    created_at: float

    def is_muted(self, now: float) -> bool:
        """Whether messages wait."""
        return self.muted_until is not None and self.muted_until > now

    @property
    def destination(self) -> str:
        """Where it goes, without what is secret."""
        return self.options.get("origin") or self.options.get("to", "")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message to one channel, and what became of it. ``status``: the status code of the last answer."""

    id: int
    uid: str
    channel_id: int
    channel: str
    reason: Reason
    state: DeliveryState
    title: str
    events: tuple[Event, ...]
    omitted: int
    attempts: int
    created_at: float
    next_at: float
    first_at: float | None
    tried_at: float | None
    finished_at: float | None
    status: int | None
    answer: str
    error: str
    remedy: str


@dataclass(frozen=True, slots=True)
class KeptChannelTest:
    """The last test of a channel, with its steps."""

    at: float
    tested_by: str
    passed: bool
    steps: tuple[Step, ...]
