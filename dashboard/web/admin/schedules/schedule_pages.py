"""Scheduled jobs: everything the runner repeats, when, how it went, and running it now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.timing import DAY_NAMES, DAYS, MINUTE, Rhythm, Timing
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS

UNITS = {"min": "minutes", "h": "hours", "d": "days"}
_SECONDS = {"d": 86_400, "h": 3_600, "min": MINUTE}


@dataclass(frozen=True, slots=True)
class TimingFields:
    """What the fields hold, as text."""

    rhythm: str
    number: str
    unit: str
    at: str
    weekday: str

    @property
    def text(self) -> str:
        """What ``Timing.parse`` reads."""
        if self.rhythm == Rhythm.EVERY:
            return f"every {self.number.strip()} {self.unit}"
        if self.rhythm == Rhythm.DAILY:
            return f"daily {self.at}"
        return f"{self.rhythm} {self.weekday} {self.at}"


def fields_of(timing: Timing) -> TimingFields:
    """The fields for a timing; those that it does not use hold what is usual."""
    unit = next((name for name, seconds in _SECONDS.items() if timing.seconds % seconds == 0), "min")
    number = timing.seconds // _SECONDS[unit] if timing.seconds else 6
    at = timing.clock if not timing.seconds else "03:00"
    weekday = DAYS[timing.weekday if timing.rhythm is Rhythm.WEEKLY else 6]
    return TimingFields(timing.rhythm.value, str(number), unit if timing.seconds else "h", at, weekday)


def typed_fields(form: Mapping[str, str]) -> TimingFields:
    """The fields as they were sent."""
    names = ("rhythm", "every", "unit", "at", "weekday")
    return TimingFields(*(form.get(name, "")[:40] for name in names))


def weekdays() -> list[tuple[str, str]]:
    """To choose from."""
    return list(zip(DAYS, DAY_NAMES, strict=True))


class SchedulePages(Page):
    """``/settings/schedules``"""

    path = "/settings/schedules"
    endpoint_name = "schedules"
    menu_parent = "Settings"

    @route("", Permission.VIEW, read_together=True)
    def index(self) -> str:
        """Every recurring job and scheduled copy."""
        return str(self.render("admin/schedules/jobs.html", **_listed()))

    @route("/live", Permission.VIEW, read_together=True)
    def live(self) -> str:
        """The tables, for the page that is open."""
        return str(self.render("admin/schedules/jobs_live.html", **_listed()))

    @route("/jobs/<name>", Permission.CONFIGURE)
    def edit(self, name: str) -> str:
        """The form for when a job runs."""
        return self._form(name, None)

    @route("/jobs/<name>", Permission.CONFIGURE, methods=("POST",))
    def change(self, name: str) -> Response:
        """Change when a job runs, or switch it on or off."""
        recurring = services().schedules.recurring
        job = recurring.get(name)
        try:
            timing = Timing.parse(typed_fields(request.form).text)
            enabled = request.form.get("enabled") == "1" or not job.spec.may_stop
            recurring.change(actor(), name, timing=timing, enabled=enabled)
        except InvalidInput as error:
            return make_response(self._form(name, error), STATUS[error.kind])
        now = recurring.get(name)
        flash_done("The job is switched off." if not now.enabled else "The new time counts from now on.")
        return see_other(url_for("schedules.index"))

    @route("/jobs/<name>/run", Permission.TEST, methods=("POST",))
    def run(self, name: str) -> Response:
        """Have a job run now."""
        services().schedules.recurring.run_now(actor(), name)
        flash_done("The job runs as soon as the runner has taken it up.")
        return see_other(url_for("schedules.index"))

    def _form(self, name: str, error: StowageError | None) -> str:
        job = services().schedules.recurring.get(name)
        fields = typed_fields(request.form) if error else fields_of(job.timing)
        enabled = request.form.get("enabled") == "1" if error else job.enabled
        return str(
            self.render(
                "admin/schedules/job_form.html",
                job=job,
                fields=fields,
                enabled=enabled,
                error=error,
                field=error.subject if error else "",
                units=UNITS,
                weekdays=weekdays(),
            )
        )


def _listed() -> dict[str, Any]:
    schedules = services().schedules
    jobs, copies = schedules.recurring.list(), schedules.copies.list()
    return {
        "jobs": jobs,
        "copies": copies,
        "runner": services().runner.is_alive(),
        "enough": services().backends.count() > 1,
        "busy": any(job.running for job in jobs)
        or any(copy.last is not None and copy.last.state.value == "running" for copy in copies),
    }
