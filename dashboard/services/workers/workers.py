"""Workers on any machine: how they register, give signs of life, and are listed.

A sign of life is a row, not a message: what the broker loses changes nothing here.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections.abc import Callable, Sequence

from sqlalchemy import CursorResult, delete, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from dashboard import __version__
from dashboard.jobs.process_identity import end, is_alive, this_process
from dashboard.jobs.types import JobKind, JobState
from dashboard.models.migrations import Job
from dashboard.models.workers import Worker, WorkerTask
from dashboard.services.database import Database
from dashboard.services.workers.worker_values import (
    FORGET_SECONDS,
    GRACE_SECONDS,
    LIFE_SECONDS,
    SILENT_SECONDS,
    Queue,
    TaskInfo,
    WorkerInfo,
    WorkerState,
)

CARRIER = "carrier"
"""The kind of a task that carries for a migration. All others are values of ``JobKind``."""


class Workers:
    """Over the main database. Thread-safe."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    # ---- for pages

    def list(self) -> tuple[WorkerInfo, ...]:
        """All that gave a sign of life within the last hour, the longest running first."""
        now = self._clock()
        with self._database.read() as session:
            known = Worker.beat_at >= now - FORGET_SECONDS
            workers = session.scalars(
                select(Worker).where(known).order_by(Worker.started_at, Worker.id)
            ).all()
            tasks = session.scalars(
                select(WorkerTask).where(WorkerTask.alive_until >= now).order_by(WorkerTask.id)
            ).all()
        found: dict[str, list[TaskInfo]] = {}
        for task in tasks:
            found.setdefault(task.worker_id, []).append(_task(task))
        return tuple(_info(row, tuple(found.get(row.id, ())), now) for row in workers)

    def newest_beat(self) -> float | None:
        """When a worker that takes work gave the last sign of life; None if there never was one."""
        query = select(Worker.beat_at).where(Worker.queues != "").order_by(Worker.beat_at.desc()).limit(1)
        with self._database.read() as session:
            return session.scalar(query)

    def slots(self, queue: Queue, *, with_files: bool = False) -> int:
        """How many tasks of a queue can be done at once now. ``with_files``: those that need the folders of
        the console's machine."""
        alive = Worker.beat_at >= self._clock() - SILENT_SECONDS
        with self._database.read() as session:
            rows = session.execute(select(Worker.queues, Worker.slots, Worker.has_files).where(alive)).all()
        return sum(
            row.slots
            for row in rows
            if queue.value in row.queues.split() and (row.has_files or not with_files)
        )

    # ---- for workers

    def register(
        self,
        queues: Sequence[Queue],
        slots: int,
        *,
        has_files: bool,
        message: str = "",
        remedy: str = "",
    ) -> str:
        """Register this process and return the worker's id. With a ``message`` it takes no work."""
        number, now = uuid.uuid4().hex, self._clock()
        row = {
            "id": number,
            "machine": socket.gethostname()[:255],
            "pid": os.getpid(),
            "process": this_process(),
            "version": __version__,
            "queues": "" if message else " ".join(queue.value for queue in queues),
            "slots": slots,
            "has_files": has_files,
            "stopping": False,
            "started_at": now,
            "beat_at": now,
            "message": message,
            "remedy": remedy,
        }
        with self._database.write() as session:
            session.execute(delete(Worker).where(Worker.beat_at < now - FORGET_SECONDS))
            session.execute(insert(Worker).values(row))
        return number

    def beat(self, worker: str, *, stopping: bool = False, message: str = "", remedy: str = "") -> bool:
        """Give a sign of life; return whether the worker is still registered. ``message``: why it takes no
        work just now."""
        changes = {"beat_at": self._clock(), "stopping": stopping, "message": message, "remedy": remedy}
        with self._database.write() as session:
            result = session.execute(update(Worker).where(Worker.id == worker).values(changes))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    def unregister(self, worker: str) -> None:
        """Remove a worker that ended, and its tasks. Idempotent."""
        with self._database.write() as session:
            session.execute(delete(WorkerTask).where(WorkerTask.worker_id == worker))
            session.execute(delete(Worker).where(Worker.id == worker))

    def bury_dead(self) -> int:
        """Remove the tasks of processes that are certainly gone, and end their leases, so that others begin
        at once; return how many. Processes of this machine are known by the system, others by their time. One
        of this machine whose time is over was suspended: it is killed before others count it as gone."""
        now, gone = self._clock(), []
        with self._database.read() as session:
            tasks = session.scalars(select(WorkerTask)).all()
        for task in tasks:
            alive = is_alive(task.process)
            if alive and task.alive_until < now:
                end(task.process)
            elif alive is False or (alive is None and task.alive_until + GRACE_SECONDS < now):
                gone.append(task)
        if gone:
            with self._database.write() as session:
                for task in gone:
                    _bury(session, task)
        return len(gone)

    # ---- for tasks

    def begin_task(self, worker: str, kind: str, subject: int, *, fence: int, number: int = 0) -> int | None:
        """Say that this process does something; return the task's id. None if another does exactly this, or
        if the worker is not registered any more."""
        now = self._clock()
        row = {
            "worker_id": worker,
            "process": this_process(),
            "pid": os.getpid(),
            "kind": kind,
            "subject_id": subject,
            "fence": fence,
            "number": number,
            "started_at": now,
            "alive_until": now + LIFE_SECONDS,
            "objects": 0,
            "rate": 0.0,
        }
        try:
            with self._database.write() as session:
                return session.scalar(insert(WorkerTask).values(row).returning(WorkerTask.id))
        except IntegrityError:
            return None

    def renew_task(self, task: int, *, objects: int = 0, rate: float = 0.0) -> bool:
        """Give a task's sign of life; return whether it still is this process's."""
        changes = {"alive_until": self._clock() + LIFE_SECONDS, "objects": objects, "rate": rate}
        with self._database.write() as session:
            result = session.execute(update(WorkerTask).where(WorkerTask.id == task).values(changes))
        assert isinstance(result, CursorResult)
        return result.rowcount == 1

    def end_task(self, task: int) -> None:
        """Say that it ended, however it did. Idempotent."""
        with self._database.write() as session:
            session.execute(delete(WorkerTask).where(WorkerTask.id == task))

    def carrying(self, migration_id: int) -> dict[tuple[int, int], float]:
        """Until when the carriers of a migration may still work, by their run's fence and their number."""
        mine = (WorkerTask.kind == CARRIER) & (WorkerTask.subject_id == migration_id)
        with self._database.read() as session:
            rows = session.execute(
                select(WorkerTask.fence, WorkerTask.number, WorkerTask.alive_until).where(mine)
            ).all()
        return {(row.fence, row.number): row.alive_until for row in rows}


