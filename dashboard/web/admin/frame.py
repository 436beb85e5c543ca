"""Our page in Flask-Admin's frame: typed routes that declare their permission, and visibility by role."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from flask import flash, redirect
from flask_admin import BaseView, expose
from werkzeug.wrappers import Response

from dashboard.services.permissions import Permission
from dashboard.web.context import can
from dashboard.web.guards import declare

F = TypeVar("F", bound=Callable[..., Any])


def route(rule: str, permission: Permission, *, methods: tuple[str, ...] = ("GET",)) -> Callable[[F], F]:
    """A method of a :class:`Page` as a route. There is no way to make one without a permission."""

    def mark(view: F) -> F:
        expose(rule, methods)(view)
        return declare(permission)(view)

    return mark


@dataclass(frozen=True, slots=True)
class Entry:
    """Where a page stands in the menu."""

    label: str
    icon: str


class Page(BaseView):  # type: ignore[misc]  # flask_admin ships no types
    """One view of the console. Subclasses set ``at``, ``known_as`` and, to be in the menu, ``entry``.

    ``needs`` decides whether the menu shows it; each route's own permission decides who gets in.
    """

    at = ""
    known_as = ""
    entry: Entry | None = None
    needs = Permission.VIEW
    first = "index"

    def __init__(self) -> None:
        # Flask-Admin insists on a route “/”, which would give every address a trailing slash.
        self._default_view = self.first
        super().__init__(
            name=self.entry.label if self.entry else self.known_as,
            endpoint=self.known_as,
            url=self.at,
            # With an address and no folder Flask-Admin serves none of its Bootstrap files.
            static_url_path="/static",
            menu_icon_value=self.entry.icon if self.entry else None,
        )

    def is_visible(self) -> bool:
        """Whether the menu shows this page to the person behind the request."""
        return self.entry is not None and can(self.needs)

    def _handle_view(self, view: str, /, **kwargs: Any) -> None:
        """Nothing: ``guards`` has decided before any view is looked up. Positional only, because a route's
        own ``name`` would otherwise collide with Flask-Admin's parameter."""

    def _run_view(self, view: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Flask-Admin's own calls the view a second time after any TypeError inside it."""
        return view(self, *args, **kwargs)


def see_other(url: str) -> Response:
    """What a form answers when it did its work: a page that can be reloaded."""
    return redirect(url, 303)


def flash_done(sentence: str) -> None:
    """Tell, on the next page, that something was done."""
    flash(sentence, "done")
