"""What a change of several files is asked to do, and what became of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.storage.driver import Driver
from dashboard.storage.errors import InvalidKey, StorageError
from dashboard.storage.inspection.listing import MARKER_PREFIX, parse_marker
from dashboard.storage.types import ObjectInfo

T = TypeVar("T")

MAX_FILES = 1000
"""Files that one request changes."""
MAX_SECONDS = 60.0
"""After which a request begins with no other file."""
LOST = frozenset({Kind.UNREACHABLE, Kind.TIMEOUT, Kind.BAD_CREDENTIALS})
"""Errors after which the next file would only wait for the same."""


@dataclass(frozen=True, slots=True)
class FileRef:
    """A file as somebody saw it: its key and its ``ObjectInfo.version``, or None to take what is there."""

    key: str
    version: str | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one file.

    ``key``: what it was called. ``to``: where it, or its copy, is now; empty if nowhere else. ``kind`` and
    ``reason`` are empty if all went well.
    """

    key: str
    to: str = ""
    kind: Kind | None = None
    reason: str = ""
    remedy: str = ""

    @property
    def done(self) -> bool:
        """Whether everything that was requested for this file happened."""
        return self.kind is None


def check_number(items: Sequence[object]) -> None:
    """Raise ``InvalidInput`` for no files, or too many for one request."""
    if not items:
        raise InvalidInput("files", "No file is named.", remedy="Select at least one.")
    if len(items) > MAX_FILES:
        raise InvalidInput(
            "files",
            f"At most {MAX_FILES:,} files can be changed at once.",
            remedy="Select fewer, or the folder that they are in.",
        )


def run_each(
    items: Sequence[T], key_of: Callable[[T], str], change: Callable[[T], Outcome]
) -> tuple[Outcome, ...]:
    """Change one file after the other, and return what became of each, in their order.

    An error is that file's outcome. When the backend no longer answers, or time is up, the remaining files
    are not touched and their outcomes say so.
    """
    outcomes: list[Outcome] = []
    deadline = time.monotonic() + MAX_SECONDS
    stopped: tuple[Kind, str] | None = None
    for item in items:
        key = key_of(item)
        if stopped is None and outcomes and time.monotonic() > deadline:
            stopped = Kind.TIMEOUT, "The others took too long, so this file was not touched."
        if stopped is not None:
            outcomes.append(Outcome(key, "", *stopped, remedy="Try again with the files that are left."))
            continue
        try:
            outcomes.append(change(item))
        except StowageError as error:
            outcomes.append(Outcome(key, "", error.kind, error.reason, error.remedy))
            if error.kind in LOST:
                stopped = error.kind, "The backend stopped answering, so this file was not touched."
    return tuple(outcomes)


def stat_seen(driver: Driver, file: FileRef) -> ObjectInfo:
    """Return the file's metadata. Raises ``NotFound``, and kind ``changed`` if it is not the one that was
    seen."""
    info = driver.stat(file.key)
    if file.version is not None and info.version != file.version:
        raise changed_error(file.key)
    return info


def changed_error(key: str) -> StorageError:
    """The error for a file that somebody else changed since it was seen."""
    return StorageError(
        Kind.CHANGED,
        f"“{key}” was changed by somebody else in the meantime, so nothing was done.",
        operation="file",
        subject=key,
        remedy="Reload the page to see what is there now, and try again.",
        retryable=False,
    )


def refuse_reserved(key: str) -> None:
    """Raise ``InvalidKey`` for a name that Stowage hides from listings."""
    if MARKER_PREFIX in key and parse_marker(key):
        raise InvalidKey(key, "This name is reserved: Stowage writes such objects for a moment.")