def _bury(session: Session, task: WorkerTask) -> None:
    # Only what has given no sign of life since it was read.
    unchanged = (WorkerTask.id == task.id) & (WorkerTask.alive_until == task.alive_until)
    removed = session.execute(delete(WorkerTask).where(unchanged))
    assert isinstance(removed, CursorResult)
    if removed.rowcount and task.kind != CARRIER:
        claim = (Job.kind == task.kind) & (Job.subject_id == task.subject_id) & (Job.fence == task.fence)
        still = (Job.state == JobState.RUNNING.value) & (Job.owner == task.process)
        session.execute(update(Job).where(claim & still).values(lease_until=0.0))


def _task(row: WorkerTask) -> TaskInfo:
    # By its name, as jobs are shown elsewhere.
    kind = row.kind if row.kind == CARRIER else JobKind(row.kind).name.lower()
    return TaskInfo(kind, row.subject_id, row.number, row.pid, row.started_at, row.objects, row.rate)


def _info(row: Worker, tasks: tuple[TaskInfo, ...], now: float) -> WorkerInfo:
    return WorkerInfo(
        id=row.id,
        machine=row.machine,
        pid=row.pid,
        version=row.version,
        queues=tuple(row.queues.split()),
        slots=row.slots,
        has_files=row.has_files,
        state=_state(row, tasks, now),
        started_at=row.started_at,
        beat_at=row.beat_at,
        message=row.message,
        remedy=row.remedy,
        tasks=tasks,
    )


def _state(row: Worker, tasks: tuple[TaskInfo, ...], now: float) -> WorkerState:
    if row.beat_at < now - SILENT_SECONDS:
        return WorkerState.SILENT
    if row.message:
        return WorkerState.REFUSED
    if row.stopping:
        return WorkerState.STOPPING
    return WorkerState.WORKING if tasks else WorkerState.IDLE
