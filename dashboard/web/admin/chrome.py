"""What stands around every page: the figures in the menu and the word about a sealed console."""

from __future__ import annotations

from typing import Any

from flask import Flask

from dashboard.services.keys import KeyState
from dashboard.web.admin.figures import working
from dashboard.web.admin.recent import recent_migrations
from dashboard.web.context import services


def install(app: Flask) -> None:
    """Make them known to the templates, as functions: a page that does not ask costs no query."""
    app.jinja_env.globals.update(menu_count=_menu_count, sealed_state=_sealed_state)


def _menu_count(item: Any) -> int:
    if item.name == "Backends":
        return services().backends.count()
    if item.name == "Migrations":
        return sum(working(p) for p in recent_migrations())
    return 0


def _sealed_state() -> KeyState | None:
    state = services().keys.state()
    return state if state.sealed else None
