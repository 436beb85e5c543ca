"""Migrations: the list, the page of one migration from review to result, and its actions."""

from __future__ import annotations

from typing import Any

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import StowageError
from dashboard.migration.types import ObjectState, Outcome, Progress, State
from dashboard.services.migrations.ledger_search import ObjectFilter
from dashboard.services.permissions import Permission
from dashboard.web.admin import progress_view
from dashboard.web.admin.page import MenuItem, Page, flash_done, route, see_other
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.downloads import long_download
from dashboard.web.numbers import parse_integer

PAGE = 50
IN_FLIGHT = 4
"""Objects in flight that are shown; more would make the page jump."""


class MigrationPages(Page):
    """``/migrations`` and ``/migrations/<id>``"""

    path = "/migrations"
    endpoint_name = "migrations"
    menu_item = MenuItem("Migrations", "migrations")

    @route("", Permission.VIEW)
    def index(self) -> str:
        """All migrations, newest first."""
        return self._list("admin/migrations.html")

    @route("/live", Permission.VIEW)
    def live_list(self) -> str:
        """The current table of migrations."""
        return self._list("admin/migrations_live.html")

    def _list(self, template: str) -> str:
        before = parse_integer(request.args, "before")
        found = services().migrations.list(limit=PAGE + 1, before_id=before)
        shown = found[:PAGE]
        return str(
            self.render(
                template,
                migrations=shown,
                before=before,
                older=shown[-1].id if len(found) > PAGE else None,
                busy=any(progress_view.is_active(p) for p in shown),
                progress_view=progress_view,
            )
        )

    @route("/<int:id>", Permission.VIEW)
    def show(self, id: int) -> str:
        """The review before approval, the progress after it."""
        facts = self._facts(id)
        return str(self.render("admin/migration.html", command=services().migrations.command(id), **facts))

    @route("/<int:id>/live", Permission.VIEW)
    def live(self, id: int) -> str | Response:
        """The live part of the page. It stops polling once nothing changes any more."""
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
            "badge": progress_view.badge(p),
            "review": not progress_view.is_approved(p),
            "by_bytes": progress_view.by_bytes(p),
            "by_objects": progress_view.by_objects(p),
            "objects_percent": progress_view.objects_percent(p),
            "in_flight": sorted(p.in_flight, key=lambda f: (-f.size, f.key))[:IN_FLIGHT],
            "more_in_flight": max(0, len(p.in_flight) - IN_FLIGHT),
            "failures": failures,
            "seconds": progress_view.poll_seconds(p),
            "sentence": progress_view.sentence(p),
            "shown": f"{p.state.value}-{int(p.stopping)}-{int(p.counters.failed > 0)}",
            "next_step": _next_step(p),
        }

    @route("/<int:id>/start", Permission.MIGRATE, methods=("POST",))
    def start(self, id: int) -> Response | str:
        """Approve the migration; if it is still listing, copying starts when the listing is complete."""
        services().migrations.approve(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/pause", Permission.MIGRATE, methods=("POST",))
    def pause(self, id: int) -> Response | str:
        """Pause the migration."""
        services().migrations.pause(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/resume", Permission.MIGRATE, methods=("POST",))
    def resume(self, id: int) -> Response | str:
        """Resume the migration where it stopped."""
        services().migrations.resume(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/retry", Permission.MIGRATE, methods=("POST",))
    def retry(self, id: int) -> Response | str:
        """Retry the failed objects."""
        services().migrations.retry_failed(actor(), id)
        return self._controlled(id)

    def _controlled(self, id: int) -> Response | str:
        return self._fragment(id) if from_htmx() else see_other(url_for("migrations.show", id=id))

    @route("/<int:id>/cancel", Permission.MIGRATE)
    def confirm_cancel(self, id: int) -> str:
        """Explain what cancelling means, and ask for confirmation."""
        return str(self.render("admin/migration_cancel.html", p=services().migrations.progress(id)))

    @route("/<int:id>/cancel", Permission.MIGRATE, methods=("POST",))
    def cancel(self, id: int) -> Response:
        """Cancel the migration; copied objects stay."""
        services().migrations.cancel(actor(), id)
        flash_done("The migration is cancelled. What was copied stays where it is.")
        return see_other(url_for("migrations.show", id=id))

    @route("/<int:id>/objects", Permission.VIEW)
    def objects(self, id: int) -> str:
        """Objects of the ledger, optionally in one state, page by page."""
        state = _state(request.args.get("state", ""))
        kind, reason = request.args.get("kind", ""), request.args.get("reason", "")
        after = request.args.get("after", "")
        page = services().migrations.objects(id, ObjectFilter(state, kind, reason), after=after, limit=PAGE)
        return str(
            self.render(
                "admin/migration_objects.html",
                p=services().migrations.progress(id),
                page=page,
                rows=page.rows,
                state=state,
                states=ObjectState,
                kind=kind,
                reason=reason,
                after=after,
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
    """What a finished migration offers: ``start`` it for real, ``activate`` its destination, or nothing."""
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
