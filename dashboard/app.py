"""The composition root: puts services, console and command line together. No business rules.

The web framework loads when a console is made: commands and the runner's process start without it.
"""

from __future__ import annotations

import argparse
import errno
import faulthandler
import logging
import os
import resource
import signal
import socket
import sys
import threading
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
FILES = 4096
"""Open files that web server and runner may have, where the system allows as many."""
READY = "The web server is ready."
"""What the web server's process says to its parent, once, before it answers anybody."""
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
    """See ``Composition.serve``. To be called on the main thread.

    This process only watches two others, the web server and the runner, and starts them again when they
    die. The listening sockets are its own: meanwhile the port is kept, and newcomers wait.
    """
    logs.configure(settings.log_level)
    sockets = _listen(settings)
    greeting = _greeting(settings, sockets[0].getsockname()[1])
    _raise_file_limit()
    ready = threading.Event()
    numbers = [each.fileno() for each in sockets]
    web = Supervisor(
        lambda line: ready.set() if line == READY else _relay(line),
        command=_command("web", settings, "--sockets", ",".join(map(str, numbers))),
        cwd=PACKAGE.parent,
        name="web server",
        pass_fds=numbers,
    )
    runner = Supervisor(_relay, command=_command("runner", settings, "--supervised"), cwd=PACKAGE.parent)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _leave)
    try:
        web.start()
        runner.start()
        _await(web, ready)
        for line in greeting:
            announce(line)
        threading.Event().wait()
    except SystemExit:
        pass
    finally:
        # Both at once: who stops this process will not wait for one after the other.
        other = threading.Thread(target=runner.stop)
        other.start()
        web.stop()
        other.join()
        for each in sockets:
            each.close()


def run_web(arguments: Sequence[str]) -> None:
    """The web server's process: ``python -m dashboard web``. Ends on SIGTERM, or with its parent."""
    parser = _parser("web", "Serve pages on sockets that the parent has bound.")
    parser.add_argument("--sockets", required=True)
    given = _given(parser, arguments)
    sockets = [socket.socket(fileno=int(number)) for number in given.pop("sockets").split(",")]
    settings = Settings.from_env(**given)
    faulthandler.enable()
    logs.configure(settings.log_level)
    signal.signal(signal.SIGTERM, _leave)
    # Ctrl-C reaches the whole terminal group; the parent decides and then says so with SIGTERM.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # At once: until it is gone nobody else can have the port.
    when_parent_dies(lambda: os._exit(1))
    app = _bare_app(settings)
    services = _services(app, settings)
    _dress(app, settings, services)
    # Only this process needs the web server.
    from dashboard.web import server

    try:
        server.run(
            app,
            sockets,
            behind_proxy=settings.trusted_proxies > 0,
            ready=lambda: print(READY, flush=True),  # noqa: T201
        )
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


def _listen(settings: Settings) -> list[socket.socket]:
    """Sockets that listen on every address that the host's name has here."""
    port, sockets = settings.port, list[socket.socket]()
    try:
        found = socket.getaddrinfo(settings.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bound(family, address[0], port))
            except OSError as error:
                # "localhost" may have an IPv6 address on a machine that has no IPv6.
                if not sockets or error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                    raise
            port = sockets[0].getsockname()[1]
    except OSError as error:
        for each in sockets:
            each.close()
        raise _refused(settings, error) from error
    return sockets


def _bound(family: int, host: str | int, port: int) -> socket.socket:
    return socket.create_server((str(host), port), family=family, backlog=1024)


def _await(web: Supervisor, ready: threading.Event) -> None:
    while not ready.wait(0.05):
        # A child that was killed is started again; one that gave up would give up again.
        if (web.last_exit or 0) > 0:
            raise StowageError(
                Kind.INTERNAL,
                "The web server did not start.",
                operation="serve",
                remedy="The lines above say why.",
            )


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _refused(settings: Settings, error: OSError) -> StowageError:
    where = f"{settings.host} port {settings.port}"
    if error.errno == errno.EADDRINUSE:
        reason, remedy = "is in use by another program", "Stop that program, or choose another with --port."
    elif error.errno == errno.EACCES:
        reason, remedy = "may not be used by this user", "Choose a port above 1023 with --port."
    else:
        reason, remedy = "is not an address of this machine", "Try --host 127.0.0.1, or 0.0.0.0 for all."
    return StowageError(Kind.CONFLICT, f"{where} {reason}.", operation="listen", subject=where, remedy=remedy)


def _greeting(settings: Settings, port: int) -> list[str]:
    """What a person is told once the console is there. Makes instance, databases and key where missing."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    lines = [f"Stowage is at http://{host}:{port}"]
    services = open_services(settings)
    try:
        state = services.keys.state()
        if state.sealed:
            lines.append(f"The console is sealed: {state.reason} {state.remedy}")
        elif services.setup.needed():
            code = services.setup.issue_code()
            lines.append(f"Setup code: {code} (asked for once, on the first page)")
    finally:
        services.close()
    return lines


def _command(name: str, settings: Settings, *more: str) -> tuple[str, ...]:
    """How a child of this process is started, with the same settings."""
    return (
        *(sys.executable, "-m", "dashboard", name, *more),
        *("--instance", str(settings.instance), "--key-file", str(settings.key_file)),
        *("--host", settings.host, "--port", str(settings.port)),
        *("--max-workers", str(settings.max_workers), "--log-level", settings.log_level),
        *("--secure-cookies", str(int(settings.secure_cookies))),
        *("--trusted-proxies", str(settings.trusted_proxies)),
        *("--hosts", ",".join(settings.hosts)),
    )


def _parser(name: str, description: str) -> argparse.ArgumentParser:
    """The arguments of :func:`_command`. They win over the environment."""
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
