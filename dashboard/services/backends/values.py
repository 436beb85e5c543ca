"""What goes in and out of the backends service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.backends.status import Status
from dashboard.storage.options import Preset
from dashboard.storage.types import Secret


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A backend as shown. ``secrets`` maps the name of each secret that is set to its last characters
    (empty for short secrets); the secrets themselves never leave the service."""

    id: int
    name: str
    driver: str
    preset: str
    preset_label: str
    summary: str
    options: Mapping[str, str]
    secrets: Mapping[str, str]
    active: bool
    fallback_position: int | None
    version: int
    status: Status


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """A backend in a list to choose from. ``objects`` is None until it was counted."""

    name: str
    active: bool
    objects: int | None


@dataclass(frozen=True, slots=True)
class Summary:
    """All backends together. ``active`` and ``newest`` (the one added last that is not active) are names,
    empty where there is none. ``busy``: whether one is being counted or was not looked at yet.
    ``failing``: how many do not work well; ``worst``: the first of those, the ones that are down before
    the others."""

    count: int
    active: str
    newest: str
    fallback: tuple[BackendInfo, ...]
    busy: bool
    failing: int
    worst: tuple[BackendInfo, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """What a person typed of a backend, not yet checked.

    ``options`` holds every option they may set, not only the changed ones. ``existing`` names the saved
    backend being edited: secrets that are blank or absent are taken from it, except those named in
    ``cleared``, which are forgotten. ``version``: the one the form showed, to notice another's edit.
    """

    name: str
    preset: str
    options: Mapping[str, str]
    secrets: Mapping[str, Secret]
    existing: str | None = None
    version: int | None = None
    cleared: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Stored:
    """A saved backend, read in one go. ``tokens``: its secrets, still sealed; ``sent_to``: to whom each may
    be sent, as the seal has it."""

    id: int
    name: str
    driver: str
    preset: str
    options: Mapping[str, str]
    version: int
    tokens: Mapping[str, str]
    sent_to: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Resolved:
    """A checked draft. ``secrets``: all that the driver gets; ``typed``: which of them are new."""

    name: str
    preset: Preset
    options: Mapping[str, str]
    secrets: Mapping[str, Secret]
    typed: frozenset[str]
    stored: Stored | None = None

    @property
    def driver(self) -> str:
        """The driver's name."""
        return self.preset.driver
