"""What the layout of every page needs: the counts in the menu, and whether the console is sealed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flask import Flask, g

from dashboard.services.keys import KeyState
from dashboard.web.admin.backend_forms.probes import summarize
from dashboard.web.context import services


@dataclass(frozen=True, slots=True)
class MenuEntry:
    """An item of the menu as one page shows it."""

    name: str
    icon: str
    url: str
    current: bool
    count: int


def install(app: Flask) -> None:
    """Add them to the templates as functions, so that a page that does not use them costs no query."""
    app.jinja_env.globals.update(
        backend_icon=_backend_icon,
        menu_items=_menu_items,
        running_migrations=_running_migrations,
        sealed_state=_sealed_state,
        probe_summary=summarize,
    )


def _menu_items(page: Any) -> list[MenuEntry]:
    """What the current user may see, each counted once although a phone's menu lists some of them twice."""
    return [
        MenuEntry(
            item.name,
            item.get_icon_value(),
            item.get_url(),
            item.is_active(page) or item.name == page.menu_parent,
            _menu_count(item),
        )
        for item in page.admin.menu()
        if item.is_visible()
    ]


def _menu_count(item: Any) -> int:
    if item.name == "Backends":
        return services().backends.count()
    if item.name == "Health":
        return services().backends.failing()
    return 0


def _backend_icon(name: str) -> str:
    """The symbol of a backend's provider, by its name; a plain one if it is gone. One query a request."""
    if "stowage_backend_icons" not in g:
        g.stowage_backend_icons = {each.name: each.icon for each in services().backends.choices()}
    return str(g.stowage_backend_icons.get(name, "bucket"))


def _running_migrations() -> int:
    return services().migrations.running()


def _sealed_state() -> KeyState | None:
    state = services().keys.state()
    return state if state.sealed else None
