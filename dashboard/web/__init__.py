"""All of Flask: what a request meets from the first guard to the last error handler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flask import Flask
from flask_wtf import CSRFProtect

from dashboard.services.people.passwords import SHORTEST
from dashboard.web import (
    admin,
    assets,
    context,
    downloads,
    errors,
    formatting,
    guards,
    headers,
    health,
    hosts,
    numbers,
    setup,
    sign_in,
    visitors,
)
from dashboard.web.api import v1

if TYPE_CHECKING:
    from dashboard.services.services import Services

LARGEST_FORM = 512 * 1024
TOKEN_SECONDS = 12 * 3600
RESEND_SECONDS = 7 * 24 * 3600


def register(app: Flask, services: Services) -> None:
    """Put the console on ``app``: routes, guards, error pages, headers. Called once, before serving.

    Raises ``guards.UndeclaredRoute`` if any route, ours or not, says nothing about who may use it.
    """
    app.extensions[context.EXTENSION] = services
    app.config.update(
        SECRET_KEY=services.accounts.session_secret(),
        MAX_CONTENT_LENGTH=LARGEST_FORM,
        MAX_FORM_MEMORY_SIZE=LARGEST_FORM,
        WTF_CSRF_TIME_LIMIT=TOKEN_SECONDS,
        WTF_CSRF_RESEND_LIMIT=RESEND_SECONDS,
    )
    app.url_map.strict_slashes = False
    numbers.install(app)
    headers.install(app, secure_cookies=services.settings.secure_cookies)
    hosts.install(app, services.settings.hosts)
    guards.install(app)
    visitors.install(app)
    CSRFProtect(app)
    errors.install(app)
    assets.install(app)
    downloads.install(app)
    formatting.install(app)
    app.jinja_env.globals.update(can=context.can, shortest_password=SHORTEST)
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    for blueprint in (health.blueprint, setup.blueprint, sign_in.blueprint, v1.blueprint):
        app.register_blueprint(blueprint)
    admin.install(app)
    guards.seal(app)
