"""Headers, metadata and tags of one file, and its older versions, changed on the Files page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.files.browse import LABEL
from dashboard.services.files.changing.edits import HEADERS, FileEdit
from dashboard.services.files.changing.outcomes import FileRef
from dashboard.services.files.file_details import FileDetails
from dashboard.services.permissions import Permission
from dashboard.storage.object_powers import HoldsTags, SetsAttributes
from dashboard.web.admin.files.browser_view import from_token, read_view, to_token
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS

LABELS = {
    "content_type": "Content type",
    "cache_control": "Cache-Control",
    "content_disposition": "Content-Disposition",
    "content_encoding": "Content-Encoding",
    "content_language": "Content-Language",
}
EMPTY_LINES = 2
MAX_LINES = 60
_NOT_ASKED = (Kind.SEALED, Kind.FORBIDDEN, Kind.INTERNAL)


class FileEditPages(Page):
    """``/browse/<name>/edit`` and ``/browse/<name>/restore``"""

    path = "/browse"
    endpoint_name = "file_edits"
    menu_parent = "Files"
    default_view = "edit"

    @route("/<name>/edit", Permission.WRITE_FILES, methods=("GET", "POST"))
    def edit(self, name: str) -> Any:
        """Show what is stored with a file in a form, and store it."""
        view = read_view(services().backends.get(name).name, request.values)
        key = from_token(request.values.get("key", ""))
        found = services().file_details.of(actor(), view.backend, key)
        error = None
        if request.method == "POST":
            file = FileRef(key, request.form.get("version", "") or None)
            try:
                services().file_edits.edit(actor(), view.backend, file, _read_edit(found))
            except StowageError as problem:
                if problem.kind in _NOT_ASKED:
                    raise
                error = problem
            else:
                flash_done("The details are saved.")
                return see_other(view.url(file=key, after=view.after))
        page = self.render(
            "admin/files/ask_edit.html",
            **_fields(found),
            view=view,
            error=error,
            names=[key.rpartition("/")[2] or key],
            tokens=[to_token(key)],
            version=request.form.get("version", "") or found.info.version or "",
            action_url=url_for("file_edits.edit", name=view.backend),
        )
        return str(page), STATUS[error.kind] if error else 200

    @route("/<name>/restore", Permission.WRITE_FILES, methods=("POST",))
    def restore(self, name: str) -> Response:
        """Make an older version the current one."""
        view = read_view(services().backends.get(name).name, request.form)
        key = from_token(request.form.get("key", ""))
        services().file_edits.restore(actor(), view.backend, key, request.form.get("version", ""))
        flash_done("The older version is the current one now. The one before it is kept too.")
        return see_other(view.url(file=key, after=view.after))


def editable_parts(found: FileDetails) -> tuple[bool, bool]:
    """Whether the headers and metadata, and the tags, of a file can be changed."""
    if found.actions.get("move") or found.served_by != found.backend:
        return False, False
    driver = services().backends.driver_with_waiting(found.backend, label=LABEL)
    return isinstance(driver, SetsAttributes), isinstance(driver, HoldsTags) and found.tags is not None


def _read_edit(found: FileDetails) -> FileEdit:
    """What the form changes: only what differs from what is stored."""
    attributes = found.info.attributes
    headers = {name: request.form.get(name, "").strip() for name in HEADERS if name in request.form}
    headers = {name: value for name, value in headers.items() if value != (getattr(attributes, name) or "")}
    metadata = _pairs("metadata") if "metadata.name" in request.form else dict(attributes.metadata)
    tags = _pairs("tag") if "tag.name" in request.form else dict(found.tags or {})
    return FileEdit(
        headers=headers or None,
        metadata=metadata if metadata != dict(attributes.metadata) else None,
        tags=tags if tags != dict(found.tags or {}) else None,
    )


def _pairs(field: str) -> dict[str, str]:
    names = request.form.getlist(f"{field}.name")[:MAX_LINES]
    values = request.form.getlist(f"{field}.value")[:MAX_LINES]
    pairs = zip((name.strip() for name in names), (value.strip() for value in values), strict=False)
    return {name: value for name, value in pairs if name}


def _fields(found: FileDetails) -> Mapping[str, Any]:
    posted = request.method == "POST"
    stored = found.info.attributes
    headers = [
        (LABELS[name], name, request.form.get(name, "") if posted else getattr(stored, name) or "")
        for name in HEADERS
    ]
    can_headers, can_tags = editable_parts(found)
    return {
        "can_headers": can_headers,
        "can_tags": can_tags,
        "headers": headers,
        "metadata": _lines(_pairs("metadata") if posted else stored.metadata),
        "tags": _lines(_pairs("tag") if posted else found.tags or {}),
    }


def _lines(pairs: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    """The lines of the form: what there is, and empty ones for more."""
    return [*sorted(pairs.items()), *[("", "")] * EMPTY_LINES]
