"""Migrations: the list, the page of one from review to result, and its buttons."""

from __future__ import annotations

from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import StowageError
from dashboard.migration.types import ObjectState, Outcome, Progress, State
from dashboard.services.permissions import Permission
from dashboard.web.admin import figures
from dashboard.web.admin.frame import Entry, Page, flash_done, route, see_other
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.downloads import long_download
from dashboard.web.numbers import whole

PAGE = 50
IN_FLIGHT = 4
"""Objects under way that are shown; more would push the page about."""


class MigrationPages(Page):
    """``/migrations`` and ``/migrations/<id>``"""

    at = "/migrations"
    known_as = "migrations"
    entry = Entry("Migrations", "migrations")

    @route("", Permission.VIEW)
    def index(self) -> str:
        """All migrations, newest first."""
        return self._list("admin/migrations.html")

    @route("/live", Permission.VIEW)
    def live_list(self) -> str:
        """The table of the list, as it is now."""
        return self._list("admin/migrations_live.html")

    def _list(self, template: str) -> str:
        before = whole(request.args, "before")
        found = services().migrations.list(limit=PAGE + 1, before_id=before)
        shown = found[:PAGE]
        return str(
            self.render(
                template,
                migrations=shown,
                before=before,
                older=shown[-1].id if len(found) > PAGE else None,
                busy=any(figures.working(p) for p in shown),
                figures=figures,
            )
        )

    @route("/<int:id>", Permission.VIEW)
    def show(self, id: int) -> str:
        """The review before the start, the progress after it: one address for the whole life."""
        facts = self._facts(id)
        return str(self.render("admin/migration.html", command=services().migrations.command(id), **facts))

    @route("/<int:id>/live", Permission.VIEW)
    def live(self, id: int) -> str | Response:
        """The part that changes. Without ``hx-trigger`` in it once nothing changes by itself any more."""
        if not from_htmx():
            return see_other(url_for("migrations.show", id=id))
        return self._fragment(id)

    def _fragment(self, id: int) -> str:
        facts = self._facts(id)
        changed = request.args.get("shown") != facts["shown"]
        return str(self.render("admin/migration_live.html", with_actions=changed, **facts))

    def _facts(self, id: int) -> dict[str, Any]:
        p = services().migrations.progress(id)
        failures = services().migrations.failures(id) if p.counters.failed else ()
        return {
            "p": p,
            "word": figures.word(p),
            "review": not figures.approved(p),
            "by_bytes": figures.by_bytes(p),
            "by_objects": figures.by_objects(p),
            "objects_percent": figures.objects_percent(p),
            "in_flight": sorted(p.in_flight, key=lambda f: (-f.size, f.key))[:IN_FLIGHT],
            "more_in_flight": max(0, len(p.in_flight) - IN_FLIGHT),
            "failures": failures,
            "seconds": figures.poll_seconds(p),
            "sentence": figures.sentence(p),
            "shown": f"{p.state.value}-{int(p.stopping)}-{int(p.counters.failed > 0)}",
            "next_step": _next_step(p),
        }

    @route("/<int:id>/start", Permission.MIGRATE, methods=("POST",))
    def start(self, id: int) -> Response | str:
        """What was reviewed may be copied; while listing goes on, copying begins when that is done."""
        services().migrations.approve(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/pause", Permission.MIGRATE, methods=("POST",))
    def pause(self, id: int) -> Response | str:
        """Stop soon; nothing is lost."""
        services().migrations.pause(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/resume", Permission.MIGRATE, methods=("POST",))
    def resume(self, id: int) -> Response | str:
        """Go on where it was."""
        services().migrations.resume(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/retry", Permission.MIGRATE, methods=("POST",))
    def retry(self, id: int) -> Response | str:
        """Try the failed objects again."""
        services().migrations.retry_failed(actor(), id)
        return self._controlled(id)

    def _controlled(self, id: int) -> Response | str:
        return self._fragment(id) if from_htmx() else see_other(url_for("migrations.show", id=id))

    @route("/<int:id>/cancel", Permission.MIGRATE)
    def confirm_cancel(self, id: int) -> str:
        """What cancelling means, before it happens."""
        return str(self.render("admin/migration_cancel.html", p=services().migrations.progress(id)))

    @route("/<int:id>/cancel", Permission.MIGRATE, methods=("POST",))
    def cancel(self, id: int) -> Response:
        """Stop for good; what was copied stays."""
        services().migrations.cancel(actor(), id)
        flash_done("The migration is cancelled. What was copied stays where it is.")
        return see_other(url_for("migrations.show", id=id))

    @route("/<int:id>/objects", Permission.VIEW)
    def objects(self, id: int) -> str:
        """The ledger's rows in one state, page by page."""
        state = _state(request.args.get("state", ""))
        kind, reason = request.args.get("kind", ""), request.args.get("reason", "")
        after = whole(request.args, "after") or 0
        rows = services().migrations.rows(
            id, state=state, kind=kind, reason=reason, after_id=after, limit=PAGE + 1
        )
        return str(
            self.render(
                "admin/migration_objects.html",
                p=services().migrations.progress(id),
                rows=rows[:PAGE],
                state=state,
                states=ObjectState,
                kind=kind,
                reason=reason,
                after=after,
                following=rows[PAGE - 1].id if len(rows) > PAGE else None,
            )
        )

    @route("/<int:id>/report.csv", Permission.VIEW)
    def report(self, id: int) -> Response:
        """Every object of the ledger as CSV, streamed."""
        p = services().migrations.progress(id)
        name = f"stowage-migration-{id}-{p.source}-to-{p.destination}.csv"
        lines = services().migrations.report(id)
        return long_download(actor().name, lines, name, "text/csv; charset=utf-8")


def _state(text: str) -> ObjectState | None:
    return next((state for state in ObjectState if state.value == text), None)


def _next_step(p: Progress) -> str:
    """What a finished migration suggests: ``start`` for real, make the target ``activate``, or nothing."""
    if p.state is not State.FINISHED:
        return ""
    if p.spec.dry_run:
        return "start"
    if p.outcome is Outcome.WITH_ERRORS:
        return ""
    try:
        active = services().backends.get(p.destination).active
    except StowageError:
        return ""
    return "" if active else "activate"
