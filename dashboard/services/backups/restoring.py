"""Putting a backup back: on the same machine, or on another after the first was lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from dashboard.errors import Kind, StowageError
from dashboard.services.backups.archive import DATABASES, Manifest, unpack_archive
from dashboard.services.database import open_database
from dashboard.services.flushing import flush_folder
from dashboard.services.moving.moves import alone, copy_all
from dashboard.settings import Settings

_SIDE_FILES = ("", "-wal", "-shm")


@dataclass(frozen=True, slots=True)
class Restored:
    """``kept``: the databases that were there before, under their new names."""

    manifest: Manifest
    kept: tuple[Path, ...]


def restore(settings: Settings, archive: Path, *, replace: bool = False) -> Restored:
    """Put the databases of a backup into the instance folder, which is created.

    Everything is unpacked, checked and upgraded to this version beside them before anything is touched. With
    ``replace`` databases that are there are kept under other names. Killed at any moment, it leaves the old
    databases or the new ones under some name, never half a file; run again, it completes. The key is not part
    of a backup.

    With ``database_url`` it goes into that database, which has to be empty, in one transaction.

    Raises ``StowageError``: ``CONFLICT`` if a console runs here, or if there are databases and ``replace`` is
    false, or if a newer version wrote the backup; ``INVALID``, ``NOT_FOUND``, ``FULL`` and ``DENIED`` as
    ``unpack_archive``.
    """
    try:
        settings.instance.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(settings.instance, "restore"), _beside(settings.instance) as folder:
            if settings.database_url:
                return Restored(_restore_to_server(settings, archive, folder), ())
            existing = _existing(settings.instance)
            if existing and not replace:
                raise StowageError(
                    Kind.CONFLICT,
                    f"There is a console in “{settings.instance}” already.",
                    operation="restore",
                    remedy="Name another folder with --instance, or add --replace, which keeps its databases "
                    "under other names.",
                )
            manifest = unpack_archive(archive, folder)
            _upgrade(settings, folder)
            kept = _set_aside(existing)
            for name in reversed(DATABASES):
                os.replace(folder / name, settings.instance / name)
            flush_folder(settings.instance)
            return Restored(manifest, kept)
    except OSError as error:
        raise StowageError(
            Kind.DENIED,
            f"“{settings.instance}” cannot be written: {error.strerror}.",
            operation="restore",
            remedy="Run this as the user of the console, and check the folder's owner.",
        ) from error


def _restore_to_server(settings: Settings, archive: Path, folder: Path) -> Manifest:
    """Into an empty database; one that holds a console is never replaced."""
    manifest = unpack_archive(archive, folder)
    with ExitStack() as stack:
        source = open_database(Settings(instance=folder, key_file=settings.key_file))
        stack.callback(source.close)
        source.upgrade()
        target = open_database(settings)
        stack.callback(target.close)
        copy_all(source, target, "restore")
    return manifest


@contextmanager
def _beside(instance: Path) -> Iterator[Path]:
    for left in instance.glob(".restore-*"):
        shutil.rmtree(left, ignore_errors=True)
    # On the same file system, so that each database can be moved in one step.
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=instance) as folder:
        yield Path(folder)


def _existing(instance: Path) -> list[Path]:
    """The databases that are there, if any of them holds something, with what SQLite keeps beside them."""
    if not any((instance / name).exists() and (instance / name).stat().st_size for name in DATABASES):
        return []
    found = (instance / f"{name}{side}" for name in DATABASES for side in _SIDE_FILES)
    return [path for path in found if path.exists()]


def _upgrade(settings: Settings, folder: Path) -> None:
    database = open_database(Settings(instance=folder, key_file=settings.key_file))
    try:
        database.upgrade()
    finally:
        database.close()
    for name in DATABASES:
        # Into one file: what SQLite keeps beside a database would be left behind.
        with closing(sqlite3.connect(folder / name)) as connection:
            connection.execute("PRAGMA journal_mode=DELETE")


def _set_aside(existing: list[Path]) -> tuple[Path, ...]:
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    kept = []
    for path in existing:
        name, side = path.name, ""
        for each in _SIDE_FILES[1:]:
            if name.endswith(each):
                name, side = name.removesuffix(each), each
        target = path.with_name(f"{name}.before-restore-{stamp}{side}")
        os.rename(path, target)
        kept.append(target)
    return tuple(path for path in kept if not path.name.endswith(_SIDE_FILES[1:]))
