"""``stowage worker``: registers this machine, and supervises the Celery workers that do jobs for its console.

The supervisor talks to the database and never forks; the Celery workers, ``python -m dashboard node``, fork
their processes and open nothing before.
"""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from dashboard.app import open_services
from dashboard.errors import Kind, StowageError
from dashboard.jobs.child import Supervisor, when_parent_dies
from dashboard.jobs.stop_signal import StopSignal
from dashboard.services import logs
from dashboard.services.cluster import joining
from dashboard.services.cluster.job_routes import NEEDS_FILES, Routes, queue_names, shares_files
from dashboard.services.database import open_database
from dashboard.services.workers.worker_values import BEAT_SECONDS, Queue
from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.services.cluster.worker_process import Work
    from dashboard.services.services import Services

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two looks for processes of this machine that were killed."""
OTHER_SLOTS = 2
"""Processes for all other jobs, beside those for migrations, so that short jobs never wait for long ones."""
STOP_SECONDS = 25.0
"""For a Celery worker to end: jobs have less, see ``cluster.messages``."""
PACKAGE = Path(__file__).resolve().parent


def work(settings: Settings, queues: Sequence[Queue], slots: int, announce: Callable[[str], None]) -> None:
    """Do everything ``stowage worker`` does; return after SIGTERM or SIGINT. Call it on the main thread.

    ``slots``: processes, 0 for one a core. Raises ``StowageError`` if this machine cannot do the console's
    work; then it has taken none.
    """
    joining.require_broker(settings)
    logs.configure(settings.log_level, name="worker")
    database = open_database(settings)
    try:
        joining.require_console(database)
    finally:
        database.close()
    services = open_services(settings)
    try:
        _serve(services, tuple(queues), slots or _cores(), announce)
    finally:
        services.close()


def _serve(
    services: Services, queues: tuple[Queue, ...], slots: int, announce: Callable[[str], None]
) -> None:
    settings, workers = services.live.started, services.workers
    has_files = shares_files(services.database, settings.instance)
    try:
        joining.require_fit(services.keys, services.database)
    except StowageError as error:
        workers.register(queues, slots, has_files=has_files, message=error.reason, remedy=error.remedy)
        raise
    if not has_files:
        queues = tuple(queue for queue in queues if queue not in NEEDS_FILES)
        if not queues:
            raise StowageError(
                Kind.INVALID,
                "This machine does not share the console's instance folder, which jobs of these queues need.",
                operation=joining.JOIN,
                remedy="Mount that folder here and name it with STOWAGE_INSTANCE, or take the queues "
                "migrations and counts.",
            )
        announce(
            "This machine does not share the console's instance folder: it takes no media and maintenance, "
            "and nothing of local backends."
        )
    worker = workers.register(queues, slots, has_files=has_files)
    nodes = [
        Supervisor(
            _relay,
            command=_node_command(settings, worker, group, count, has_files=has_files),
            cwd=PACKAGE.parent,
            stop_seconds=STOP_SECONDS,
            name=f"worker of {', '.join(group)}",
        )
        for group, count in _groups(queues, slots)
    ]
    asked, stop = StopSignal(signal.SIGTERM, signal.SIGINT), threading.Event()
    dispatcher = threading.Thread(
        target=services.runner.run_forever, args=(stop,), name="dispatcher", daemon=True
    )
    try:
        for node in nodes:
            node.start()
        if has_files:
            # The console's runner dispatches, and this process if there is none.
            dispatcher.start()
        announce(f"Waiting for jobs: {', '.join(queues)}; {slots} at once. Stop with Ctrl-C.")
        _beat_until(asked, services, worker)
    finally:
        stop.set()
        _stop_all(nodes)
        if has_files:
            dispatcher.join(LOOK_SECONDS)
        workers.unregister(worker)


def _beat_until(asked: StopSignal, services: Services, worker: str) -> None:
    workers, beat_at = services.workers, 0.0
    while not asked.wait(LOOK_SECONDS):
        now = time.monotonic()
        try:
            workers.bury_dead()
            if now >= beat_at:
                beat_at = now + BEAT_SECONDS
                state = services.keys.state()
                workers.beat(worker, message=state.reason, remedy=state.remedy)
        except StowageError as error:
            log.warning("A sign of life could not be given: %s", error)
    try:
        workers.beat(worker, stopping=True)
    except StowageError as error:
        log.warning("The database cannot be used just now: %s", error)


def _groups(queues: Sequence[Queue], slots: int) -> list[tuple[tuple[Queue, ...], int]]:
    """The Celery workers that there are: migrations apart from all that is short."""
    long, short = [each for each in queues if each is Queue.MIGRATIONS], tuple(queues)
    if long and len(queues) > 1:
        short = tuple(each for each in queues if each is not Queue.MIGRATIONS)
        return [(tuple(long), slots), (short, min(slots, OTHER_SLOTS))]
    return [(short, slots)]


def _stop_all(nodes: Sequence[Supervisor]) -> None:
    # All at once, so that stopping takes as long as the slowest.
    threads = [threading.Thread(target=node.stop) for node in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _node_command(
    settings: Settings, worker: str, queues: Sequence[Queue], slots: int, *, has_files: bool
) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "dashboard", "node", str(os.getpid())),
        *("--instance", str(settings.instance), "--key-file", str(settings.key_file)),
        *("--worker", worker, "--queues", ",".join(queues), "--slots", str(slots)),
        *(("--has-files",) if has_files else ()),
    )


def _relay(line: str) -> None:
    print(logs.redact(line), file=sys.stderr, flush=True)  # noqa: T201


def run_celery(arguments: Sequence[str]) -> NoReturn:
    """A Celery worker's process: ``python -m dashboard node PARENT``. Ends on SIGTERM, or with its parent."""
    parser = argparse.ArgumentParser(prog="stowage node", description="Work for a stowage worker.")
    for option in ("--instance", "--key-file"):
        parser.add_argument(option, type=Path, required=True)
    for option in ("--worker", "--queues"):
        parser.add_argument(option, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--has-files", action="store_true")
    options = parser.parse_args(arguments)
    # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not sys.platform.startswith("linux"):
        # Not where the system does it: a thread would be there while processes are forked.
        when_parent_dies(lambda: os._exit(1))
    faulthandler.enable()
    settings = Settings.from_env(instance=options.instance, key_file=options.key_file)
    logs.configure(settings.log_level, name="worker")
    from dashboard.services.cluster.node import Place, run_node

    queues = tuple(Queue(each) for each in options.queues.split(","))
    name = f"{'-'.join(queues)}.{options.worker[:8]}@{os.uname().nodename}"
    place = Place(name, queue_names(queues, has_files=options.has_files), options.slots)
    code = run_node(
        joining.require_broker(settings),
        place,
        lambda: _open_work(settings, options.worker, has_files=options.has_files),
    )
    logging.shutdown()
    os._exit(code)


def _open_work(settings: Settings, worker: str, *, has_files: bool) -> Work:
    from dashboard.services.cluster.worker_process import Carry, Carrying, Work
    from dashboard.services.migrations.carrying import carrier_main
    from dashboard.storage.copying import MEMORY, MEMORY_BYTES

    services = open_services(settings)

    def carry(request: Carry, carrying: Carrying) -> bool:
        code = carrier_main.carry(
            services.database,
            services.backends,
            request.migration_id,
            fence=request.fence,
            number=request.number,
            carriers=request.carriers,
            stop=carrying.stop,
            enter=True,
            watch=carrying.watch,
            may_write=carrying.may_write,
        )
        MEMORY.limit_to(MEMORY_BYTES)
        return code != 0

    return Work(
        worker,
        has_files=has_files,
        jobs=services.jobs,
        workers=services.workers,
        routes=Routes(services.database),
        keys=services.keys,
        handlers=services.runner.handlers(),
        carry=carry,
        before=services.live.poll,
        after=services.backends.requests.store,
    )
