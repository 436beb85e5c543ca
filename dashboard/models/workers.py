"""Workers, the processes that run jobs on any machine, and what each of them works on. Times are seconds
since the epoch."""

from __future__ import annotations

from sqlalchemy import ForeignKey, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from dashboard.models.base import Model


class Worker(Model):
    """A ``stowage worker`` that gives a sign of life, or gave its last a short while ago.

    ``process``: see ``jobs/process_identity.py``. ``queues``: names, with a space between them; none if it
    takes no work, and then ``message`` and ``remedy`` say why. ``slots``: tasks at once. ``has_files``:
    whether it sees the folders of the console's machine.
    """

    __tablename__ = "workers"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    machine: Mapped[str] = mapped_column(String(255))
    pid: Mapped[int]
    process: Mapped[str] = mapped_column(String(128))
    version: Mapped[str] = mapped_column(String(32))
    queues: Mapped[str] = mapped_column(String(255))
    slots: Mapped[int]
    has_files: Mapped[bool]
    stopping: Mapped[bool]
    started_at: Mapped[float]
    beat_at: Mapped[float] = mapped_column(index=True)
    message: Mapped[str]
    remedy: Mapped[str]


class WorkerTask(Model):
    """What a worker does now: a job, or a part of a migration as one of its carriers.

    The process that does it renews ``alive_until``, and ends itself when it could not until then: from a
    short while after that time it is certainly gone, whichever machine it was on. ``kind``: a value of
    ``jobs.types.JobKind``, or "carrier". ``fence``: that of the claim, or of the migration's run; ``number``:
    the carrier's, else 0. ``objects``: copied so far; ``rate``: objects a second lately.
    """

    __tablename__ = "worker_tasks"
    __table_args__ = (
        UniqueConstraint("kind", "subject_id", "fence", "number"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(ForeignKey(Worker.id, ondelete="CASCADE"), index=True)
    process: Mapped[str] = mapped_column(String(128))
    pid: Mapped[int]
    kind: Mapped[str] = mapped_column(String(32))
    subject_id: Mapped[int]
    fence: Mapped[int]
    number: Mapped[int]
    started_at: Mapped[float]
    alive_until: Mapped[float]
    objects: Mapped[int]
    rate: Mapped[float]
