"""Earlier contents of a settings file, beside it: the last few, each with who made the change that
followed."""

from __future__ import annotations

import json
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from dashboard.envfile.env_document import Document
from dashboard.envfile.store import Change, EnvFile, open_folder, read_file, version_of, write_new
from dashboard.errors import Kind, StowageError

KEPT = 20
MAX_TEXT = 200

_NAME = re.compile(r"(\d{19})-([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Backup:
    """An earlier content. ``before``: the change that followed; ``by``: who made it. ``at`` in seconds since
    the epoch, ``size`` in bytes."""

    id: str
    at: float
    by: str
    before: str
    size: int


class Backups:
    """The backups of one settings file, in ``env-backups`` (for ``.env``) beside it, readable by their owner
    only. They hold what the file held, replaced secrets included."""

    def __init__(self, file: EnvFile) -> None:
        self._file = file
        self.folder = file.path.with_name(f"{file.path.name.lstrip('.')}-backups")

    def list(self) -> tuple[Backup, ...]:
        """All of them, newest first. Raises ``DENIED`` if the folder cannot be trusted."""
        try:
            with self._open(None) as folder:
                return tuple(_describe(folder, name) for name in _names(folder))
        except FileNotFoundError:
            return ()

    def read(self, id: str) -> Document:
        """One of them. Raises ``NOT_FOUND``, and ``DAMAGED`` if it is not what was saved."""
        try:
            with self._open(None) as folder:
                if not _NAME.fullmatch(id):
                    raise FileNotFoundError
                data = read_file(folder, f"{id}.env")
        except FileNotFoundError:
            raise StowageError(
                Kind.NOT_FOUND,
                "There is no such backup of the settings.",
                operation="settings backup",
                subject=id,
            ) from None
        except OSError as error:
            raise StowageError(
                Kind.DENIED,
                f"The backup cannot be read: {error.strerror}.",
                operation="settings backup",
                subject=id,
            ) from error
        if version_of(data) != id[-16:]:
            raise StowageError(
                Kind.DAMAGED,
                "This backup is not what was saved: it was changed since.",
                operation="settings backup",
                subject=id,
                remedy="Restore another one.",
                retryable=False,
            )
        return Document(data)

    def add(self, change: Change, *, by: str, before: str) -> str:
        """Save what the locked file holds now, durably, and forget the oldest. Returns its id. Raises
        ``OSError``."""
        data = change.before.document.data
        with self._open(change.folder) as folder:
            newest = next((int(name[:19]) for name in _names(folder)), 0)
            id = f"{max(time.time_ns(), newest + 1):019d}-{version_of(data)}"
            note = {"by": by[:MAX_TEXT], "before": before[:MAX_TEXT]}
            _write(folder, f"{id}.json", json.dumps(note).encode())
            _write(folder, f"{id}.env", data)
            os.fsync(folder)
            _forget_old(folder)
            return id

    @contextmanager
    def _open(self, parent: int | None) -> Iterator[int]:
        if parent is None:
            with (
                open_folder(self.folder.parent) as above,
                open_folder(Path(self.folder.name), parent=above) as it,
            ):
                yield it
            return
        with suppress(FileExistsError):
            os.mkdir(self.folder.name, 0o700, dir_fd=parent)
        with open_folder(Path(self.folder.name), parent=parent) as it:
            yield it


def _names(folder: int) -> list[str]:
    """Ids, newest first."""
    stems = (name.removesuffix(".env") for name in os.listdir(folder) if name.endswith(".env"))
    return sorted((stem for stem in stems if _NAME.fullmatch(stem)), reverse=True)


def _describe(folder: int, id: str) -> Backup:
    note: object = None
    with suppress(OSError, ValueError):
        note = json.loads(read_file(folder, f"{id}.json"))
    texts = note if isinstance(note, dict) else {}
    size = os.stat(f"{id}.env", dir_fd=folder, follow_symlinks=False).st_size
    by, before = (str(texts.get(name, ""))[:MAX_TEXT] for name in ("by", "before"))
    return Backup(id, int(id[:19]) / 1e9, by, before, size)


def _write(folder: int, name: str, data: bytes) -> None:
    temporary = f".{secrets.token_hex(8)}.new"
    write_new(folder, temporary, data)
    os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)


def _forget_old(folder: int) -> None:
    kept = set(_names(folder)[:KEPT])
    for name in os.listdir(folder):
        stem, _, ending = name.rpartition(".")
        if stem not in kept and (ending == "new" or (ending in ("env", "json") and _NAME.fullmatch(stem))):
            os.unlink(name, dir_fd=folder)
