"""Changes of large folders, which the runner does: what the Files page shows of them, and its buttons."""

from __future__ import annotations

import time
from dataclasses import dataclass

from flask import request
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput
from dashboard.services.files.changing.folder_changes import FolderAction, FolderChange
from dashboard.services.files.changing.moving_objects import OnTaken
from dashboard.services.permissions import Permission
from dashboard.web.admin.files.browser_view import FilesView, read_view
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, can, services

SHOWN_SECONDS = 3600.0
"""For which a change that has ended stays on the page."""
_RUNNING = ("waiting", "running", "cancelling")
_DOING = {FolderAction.MOVE: "Moving", FolderAction.COPY: "Copying", FolderAction.DELETE: "Deleting"}
_DONE = {FolderAction.MOVE: "Moved", FolderAction.COPY: "Copied", FolderAction.DELETE: "Deleted"}


@dataclass(frozen=True, slots=True)
class FolderJob:
    """A change of a folder as the page shows it."""

    change: FolderChange
    verb: str
    running: bool
    stopped: bool
    can_undo: bool


def folder_jobs(backend: str) -> list[FolderJob]:
    """What is under way at a backend, or has just ended, the newest first."""
    if not can(Permission.WRITE_FILES):
        return []
    since = time.time() - SHOWN_SECONDS
    return [
        FolderJob(
            change,
            (_DONE if change.state == "done" else _DOING)[change.action],
            change.state in _RUNNING,
            change.state in ("failed", "cancelled"),
            bool(change.undo_ids) and change.state not in _RUNNING,
        )
        for change in services().folder_changes.recent(actor(), backend)
        if change.state in (*_RUNNING, "failed") or change.updated_at > since
    ][:5]


def begin_folder_change(
    view: FilesView,
    action: FolderAction,
    prefix: str,
    target: str = "",
    *,
    on_taken: OnTaken = OnTaken.REFUSE,
    confirmed: int | None = None,
) -> Response:
    """Begin it, and go back to the list, which shows how far it is."""
    services().folder_changes.begin(
        actor(), view.backend, action, prefix, target, on_taken=on_taken, confirmed=confirmed
    )
    flash_done("The runner has begun. This page shows how far it is, and may be left.")
    return see_other(view.url(file=""))


class FolderJobPages(Page):
    """``/browse/<name>/folder-job``"""

    path = "/browse"
    endpoint_name = "folder_jobs"
    menu_parent = "Files"
    default_view = "press"

    @route("/<name>/folder-job", Permission.WRITE_FILES, methods=("POST",))
    def press(self, name: str) -> Response:
        """Cancel, resume or undo a change of a folder."""
        view = read_view(services().backends.get(name).name, request.form)
        change, button = request.form.get("job", ""), request.form.get("act", "")
        if button == "cancel":
            services().folder_changes.cancel(actor(), change)
            flash_done("It stops soon. Files that were changed already stay as they are.")
        elif button == "resume":
            services().folder_changes.resume(actor(), change)
            flash_done("It resumes where it stopped.")
        elif button == "undo":
            restored = 0
            for undo_id in services().folder_changes.get(actor(), change).undo_ids:
                restored += sum(each.done for each in services().deletions.undo(actor(), undo_id))
            flash_done(f"{restored:,} files were restored.")
        else:
            raise InvalidInput("act", "This button is not known.", remedy="Reload the page and try again.")
        return see_other(view.url(after=view.after))
