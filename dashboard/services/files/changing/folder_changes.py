"""Moving, copying and deleting folders with everything in them: a job that any kill or outage may interrupt.

Nothing about the single files is recorded, because the backend itself shows what is left: what was moved is
no longer under the old name. If a file's new name is taken by the same content, an earlier run was
interrupted between the copy and the removal of the original, and only the latter is done. So a job continues
wherever it stopped, and people see at any time which files have which name.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from enum import StrEnum
from itertools import islice
from typing import Any

from sqlalchemy import insert, select, update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.models.catalogue import folder_changes
from dashboard.services.catalogue.catalogue import Catalogue
from dashboard.services.files.changing.deletions import Deletions, check_confirmed
from dashboard.services.files.changing.file_changes import FileWrites
from dashboard.services.files.changing.folder_steps import count_files, make_subfolders, transfer_entry
from dashboard.services.files.changing.moving_objects import OnTaken
from dashboard.services.files.changing.outcomes import LOST, FileRef, Outcome, refuse_reserved
from dashboard.services.jobs import enqueue
from dashboard.services.permissions import Actor, Permission, Role
from dashboard.storage.driver import Driver, KeepsFolders
from dashboard.storage.inspection.listing import without_markers
from dashboard.storage.types import Entry

BATCH, DELETED_BATCH = 64, 500
"""Files after which progress is written, and stopping is possible; a deletion has one audit row for each
batch."""
WORKERS = 8
MAX_PROBLEMS = 20
MAX_SHOWN = 200
_OPEN = ("waiting", "running", "cancelling")


class FolderAction(StrEnum):
    """What happens to a folder."""

    MOVE = "move"
    COPY = "copy"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class FolderChange:
    """One change of a folder.

    ``state``: ``waiting``, ``running``, ``cancelling``, ``cancelled``, ``failed`` (the backend stopped
    answering; it can be continued) or ``done``. ``done`` and ``failed`` count files; after a kill ``done``
    may be too low by a few. ``problems``: the first files that were not changed, as pairs of key and reason.
    ``undo_ids`` are for ``Deletions.undo``.
    """

    id: str
    backend_id: int
    action: FolderAction
    prefix: str
    target: str
    on_taken: OnTaken
    state: str
    done: int
    failed: int
    problems: tuple[tuple[str, str], ...]
    undo_ids: tuple[str, ...]
    message: str
    created_by: str
    role: Role
    created_at: float
    updated_at: float


_COLUMNS = tuple(folder_changes.c[field.name] for field in fields(FolderChange))


class FolderChanges:
    """Thread-safe; :meth:`run` is for one thread at a time."""

    def __init__(self, writes: FileWrites, catalogue: Catalogue, deletions: Deletions) -> None:
        self._writes = writes
        self._catalogue = catalogue
        self._deletions = deletions

    def begin(
        self,
        actor: Actor,
        backend: str,
        action: FolderAction,
        prefix: str,
        target: str = "",
        *,
        on_taken: OnTaken = OnTaken.REFUSE,
        confirmed: int | None = None,
    ) -> FolderChange:
        """Begin to change a folder; the runner does it. ``prefix`` and ``target`` end in a slash; the whole
        backend is no folder.

        ``confirmed`` as in ``Deletions.delete``: what :meth:`count` returns. Raises ``FORBIDDEN``,
        ``InvalidInput``, ``CONFLICT`` if another change of this folder, of one in it or of one around it is
        not finished, and the backend's error.
        """
        driver = self._writes.driver(actor, backend)
        check_paths(action, prefix, target)
        if action is FolderAction.DELETE:
            final = not self._deletions.can_undo(actor, backend)
            if final or confirmed is not None:
                check_confirmed(count_files(driver, prefix), confirmed, final=final)
        info, now = self._writes.backends.get(backend), time.time()
        change_id = secrets.token_hex(16)
        detail = {"to": target} if target else {}
        self._writes.record(actor, f"folder.{action.value}", info.name, prefix, **detail)
        with self._writes.database.work_write() as connection:
            rows = connection.execute(
                select(*_COLUMNS).where(
                    folder_changes.c.backend_id == info.id,
                    folder_changes.c.state.in_((*_OPEN, "failed")),
                )
            ).all()
            for other in map(_value, rows):
                _refuse_overlap(other, prefix, target)
            connection.execute(
                insert(folder_changes).values(
                    id=change_id,
                    backend_id=info.id,
                    action=action.value,
                    prefix=prefix,
                    target=target,
                    on_taken=on_taken.value,
                    state="waiting",
                    problems=[],
                    undo_ids=[],
                    created_by=actor.name,
                    role=actor.role.value,
                    created_at=now,
                    updated_at=now,
                )
            )
        self._enqueue()
        return self.get(actor, change_id)

    def count(self, actor: Actor, backend: str, prefix: str) -> int:
        """Return how many files are in a folder and below, at most ``MAX_COUNTED``."""
        actor.require(Permission.READ_FILES)
        return count_files(self._writes.driver(actor, backend), prefix)

    def get(self, actor: Actor, change_id: str) -> FolderChange:
        """Return a change. Raises ``FORBIDDEN`` and ``NOT_FOUND``."""
        actor.require(Permission.READ_FILES)
        query = select(*_COLUMNS).where(folder_changes.c.id == change_id)
        with self._writes.database.work_read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise StowageError(
                Kind.NOT_FOUND, "There is no such change of a folder.", operation="folder change"
            )
        return _value(row)

    def recent(self, actor: Actor, backend: str) -> tuple[FolderChange, ...]:
        """Return the changes of a backend's folders, the newest first."""
        actor.require(Permission.READ_FILES)
        mine = folder_changes.c.backend_id == self._writes.backends.get(backend).id
        query = select(*_COLUMNS).where(mine).order_by(folder_changes.c.created_at.desc()).limit(MAX_SHOWN)
        with self._writes.database.work_read() as connection:
            return tuple(map(_value, connection.execute(query)))

    def cancel(self, actor: Actor, change_id: str) -> None:
        """Stop soon. Files that were changed stay as they are. Does nothing to one that has ended."""
        actor.require(Permission.WRITE_FILES)
        self.get(actor, change_id)
        self._set_state(change_id, "cancelling", ("running",))
        self._set_state(change_id, "cancelled", ("waiting", "failed"))

    def resume(self, actor: Actor, change_id: str) -> None:
        """Continue one that failed or was cancelled. Does nothing to others."""
        actor.require(Permission.WRITE_FILES)
        self.get(actor, change_id)
        self._set_state(change_id, "waiting", ("failed", "cancelled"))
        self._enqueue()

    def run(self, should_stop: Callable[[], bool]) -> None:
        """Do what is waiting, and what a run that was killed has left. For the runner."""
        unfinished = folder_changes.c.state.in_(_OPEN)
        query = select(*_COLUMNS).where(unfinished).order_by(folder_changes.c.created_at)
        with self._writes.database.work_read() as connection:
            waiting = list(map(_value, connection.execute(query)))
        for change in waiting:
            if should_stop():
                return
            self._set_state(change.id, "running", ("waiting",))
            _Run(self._writes, self._catalogue, self._deletions, change).run(should_stop)

    def _set_state(self, change_id: str, state: str, before: Sequence[str]) -> None:
        mine = (folder_changes.c.id == change_id) & folder_changes.c.state.in_(before)
        with self._writes.database.work_write() as connection:
            connection.execute(
                update(folder_changes).where(mine).values(state=state, message="", updated_at=time.time())
            )

    def _enqueue(self) -> None:
        with self._writes.database.write() as session:
            enqueue(session, JobKind.FILES, 0)


