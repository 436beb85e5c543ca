"""A signed note beside the databases of the newest audit row that was written here.

An older copy of the database that is put back, or an end that was cut off together with the head, verifies by
itself. This note is in another file, so it shows that there was more.
"""

from __future__ import annotations

import json
import logging
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from dashboard.services.auditing.canonical import same_code, sign

FILE_NAME = "audit.newest"
_MAX_BYTES = 1024

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A row by its number and code."""

    entry_id: int
    mac: str


class NewestSeen:
    """The note of one instance. Thread-safe."""

    def __init__(self, instance: Path) -> None:
        self.path = instance / FILE_NAME

    def read(self, key: bytes) -> Seen | None:
        """The note; None if there is none or it was not signed with this key."""
        try:
            handle = os.open(self.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
            with os.fdopen(handle, "rb") as file:
                entry_id, mac, signature = json.loads(file.read(_MAX_BYTES))
        except (OSError, ValueError, TypeError):
            return None
        if not isinstance(entry_id, int) or not isinstance(mac, str):
            return None
        return Seen(entry_id, mac) if same_code(signature, sign(key, "seen", entry_id, mac)) else None

    def write(self, key: bytes, seen: Seen) -> None:
        """Replace the note, atomically. A failure is logged and changes nothing else: the row is stored."""
        text = json.dumps([seen.entry_id, seen.mac, sign(key, "seen", seen.entry_id, seen.mac)])
        temporary = self.path.with_name(f".{FILE_NAME}.{os.getpid()}-{os.urandom(4).hex()}")
        try:
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(text)
            os.replace(temporary, self.path)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink()
            log.warning("%s cannot be written: %s", self.path, error.strerror)
