"""The composition root: puts services, console and command line together. No business rules.

The web framework loads when a console is made: commands and the runner's process start without it.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from dashboard.errors import Kind, StowageError
from dashboard.jobs.child import Supervisor, when_parent_dies
from dashboard.models import WORK_BIND, main_metadata, work_metadata
from dashboard.services import logs
from dashboard.services.database import Database, open_database, prepare_instance, sqlalchemy_config
from dashboard.services.services import Services, compose
from dashboard.settings import Overrides, Settings
from dashboard.storage import Storage

if TYPE_CHECKING:
    from flask import Flask

log = logging.getLogger(__name__)

PACKAGE = Path(__file__).resolve().parent
THREADS = 16
CONNECTIONS = 1000
LARGEST_REQUEST = 2 * 1024 * 1024
"""Bytes; a little more than any form may have, so that too large a form still gets our own answer."""
DRAIN = 2.0
"""Seconds that finished answers get to reach slow readers when the console stops."""
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


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """See ``Composition.serve``. To be called on the main thread."""
    logs.configure(settings.log_level)
    app = _bare_app(settings)
    services = _services(app, settings)
    _dress(app, settings, services)
    connections: dict[int, Any] = {}
    server = _listen(app, settings, connections)
    supervisor = Supervisor(_relay, command=_runner_command(settings), cwd=PACKAGE.parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        supervisor.start()
        _say_hello(settings, services, server, announce)
        server.run()
        _drain(connections)
    except SystemExit:
        pass
    finally:
        supervisor.stop()
        server.close()
        services.close()


def run_child(arguments: Sequence[str]) -> NoReturn:
    """The runner's process: ``python -m dashboard runner``. Ends when told to by SIGTERM.

    With ``--supervised`` it also ends when standard input does, because then its parent has died.
    """
    parser = argparse.ArgumentParser(prog="stowage runner", description="Run jobs until stopped.")
    parser.add_argument("--supervised", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--instance", type=Path)
    parser.add_argument("--key-file", type=Path)
    parser.add_argument("--max-workers", type=int)
    parser.add_argument("--log-level")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value is not None}
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


def _listen(app: Flask, settings: Settings, connections: dict[int, Any]) -> Any:
    from waitress.server import create_server

    try:
        return create_server(
            app,
            map=connections,
            host=settings.host,
            port=settings.port,
            threads=THREADS,
            connection_limit=CONNECTIONS,
            max_request_body_size=LARGEST_REQUEST,
            ident="Stowage",
            clear_untrusted_proxy_headers=not settings.trusted_proxies,
        )
    except OSError as error:
        raise _refused(settings, error) from error


def _drain(connections: dict[int, Any]) -> None:
    """Send the rest of answers that were finished while the server was already leaving its loop.

    waitress waits for its threads, but what they wrote beyond the socket's buffer would be lost.
    """
    from waitress import wasyncore

    deadline = time.monotonic() + DRAIN
    while time.monotonic() < deadline and any(
        getattr(connection, "total_outbufs_len", 0) for connection in connections.values()
    ):
        wasyncore.loop(timeout=0.1, map=connections, count=1)


def _refused(settings: Settings, error: OSError) -> StowageError:
    where = f"{settings.host} port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        reason, remedy = "is in use by another program", "Stop that program, or choose another with --port."
    elif error.errno == errno.EACCES:
        reason, remedy = "may not be used by this user", "Choose a port above 1023 with --port."
    else:
        reason, remedy = "is not an address of this machine", "Try --host 127.0.0.1, or 0.0.0.0 for all."
    return StowageError(Kind.CONFLICT, f"{where} {reason}.", operation="listen", subject=where, remedy=remedy)


def _say_hello(settings: Settings, services: Services, server: Any, announce: Callable[[str], None]) -> None:
    port = getattr(server, "effective_port", settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    announce(f"Stowage is at http://{host}:{port}")
    state = services.keys.state()
    if state.sealed:
        announce(f"The console is sealed: {state.reason} {state.remedy}")
    elif services.setup.needed():
        announce(f"Setup code: {services.setup.issue_code()} (asked for once, on the first page)")


def _runner_command(settings: Settings) -> tuple[str, ...]:
    return (
        *(sys.executable, "-m", "dashboard", "runner", "--supervised"),
        *("--instance", str(settings.instance), "--key-file", str(settings.key_file)),
        *("--max-workers", str(settings.max_workers), "--log-level", settings.log_level),
    )


def _relay(line: str) -> None:
    # Not through logging: the child's lines have their own times. Panics of native code come raw.
    print(logs.redact(line), file=sys.stderr, flush=True)  # noqa: T201


def _leave(*_: object) -> NoReturn:
    # Asked twice, waiting for the first to take effect is still right; kill -9 is the way out.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise SystemExit(0)


def _follow(stop: threading.Event) -> None:
    stop.set()
    last_resort = threading.Timer(GONE_WITHIN, os._exit, (1,))
    last_resort.daemon = True
    last_resort.start()