class _Run:
    """One run of a change, from wherever the last one stopped."""

    def __init__(
        self, writes: FileWrites, catalogue: Catalogue, deletions: Deletions, change: FolderChange
    ) -> None:
        self._writes = writes
        self._catalogue = catalogue
        self._deletions = deletions
        self._change = change
        self._actor = Actor(change.created_by, change.role, "runner")

    def run(self, should_stop: Callable[[], bool]) -> None:
        name = self._writes.backends.name_of(self._change.backend_id)
        if name is None:
            self._end("failed", "The backend was removed.")
            return
        try:
            driver = self._writes.driver(self._actor, name)
            with ThreadPoolExecutor(WORKERS, thread_name_prefix="folder-change") as pool:
                for batch in self._batches(driver):
                    if should_stop():
                        return
                    if self._cancelled():
                        self._end("cancelled", "Cancelled. Files that were changed before stay as they are.")
                        return
                    outcomes = self._change_batch(pool, driver, name, batch)
                    self._progress(outcomes)
                    lost = next((each for each in outcomes if each.kind in LOST), None)
                    if lost is not None:
                        self._end("failed", f"The backend stopped answering: {lost.reason}")
                        return
            self._finish_folders(driver)
        except StowageError as error:
            self._end("failed", error.reason)
            return
        self._end("done", "")

    def _batches(self, driver: Driver) -> Iterator[list[Entry]]:
        size = DELETED_BATCH if self._change.action is FolderAction.DELETE else BATCH
        listing = iter(without_markers(driver.list(self._change.prefix)))
        while batch := list(islice(listing, size)):
            yield batch

    def _change_batch(
        self, pool: ThreadPoolExecutor, driver: Driver, name: str, batch: list[Entry]
    ) -> Sequence[Outcome]:
        change = self._change
        if change.action is FolderAction.DELETE:
            deleted = self._deletions.delete(
                self._actor, name, [FileRef(entry.key) for entry in batch], confirmed=len(batch)
            )
            if deleted.undo_id:
                self._note_undo(deleted.undo_id)
            return deleted.outcomes

        def one(entry: Entry) -> Outcome:
            to = change.target + entry.key.removeprefix(change.prefix)
            if to.startswith(change.prefix):
                # The listing would come to it again.
                reason = f"It would become “{to}”, in the folder that is being changed."
                return Outcome(entry.key, "", Kind.CONFLICT, reason)
            return transfer_entry(
                self._catalogue,
                driver,
                self._writes.backends.get(name),
                entry,
                to,
                on_taken=change.on_taken,
                move=change.action is FolderAction.MOVE,
            )

        return list(pool.map(one, batch))

    def _finish_folders(self, driver: Driver) -> None:
        change = self._change
        if not isinstance(driver, KeepsFolders):
            return
        if change.target:
            make_subfolders(driver, change.prefix, change.target)
        if change.action is not FolderAction.COPY:
            driver.remove_folder(change.prefix.removesuffix("/"))

    def _cancelled(self) -> bool:
        query = select(folder_changes.c.state).where(folder_changes.c.id == self._change.id)
        with self._writes.database.work_read() as connection:
            return connection.scalar(query) == "cancelling"

    def _row(self) -> Any:
        query = select(folder_changes).where(folder_changes.c.id == self._change.id)
        with self._writes.database.work_read() as connection:
            return connection.execute(query).one()

    def _progress(self, outcomes: Sequence[Outcome]) -> None:
        failed = [outcome for outcome in outcomes if not outcome.done]
        row = self._row()
        problems = [*row.problems, *([outcome.key, outcome.reason] for outcome in failed)][:MAX_PROBLEMS]
        self._update(
            done=row.done + len(outcomes) - len(failed), failed=row.failed + len(failed), problems=problems
        )

    def _note_undo(self, undo_id: str) -> None:
        self._update(undo_ids=[*self._row().undo_ids, undo_id])

    def _end(self, state: str, message: str) -> None:
        self._update(state=state, message=message)

    def _update(self, **values: object) -> None:
        mine = folder_changes.c.id == self._change.id
        with self._writes.database.work_write() as connection:
            connection.execute(update(folder_changes).where(mine).values(updated_at=time.time(), **values))


