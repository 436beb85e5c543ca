"""Which queue a job's message goes to, and which workers may do it.

A folder belongs to one machine. Jobs that need the console's folders, those of local backends or those of
uploads, are only for workers that share its instance folder: they alone take their messages.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import select

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.backends import Backend
from dashboard.models.console import Setting
from dashboard.models.migrations import Migration
from dashboard.services.consoles.console_processes import Processes
from dashboard.services.consoles.shared_folder import console_elsewhere
from dashboard.services.database import Database
from dashboard.services.workers.worker_values import Queue

QUEUE_OF = {
    JobKind.MIGRATION: Queue.MIGRATIONS,
    JobKind.COUNT: Queue.COUNTS,
    JobKind.CHECK: Queue.COUNTS,
    JobKind.COMPARE: Queue.COUNTS,
    JobKind.WRITE_BACK: Queue.COUNTS,
    JobKind.UPLOADS: Queue.MEDIA,
    JobKind.FILES: Queue.MAINTENANCE,
    JobKind.USAGE: Queue.MAINTENANCE,
    JobKind.AUDIT: Queue.MAINTENANCE,
    JobKind.BACKUP: Queue.MAINTENANCE,
    JobKind.COPIES: Queue.MAINTENANCE,
    JobKind.NOTIFY: Queue.MAINTENANCE,
}
"""The queue of every kind of job."""
NEEDS_FILES = frozenset({Queue.MEDIA, Queue.MAINTENANCE})
"""Queues whose jobs use the instance folder: uploads under way, thumbnails, backups, the audit log's end."""
LOCAL = ".local"
"""Follows the name of a queue whose messages are about folders of the console's machine."""
LOCAL_DRIVER = "local"
FOLDER_FILE = "folder.id"
"""In the instance folder: what tells two folders apart, also while no console runs."""
FOLDER = "files_folder"
"""The setting with the console's."""


@dataclass(frozen=True, slots=True)
class Route:
    """Where a message goes. ``local``: only workers that share the instance folder may do it."""

    queue: Queue
    local: bool

    @property
    def name(self) -> str:
        """The queue's name at the broker."""
        twin = self.local and self.queue not in NEEDS_FILES
        return self.queue.value + (LOCAL if twin else "")


class Routes:
    """Over the main database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of(self, kind: JobKind, subject_id: int) -> Route:
        """Where a job goes."""
        queue = QUEUE_OF[kind]
        return Route(queue, queue in NEEDS_FILES or self._touches_folder(kind, subject_id))

    def _touches_folder(self, kind: JobKind, subject_id: int) -> bool:
        local = Backend.driver == LOCAL_DRIVER
        with self._database.read() as session:
            if kind in (JobKind.WRITE_BACK, JobKind.COMPARE):
                # The others that it involves are only known when it runs.
                return session.scalar(select(Backend.id).where(local).limit(1)) is not None
            ends = [subject_id]
            if kind is JobKind.MIGRATION:
                row = session.get(Migration, subject_id)
                ends = [each for each in (row.source_id, row.destination_id) if each] if row else []
            return session.scalar(select(Backend.id).where(local, Backend.id.in_(ends)).limit(1)) is not None


def queue_names(queues: tuple[Queue, ...], *, has_files: bool) -> tuple[str, ...]:
    """The names at the broker that a worker listens to."""
    names: list[str] = []
    for queue in queues:
        if queue not in NEEDS_FILES:
            names.append(queue.value)
        if has_files:
            names.append(Route(queue, local=True).name)
    return tuple(names)


def folder_id(instance: Path) -> str:
    """What identifies an instance folder, wherever it is mounted. Written on the first call."""
    path = instance / FOLDER_FILE
    with suppress(FileExistsError):
        new = path.with_name(f".{FOLDER_FILE}.{secrets.token_hex(4)}")
        new.write_text(secrets.token_hex(16) + "\n", encoding="ascii")
        try:
            # A link fails if there is one: two processes never write two different ones.
            os.link(new, path)
        finally:
            new.unlink()
    text = path.read_text(encoding="ascii").strip()
    if not text:
        raise StowageError(
            Kind.DAMAGED,
            f"The file {path} is empty.",
            operation="read folder",
            subject=str(path),
            remedy="Remove it, then start the console again before any worker.",
        )
    return text


def keep_folder(database: Database, instance: Path) -> None:
    """Say that this is the console's folder. Consoles on one database have one: the last that began is
    right."""
    mine = folder_id(instance)
    with database.write() as session:
        row = session.get(Setting, FOLDER)
        if row is None:
            session.add(Setting(key=FOLDER, value=mine))
        else:
            row.value = mine


def _pause(seconds: float) -> bool:
    time.sleep(seconds)
    return False


def shares_files(
    database: Database, instance: Path, *, wait: Callable[[float], bool] | None = _pause
) -> bool:
    """Whether this is the console's folder. May take some seconds if it is not. ``wait``: see
    ``console_elsewhere``."""
    with database.read() as session:
        row = session.get(Setting, FOLDER)
        if row is None or row.value != folder_id(instance):
            return False
    # A copy of the folder has the same id. What a console put into its folder when it started is in no copy.
    return console_elsewhere(instance, Processes(database), wait=wait) is None
