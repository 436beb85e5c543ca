"""The web application: everything that imports Flask, from the first guard to the last error handler."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.routing import Rule

from dashboard.services.people.passwords import MIN_LENGTH
from dashboard.web import (
    admin,
    assets,
    context,
    csrf,
    downloads,
    errors,
    formatting,
    guards,
    headers,
    health,
    hosts,
    local_time,
    numbers,
    sessions,
    setup,
    sign_in,
)
from dashboard.web.api import tus, v1
from dashboard.web.files import file_routes, link_routes, zip_routes
from dashboard.web.language import translating
from dashboard.web.receiving import refusals

if TYPE_CHECKING:
    from dashboard.services.services import Services

MAX_FORM_BYTES = 512 * 1024
CSRF_TOKEN_SECONDS = 12 * 3600
CSRF_RESEND_SECONDS = 7 * 24 * 3600


class LazyRule(Rule):
    """A route whose addresses are compiled when the first one is built: two functions for each of hundreds of
    routes are half of what starting takes. Without werkzeug's method of this name it is an ordinary rule."""

    def _compile_builder(self, append_unknown: bool = True) -> Callable[..., tuple[str, str]]:
        compile_builder, compiled = super()._compile_builder, list[Callable[..., tuple[str, str]]]()

        def build(rule: Rule, **values: Any) -> tuple[str, str]:
            if not compiled:
                compiled.append(compile_builder(append_unknown))
            return compiled[0](rule, **values)

        return build


def register(app: Flask, services: Services) -> None:
    """Register routes, guards, error pages and headers on ``app``. Called once, before serving.

    Raises ``guards.UndeclaredRoute`` if any route, ours or an extension's, does not declare who may use it.
    """
    app.extensions[context.EXTENSION] = services
    services.setup.prepare_demo()
    app.config.update(
        SECRET_KEY=services.accounts.session_secret(),
        MAX_CONTENT_LENGTH=MAX_FORM_BYTES,
        MAX_FORM_MEMORY_SIZE=MAX_FORM_BYTES,
        WTF_CSRF_TIME_LIMIT=CSRF_TOKEN_SECONDS,
        WTF_CSRF_RESEND_LIMIT=CSRF_RESEND_SECONDS,
    )
    app.url_rule_class = LazyRule
    app.url_map.strict_slashes = False
    numbers.install(app)
    headers.install(app, secure_cookies=services.settings.secure_cookies)
    hosts.install(app, services.live)
    guards.install(app)
    refusals.install(app)
    sessions.install(app)
    tus.install(app)
    csrf.install(app)
    errors.install(app)
    assets.install(app)
    translating.install(app)
    downloads.install(app)
    formatting.install(app)
    local_time.install(app)
    app.jinja_env.globals.update(
        can=context.can, min_password_length=MIN_LENGTH, demo_mode=services.settings.demo
    )
    app.jinja_env.trim_blocks = True
    app.jinja_env.lstrip_blocks = True
    for blueprint in (health.blueprint, setup.blueprint, sign_in.blueprint, link_routes.blueprint):
        app.register_blueprint(blueprint)
    v1.install(app)
    file_routes.install(app)
    app.register_blueprint(zip_routes.blueprint)
    admin.install(app)
    guards.verify_routes(app)
