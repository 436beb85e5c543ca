"""Backends: adding, editing, ordering and removing them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated

from flask import url_for

from dashboard.errors import InvalidInput
from dashboard.services.backends.backends import Draft
from dashboard.services.backends.drafts import options_to_keep
from dashboard.services.backends.queries import MAX_FALLBACK
from dashboard.services.database import MAX_INTEGER
from dashboard.services.permissions import Permission
from dashboard.services.switching.activation import Switch
from dashboard.storage.registry import find_preset
from dashboard.storage.types import Secret
from dashboard.web.api import backends, etags
from dashboard.web.api.backends import BackendDetails
from dashboard.web.api.etags import ETAG, IF_MATCH
from dashboard.web.api.routes import Header, Reply, Resource
from dashboard.web.api.schemas import Field
from dashboard.web.context import actor, services

resource = Resource("Backend changes", "Adding, editing, ordering and removing backends.")

Name = Annotated[
    str,
    Field("1 to 63 lowercase letters, digits and hyphens; the first is no hyphen.", maximum_length=63),
]
Options = Annotated[
    Mapping[str, str],
    Field("By name, see the provider; “true” or “false” for a switch.", maximum_items=200),
]
Secrets = Annotated[Mapping[str, Secret], Field("By name. Never returned.", maximum_items=50)]


@dataclass(frozen=True, slots=True)
class NewBackend:
    """A backend to add. Options that are left out have the provider's defaults."""

    name: Name
    preset: Annotated[str, Field("The provider's name.", maximum_length=64)]
    options: Options = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BackendChange:
    """Changes to a backend; what is left out stays as it is. A secret must be sent again if the change
    decides where it is sent."""

    name: Annotated[str | None, Field("A new name.", maximum_length=63)] = None
    preset: Annotated[
        str | None, Field("Another provider of the same kind of storage.", maximum_length=64)
    ] = None
    options: Options = field(default_factory=dict)
    secrets: Secrets = field(default_factory=dict)
    clear_secrets: Annotated[
        tuple[str, ...], Field("Names of secrets to remove.", maximum_items=50, maximum_length=64)
    ] = ()


@dataclass(frozen=True, slots=True)
class ActiveSwitch:
    """How to make a backend the active one; all of it may be left out."""

    keep_former: Annotated[
        bool, Field("Whether the backend that was active becomes the first of the fallback order.")
    ] = True
    missing: Annotated[
        int | None,
        Field(
            "The number of files that will not be found, as a comparison of the last ten minutes says; "
            "needed if there are any and the former backend is not kept.",
            minimum=0,
            maximum=MAX_INTEGER,
        ),
    ] = None
    override: Annotated[
        str, Field("The backend's name, to make it active without a test.", maximum_length=63)
    ] = ""
    seen_active: Annotated[
        str | None,
        Field(
            "The backend that you take for the active one; if another is, nothing changes.", maximum_length=63
        ),
    ] = None


@dataclass(frozen=True, slots=True)
class FallbackOrder:
    """Which backends a read tries next, by name and in this order."""

    names: Annotated[tuple[str, ...], Field(maximum_items=MAX_FALLBACK, maximum_length=63)]


@dataclass(frozen=True, slots=True)
class ReadOnlyState:
    """Whether this console refuses every write to the backend."""

    read_only: bool


@resource.route(
    "POST",
    "/backends",
    Permission.CONFIGURE,
    body=NewBackend,
    returns=BackendDetails,
    status=201,
    response_headers=(ETAG, Header("Location", "Its address.")),
    storage=True,
)
def add(body: NewBackend) -> Reply:
    """Add a backend.

    Nothing is sent to its server yet; a first check and count are queued. To try it before, see “Tests”.
    """
    check_secrets(body.secrets)
    added = services().backends.add(actor(), draft(body))
    return backends.reply(added, 201, Location=url_for(".backends_show", name=added.name))


@resource.route(
    "PATCH",
    "/backends/<name>",
    Permission.CONFIGURE,
    body=BackendChange,
    returns=BackendDetails,
    headers=(IF_MATCH,),
    response_headers=(ETAG,),
    errors=etags.ERRORS,
    storage=True,
)
def edit(name: str, body: BackendChange) -> Reply:
    """Edit a backend."""
    before = services().backends.get(name)
    etags.check_version(before.version)
    check_secrets(body.secrets)
    preset = find_preset(body.preset or before.preset)
    change = Draft(
        name=body.name if body.name is not None else name,
        preset=preset.name,
        options={**options_to_keep(before, preset), **body.options},
        secrets=body.secrets,
        existing=name,
        version=before.version,
        cleared=frozenset(body.clear_secrets),
    )
    return backends.reply(services().backends.edit(actor(), change))


@resource.route(
    "PUT",
    "/backends/<name>/read-only",
    Permission.CONFIGURE,
    body=ReadOnlyState,
    returns=BackendDetails,
    response_headers=(ETAG,),
    errors={409: "Unfinished migrations write to it; they are named."},
)
def set_read_only(name: str, body: ReadOnlyState) -> Reply:
    """Refuse every write of this console to a backend, or allow them again.

    Not for the active backend. Other programs are not affected.
    """
    return backends.reply(services().backends.set_read_only(actor(), name, on=body.read_only))


@resource.route("DELETE", "/backends/<name>", Permission.CONFIGURE, status=204)
def remove(name: str) -> None:
    """Remove a backend and its secrets.

    Its objects stay where they are. The active backend, and one that an unfinished migration uses, cannot be
    removed.
    """
    services().backends.remove(actor(), name)


@resource.route(
    "POST",
    "/backends/<name>/activate",
    Permission.CONFIGURE,
    body=ActiveSwitch,
    returns=BackendDetails,
    response_headers=(ETAG,),
    errors={409: "It is read-only or does not take files, or either backend was changed meanwhile."},
    storage=True,
)
def activate(name: str, body: ActiveSwitch) -> Reply:
    """Make this the backend that new files go to.

    It is tested first: a small object is written, read back and removed. The backend that was active becomes
    the first of the fallback order in the same step, so that every file is still found. A comparison says
    beforehand what this one lacks.
    """
    switch = Switch(
        keep_former=body.keep_former,
        missing=body.missing,
        override=body.override,
        seen_active=body.seen_active,
    )
    services().activation.activate(actor(), name, switch)
    return backends.reply(services().backends.get(name))


@resource.route("GET", "/fallback-order", Permission.VIEW, returns=FallbackOrder)
def fallback_order() -> FallbackOrder:
    """Return which backends a read tries next."""
    return FallbackOrder(tuple(each.name for each in services().backends.summary().fallback))


@resource.route(
    "PUT",
    "/fallback-order",
    Permission.CONFIGURE,
    body=FallbackOrder,
    returns=FallbackOrder,
    errors={404: "There is no backend of this name."},
)
def set_fallback_order(body: FallbackOrder) -> FallbackOrder:
    """Set which backends a read tries next; the others are not tried.

    The active backend comes first in any case.
    """
    services().backends.fallback_order(actor(), body.names)
    return body


def draft(body: NewBackend, existing: str | None = None) -> Draft:
    """A new backend as the services take it."""
    return Draft(body.name, body.preset, body.options, body.secrets, existing=existing)


def check_secrets(secrets: Mapping[str, Secret]) -> None:
    """Refuse an empty secret: for the services it means the saved one."""
    for name, secret in secrets.items():
        if not secret:
            raise InvalidInput(name, "A secret is not empty.", remedy="Leave it out.")
