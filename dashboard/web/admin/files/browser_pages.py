"""The Files page: any backend browsed like a folder, and the page of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from flask import Response, make_response, redirect, request, session, url_for
from werkzeug.wrappers import Response as AnyResponse

from dashboard.errors import StowageError
from dashboard.media.sizes import MB
from dashboard.services.catalogue.filters import FileFilters
from dashboard.services.permissions import Permission
from dashboard.services.text import size
from dashboard.storage.driver import Driver, RefusesWrites
from dashboard.storage.errors import NotFound
from dashboard.web.admin.files.browser_filters import DETAILS, filters_of
from dashboard.web.admin.files.browser_rows import ShownRow, shown_rows
from dashboard.web.admin.files.browser_source import Found, find
from dashboard.web.admin.files.browser_view import SORTS, FilesView, from_token, read_view
from dashboard.web.admin.files.file_pane import describe
from dashboard.web.admin.files.folder_jobs import folder_jobs
from dashboard.web.admin.files.search_pages import searches_of
from dashboard.web.admin.page import MenuItem, Page, route
from dashboard.web.context import actor, can, services
from dashboard.web.errors import STATUS
from dashboard.web.formatting import plural
from dashboard.web.headers import allow_connections

PART_SIZE = 8 * 1024 * 1024
"""Bytes of an upload that are sent, and after a broken connection sent again, at a time."""
DIRECT_FROM = 64 * MB
"""Bytes from which a file goes directly to the bucket, where that is possible."""
_LAYOUT = "files_layout"


@dataclass(frozen=True, slots=True)
class Column:
    """A column title: pressing it changes the order."""

    label: str
    css: str
    url: str
    direction: str


class FilesPages(Page):
    """``/browse``, ``/browse/<name>`` and the page of one file."""

    path = "/"
    endpoint_name = "browse"
    menu_item = MenuItem("Files", "files")
    menu_permission = Permission.READ_FILES

    @route("/browse", Permission.READ_FILES)
    def index(self) -> AnyResponse | str:
        """The files of the active backend."""
        summary = services().backends.summary()
        name = summary.active or next((each.name for each in services().backends.list(limit=1)), "")
        if not name:
            return str(self.render("admin/files/no_backend.html"))
        return redirect(url_for("browse.show", name=name), 303)

    @route("/files", Permission.READ_FILES)
    def files(self) -> AnyResponse:
        """The address that people try."""
        return redirect(url_for("browse.index"), 303)

    @route("/browse/<name>", Permission.READ_FILES)
    def show(self, name: str) -> Response:
        """One folder of a backend, or what a search below it found."""
        backend = services().backends.get(name)
        view = read_view(backend.name, request.args, session.get(_LAYOUT, "list"))
        if view.layout != session.get(_LAYOUT, "list"):
            session[_LAYOUT] = view.layout
        found, driver, failure = Found(), None, None
        try:
            driver = services().backends.driver(name)
            found = find(view, backend.id)
        except StowageError as error:
            failure = error
        writes = bool(driver) and can(Permission.WRITE_FILES)
        origin = services().direct_uploads.origin(actor(), name) if writes else ""
        page = self.render(
            "admin/files/browser.html",
            direct_origin=origin,
            direct_from=DIRECT_FROM,
            **frame(view, driver),
            **_list_values(view, found),
            failure=failure,
            searches=searches_of(view),
            jobs=folder_jobs(view.backend),
            file=describe(view, view.file) if view.file and not failure else None,
        )
        problem = failure or view.wrong
        response = make_response(str(page), STATUS[problem.kind] if problem else 200)
        allow_connections(response, origin)
        return response

    @route("/browse/<name>/file", Permission.READ_FILES)
    def file(self, name: str) -> tuple[str, int]:
        """One file: the preview and all that is known of it."""
        backend = services().backends.get(name)
        view = read_view(backend.name, request.args, session.get(_LAYOUT, "list"))
        key = from_token(request.args.get("key", ""))
        if not key:
            raise NotFound("")
        if "in" not in request.args:
            view = replace(view, folder=key[: key.rfind("/") + 1])
        file = describe(view, key)
        driver = None if file.failure else services().backends.driver(name)
        template = "admin/files/pane_only.html" if request.args.get("beside") else "admin/files/file.html"
        page = self.render(template, **frame(view, driver), file=file)
        return str(page), STATUS[file.failure.kind] if file.failure else 200


def frame(view: FilesView, driver: Driver | None) -> dict[str, Any]:
    """What every Files page needs: where it is, and what may be done there."""
    read_only = driver.read_only_reason() if isinstance(driver, RefusesWrites) else ""
    writable = bool(driver) and not read_only and can(Permission.WRITE_FILES)
    return {
        "view": view,
        "read_only": read_only,
        "writable": writable,
        "uploads_url": url_for("api_v1.uploads_index") if can(Permission.WRITE_FILES) else "",
        "upload_part_size": PART_SIZE,
    }


def _list_values(view: FilesView, found: Found) -> dict[str, Any]:
    more = view.url(after=found.cursor) if found.cursor else ""
    rows = shown_rows(view, found.entries, found.known or {})
    return {
        "backends": services().backends.choices(),
        "crumbs": _crumbs(view),
        "summary": _summary(view, rows, complete=found.complete),
        "message": found.message,
        "filters": filters_of(view),
        "detail_names": DETAILS,
        "sorts": tuple(SORTS.items()),
        "columns": _columns(view),
        "rows": rows,
        "folders": [row for row in rows if row.folder],
        "files": [row for row in rows if not row.folder],
        "next_url": more,
        "shown": f"{len(rows):,} shown" + (", and there are more" if more else ""),
        "counted_at": found.counted_at,
    }


def _crumbs(view: FilesView) -> list[tuple[str, str]]:
    """The folders above, with their addresses."""
    crumbs, path = [], ""
    for name in view.folder.split("/")[:-1]:
        path += f"{name}/"
        crumbs.append((name or "/", view.url(folder=path, query="", filters=FileFilters())))
    return crumbs


def _summary(view: FilesView, rows: Sequence[ShownRow], *, complete: bool) -> str:
    if view.filtered and not rows:
        return "Nothing found" if complete else "Nothing found so far"
    folders = sum(row.folder for row in rows)
    files = len(rows) - folders
    counts = [plural(files, "file")] if files or not folders else []
    counts += [plural(folders, "folder")] if folders else []
    text = " and ".join(counts)
    if not complete:
        return f"{text} on this page"
    return f"{text}, {size(sum(row.size or 0 for row in rows))}" if files else text


def _columns(view: FilesView) -> list[Column]:
    def column(label: str, css: str, name: str) -> Column:
        up, down = view.sort == name, view.sort == f"-{name}"
        # Sizes and times are looked at from the top first.
        first = name if name == "name" else f"-{name}"
        other = f"-{name}" if first == name else name
        direction = "ascending" if up else "descending" if down else ""
        return Column(label, css, view.url(sort=other if view.sort == first else first), direction)

    return [
        column("Name", "", "name"),
        Column("Type", "t-kind", "", ""),
        column("Size", "r", "size"),
        column("Changed", "r t-time", "modified"),
    ]
