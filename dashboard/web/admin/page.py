"""The base class of all pages: a Flask-Admin view whose routes declare their permission."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, TypeVar, cast

from flask import flash, redirect
from flask_admin import BaseView, expose
from werkzeug.wrappers import Response

from dashboard.services.permissions import Permission
from dashboard.web.context import can, services
from dashboard.web.guards import declare

F = TypeVar("F", bound=Callable[..., Any])


def route(
    rule: str, permission: Permission, *, methods: tuple[str, ...] = ("GET",), read_together: bool = False
) -> Callable[[F], F]:
    """Make a method of a :class:`Page` a route. A route cannot be made without a permission.

    ``read_together``: everything that the page reads of the databases is read in one transaction of each; for
    pages that put many figures together, write nothing and reach no server.
    """

    def mark(view: F) -> F:
        found = _reading_together(view) if read_together else view
        expose(rule, methods)(found)
        return declare(permission)(found)

    return mark


def _reading_together(view: F) -> F:
    @wraps(view)
    def whole(*args: Any, **kwargs: Any) -> Any:
        with services().database.read_together():
            return view(*args, **kwargs)

    return cast(F, whole)


@dataclass(frozen=True, slots=True)
class MenuItem:
    """How a page appears in the menu."""

    label: str
    icon: str


class Page(BaseView):  # type: ignore[misc]  # flask_admin ships no types
    """A page of the console. Subclasses set ``path``, ``endpoint_name`` and, for the menu, ``menu_item``
    or, where another page's item stands for theirs, its label as ``menu_parent``.

    ``menu_permission`` decides who sees the menu item; the permission of each route decides who may use it.
    """

    path = ""
    endpoint_name = ""
    menu_parent = ""
    menu_item: MenuItem | None = None
    menu_permission = Permission.VIEW
    default_view = "index"

    def __init__(self) -> None:
        # Flask-Admin requires a default view; its own, “/”, would give every URL a trailing slash.
        self._default_view = self.default_view
        super().__init__(
            name=self.menu_item.label if self.menu_item else self.endpoint_name,
            endpoint=self.endpoint_name,
            url=self.path,
            # With a URL but no folder, Flask-Admin serves none of its Bootstrap files.
            static_url_path="/static",
            menu_icon_value=self.menu_item.icon if self.menu_item else None,
        )

    def is_visible(self) -> bool:
        """Return whether the menu shows this page to the current user."""
        return self.menu_item is not None and can(self.menu_permission)

    def _handle_view(self, view: str, /, **kwargs: Any) -> None:
        """Do nothing: ``guards`` has already checked the request. Positional-only, because a route's own
        ``name`` would otherwise collide with Flask-Admin's parameter."""

    def _run_view(self, view: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call the view once; Flask-Admin's own method calls it again after any TypeError inside it."""
        return view(self, *args, **kwargs)


def see_other(url: str) -> Response:
    """Redirect after a successful form, so that the next page can be reloaded."""
    return redirect(url, 303)


def flash_done(sentence: str) -> None:
    """Show a success message on the next page."""
    flash(sentence, "done")


def flash_with_button(sentence: str, *, button: str, url: str, fields: Mapping[str, str]) -> None:
    """Show a success message with a button that sends ``fields`` to ``url``."""
    message: Any = {"sentence": sentence, "button": button, "url": url, "fields": dict(fields)}
    flash(message, "done")
