"""What is known about how storage is used, for pages, the API and commands. Times are seconds since the
epoch, sizes bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from dashboard.services.requests.request_counts import RequestTotals


@dataclass(frozen=True, slots=True)
class Slice:
    """A part of all files: those of a kind, up to a size, or changed within a time."""

    name: str
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class NamedFile:
    """One file. ``modified`` is None if the backend does not say."""

    backend: str
    key: str
    size: int
    modified: float | None


@dataclass(frozen=True, slots=True)
class DuplicateGroup:
    """Files of one backend with the same content: ``wasted`` is what all but one of ``copies`` take."""

    id: int
    backend: str
    checksum: str
    size: int
    copies: int
    wasted: int
    key: str


@dataclass(frozen=True, slots=True)
class BackendUsage:
    """One backend. ``objects`` and ``bytes`` are those of its last count, None before the first; the rest is
    about its rows in the catalogue, ``at`` the time they were summed up, None if they were not yet.
    ``traffic``: in the last 30 days."""

    id: int
    name: str
    preset: str
    objects: int | None
    bytes: int | None
    counted_at: float | None
    at: float | None = None
    duplicate_groups: int = 0
    duplicate_files: int = 0
    duplicate_bytes: int = 0
    without_checksum: int = 0
    checks: int = 0
    failed_checks: int = 0
    traffic: RequestTotals = field(default_factory=RequestTotals)


@dataclass(frozen=True, slots=True)
class Usage:
    """All backends, or one."""

    backends: tuple[BackendUsage, ...]
    kinds: tuple[Slice, ...]
    sizes: tuple[Slice, ...]
    ages: tuple[Slice, ...]
    largest: tuple[NamedFile, ...]
    oldest: tuple[NamedFile, ...]
    duplicates: tuple[DuplicateGroup, ...]

    @property
    def objects(self) -> int:
        """Objects of all backends that were counted."""
        return sum(each.objects or 0 for each in self.backends)

    @property
    def bytes(self) -> int:
        """Bytes of all backends that were counted."""
        return sum(each.bytes or 0 for each in self.backends)

    @property
    def duplicate_groups(self) -> int:
        """Groups of files with the same content."""
        return sum(each.duplicate_groups for each in self.backends)

    @property
    def duplicate_bytes(self) -> int:
        """What deleting all but one of each group would save."""
        return sum(each.duplicate_bytes for each in self.backends)

    @property
    def without_checksum(self) -> int:
        """Files of which nobody knows whether they are duplicates."""
        return sum(each.without_checksum for each in self.backends)


def added(rows: Sequence[Sequence[Sequence[object]]], names: Sequence[str] = ()) -> tuple[Slice, ...]:
    """Add up the slices of several backends, in the order of ``names``, or the largest first."""
    found: dict[str, tuple[int, int]] = dict.fromkeys(names, (0, 0))
    for row in rows:
        for name, files, size in row:
            before = found.get(str(name), (0, 0))
            found[str(name)] = (before[0] + _int(files), before[1] + _int(size))
    slices = tuple(Slice(name, files, size) for name, (files, size) in found.items())
    return slices if names else tuple(sorted(slices, key=lambda each: -each.bytes))


def _int(value: object) -> int:
    return value if isinstance(value, int) else 0
