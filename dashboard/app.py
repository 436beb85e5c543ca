"""The factory: a console as a Flask application, its services, its storage. No business rules.

The web framework loads when a console is made: commands and the runner's process start without it.
"""

from __future__ import annotations

import gc
from pathlib import Path
from typing import TYPE_CHECKING

from dashboard.errors import Kind, StowageError
from dashboard.services.active_storage import ActiveStorage
from dashboard.services.database import Database, open_database, prepare_instance
from dashboard.services.engines import engine_options
from dashboard.services.services import Services, compose
from dashboard.settings import Overrides, Settings

if TYPE_CHECKING:
    from flask import Flask

    from dashboard.services.files.accepting import UploadDoor
    from dashboard.storage import Storage

PACKAGE = Path(__file__).resolve().parent
FULL_COLLECTIONS = 3
"""After which what the first pages have loaded is left out of later ones."""


def open_services(settings: Settings) -> Services:
    """The services of an instance. Creates its folder, databases and key if they are missing. Serves nothing
    and makes no network call. Idempotent; safe from several processes at once.

    Raises ``StowageError`` for a folder or a database that cannot be used.
    """
    prepare_instance(settings)
    return _compose(settings, open_database(settings))


def open_storage(instance: str | Path | None = None) -> Storage:
    """The backends of a Stowage instance, for a program of your own on the same machine.

    ``instance`` is its folder, by default the one that ``stowage`` itself would use. Names are those of the
    console, the default is its active backend, and an edit there takes effect with the next call. Anyone who
    can read the key file can do this; it is not audited. Raises ``StowageError``: ``NOT_FOUND`` if there is
    no instance (it creates none), ``SEALED`` without its key. Close it when done.
    """
    from dashboard.storage import Storage

    overrides: Overrides = {"instance": Path(instance)} if instance is not None else {}
    services = _open_existing(Settings.from_env(**overrides))

    def active() -> str:
        return next((each.name for each in services.backends.list() if each.active), "")

    return Storage(
        services.backends.driver,
        default=active,
        keep=False,
        names=lambda: [each.name for each in services.backends.list()],
        on_close=services.close,
    )


def _open_existing(settings: Settings) -> Services:
    if settings.database_url:
        from dashboard.services.cluster.joining import require_console

        database = open_database(settings)
        try:
            require_console(database)
        finally:
            database.close()
    elif not settings.database.is_file():
        raise StowageError(
            Kind.NOT_FOUND,
            f"There is no Stowage instance in “{settings.instance}”.",
            operation="open storage",
            subject=str(settings.instance),
            remedy="Name the folder that holds stowage.db.",
        )
    return open_services(settings)


dynamic_storage = ActiveStorage(lambda: _open_existing(Settings.from_env()))
"""For programs that follow the console: whichever backend is active there holds their files."""


def open_uploads(instance: str | Path | None = None) -> UploadDoor:
    """The uploads of a Stowage instance, for a program of your own on the same machine: files that it has
    received are checked, processed and stored by the console's policies. See docs/uploads.md.

    ``instance``, who can do this and what it raises: as :func:`open_storage`. Close it when done.
    """
    from dashboard.services.files.accepting import UploadDoor

    overrides: Overrides = {"instance": Path(instance)} if instance is not None else {}
    services = _open_existing(Settings.from_env(**overrides))
    return UploadDoor(services.uploads, services.catalogue, services.close)


def create_app(settings: Settings | None = None, services: Services | None = None) -> Flask:
    """The console as a WSGI application. Starts no process and makes no network call.

    Raises ``StowageError`` for an instance folder or a database that cannot be used.
    """
    from flask import Flask

    # Only a process that serves pages loads the web package.
    from dashboard import web

    settings = settings or Settings.from_env()
    app = Flask(
        "dashboard",
        root_path=str(PACKAGE),
        instance_path=str(settings.instance),
        template_folder=str(_folder("templates")),
        static_folder=str(_folder("static")),
    )
    if settings.trusted_proxies:
        from werkzeug.middleware.proxy_fix import ProxyFix

        hops = settings.trusted_proxies
        # The host is not taken from a header: proxies that do not set it pass on what the client sent.
        app.wsgi_app = ProxyFix(app.wsgi_app, x_for=hops, x_proto=hops, x_host=0)  # type: ignore[method-assign]
    web.register(app, services or _web_services(app, settings).compose_all())
    return app


def join_consoles(app: Flask, address: str = "") -> None:
    """Say to other consoles on the same database server that this one serves at ``address``, until its
    services are closed. Does nothing for databases in files.

    Raises ``CONFLICT`` if it cannot be one of them: see docs/scale-out.md.
    """
    from dashboard.web.context import EXTENSION

    services: Services = app.extensions[EXTENSION]
    services.presence.start(address)


def _folder(name: str) -> Path:
    """A wheel carries the folder inside the package, a checkout beside it."""
    inside = PACKAGE / name
    return inside if inside.is_dir() else PACKAGE.parent / name


def _web_services(app: Flask, settings: Settings) -> Services:
    """The services of a console: its engines are the application's own."""
    from flask_sqlalchemy import SQLAlchemy

    from dashboard.models.base import WORK_BIND

    prepare_instance(settings)
    app.config["SQLALCHEMY_BINDS"] = engine_options(settings)
    db = SQLAlchemy(app)
    with app.app_context():
        database = Database(db.engine, db.engines[WORK_BIND])
    return _compose(settings, database)


def _compose(settings: Settings, database: Database) -> Services:
    if settings.broker_url:
        from dashboard.services.cluster.joining import require_celery

        require_celery()
    database.upgrade()
    return compose(settings, database)


def keep_from_collector() -> None:
    """Keep what the program is made of out of the garbage collector. Looking through all of it stops every
    request for up to a quarter of a second.

    Called once, when a web server's process has created its application. What the first pages load, such as
    templates, is left out after each of the first ``FULL_COLLECTIONS`` full collections. Reference counting
    frees what is left out as before; only a cycle among it would stay.
    """
    gc.freeze()
    remaining = FULL_COLLECTIONS

    def freeze(phase: str, info: dict[str, int]) -> None:
        nonlocal remaining
        if phase == "stop" and info["generation"] == 2:
            gc.freeze()
            remaining -= 1
            if not remaining:
                gc.callbacks.remove(freeze)

    gc.callbacks.append(freeze)
