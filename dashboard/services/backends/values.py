"""Parameters and results of the backends service."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dashboard.services.backends.status import Status
from dashboard.storage import registry
from dashboard.storage.options import Preset
from dashboard.storage.types import Secret


@dataclass(frozen=True, slots=True)
class BackendInfo:
    """A backend for pages. ``secrets`` maps the name of each secret that is set to its last characters
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
    created_at: float = 0.0

    @property
    def icon(self) -> str:
        """The symbol of its provider."""
        return registry.icon_of(self.preset)


@dataclass(frozen=True, slots=True)
class BackendChoice:
    """A backend in a selection. ``objects`` is None until it was counted."""

    name: str
    active: bool
    objects: int | None
    preset: str

    @property
    def icon(self) -> str:
        """The symbol of its provider."""
        return registry.icon_of(self.preset)

    @property
    def provider(self) -> str:
        """The provider's name."""
        return registry.label_of(self.preset)


@dataclass(frozen=True, slots=True)
class Summary:
    """All backends together. ``active`` and ``newest`` (the last added one that is not active) are names, or
    empty. ``busy``: whether one is being counted or was not checked yet. ``failing``: how many are down or
    degraded, or deny writes; ``worst``: the first of those, with the ones that are down first."""

    count: int
    active: str
    newest: str
    fallback: tuple[BackendInfo, ...]
    busy: bool
    failing: int
    worst: tuple[BackendInfo, ...]


@dataclass(frozen=True, slots=True)
class Draft:
    """A backend as typed in a form, not yet checked.

    ``options`` holds every option of the form, not only the changed ones. ``existing`` names the saved
    backend being edited: blank or absent secrets keep their saved value, except those in ``cleared``, which
    are removed. ``version``: the one that the form showed, to notice an edit by someone else.
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
    """A saved backend, read in one transaction. ``tokens``: its secrets, still sealed; ``sent_to``: the
    recipient that each is bound to."""

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
    """A checked draft. ``secrets``: all that the driver gets; ``typed``: the names of the new ones."""

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
