"""Old files: a dry run, the typed number, and how far the deletion is."""

from __future__ import annotations

from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.files.cleanup.cleanup_values import DEFAULT_DAYS, OldFilesPlan, parse_count
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

BUSY_SECONDS, IDLE_SECONDS = 1, 15
SHOWN = 5
"""Deletions on the page."""
SHOWN_AGAIN = frozenset({Kind.INVALID, Kind.NOT_FOUND, Kind.CONFLICT})
"""Errors with which the page is shown again."""


class OldFilesPage(Page):
    """``/files/old``"""

    path = "/files/old"
    endpoint_name = "old_files"
    menu_parent = "Files"

    @route("", Permission.READ_FILES)
    def index(self) -> Response | str:
        """Ask for an age, and show what is older; with ``live`` only the deletions, which poll."""
        if "live" in request.args:
            # No address of its own below this one: that would be a file's of a backend “old”.
            return str(self.render("admin/files/old_live.html", **_latest()))
        if "days" not in request.args:
            return self._page(None, None)
        try:
            plan = services().old_files.plan(
                _days(request.args.get("days", "")), request.args.get("backend", "")[:200]
            )
        except StowageError as error:
            return self._again(None, error)
        return self._page(plan, None)

    @route("", Permission.WRITE_FILES, methods=("POST",))
    def delete(self) -> Response | str:
        """Start the deletion of what the dry run has shown, if its number was typed."""
        form, plan = request.form, None
        try:
            days, backend = _days(form.get("days", "")), form.get("backend", "")[:200]
            requested = services().old_files.request(
                actor(),
                backend,
                before=_time(form.get("before", "")),
                planned_at=_time(form.get("planned_at", "")),
                last_id=parse_integer(form, "last_id") or 0,
                files=parse_count(form.get("files", "")[:40]),
            )
        except StowageError as error:
            if error.kind not in SHOWN_AGAIN:
                raise
            if isinstance(error, InvalidInput) and error.subject == "files":
                # The same plan as far as the clock allows: the number is right there to be typed again.
                plan = services().old_files.plan(days, backend)
            return self._again(plan, error)
        flash_done(f"Deletion {requested.id} has begun: {requested.files:,} files.")
        return see_other(url_for("old_files.index"))

    def _again(self, plan: OldFilesPlan | None, error: StowageError) -> Response:
        return make_response(self._page(plan, error), STATUS[error.kind])

    def _page(self, plan: OldFilesPlan | None, error: StowageError | None) -> str:
        values = request.values
        return str(
            self.render(
                "admin/files/old.html",
                plan=plan,
                error=error,
                field=error.subject if isinstance(error, InvalidInput) else "",
                days=values.get("days", str(DEFAULT_DAYS))[:12],
                backend=values.get("backend", "")[:200],
                backends=services().backends.choices(),
                **_latest(),
            )
        )


def _latest() -> dict[str, Any]:
    deletions = services().old_files.list(limit=SHOWN)
    busy = any(each.active for each in deletions)
    return {"deletions": deletions, "seconds": BUSY_SECONDS if busy else IDLE_SECONDS}


def _days(text: str) -> int:
    days = parse_count(text[:40])
    if days < 0:
        raise InvalidInput("days", "This is not an age in days.", remedy="Enter a number, such as 30.")
    return days


def _time(text: str) -> float:
    try:
        return float(text[:40])
    except ValueError:
        raise InvalidInput("before", "This is not a plan.", remedy="Make a new dry run.") from None
