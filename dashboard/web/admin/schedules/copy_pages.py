"""A scheduled copy: its form, its runs, and restoring it."""

from __future__ import annotations

from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, StowageError
from dashboard.jobs.timing import Timing
from dashboard.migration.types import Spec, Verify
from dashboard.services.permissions import Permission
from dashboard.services.schedules.copy_values import CopyInfo, CopyPlan, RunState
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.admin.schedules.schedule_pages import UNITS, fields_of, typed_fields, weekdays
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS

KEEP_DAYS = {7: "7 days", 30: "30 days", 90: "90 days", 365: "1 year", 0: "for ever"}
VERIFICATIONS = {
    Verify.CHECKSUM: "Checksum: what cannot be compared otherwise is read",
    Verify.READBACK: "Read back: everything that is copied is read again",
    Verify.SIZE: "Size and time: quick, notices no damage",
}
SHOWN_RUNS = 50
DEFAULT = CopyPlan("", "", Timing.parse("daily 03:00"))


class CopyPages(Page):
    """``/settings/schedules/copies``"""

    path = "/settings/schedules/copies"
    endpoint_name = "scheduled_copies"
    menu_parent = "Settings"
    default_view = "new"

    @route("/new", Permission.CONFIGURE)
    def new(self) -> str:
        """The form for a new schedule."""
        return self._form(DEFAULT, None, None)

    @route("/new", Permission.CONFIGURE, methods=("POST",))
    def add(self) -> Response:
        """Add a schedule."""
        try:
            number = services().schedules.copies.add(actor(), _typed_plan(DEFAULT))
        except InvalidInput as error:
            return make_response(self._form(DEFAULT, None, error), STATUS[error.kind])
        flash_done("The schedule is saved. Run it once now to see that it works.")
        return see_other(url_for("scheduled_copies.show", id=number))

    @route("/<int:id>", Permission.VIEW)
    def show(self, id: int) -> str:
        """A schedule, its runs, and the form to restore from it."""
        return self._page(id, None)

    @route("/<int:id>/live", Permission.VIEW)
    def live(self, id: int) -> str:
        """The runs, for the page that is open."""
        return str(self.render("admin/schedules/copy_live.html", **_shown(id)))

    @route("/<int:id>/edit", Permission.CONFIGURE)
    def edit(self, id: int) -> str:
        """The form of a schedule."""
        info = services().schedules.copies.get(id)
        return self._form(info.plan, info, None)

    @route("/<int:id>/edit", Permission.CONFIGURE, methods=("POST",))
    def change(self, id: int) -> Response:
        """Change a schedule."""
        info = services().schedules.copies.get(id)
        try:
            services().schedules.copies.change(actor(), id, _typed_plan(info.plan))
        except InvalidInput as error:
            return make_response(self._form(info.plan, info, error), STATUS[error.kind])
        flash_done("The schedule is saved.")
        return see_other(url_for("scheduled_copies.show", id=id))

    @route("/<int:id>/switch", Permission.CONFIGURE, methods=("POST",))
    def switch(self, id: int) -> Response:
        """Switch a schedule on or off."""
        enabled = request.form.get("enabled") == "1"
        services().schedules.copies.switch(actor(), id, enabled=enabled)
        flash_done("The schedule is on." if enabled else "The schedule is off. Its copy stays as it is.")
        return see_other(url_for("scheduled_copies.show", id=id))

    @route("/<int:id>/run", Permission.MIGRATE, methods=("POST",))
    def run(self, id: int) -> Response:
        """Begin a run now."""
        try:
            services().schedules.starts.run_now(actor(), id)
        except StowageError as error:
            return self._refused(id, error)
        flash_done("The copy has begun.")
        return see_other(url_for("scheduled_copies.show", id=id))

    @route("/<int:id>/restore", Permission.MIGRATE, methods=("POST",))
    def restore(self, id: int) -> Response:
        """Plan a migration back, and go to its review."""
        run = request.form.get("after_run", "")
        try:
            migration = services().schedules.starts.restore(
                actor(),
                id,
                to=request.form.get("to", "")[:63],
                prefix=request.form.get("prefix", "") or None,
                after_run=int(run) if run.isascii() and run.isdecimal() and len(run) < 19 else None,
            )
        except StowageError as error:
            return self._refused(id, error)
        return see_other(url_for("migrations.show", id=migration))

    @route("/<int:id>/remove", Permission.CONFIGURE, methods=("POST",))
    def remove(self, id: int) -> Response:
        """Remove a schedule; its copy stays."""
        services().schedules.copies.remove(actor(), id)
        flash_done("The schedule is removed. Its copy stays where it is.")
        return see_other(url_for("schedules.index"))

    def _refused(self, id: int, error: StowageError) -> Response:
        return make_response(self._page(id, error), STATUS[error.kind])

    def _page(self, id: int, error: StowageError | None) -> str:
        return str(
            self.render(
                "admin/schedules/copy.html",
                error=error,
                field=error.subject if isinstance(error, InvalidInput) else "",
                choices=services().backends.choices(),
                **_shown(id),
            )
        )

    def _form(self, plan: CopyPlan, info: CopyInfo | None, error: StowageError | None) -> str:
        typed = request.form if error else None
        keep = str(plan.keep_days)
        return str(
            self.render(
                "admin/schedules/copy_form.html",
                plan=plan,
                info=info,
                typed=typed,
                fields=typed_fields(typed) if typed is not None else fields_of(plan.timing),
                error=error,
                field=error.subject if error else "",
                choices=services().backends.choices(),
                keep=typed.get("keep_days", "")[:6] if typed is not None else keep,
                keeps={plan.keep_days: f"{plan.keep_days} days"} | KEEP_DAYS,
                verifications=VERIFICATIONS,
                units=UNITS,
                weekdays=weekdays(),
            )
        )


def _shown(id: int) -> dict[str, Any]:
    copies = services().schedules.copies
    runs = copies.runs(id, limit=SHOWN_RUNS)
    return {
        "copy": copies.get(id),
        "runs": runs,
        "busy": any(run.state is RunState.RUNNING for run in runs),
        "runner": services().runner.is_alive(),
    }


def _typed_plan(before: CopyPlan) -> CopyPlan:
    form = request.form
    keep, verify = form.get("keep_days", ""), form.get("verify", "")
    if not (keep.isascii() and keep.isdecimal() and len(keep) < 6):
        raise InvalidInput("keep_days", "This must be a whole number of days.")
    if verify not in set(Verify):
        raise InvalidInput("verify", "Choose how copies are verified.")
    spec = Spec(
        prefix=form.get("prefix", "")[:2000],
        include=_lines("include"),
        exclude=_lines("exclude"),
        verify=Verify(verify),
        workers=before.spec.workers,
    )
    return CopyPlan(
        before.source or form.get("source", "")[:63],
        before.destination or form.get("destination", "")[:63],
        Timing.parse(typed_fields(form).text),
        spec,
        int(keep),
        enabled=form.get("enabled") == "1",
    )


def _lines(field: str) -> tuple[str, ...]:
    lines = request.form.get(field, "")[:20_000].splitlines()
    return tuple(line.strip() for line in lines if line.strip())
