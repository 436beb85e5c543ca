"""The processes that others start and watch, web server, runner and carriers: how they are started, what they
do, and what the web server reports to its parent."""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dashboard.errors import StowageError
from dashboard.jobs.child import when_parent_dies
from dashboard.jobs.stop_signal import StopSignal
from dashboard.services import logs
from dashboard.settings import Settings

if TYPE_CHECKING:
    from dashboard.services.services import Services

READY = "stowage web: ready"
GREETING = "stowage web: say "
FAILED = "stowage web: failed "
"""How the web server's lines for its parent begin; all others are log lines."""
EXIT_SECONDS = 8.0
"""Seconds after which a runner whose parent died exits without cleaning up."""


def command(name: str, settings: Settings, *more: str) -> tuple[str, ...]:
    """Return the command that starts a child on the same instance and port. ``_parser`` parses it; all other
    settings the child reads itself, so that one that is started again has those of now."""
    return (
        *(sys.executable, "-m", "dashboard", name, *more),
        *("--instance", str(settings.instance), "--key-file", str(settings.key_file)),
        *("--host", settings.host, "--port", str(settings.port)),
    )


def run_web(arguments: Sequence[str]) -> None:
    """The web server's process: ``python -m dashboard web``. Ends on SIGTERM, or with its parent.

    With ``--greet`` it reports the lines for a person to its parent, or why it cannot start.
    """
    parser = _parser("web", "Serve pages on sockets that the parent has bound.")
    parser.add_argument("--sockets", required=True)
    parser.add_argument("--greet", action="store_true")
    options = _parse(parser, arguments)
    sockets = [socket.socket(fileno=int(number)) for number in options.pop("sockets").split(",")]
    greet = options.pop("greet")
    settings = Settings.from_env(**options)
    faulthandler.enable()
    logs.configure(settings.log_level)
    stop = StopSignal(signal.SIGTERM)
    # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # At once, because the port stays in use until this process has exited.
    when_parent_dies(lambda: os._exit(1))
    # The parent, which imports this module too, needs neither web framework nor database.
    from dashboard.app import create_app, join_consoles, keep_from_collector

    try:
        app = create_app(settings)
        host, port = sockets[0].getsockname()[:2]
        join_consoles(app, f"{host}:{port}")
    except StowageError as error:
        if not greet:
            raise
        _tell_parent(FAILED, json.dumps(error.as_dict()))
        # The parent ends this process; if it exited by itself, that would look like a crash.
        stop.wait()
        return
    from dashboard.web import context, server
    from dashboard.web.receiving import large_bodies

    with app.app_context():
        services = context.services()
    keep_from_collector()
    if greet:
        for line in _greeting(settings, services, sockets[0].getsockname()[1]):
            _tell_parent(GREETING, line)
    try:
        server.run(
            app,
            sockets,
            stop=stop,
            behind_proxy=settings.trusted_proxies > 0,
            ready=lambda: _tell_parent(READY),
            takes_large_body=large_bodies.LargeBodies(app, services),
            words_refusals=True,
        )
    finally:
        services.close()


def run_runner(arguments: Sequence[str]) -> NoReturn:
    """The runner's process: ``python -m dashboard runner``. Ends on SIGTERM.

    With ``--supervised`` it also ends when standard input is closed, because then its parent has died.
    """
    parser = _parser("runner", "Run jobs until stopped.")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    options = _parse(parser, arguments)
    supervised = options.pop("supervised")
    faulthandler.enable()
    settings = Settings.from_env(**options)
    logs.configure(settings.log_level, name="runner")
    stop = threading.Event()
    StopSignal(signal.SIGTERM, *(() if supervised else (signal.SIGINT,))).then(stop.set)
    if supervised:
        # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        when_parent_dies(lambda: _stop_or_exit(stop))
    from dashboard.app import open_services

    services = open_services(settings).compose_all()
    if settings.broker_url:
        from dashboard.services.cluster.job_routes import keep_folder

        keep_folder(services.database, settings.instance)
    code = services.runner.run_forever(stop)
    services.backends.requests.store()
    logging.shutdown()
    # Threads blocked in network calls would delay a clean exit by minutes; everything that matters is in
    # the databases.
    os._exit(code)


def run_carrier(arguments: Sequence[str]) -> NoReturn:
    """The process of a migration's carrier: ``python -m dashboard carrier PARENT``. Ends on SIGTERM, when
    nothing is left for it, and at once with its parent, the runner."""
    parser = _parser("carrier", "Copy for a migration that the runner runs.")
    for option in ("--migration", "--fence", "--number", "--carriers"):
        parser.add_argument(option, type=int, required=True)
    options = _parse(parser, arguments)
    migration, fence, number = (options.pop(name) for name in ("migration", "fence", "number"))
    carriers = options.pop("carriers")
    stop = threading.Event()
    StopSignal(signal.SIGTERM).then(stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    when_parent_dies(lambda: os._exit(1))
    faulthandler.enable()
    settings = Settings.from_env(**options)
    logs.configure(settings.log_level, name=f"carrier {number}")
    from dashboard.app import open_services
    from dashboard.services.migrations.carrying.carrier_main import carry

    services = open_services(settings)
    code = carry(
        services.database,
        services.backends,
        migration,
        fence=fence,
        number=number,
        carriers=carriers,
        stop=stop.is_set,
    )
    logging.shutdown()
    os._exit(code)


def _tell_parent(beginning: str, text: str = "") -> None:
    print(beginning + text, flush=True)  # noqa: T201


def _greeting(settings: Settings, services: Services, port: int) -> list[str]:
    """The lines printed once the console is running."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"Stowage is at http://{host}:{port}"]
    state = services.keys.state()
    if state.sealed:
        lines.append(f"The console is sealed: {state.reason} {state.remedy}")
    elif services.setup.needed():
        lines.append(f"Setup code: {services.setup.issue_code()} (asked for once, on the first page)")
    return lines


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """Parser for the arguments of :func:`command`, which override the environment."""
    parser = argparse.ArgumentParser(prog=f"stowage {name}", description=description)
    for option in ("--instance", "--key-file"):
        parser.add_argument(option, type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--host")
    return parser


def _parse(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}


def _stop_or_exit(stop: threading.Event) -> None:
    stop.set()
    last_resort = threading.Timer(EXIT_SECONDS, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
