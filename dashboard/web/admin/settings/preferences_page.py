"""Preferences: the language, time zone and theme of one's own pages."""

from __future__ import annotations

from itertools import groupby

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.people.preferences import LANGUAGE_NAMES, Theme, time_zones
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.language import choice, localized

_MAX_LENGTH = 100
"""Characters of a choice that are read; no real one has as many."""


class PreferencesPage(Page):
    """``/settings/preferences``"""

    path = "/settings/preferences"
    endpoint_name = "preferences"
    menu_parent = "Settings"
    menu_permission = Permission.OWN_ACCOUNT

    @route("", Permission.OWN_ACCOUNT)
    def index(self) -> str:
        """What one has chosen, and the choices."""
        return self._page(None)

    @route("", Permission.OWN_ACCOUNT, methods=("POST",))
    def save(self) -> Response:
        """Store all choices of the form."""
        try:
            services().accounts.preferences.change(
                actor(),
                language=request.form.get("language", "")[:_MAX_LENGTH],
                time_zone=request.form.get("time_zone", "")[:_MAX_LENGTH],
                theme=request.form.get("theme", "")[:_MAX_LENGTH],
            )
        except InvalidInput as error:
            return make_response(self._page(error), STATUS[error.kind])
        flash_done("Your preferences are saved.")
        return see_other(url_for("preferences.index"))

    @route("/theme", Permission.OWN_ACCOUNT, methods=("POST",))
    def theme(self) -> Response:
        """Store the theme alone: what the button beside the menu sends."""
        services().accounts.preferences.change(actor(), theme=request.form.get("theme", "")[:_MAX_LENGTH])
        return make_response("", 204)

    def _page(self, error: InvalidInput | None) -> str:
        chosen = choice.preferences()
        typed = request.form if error else {}
        settings = services().settings
        return str(
            self.render(
                "admin/settings/preferences.html",
                error=error,
                field=error.subject if error else "",
                language=typed.get("language", chosen.language),
                time_zone=typed.get("time_zone", chosen.time_zone),
                # Flask-Admin passes a “theme” of its own.
                shown_theme=typed.get("theme", chosen.theme or ""),
                languages=LANGUAGE_NAMES,
                areas=_areas(),
                themes=tuple(Theme),
                default_language=localized.language_name(settings.language),
                default_zone=settings.time_zone,
            )
        )


def _areas() -> list[tuple[str, list[tuple[str, str]]]]:
    """The time zones by area, each with its name and what to call it within the area."""
    grouped = groupby((name for name in time_zones() if "/" in name), key=lambda name: name.split("/")[0])
    return [
        (area, [(name, name.partition("/")[2].replace("_", " ")) for name in names])
        for area, names in grouped
    ]
