"""Backups of the console: when they are made, those that are there, and one more now."""

from __future__ import annotations

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.backups.backup_values import EVERY_HOURS, FOLDER, BackupSchedule, BackupState
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS

EVERY_WORDS = {1: "hour", 6: "6 hours", 12: "12 hours", 24: "day", 168: "week"}


class BackupPages(Page):
    """``/settings/backups``"""

    path = "/settings/backups"
    endpoint_name = "backups"
    menu_parent = "Settings"
    menu_permission = Permission.KEYS

    @route("", Permission.KEYS)
    def index(self) -> str:
        """The schedule, and the backups that are there."""
        return self._page(None, services().backups.schedule())

    @route("/schedule", Permission.KEYS, methods=("POST",))
    def change(self) -> Response:
        """Change when backups are made, and where they go."""
        current = services().backups.schedule()
        try:
            schedule = BackupSchedule(
                enabled=request.form.get("enabled") == "1",
                every_hours=_number("every_hours"),
                keep=_number("keep"),
                backend=request.form.get("backend", ""),
            )
            services().backups.change_schedule(actor(), schedule)
        except InvalidInput as error:
            return make_response(self._page(error, current), STATUS[error.kind])
        flash_done(
            "The schedule is saved." if schedule.enabled else "No backups are made by schedule any more."
        )
        return see_other(url_for("backups.index"))

    @route("/create", Permission.KEYS, methods=("POST",))
    def create(self) -> Response:
        """Have a backup made now."""
        services().backups.request(actor())
        flash_done("A backup is being made. It counts once it was read back.")
        return see_other(url_for("backups.index"))

    @route("/list", Permission.KEYS)
    def live(self) -> str:
        """The list and how things stand, for the page that is open."""
        return str(self.render("admin/settings/backups_live.html", fragment=True, **_listed()))

    def _page(self, error: StowageError | None, schedule: BackupSchedule) -> str:
        typed = request.form if error else None
        return str(
            self.render(
                "admin/settings/backups.html",
                error=error,
                field=error.subject if error else "",
                schedule=schedule,
                typed=typed,
                every=[(hours, EVERY_WORDS[hours]) for hours in EVERY_HOURS],
                choices=services().backends.choices(),
                fragment=False,
                **_listed(),
            )
        )


def _listed() -> dict[str, object]:
    found = services().backups.list()
    return {
        "backups": found,
        "summary": services().backups.summary(),
        "busy": any(each.state in (BackupState.QUEUED, BackupState.RUNNING) for each in found),
        "runner": services().runner.is_alive(),
        "folder": services().settings.instance / FOLDER,
    }


def _number(field: str) -> int:
    text = request.form.get(field, "").strip()
    if not (text.isascii() and text.isdecimal() and len(text) < 6):
        raise InvalidInput(field, "This must be a whole number.")
    return int(text)
