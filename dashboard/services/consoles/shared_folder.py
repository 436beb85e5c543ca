"""Consoles on one database have one instance folder, too: uploads under way, thumbnails, backups and the
settings file are in it. That it is the same is shown, not believed: each console puts a marker into its
folder, and one that starts looks for those of the others."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from dashboard.errors import Kind, StowageError
from dashboard.services.consoles.console_processes import WEB, Processes, ProcessInfo

FOLDER = "consoles"
SEEN_SECONDS = 10.0
"""For which a marker is looked for: a network file system shows new files after a few seconds."""
KEPT_SECONDS = 86_400.0
"""After which the marker of a killed console is removed. Its owner renews it."""
_MARKER = frozenset("0123456789abcdef")


def put_marker(instance: Path) -> str:
    """Put a new marker into the folder and return its name."""
    folder, name = instance / FOLDER, secrets.token_hex(16)
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        _sweep(folder)
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"The folder {folder} cannot be used: {error.strerror}.",
            operation="start",
            remedy="Give the user that runs Stowage write access to the instance folder.",
        ) from error
    return name


def renew_marker(instance: Path, name: str) -> None:
    """Keep a marker from being taken for one of a killed console. One that is gone comes back."""
    with suppress(OSError):
        (instance / FOLDER / name).touch(mode=0o600)


def remove_marker(instance: Path, name: str) -> None:
    """Remove a marker. Idempotent."""
    if name:
        with suppress(OSError):
            (instance / FOLDER / name).unlink()


def console_elsewhere(
    instance: Path, processes: Processes, *, wait: Callable[[float], bool] | None = None
) -> ProcessInfo | None:
    """Return a console on the same database that has another instance folder, if there is one.

    ``wait`` is called between two looks with the seconds to wait; returning true ends it. Without it one look
    decides.
    """
    deadline = time.monotonic() + SEEN_SECONDS
    while True:
        others = [each for each in processes.list() if each.role == WEB and each.marker and not each.late]
        missing = next((each for each in others if not _has(instance, each.marker)), None)
        if missing is None or wait is None or time.monotonic() >= deadline or wait(0.25):
            return missing


def elsewhere_error(other: ProcessInfo, instance: Path) -> StowageError:
    """For a console that has another instance folder than one that runs."""
    return StowageError(
        Kind.CONFLICT,
        f"The console “{other.name}” on this database has another instance folder than {instance}.",
        operation="start",
        remedy="Consoles on one database share one folder: mount the same one on every machine, and name it "
        "with STOWAGE_INSTANCE.",
    )


def _has(instance: Path, marker: str) -> bool:
    # From a database that others write to: never part of a path before it was looked at.
    return bool(marker) and set(marker) <= _MARKER and (instance / FOLDER / marker).is_file()


def _sweep(folder: Path) -> None:
    oldest = time.time() - KEPT_SECONDS
    for path in folder.iterdir():
        with suppress(OSError):
            if path.stat().st_mtime < oldest:
                path.unlink()
