"""Notifications: the channels, their tests, and what was sent to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from flask import url_for

from dashboard.services.notifications.notification_values import (
    DEFAULT_EVENTS,
    Channel,
    ChannelDraft,
    ChannelKind,
    Delivery,
    EventKind,
)
from dashboard.services.permissions import Permission
from dashboard.storage.probe import Step
from dashboard.storage.types import Secret
from dashboard.web.api import cursors
from dashboard.web.api.cursors import Page
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource(
    "Notifications", "Who is told what happens: channels by webhook, Slack-compatible webhook and e-mail."
)

LOCATION = Header("Location", "Where the test is.", required=True)
_ALL = tuple(sorted(DEFAULT_EVENTS))


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """A channel to add, to replace or to test. `options` of e-mail: `host`, `port`, `security`, `username`,
    `from`, `to`; of all kinds `authority`. `secrets`: `url` and `secret` of a webhook, `url` of Slack,
    `password` of e-mail; those that are left out stay as they are. `every`: seconds between two messages.
    `version`: the one that you have seen; if it has changed since, nothing is saved."""

    name: Annotated[str, Field(maximum_length=63)]
    kind: ChannelKind
    options: Annotated[Mapping[str, str], Field(maximum_length=70_000, maximum_items=10)] = field(
        default_factory=dict
    )
    secrets: Annotated[Mapping[str, Secret], Field(maximum_length=2048, maximum_items=3)] = field(
        default_factory=dict
    )
    events: Annotated[tuple[EventKind, ...], Field(maximum_items=20)] = _ALL
    every: int = 60
    reminders: bool = False
    enabled: bool = True
    version: int | None = None


@dataclass(frozen=True, slots=True)
class TestedChannel(ChannelSettings):
    """A channel to test before it is saved. `existing`: the saved one whose secrets it keeps."""

    existing: Annotated[str, Field(maximum_length=63)] = ""


@dataclass(frozen=True, slots=True)
class ChannelDetails:
    """A saved channel. `destination`: scheme, host and port of a webhook, or the recipients. `hints`: the
    last characters of each secret, or nothing. Times in seconds since the epoch."""

    name: str
    kind: ChannelKind
    destination: str
    options: Mapping[str, str]
    hints: Mapping[str, str]
    events: tuple[EventKind, ...]
    every: int
    reminders: bool
    enabled: bool
    muted_until: float | None
    version: int
    created_by: str
    created_at: float


@dataclass(frozen=True, slots=True)
class ChannelList:
    """All channels, by name."""

    channels: tuple[ChannelDetails, ...]


@dataclass(frozen=True, slots=True)
class SavedChannel:
    """`key`: the key for signatures that was made for it, which is shown this once; else null."""

    channel: ChannelDetails
    key: str | None


@dataclass(frozen=True, slots=True)
class Muting:
    """For how long messages are held back; null ends it."""

    hours: float | None = None


@dataclass(frozen=True, slots=True)
class ChannelTestDetails:
    """A test of a channel, which really sends a message."""

    id: str
    steps: tuple[Step, ...]
    finished: bool
    passed: bool


@dataclass(frozen=True, slots=True)
class DeliveryPage(Page):
    """Which deliveries."""

    channel: Annotated[str, Field("Only those to this channel.")] = ""
    failed: Annotated[bool, Field("Only those with an error.")] = False


@dataclass(frozen=True, slots=True)
class DeliveryList:
    """A page of deliveries, newest first."""

    deliveries: tuple[Delivery, ...]
    next_cursor: str | None


@resource.route("GET", "/notifications/channels", Permission.CONFIGURE, returns=ChannelList)
def channels() -> ChannelList:
    """Return all channels, without their secrets."""
    return ChannelList(tuple(_details(each) for each in services().notifications.channels.list()))


@resource.route(
    "POST",
    "/notifications/channels",
    Permission.CONFIGURE,
    body=ChannelSettings,
    returns=SavedChannel,
    status=201,
    errors={503: "Sealed."},
)
def add(body: ChannelSettings) -> SavedChannel:
    """Add a channel. A webhook without a key for signatures gets one."""
    return _save(body, "")


@resource.route("GET", "/notifications/channels/<name>", Permission.CONFIGURE, returns=ChannelDetails)
def show(name: str) -> ChannelDetails:
    """Return a channel, without its secrets."""
    return _details(services().notifications.channels.get(name))


@resource.route(
    "PUT",
    "/notifications/channels/<name>",
    Permission.CONFIGURE,
    body=ChannelSettings,
    returns=SavedChannel,
    errors={409: "It was changed since.", 503: "Sealed."},
)
def replace(name: str, body: ChannelSettings) -> SavedChannel:
    """Replace the settings of a channel. Secrets that are left out stay, unless they would go elsewhere."""
    return _save(body, name)


@resource.route("DELETE", "/notifications/channels/<name>", Permission.CONFIGURE, status=204)
def remove(name: str) -> None:
    """Remove a channel and its secrets. What was not sent yet is not sent."""
    services().notifications.channels.remove(actor(), name)


@resource.route(
    "POST", "/notifications/channels/<name>/mute", Permission.CONFIGURE, body=Muting, returns=ChannelDetails
)
def mute(name: str, body: Muting) -> ChannelDetails:
    """Hold messages back for up to 720 hours, or no longer. What is still so is told afterwards."""
    return _details(services().notifications.channels.mute(actor(), name, body.hours))


@resource.route(
    "POST",
    "/notifications/channels/<name>/test",
    Permission.CONFIGURE,
    returns=ChannelTestDetails,
    status=202,
    response_headers=(LOCATION,),
    errors={429: "Too many tests are under way.", 503: "Sealed."},
)
def test_saved(name: str) -> Reply:
    """Send a test message to a saved channel."""
    return _started(services().notifications.tests.start(actor(), name))


@resource.route(
    "POST",
    "/notifications/tests",
    Permission.CONFIGURE,
    body=TestedChannel,
    returns=ChannelTestDetails,
    status=202,
    response_headers=(LOCATION,),
    errors={404: "There is no such channel to change.", 429: "Too many tests are under way.", 503: "Sealed."},
)
def test_draft(body: TestedChannel) -> Reply:
    """Send a test message to a channel before it is saved."""
    return _started(services().notifications.tests.start(actor(), _draft(body, body.existing)))


@resource.route("GET", "/notifications/tests/<id>", Permission.CONFIGURE, returns=ChannelTestDetails)
def show_test(id: str) -> ChannelTestDetails:
    """Return the steps of a test that the same user started."""
    return _test(id)


@resource.route(
    "GET",
    "/notifications/deliveries",
    Permission.CONFIGURE,
    query=DeliveryPage,
    returns=DeliveryList,
    errors={404: "There is no such channel."},
)
def deliveries(query: DeliveryPage) -> DeliveryList:
    """List what was sent and what is still to be sent, newest first. Of each channel the last 100 are
    kept."""
    position = cursors.decode(query.cursor, "deliveries", int)
    found = services().notifications.deliveries(
        query.channel, limit=query.limit + 1, before_id=position[0] if position else None, failed=query.failed
    )
    shown, more = cursors.page_of(found, query.limit)
    return DeliveryList(tuple(shown), cursors.encode("deliveries", shown[-1].id) if more else None)


@resource.route(
    "POST",
    "/notifications/deliveries/<int:id>/send-again",
    Permission.CONFIGURE,
    returns=Delivery,
    status=202,
)
def send_again(id: int) -> Reply:
    """Send a message once more, now, under the same id."""
    return Reply(services().notifications.send_again(actor(), id), 202)


def _save(body: ChannelSettings, existing: str) -> SavedChannel:
    saved = services().notifications.channels.save(actor(), _draft(body, existing))
    return SavedChannel(_details(saved.channel), saved.made_key.reveal() if saved.made_key else None)


def _draft(body: ChannelSettings, existing: str) -> ChannelDraft:
    return ChannelDraft(
        name=body.name,
        kind=body.kind,
        options=body.options,
        secrets=body.secrets,
        events=frozenset(body.events),
        every=body.every,
        reminders=body.reminders,
        enabled=body.enabled,
        existing=existing,
        version=body.version if existing else None,
    )


def _started(test: str) -> Reply:
    return Reply(_test(test), 202, {"Location": url_for(".notifications_show_test", id=test)})


def _test(test: str) -> ChannelTestDetails:
    run = services().notifications.tests.get(actor(), test)
    return ChannelTestDetails(test, run.steps, run.finished, run.passed)


def _details(channel: Channel) -> ChannelDetails:
    return ChannelDetails(
        name=channel.name,
        kind=channel.kind,
        destination=channel.destination,
        options={name: value for name, value in channel.options.items() if name != "origin"},
        hints=channel.hints,
        events=tuple(sorted(channel.events)),
        every=channel.every,
        reminders=channel.reminders,
        enabled=channel.enabled,
        muted_until=channel.muted_until,
        version=channel.version,
        created_by=channel.created_by,
        created_at=channel.created_at,
    )
