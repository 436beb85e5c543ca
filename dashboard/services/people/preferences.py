"""What people have chosen about their pages: language, time zone and theme.

Nothing of this is audited: it concerns nobody but the person, and no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from dashboard.errors import InvalidInput
from dashboard.models.console import User
from dashboard.services.database import Database
from dashboard.services.people.sign_in_sessions import find_user
from dashboard.services.permissions import Actor, Permission
from dashboard.settings import LANGUAGES

LANGUAGE_NAMES: Mapping[str, str] = MappingProxyType({"en": "English", "de": "Deutsch"})
"""Each language of the console, as it calls itself."""

_NOT_AREAS = ("Etc", "SystemV", "posix", "right", "US")


class Theme(StrEnum):
    """How pages look. ``AUTO``: as the device."""

    AUTO = "auto"
    LIGHT = "light"
    DARK = "dark"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person has chosen. ``language`` and ``time_zone`` are empty where the browser decides, ``theme``
    is None where each browser keeps its own."""

    language: str = ""
    time_zone: str = ""
    theme: Theme | None = None


NO_PREFERENCES = Preferences()


class OwnPreferences:
    """Everybody's own. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, username: str) -> Preferences:
        """What a person has chosen. Raises ``NOT_FOUND``."""
        with self._database.read() as session:
            return preferences_of(find_user(session, username))

    def change(
        self,
        actor: Actor,
        *,
        language: str | None = None,
        time_zone: str | None = None,
        theme: Theme | str | None = None,
    ) -> Preferences:
        """Store what the actor chose, and return all of it. None leaves a choice as it is, an empty text
        takes it back. Raises ``InvalidInput`` for a language, a time zone or a theme that there is not; then
        nothing has changed."""
        actor.require(Permission.OWN_ACCOUNT)
        if language:
            _check_language(language)
        if time_zone:
            _check_time_zone(time_zone)
        if theme:
            _check_theme(theme)
        with self._database.write() as session:
            user = find_user(session, actor.name)
            user.language = user.language if language is None else language
            user.time_zone = user.time_zone if time_zone is None else time_zone
            user.theme = user.theme if theme is None else str(theme)
            return preferences_of(user)


def preferences_of(user: User) -> Preferences:
    """A row as read. What this version does not know, such as a language of a later one, is left out."""
    return Preferences(
        language=user.language if user.language in LANGUAGES else "",
        time_zone=user.time_zone if _is_time_zone(user.time_zone) else "",
        theme=Theme(user.theme) if user.theme in set(Theme) else None,
    )


@cache
def time_zones() -> tuple[str, ...]:
    """The names to choose from, such as ``Europe/Berlin``: areas with their places, and UTC."""
    places = (name for name in available_timezones() if "/" in name and name.split("/")[0] not in _NOT_AREAS)
    return ("UTC", *sorted(places))


@cache
def _is_time_zone(name: str) -> bool:
    try:
        return bool(name) and bool(ZoneInfo(name))
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _check_language(language: str) -> None:
    if language not in LANGUAGES:
        raise InvalidInput(
            "language",
            "The console does not speak that language.",
            remedy=f"Choose one of: {', '.join(LANGUAGES)}.",
        )


def _check_time_zone(name: str) -> None:
    # Not every name is tried: a failed one would be remembered for each text that somebody sends.
    if name not in _known_names():
        raise InvalidInput(
            "time_zone",
            "There is no such time zone.",
            remedy="Choose a name of the IANA list, such as Europe/Berlin.",
        )


@cache
def _known_names() -> frozenset[str]:
    return frozenset(available_timezones())


def _check_theme(theme: Theme | str) -> None:
    if theme not in set(Theme):
        raise InvalidInput("theme", "There is no such theme.", remedy=f"Choose one of: {', '.join(Theme)}.")