def check_paths(action: FolderAction, prefix: str, target: str) -> None:
    """Raise ``InvalidInput`` for paths that are no folders, or one in the other."""
    if not prefix or not prefix.endswith("/"):
        raise InvalidInput("prefix", "The path of a folder ends in “/”, and the whole backend is no folder.")
    if action is FolderAction.DELETE:
        if target:
            raise InvalidInput("target", "A deletion has no target.")
        return
    if not target.endswith("/") or target == "/":
        raise InvalidInput("target", "The path of a folder ends in “/”.", remedy="Give it a name.")
    refuse_reserved(target.removesuffix("/"))
    if target == prefix:
        raise InvalidInput("target", "The folder already has that name.")
    if target.startswith(prefix):
        raise InvalidInput("target", "A folder cannot be put into itself.", remedy="Choose another place.")


def _refuse_overlap(other: FolderChange, prefix: str, target: str) -> None:
    for mine in filter(None, (prefix, target)):
        for theirs in filter(None, (other.prefix, other.target)):
            if mine.startswith(theirs) or theirs.startswith(mine):
                raise StowageError(
                    Kind.CONFLICT,
                    f"“{theirs}” is being changed already, or was and did not end well.",
                    operation="folder change",
                    subject=theirs,
                    remedy="Wait until that has ended, or continue or cancel it.",
                )


def _value(row: Any) -> FolderChange:
    values = dict(row._mapping)
    values["action"] = FolderAction(values["action"])
    values["on_taken"] = OnTaken(values["on_taken"])
    values["role"] = Role(values["role"])
    values["problems"] = tuple((key, reason) for key, reason in values["problems"])
    values["undo_ids"] = tuple(values["undo_ids"])
    return FolderChange(**values)
