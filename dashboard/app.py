"""The composition root: puts services, console and command line together. No business rules.

The web framework loads when a console is made: commands and the runner's process start without it.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dashboard.errors import Kind, StowageError
from dashboard.jobs.child import when_parent_dies
from dashboard.models import WORK_BIND, main_metadata, work_metadata
from dashboard.services import logs
from dashboard.services.database import Database, open_database, prepare_instance, sqlalchemy_config
from dashboard.services.services import Services, compose
from dashboard.serving import FAILED, GREETING, READY, leave, to_parent
from dashboard.settings import Overrides, Settings
from dashboard.storage import Storage

if TYPE_CHECKING:
    from flask import Flask

PACKAGE = Path(__file__).resolve().parent
GONE_WITHIN = 8.0
"""Seconds after which a runner whose parent died ends itself the hard way."""


def open_services(settings: Settings) -> Services:
    """See ``Composition.open_services``. Idempotent; safe from several processes at once."""
    prepare_instance(settings)
    return _composed(settings, open_database(settings))


def open_storage(instance: str | Path | None = None) -> Storage:
    """The backends of a Stowage instance, for a program of your own on the same machine.

    ``instance`` is its folder, by default the one ``stowage`` itself would take. Names are those of the
    console, the default is its active backend, and what is edited there holds from the next call on. Whoever
    may read the key file may do this; it is not audited. Raises ``StowageError``: ``NOT_FOUND`` where there
    is no instance (none is made), ``SEALED`` without its key. Close it when done.
    """
    overrides: Overrides = {"instance": Path(instance)} if instance is not None else {}
    settings = Settings.from_env(**overrides)
    if not settings.database.is_file():
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no Stowage instance in “{settings.instance}”.",
            operation="open storage",
            subject=str(settings.instance),
            remedy="Name the folder that holds stowage.db.",
        )
    services = open_services(settings)

    def active() -> str:
        return next((each.name for each in services.backends.list() if each.active), "")

    return Storage(
        services.backends.driver,
        default=active,
        keep=False,
        names=lambda: [each.name for each in services.backends.list()],
        on_close=services.close,
    )


def create_app(settings: Settings | None = None, services: Services | None = None) -> Flask:
    """The console as a WSGI application. Starts no process and makes no network call."""
    settings = settings or Settings.from_env()
    app = _bare_app(settings)
    _dress(app, settings, services or _services(app, settings))
    return app


def _dress(app: Flask, settings: Settings, services: Services) -> None:
    """Pages, guards and what stands in front."""
    if settings.trusted_proxies:
        from werkzeug.middleware.proxy_fix import ProxyFix

        hops = settings.trusted_proxies
        # The host is not taken from a header: proxies that do not set it pass on what the client sent.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    # Only a process that serves pages needs the web room.
    from dashboard import web

    web.register(app, services)


def run_web(arguments: Sequence[str]) -> None:
    """The web server's process: ``python -m dashboard web``. Ends on SIGTERM, or with its parent.

    With ``--greet`` it tells its parent what a person is to read, or why it cannot start.
    """
    parser = _parser("web", "Serve pages on sockets that the parent has bound.")
    parser.add_argument("--sockets", required=True)
    parser.add_argument("--greet", action="store_true")
    given = _given(parser, arguments)
    sockets = [socket.socket(fileno=int(number)) for number in given.pop("sockets").split(",")]
    greet = given.pop("greet")
    settings = Settings.from_env(**given)
    faulthandler.enable()
    logs.configure(settings.log_level)
    signal.signal(signal.SIGTERM, leave)
    # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # At once: until it is gone nobody else can have the port.
    when_parent_dies(lambda: os._exit(1))
    try:
        app = _bare_app(settings)
        services = _services(app, settings)
    except StowageError as error:
        if not greet:
            raise
        to_parent(FAILED, json.dumps(error.as_dict()))
        # The parent ends this process; going by itself would look like a crash.
        signal.pause()
        return
    _dress(app, settings, services)
    if greet:
        for line in _greeting(settings, services, sockets[0].getsockname()[1]):
            to_parent(GREETING, line)
    # Only this process needs the web server.
    from dashboard.web import server

    try:
        server.run(app, sockets, behind_proxy=settings.trusted_proxies > 0, ready=lambda: to_parent(READY))
    finally:
        services.close()


def run_child(arguments: Sequence[str]) -> NoReturn:
    """The runner's process: ``python -m dashboard runner``. Ends when told to by SIGTERM.

    With ``--supervised`` it also ends when standard input does, because then its parent has died.
    """
    parser = _parser("runner", "Run jobs until stopped.")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    given = _given(parser, arguments)
    supervised = given.pop("supervised")
    faulthandler.enable()
    settings = Settings.from_env(**given)
    logs.configure(settings.log_level, name="runner")
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN if supervised else lambda *_: stop.set())
    if supervised:
        when_parent_dies(lambda: _follow(stop))
    code = open_services(settings).runner.run_forever(stop)
    logging.shutdown()
    # Threads that are blocked in the network would keep a polite exit waiting for minutes; all that
    # matters is in the databases.
    os._exit(code)


def _bare_app(settings: Settings) -> Flask:
    from flask import Flask

    return Flask(
        "dashboard",
        root_path=str(PACKAGE),
        instance_path=str(settings.instance),
        template_folder=str(_folder("templates")),
        static_folder=str(_folder("static")),
    )


def _folder(name: str) -> Path:
    """A wheel carries the folder inside the package, a checkout beside it."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def _services(app: Flask, settings: Settings) -> Services:
    """The services of a console: its engines are the application's own."""
    from flask_sqlalchemy import SQLAlchemy

    prepare_instance(settings)
    app.config.update(sqlalchemy_config(settings))
    db = SQLAlchemy(metadata=main_metadata)
    db.metadatas[WORK_BIND] = work_metadata
    db.init_app(app)
    with app.app_context():
        database = Database(db.engine, db.engines[WORK_BIND])
    return _composed(settings, database)


def _composed(settings: Settings, database: Database) -> Services:
    database.create_tables()
    return compose(settings, database)


def _greeting(settings: Settings, services: Services, port: int) -> list[str]:
    """What a person is told once the console is there."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"Stowage is at http://{host}:{port}"]
    state = services.keys.state()
    if state.sealed:
        lines.append(f"The console is sealed: {state.reason} {state.remedy}")
    elif services.setup.needed():
        lines.append(f"Setup code: {services.setup.issue_code()} (asked for once, on the first page)")
    return lines


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """The arguments that ``dashboard.serving`` gives its children. They win over the environment."""
    parser = argparse.ArgumentParser(prog=f"stowage {name}", description=description)
    for option in ("--instance", "--key-file"):
        parser.add_argument(option, type=Path)
    for option in ("--port", "--max-workers", "--trusted-proxies"):
        parser.add_argument(option, type=int)
    for option in ("--host", "--log-level"):
        parser.add_argument(option)
    parser.add_argument("--secure-cookies", type=lambda text: text == "1")
    parser.add_argument("--hosts", type=lambda text: tuple(text.split(",")) if text else ())
    return parser


def _given(parser: argparse.ArgumentParser, arguments: Sequence[str]) -> dict[str, Any]:
    return {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}


def _follow(stop: threading.Event) -> None:
    stop.set()
    last_resort = threading.Timer(GONE_WITHIN, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
