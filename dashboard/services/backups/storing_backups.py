"""Making one backup and putting it where it belongs; nothing counts that was not read back."""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.backends import Backends
from dashboard.services.backups.archive import CHUNK, DATABASES, sha256_of, verify_archive, write_archive
from dashboard.services.backups.backup_values import FOLDER, PREFIX, BackupInfo
from dashboard.services.backups.database_copies import DatabaseBackup
from dashboard.services.database import Database
from dashboard.services.flushing import flush_folder
from dashboard.services.keys import Keys
from dashboard.settings import Settings
from dashboard.storage.driver import stat_or_none

log = logging.getLogger(__name__)

LABEL = "backups"
WORK = ".new"


class BackupStore:
    """Thread-safe, as long as one backup is made at a time."""

    def __init__(self, settings: Settings, database: Database, backends: Backends, keys: Keys) -> None:
        self._settings = settings
        self._backends = backends
        self._keys = keys
        self.copies = DatabaseBackup(settings, database)

    def new_key(self, now: float, *, in_backend: bool) -> str:
        """A name that no other backup has, of this console or another."""
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        return f"{PREFIX if in_backend else ''}stowage-{stamp}-{secrets.token_hex(4)}.tar.gz"

    def make(self, row: BackupInfo, stop: Callable[[], bool]) -> tuple[int, str]:
        """Copy, pack, check, store, and read back. Return the archive's size in bytes and its SHA-256.

        Nothing is visible under the key before it is complete; what an attempt leaves that is killed, the
        next one removes. Raises ``StowageError``, and ``InterruptedError`` if ``stop`` became true.
        """
        try:
            with self._work_folder() as folder:
                self.copies.copy(folder, stop)
                archive = folder / "archive"
                key_id = self._keys.state().key_id or ""
                write_archive(folder, archive, created_at=row.created_at, key_id=key_id, stop=stop)
                for name in DATABASES:
                    (folder / name).unlink()
                verify_archive(archive)
                size, digest = archive.stat().st_size, sha256_of(archive, stop)
                if row.backend:
                    self._send(row, archive, digest, stop)
                else:
                    self._keep(row, archive)
                return size, digest
        except InterruptedError:
            raise
        except (OSError, sqlite3.Error) as error:
            cause = getattr(error, "strerror", None) or str(error)
            raise StowageError(
                Kind.FULL,
                f"The backup could not be written in {self._settings.instance / FOLDER}: {cause}.",
                operation="backup",
                remedy="Check the free space of that disk and the owner of the folder.",
            ) from error
        finally:
            self._backends.release(LABEL)

    def remove(self, row: BackupInfo) -> bool:
        """Delete an old backup where it is; return whether it is gone. Idempotent."""
        try:
            if row.backend:
                self._backends.driver(row.backend, label=LABEL).delete(row.key)
            else:
                self._local(row).unlink(missing_ok=True)
        except (StowageError, OSError) as error:
            log.warning("The old backup %s could not be removed: %s", row.key, error)
            return False
        finally:
            self._backends.release(LABEL)
        return True

    @contextmanager
    def _work_folder(self) -> Iterator[Path]:
        home = self._settings.instance / FOLDER
        home.mkdir(mode=0o700, exist_ok=True)
        folder = home / WORK
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _local(self, row: BackupInfo) -> Path:
        return self._settings.instance / FOLDER / row.key

    def _keep(self, row: BackupInfo, archive: Path) -> None:
        # Of this backup, if a run was killed right after it did the same: the key is random.
        os.replace(archive, self._local(row))
        flush_folder(self._local(row).parent)

    def _send(self, row: BackupInfo, archive: Path, digest: str, stop: Callable[[], bool]) -> None:
        driver = self._backends.driver(row.backend, label=LABEL)
        # Of this backup, by a run that was killed: the key is random.
        if stat_or_none(driver, row.key) is not None:
            driver.delete(row.key)
        driver.sweep([row.key], since=row.created_at)
        with driver.write(row.key, size=archive.stat().st_size) as writing, archive.open("rb") as content:
            while chunk := content.read(CHUNK):
                _check(stop)
                writing.write(chunk)
            writing.commit()
        stored = hashlib.sha256()
        with driver.read(row.key) as reading:
            for chunk in reading.chunks():
                _check(stop)
                stored.update(chunk)
        if stored.hexdigest() != digest:
            raise StowageError(
                Kind.DAMAGED,
                f"“{row.backend}” does not return the backup as it was sent.",
                operation="backup",
                subject=row.key,
                remedy="Test that backend, and choose another for backups until it passes.",
            )


def _check(stop: Callable[[], bool]) -> None:
    if stop():
        raise InterruptedError
