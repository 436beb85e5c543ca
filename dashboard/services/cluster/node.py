"""The Celery worker: takes messages and has them worked on by processes of its own, each one at a time."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from celery import signals
from celery.exceptions import CPendingDeprecationWarning, WorkerLostError

from dashboard.errors import StowageError
from dashboard.jobs.child import end_with_parent
from dashboard.services.cluster.messages import CARRY, JOB, make_app
from dashboard.services.cluster.worker_process import Carry, Work

log = logging.getLogger(__name__)


LOADED_BEFORE = (
    "dashboard.app",
    "dashboard.migration.run",
    "dashboard.services.backends.checks",
    "dashboard.services.backends.status",
    "dashboard.services.migrations.carrying.carrier_main",
    "dashboard.services.migrations.carrying.embedded",
    "dashboard.services.migrations.job_handler",
    "dashboard.services.migrations.unfinished_uploads",
    "dashboard.services.runner",
    "dashboard.services.workers.workers",
)
"""What most jobs use: loaded once, not by each of the processes."""


@dataclass(frozen=True, slots=True)
class Place:
    """``name``: the node's, unique at the broker. ``queues``: their names there. ``slots``: its processes."""

    name: str
    queues: tuple[str, ...]
    slots: int


class _StopPipe:
    """Tells processes that were forked from this one that they should stop: the pipe ends, also when this
    process dies."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._open = True

    def close(self) -> None:
        """Ask them to stop. Idempotent."""
        if self._open:
            self._open = False
            os.close(self._writer)

    def then(self, callback: Callable[[], None]) -> None:
        """In a process that was forked: call ``callback`` on a thread of its own when it should stop."""
        self.close()

        def watch() -> None:
            os.read(self._reader, 1)
            callback()

        threading.Thread(target=watch, name="stop-pipe", daemon=True).start()


class LostProcesses(logging.Filter):
    """Says in one sentence that a process was lost, which Celery says with two tracebacks. Its task has not
    failed: the message comes back."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record if it is about that; keep it in any case."""
        error = record.args[0] if isinstance(record.args, tuple) and record.args else None
        if isinstance(error, WorkerLostError):
            record.msg = (
                "A process of this worker ended in the middle of a task, and another goes on with it: %s"
            )
            record.args = (str(error).removesuffix(" Job: 0."),)
            record.levelno, record.levelname = logging.WARNING, "WARNING"
            record.exc_info = record.exc_text = None
        return True


def run_node(broker_url: str, place: Place, open_work: Callable[[], Work]) -> int:
    """Work until SIGTERM; return the exit code. ``open_work`` is called once in each of the processes, when
    the first message arrives: nothing that it opens is shared between them."""
    app = make_app(broker_url)
    for module in LOADED_BEFORE:
        import_module(module)
    gc.freeze()
    pipe, stop, parent = _StopPipe(), threading.Event(), os.getpid()
    opened: list[Work] = []

    def work() -> Work | None:
        if not opened:
            try:
                opened.append(open_work())
            except StowageError as error:
                # The message is as good as lost: the dispatcher sends another, as the run does for a carrier.
                log.warning("A process of this worker cannot begin just now and is asked again: %s", error)
        return opened[0] if opened else None

    @app.task(name=JOB)  # type: ignore[untyped-decorator]
    def look_at_job(*numbers: Any) -> None:
        if _are_numbers(numbers, 1) and not stop.is_set() and (found := work()):
            _replace_if(found.look_at_job(numbers[0], stop))

    @app.task(name=CARRY)  # type: ignore[untyped-decorator]
    def carry(*numbers: Any) -> None:
        if _are_numbers(numbers, 4) and not stop.is_set() and (found := work()):
            _replace_if(found.carry(Carry(*numbers), stop))

    def begin_process(**_: Any) -> None:
        end_with_parent(parent)
        # A service manager sends it to every process: it would end calls in their middle. Not ignored, which
        # programs that are started from here would inherit; the pipe says what to do.
        signal.signal(signal.SIGTERM, lambda *_: None)
        pipe.then(stop.set)

    signals.worker_process_init.connect(begin_process, weak=False)
    signals.worker_shutting_down.connect(lambda **_: pipe.close(), weak=False)
    # What is connected here is used instead of Celery's own.
    signals.setup_logging.connect(lambda **_: None, weak=False)
    logging.getLogger("celery.worker.request").addFilter(LostProcesses())
    with warnings.catch_warnings():
        # In a container everything runs as root; only numbers are accepted from the broker.
        warnings.filterwarnings("ignore", message=".*superuser privileges")
        node = app.Worker(
            hostname=place.name,
            queues=list(place.queues),
            concurrency=place.slots,
            pool="prefork",
            task_events=True,
            without_gossip=True,
            without_mingle=True,
            quiet=True,
        )
        # Said whenever the broker comes back, about a setting that is made on purpose.
        warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)
        node.start()
    return int(node.exitcode or 0)


def _are_numbers(found: tuple[Any, ...], count: int) -> bool:
    fits = len(found) == count and all(type(each) is int and 0 <= each < 2**63 for each in found)
    if not fits:
        log.warning("A message that is none of ours was ignored")
    return fits


def _replace_if(hangs: bool) -> None:
    if hangs:
        # Its threads would keep connections and memory. The message comes back, and finds what is left.
        logging.shutdown()
        os._exit(1)
