"""``stowage`` and ``python -m dashboard``: the command line, handed what it may not import.

The web and database parts load when a command needs them, so that ``stowage --help`` is quick.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dashboard.errors import StowageError
from dashboard.jobs.child import end_with_parent
from dashboard.settings import Settings, SettingsError

if TYPE_CHECKING:
    from dashboard.services.services import Services
    from dashboard.services.workers.worker_values import Queue


def main() -> None:
    """The ``stowage`` command."""
    arguments = sys.argv[1:]
    if arguments[:1] in (["node"], ["carrier"]):
        # Before anything else is loaded: not even suspended may it outlive its parent, whose work others get.
        end_with_parent(int(arguments.pop(1)))
    if arguments[:1] == ["node"]:
        _node(arguments[1:])
        return
    if arguments[:1] in (["runner"], ["web"], ["carrier"]):
        _child(arguments[0], arguments[1:])
        return
    with _loading():
        from dashboard.cli import stowage
        from dashboard.cli.invocation import Program

    stowage(obj=Program(_open_services, _serve, _work))


@contextmanager
def _loading() -> Iterator[None]:
    """Without the garbage collector, which would look at every module again and again and find nothing."""
    gc.disable()
    try:
        yield
    finally:
        # What is loaded stays until the end: it need not be looked at later either.
        gc.freeze()
        gc.enable()


def _child(name: str, arguments: list[str]) -> None:
    # Without the imports of the command line: after a crash, a child must be back quickly.
    from dashboard.children import run_carrier, run_runner, run_web

    try:
        {"web": run_web, "runner": run_runner, "carrier": run_carrier}[name](arguments)
    except (StowageError, SettingsError) as error:
        sys.exit(str(error))


def _node(arguments: list[str]) -> None:
    from dashboard.worker import run_celery

    try:
        run_celery(arguments)
    except (StowageError, SettingsError) as error:
        sys.exit(str(error))


def _work(settings: Settings, queues: Sequence[Queue], slots: int, announce: Callable[[str], None]) -> None:
    with _loading():
        from dashboard.worker import work

    work(settings, queues, slots, announce)


def _open_services(settings: Settings) -> Services:
    with _loading():
        from dashboard.app import open_services

        return open_services(settings)


def _serve(settings: Settings, announce: Callable[[str], None]) -> None:
    from dashboard.serving import serve

    serve(settings, announce)


if __name__ == "__main__":
    main()
