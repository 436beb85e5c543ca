"""The form of a channel: what a template draws, and parsing what was submitted into a draft.

Secrets go one way only, from the request into a ``Secret``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from werkzeug.datastructures import MultiDict

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.notifications.notification_values import (
    DEFAULT_EVENTS,
    Channel,
    ChannelDraft,
    ChannelKind,
    EventKind,
)
from dashboard.storage.types import Secret
from dashboard.web.context import services
from dashboard.web.expired_form import SECRET_PREFIX
from dashboard.web.numbers import parse_integer

OPTION_PREFIX = "option."
_MAX_TEXT = 70_000
_SECRETS = ("url", "secret", "password")


@dataclass(frozen=True, slots=True)
class ChannelForm:
    """A form as it is drawn. ``values``: options by name; ``hints``: the ends of stored secrets; ``lost``:
    secrets that were typed and have to be typed again, because no page sends one back."""

    kind: ChannelKind
    name: str
    values: Mapping[str, str]
    events: frozenset[str]
    every: int = 60
    reminders: bool = False
    enabled: bool = True
    channel: Channel | None = None
    version: int = 0
    error: StowageError | None = None
    lost: frozenset[str] = field(default_factory=frozenset)

    @property
    def hints(self) -> Mapping[str, str]:
        """The ends of stored secrets by name."""
        return self.channel.hints if self.channel else {}

    @property
    def existing(self) -> str:
        """The name of the saved channel, or nothing."""
        return self.channel.name if self.channel else ""

    def error_of(self, name: str) -> StowageError | None:
        """The error of one field."""
        return self.error if self.error is not None and self.error.subject == name else None

    @property
    def other_error(self) -> StowageError | None:
        """The error, if it belongs to no field of the form."""
        known = {
            "name",
            "events",
            "every",
            *_SECRETS,
            *self.values,
            "host",
            "port",
            "from",
            "to",
            "authority",
        }
        known |= {"security", "username"}
        return self.error if self.error is not None and self.error.subject not in known else None


def empty(kind: ChannelKind) -> ChannelForm:
    """The form of a new channel, with a name that is free."""
    taken = {each.name for each in services().notifications.channels.list()}
    names = (kind.value, *(f"{kind.value}-{number}" for number in range(2, 100)))
    values = {"security": "starttls"} if kind is ChannelKind.EMAIL else {}
    events = frozenset(each.value for each in DEFAULT_EVENTS)
    return ChannelForm(kind, next(name for name in names if name not in taken), values, events)


def of_channel(channel: Channel) -> ChannelForm:
    """The form of a saved channel."""
    return ChannelForm(
        channel.kind,
        channel.name,
        channel.options,
        frozenset(each.value for each in channel.events),
        channel.every,
        channel.reminders,
        channel.enabled,
        channel,
        channel.version,
    )


def submitted(form: MultiDict[str, str], error: StowageError) -> ChannelForm:
    """The form with what was typed, except secrets, and the error. Raises ``NOT_FOUND``."""
    existing = form.get("existing", "")
    every = form.get("every", "")
    return ChannelForm(
        kind=_kind(form),
        name=form.get("name", "").strip()[:200],
        values=_options(form),
        events=frozenset(form.getlist("events")),
        every=int(every) if every.isascii() and every.isdecimal() and len(every) < 8 else 60,
        reminders="reminders" in form,
        enabled="enabled" in form,
        channel=services().notifications.channels.get(existing) if existing else None,
        version=parse_integer(form, "version") or 0,
        error=error,
        lost=frozenset(name for name in _SECRETS if form.get(SECRET_PREFIX + name)),
    )


def draft(form: MultiDict[str, str]) -> ChannelDraft:
    """What was submitted. Raises ``InvalidInput``."""
    chosen = form.getlist("events")
    unknown = set(chosen) - {each.value for each in EventKind if each is not EventKind.TEST}
    if unknown:
        raise InvalidInput("events", "There is no such event.")
    every = form.get("every", "60")
    if not (every.isascii() and every.isdecimal() and len(every) < 8):
        raise InvalidInput("every", "Choose one of the list.")
    typed = {name: form.get(SECRET_PREFIX + name, "") for name in _SECRETS}
    # An address that is pasted often brings a space along; a password may begin with one.
    typed["url"] = typed["url"].strip()
    return ChannelDraft(
        name=form.get("name", "").strip(),
        kind=_kind(form),
        options=_options(form),
        secrets={name: Secret(value) for name, value in typed.items() if value},
        events=frozenset(map(EventKind, chosen)),
        every=int(every),
        reminders="reminders" in form,
        enabled="enabled" in form,
        existing=form.get("existing", ""),
        version=parse_integer(form, "version") if form.get("existing") else None,
    )


def field_id(subject: str) -> str:
    """The id of the field that an error is about."""
    return f"field-{subject}" if subject else ""


def _kind(form: MultiDict[str, str]) -> ChannelKind:
    kind = form.get("kind", "")
    if kind not in set(ChannelKind):
        raise InvalidInput("kind", "There is no such kind of channel.", remedy="Choose one of the list.")
    return ChannelKind(kind)


def _options(form: MultiDict[str, str]) -> dict[str, str]:
    prefix = OPTION_PREFIX
    return {
        name.removeprefix(prefix): value[:_MAX_TEXT]
        for name, value in form.items()
        if name.startswith(prefix)
    }
