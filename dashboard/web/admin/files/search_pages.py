"""The searches of the Files page that a person has saved under a name."""

from __future__ import annotations

from dataclasses import dataclass

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.catalogue.filters import Sort
from dashboard.services.permissions import Permission
from dashboard.web.admin.files.browser_view import FilesView, read_view, view_of
from dashboard.web.admin.page import Page, flash_done, flash_with_button, route, see_other
from dashboard.web.context import actor, services


@dataclass(frozen=True, slots=True)
class ShownSearch:
    """A saved search. ``where``: the folder or backend that it searches; ``current``: what is shown now."""

    id: int
    name: str
    where: str
    url: str
    current: bool


class SearchPages(Page):
    """``/browse/<name>/searches``: everybody has their own."""

    path = "/browse"
    endpoint_name = "file_searches"
    menu_parent = "Files"
    default_view = "save"

    @route("/<name>/searches", Permission.READ_FILES, methods=("POST",))
    def save(self, name: str) -> Response:
        """Save what the page searches for. One of the same name is replaced, and the page says so."""
        view = read_view(services().backends.get(name).name, request.form)
        if view.wrong:
            raise view.wrong
        if not view.filtered:
            raise InvalidInput("name", "There is nothing to save.", remedy="Search for something first.")
        title = request.form.get("title", "").strip()
        replaced = any(search.name == title for search in services().saved_searches.list(actor()))
        saved = services().saved_searches.save(
            actor(),
            title,
            view.search,
            sort=Sort(view.sort.removeprefix("-")),
            descending=view.sort.startswith("-"),
        )
        what = "is saved in place of the one that had this name" if replaced else "is saved"
        flash_done(f"The search “{saved.name}” {what}.")
        return see_other(view.url())

    @route("/<name>/searches/<int:id>/delete", Permission.READ_FILES, methods=("POST",))
    def delete(self, name: str, id: int) -> Response:
        """Delete a saved search; the message after it can save it again."""
        view = read_view(services().backends.get(name).name, request.form)
        found = next((each for each in services().saved_searches.list(actor()) if each.id == id), None)
        if found is not None:
            services().saved_searches.remove(actor(), id)
            target = view_of(found, view.backend)
            flash_with_button(
                f"The search “{found.name}” is deleted.",
                button="Undo",
                url=url_for("file_searches.save", name=target.backend),
                fields={**dict(target.fields()), "title": found.name},
            )
        return see_other(view.url())


def searches_of(view: FilesView) -> list[ShownSearch]:
    """The person's saved searches."""
    shown = []
    for search in services().saved_searches.list(actor()):
        target = view_of(search, view.backend)
        current = target.search == view.search and target.sort == view.sort
        shown.append(ShownSearch(search.id, search.name, target.title, target.url(), current))
    return shown
