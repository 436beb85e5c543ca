"""Everything that is known about one file, and what can be done with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeVar

from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.models.catalogue import files
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.file_kinds import kind_of
from dashboard.services.database import Database
from dashboard.services.files.browse import LABEL
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import Driver, RefusesWrites, stat_or_none
from dashboard.storage.errors import ContainerMissing, NotFound, StorageError
from dashboard.storage.object_powers import KeepsVersions, Version
from dashboard.storage.powers import POWERS, unsupported_error
from dashboard.storage.types import EMPTY, ObjectInfo

T = TypeVar("T")

MAX_VERSIONS = 100
"""Of a file that are shown, the newest first."""


@dataclass(frozen=True, slots=True)
class CatalogueRow:
    """What the catalogue knows of a file; see ``models.catalogue``."""

    id: int
    size: int
    sha256: str
    content_type: str
    width: int | None
    height: int | None
    duration: float | None
    pages: int | None
    taken_at: float | None
    owner: str
    state: str


@dataclass(frozen=True, slots=True)
class FileDetails:
    """One file.

    ``info.version`` is what a change must name so that nobody else's write is lost. ``served_by``: the name
    of the backend that has it, which is another one while a write waits there or home lacks it. ``tags``,
    ``tier``, ``visibility`` and ``versions`` are None where the backend has none, or did not tell; ``notes``
    says why in a sentence, under these names. ``url``: its permanent public address, or empty. ``actions``:
    for ``move``, ``copy``, ``delete``, ``restore``, ``visibility``, ``tags`` and ``tier`` an empty text if it
    is possible, else why not.
    """

    backend: str
    key: str
    kind: str
    info: ObjectInfo
    served_by: str
    catalogue: CatalogueRow | None = None
    tags: Mapping[str, str] | None = None
    tier: str | None = None
    visibility: str | None = None
    versions: tuple[Version, ...] | None = None
    url: str = ""
    actions: Mapping[str, str] = field(default_factory=lambda: EMPTY)
    notes: Mapping[str, str] = field(default_factory=lambda: EMPTY)


class Details:
    """Thread-safe. Reads only."""

    def __init__(self, database: Database, backends: Backends) -> None:
        self._database = database
        self._backends = backends

    def of(self, actor: Actor, backend: str, key: str) -> FileDetails:
        """Return what is known about a file.

        Raises ``FORBIDDEN``, ``NotFound``, ``InvalidKey``, and the backend's error if it cannot be reached
        and no other has the file. What only fails to be known about an existing file is a note.
        """
        actor.require(Permission.READ_FILES)
        info = self._backends.get(backend)
        driver = self._backends.driver_with_waiting(info.name, label=LABEL)
        found, served_by = self._locate(info.name, driver, key)
        collected = _Collected(driver, key, at_home=served_by == info.name)
        seen = collected.ask("visibility", lambda power: power.visibility(key))
        return FileDetails(
            backend=info.name,
            key=key,
            kind=kind_of(key, found.attributes.content_type or "").value,
            info=found,
            served_by=served_by,
            catalogue=self._row(info.id, key),
            tags=collected.ask("tags", lambda power: power.tags(key)),
            tier=collected.ask("tier", lambda power: power.tier(key)),
            visibility=None if seen is None else seen.value,
            versions=collected.ask("versions", lambda power: list_versions(power, key)),
            url=collected.ask("url", lambda power: power.url(key)) or "",
            actions=MappingProxyType(_permitted(actor, collected)),
            notes=MappingProxyType(collected.notes),
        )

    def _locate(self, name: str, driver: Driver, key: str) -> tuple[ObjectInfo, str]:
        """Return what is known of the file and which backend has it: home, or the first in the fallback order
        that does."""
        try:
            return driver.stat(key), name
        except ContainerMissing:
            raise
        except StorageError as error:
            if not isinstance(error, NotFound) and error.kind not in (Kind.UNREACHABLE, Kind.TIMEOUT):
                raise
            for other in self._backends.summary().fallback:
                if other.name == name:
                    continue
                with suppress(StowageError):
                    found = stat_or_none(self._backends.driver(other.name, label=LABEL), key)
                    if found is not None:
                        return found, other.name
            raise

    def _row(self, backend_id: int, key: str) -> CatalogueRow | None:
        names = tuple(CatalogueRow.__dataclass_fields__)
        query = select(*(files.c[name] for name in names))
        with self._database.work_read() as connection:
            row = connection.execute(
                query.where(files.c.backend_id == backend_id, files.c.key == key)
            ).one_or_none()
        return None if row is None else CatalogueRow(*row)


def list_versions(power: KeepsVersions, key: str) -> tuple[Version, ...] | None:
    """Return the versions of one key, the newest first; None if the container keeps none."""
    if not power.keeps_versions():
        return None
    found: list[Version] = []
    for version in power.versions(key):
        if version.key == key:
            found.append(version)
        # Sorted by key: those of longer keys come after it.
        if version.key != key or len(found) >= MAX_VERSIONS:
            break
    return tuple(found)


class _Collected:
    """Asks a driver for what it may not have or not tell, and notes why."""

    def __init__(self, driver: Driver, key: str, *, at_home: bool) -> None:
        self.driver = driver
        self._key = key
        self._at_home = at_home
        self.notes: dict[str, str] = {}
        self.missing: dict[str, str] = {}
        """Why an action is impossible."""

    def ask(self, name: str, call: Callable[[Any], T]) -> T | None:
        """Return what the power of this name tells, or None."""
        if not isinstance(self.driver, POWERS[name].protocol):
            self.missing[name] = unsupported_error(self.driver, name, name).reason
            return None
        if not self._at_home:
            self.notes[name] = "Not known, because another backend stands in."
            return None
        try:
            return call(self.driver)
        except StorageError as error:
            if error.kind is Kind.UNSUPPORTED:
                self.missing[name] = error.reason
            else:
                self.notes[name] = error.reason
            return None


def _permitted(actor: Actor, collected: _Collected) -> dict[str, str]:
    """Return for each action why it is not possible, or nothing."""
    reason = ""
    if not actor.may(Permission.WRITE_FILES):
        reason = f"Your role, {actor.role.value}, may not change files."
    elif isinstance(collected.driver, RefusesWrites):
        reason = collected.driver.read_only_reason()
    changes = dict.fromkeys(("move", "copy", "delete", "restore"), reason)
    if not isinstance(collected.driver, KeepsVersions):
        changes["restore"] = reason or unsupported_error(collected.driver, "versions", "restore").reason
    optional = {name: reason or collected.missing.get(name, "") for name in ("visibility", "tags", "tier")}
    return {**changes, **optional}
