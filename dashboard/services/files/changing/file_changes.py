"""Copying, moving and renaming files within one backend, and new folders.

The order of steps decides what a kill can leave behind: first the file under its new key, complete and
proven; then the catalogue's row; last the original is deleted, if it still is what was copied. A kill between
any two leaves both files, never none; a backend that moves without copying has it under one key or both.
"""

from __future__ import annotations

from collections.abc import Sequence

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.migration.decide import same_time
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.catalogue.catalogue import Catalogue, File, FileFacts
from dashboard.services.database import Database
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.moving_objects import (
    OnTaken,
    Transfer,
    Transferred,
    delete_original,
    transfer_object,
)
from dashboard.services.files.changing.outcomes import Outcome, check_number, refuse_reserved, run_each
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.driver import Driver, KeepsFolders, RefusesWrites
from dashboard.storage.errors import Exists, StorageError
from dashboard.storage.library.folders import Folders
from dashboard.storage.types import Entry, ObjectInfo


class FileWrites:
    """What services that change files share: the driver, and the audit log."""

    def __init__(self, database: Database, audit: AuditLog, backends: Backends) -> None:
        self.database = database
        self.backends = backends
        self._audit = audit

    def driver(self, actor: Actor, backend: str) -> Driver:
        """The backend itself, without cache and stand-ins. Raises ``FORBIDDEN``, also for a read-only
        backend, and ``NOT_FOUND``."""
        actor.require(Permission.WRITE_FILES)
        driver = self.backends.driver_with_waiting(backend, label=LABEL)
        if isinstance(driver, RefusesWrites):
            raise StowageError(
                Kind.FORBIDDEN,
                driver.read_only_reason(),
                operation="change files",
                subject=backend,
                remedy="An administrator can switch “Read-only” off in the backend's form.",
            )
        return driver

    def record(self, actor: Actor, action: str, backend: str, key: str, **detail: str) -> None:
        """Write the audit row of a change, before it happens: no kill leaves one without."""
        with self.database.write() as session:
            self._audit.record(session, actor, action, f"{backend}: {key}", **detail)

    def record_failures(self, actor: Actor, action: str, backend: str, outcomes: Sequence[Outcome]) -> None:
        """Write a row about the files whose change failed, if there are any."""
        failed = [outcome for outcome in outcomes if not outcome.done]
        if failed:
            with self.database.write() as session:
                first = failed[0]
                subject = f"{backend}: {first.key}"
                self._audit.record(
                    session, actor, action, subject, outcome="refused", files=len(failed), reason=first.reason
                )


class Changes:
    """Thread-safe. What is refused before anything happens is raised; what becomes of each file is its
    ``Outcome``."""

    def __init__(self, writes: FileWrites, catalogue: Catalogue) -> None:
        self._writes = writes
        self._catalogue = catalogue

    def make_folder(self, actor: Actor, backend: str, folder: str) -> str:
        """Create an empty folder and return a sentence that says what was created. ``folder`` may end in a
        slash. Raises ``FORBIDDEN``, ``InvalidInput``, ``Exists``, and the backend's error."""
        driver = self._writes.driver(actor, backend)
        path = folder.removesuffix("/")
        if not path or path.endswith("/"):
            raise InvalidInput("folder", "A folder needs a name.", remedy="Type one and try again.")
        refuse_reserved(path)
        if Folders(driver).has(path):
            raise Exists(f"{path}/", operation="new folder")
        self._writes.record(actor, "file.folder", backend, f"{path}/")
        Folders(driver).make(path)
        if isinstance(driver, KeepsFolders):
            return f"The folder “{path}” was created."
        return (
            f"“{path}/” was created: an empty object, because this backend has no folders of its own. "
            "Programs that list everything see it."
        )

    def copy(
        self,
        actor: Actor,
        backend: str,
        transfers: Sequence[Transfer],
        *,
        on_taken: OnTaken = OnTaken.REFUSE,
    ) -> tuple[Outcome, ...]:
        """Copy files within a backend, on its server where possible. Raises ``FORBIDDEN``, and
        ``InvalidInput`` for no files or too many."""
        return self._run(actor, backend, transfers, on_taken, move=False)

    def move(
        self,
        actor: Actor,
        backend: str,
        transfers: Sequence[Transfer],
        *,
        on_taken: OnTaken = OnTaken.REFUSE,
    ) -> tuple[Outcome, ...]:
        """Move or rename files within a backend; see :meth:`copy`. A file that is written to meanwhile stays,
        and its copy too: its outcome says so."""
        return self._run(actor, backend, transfers, on_taken, move=True)

    def _run(
        self, actor: Actor, backend: str, transfers: Sequence[Transfer], on_taken: OnTaken, *, move: bool
    ) -> tuple[Outcome, ...]:
        driver = self._writes.driver(actor, backend)
        check_number(transfers)
        info = self._writes.backends.get(backend)
        action, first = f"file.{'move' if move else 'copy'}", transfers[0]
        self._writes.record(actor, action, info.name, first.file.key, to=first.to, files=str(len(transfers)))

        def change(transfer: Transfer) -> Outcome:
            known = self._catalogue.find(info.name, transfer.file.key)
            done = transfer_object(driver, transfer, on_taken, move=move)
            relocate(self._catalogue, info.id, known, done, move=move)
            outcome = Outcome(transfer.file.key, done.result.key)
            return outcome if done.moved or not move else without_original(driver, done, outcome)

        outcomes = run_each(transfers, lambda transfer: transfer.file.key, change)
        self._writes.record_failures(actor, action, info.name, outcomes)
        return outcomes


def relocate(
    catalogue: Catalogue, backend_id: int, known: File | None, done: Transferred, *, move: bool
) -> None:
    """Record in the catalogue where a file is now. ``known``: its row before, if there was one."""
    result = done.result
    facts = FileFacts(backend_id, result.key, result.size, result.modified, result.etag or "")
    known_as = catalogue.move if move else catalogue.copy
    if known is not None and describes(known, done.source) and known_as(known.id, facts):
        return
    catalogue.observe(backend_id, [Entry(result.key, result.size, result.modified, result.etag)])
    if move and known is not None:
        catalogue.remove(backend_id, [known.key])


def describes(file: File, info: ObjectInfo) -> bool:
    """Whether a row of the catalogue is about this object, and not about what its key held before."""
    if file.size != info.size:
        return False
    if file.etag and info.etag:
        return file.etag == info.etag
    if file.modified is None or info.modified is None:
        return True
    return same_time(file.modified, info.modified)


def without_original(driver: Driver, done: Transferred, outcome: Outcome) -> Outcome:
    """Delete the original of a copy; return the outcome, which says so if that is not possible."""
    try:
        delete_original(driver, done.source)
    except StorageError as error:
        reason = f"It was copied to “{outcome.to}”, but the original could not be removed: {error.reason}"
        return Outcome(outcome.key, outcome.to, error.kind, reason, error.remedy)
    return outcome
