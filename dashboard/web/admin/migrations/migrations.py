"""Migrations: the list, the page of one migration from review to result, and its actions."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.migration.types import Progress, Spec, State
from dashboard.services.migrations.migration_filter import STATES, MigrationFilter
from dashboard.services.migrations.review_notes import blocked, review_notes, start_label
from dashboard.services.permissions import Permission
from dashboard.web.admin import fragments, progress_view
from dashboard.web.admin.migrations import throughput_view
from dashboard.web.admin.migrations.migration_outcome import ending, next_step, quoted
from dashboard.web.admin.page import MenuItem, Page, flash_done, route, see_other
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

PAGE = 50
MAX_TEXT = 200
IN_FLIGHT = 4
"""Objects in flight that are shown; more would make the page jump."""


class MigrationPages(Page):
    """``/migrations`` and ``/migrations/<id>``"""

    path = "/migrations"
    endpoint_name = "migrations"
    menu_item = MenuItem("Migrations", "migrations")

    @route("", Permission.VIEW, read_together=True)
    def index(self) -> str:
        """All migrations, newest first."""
        return self._list("admin/migrations/list.html")

    @route("/live", Permission.VIEW, read_together=True)
    def live_list(self) -> str:
        """The current table of migrations."""
        before, wanted = _wanted()
        return fragments.shared(
            "migrations", before, wanted, from_htmx(), shows=None,
            build=lambda: self._list("admin/migrations/list_live.html"),
        )  # fmt: skip

    def _list(self, template: str) -> str:
        before, wanted = _wanted()
        found = services().migrations.list(limit=PAGE + 1, before_id=before, wanted=wanted)
        shown = found[:PAGE]
        filters = {name: value for name, value in asdict(wanted).items() if value}
        return str(
            self.render(
                template,
                migrations=shown,
                before=before,
                older=shown[-1].id if len(found) > PAGE else None,
                busy=any(progress_view.is_active(p) for p in shown),
                progress_view=progress_view,
                fragment=from_htmx(),
                wanted=wanted,
                filters=filters,
                states=STATES,
                names=[each.name for each in services().backends.choices()],
            )
        )

    @route("/<int:id>", Permission.VIEW)
    def show(self, id: int) -> str:
        """The review before approval, the progress after it."""
        return self._page(id)

    def _page(self, id: int, limit_error: StowageError | None = None) -> str:
        p, command = services().migrations.progress(id), services().migrations.command(id)
        return str(
            self.render(
                "admin/migrations/show.html",
                command=command,
                limit_error=limit_error,
                limit_form=request.form if limit_error else p.spec,
                default_limits=services().migration_limits.of(Spec()).as_dict(),
                **self._facts(p),
            )
        )

    @route("/<int:id>/live", Permission.VIEW)
    def live(self, id: int) -> str | Response:
        """The live part of the page. It stops polling once nothing changes any more."""
        if not from_htmx():
            return see_other(url_for("migrations.show", id=id))
        p, measure = services().migrations.progress(id), request.args.get("measure", "")[:16]
        changed = request.args.get("shown") != _shown(p)
        return fragments.shared(
            "migration", id, changed, measure, shows=p, build=lambda: self._fragment(p, changed)
        )

    def _fragment(self, p: Progress, changed: bool) -> str:
        facts = self._facts(p)
        return str(self.render("admin/migrations/live.html", with_actions=changed, fragment=True, **facts))

    def _facts(self, p: Progress) -> dict[str, Any]:
        id = p.id
        failures = services().migrations.failures(id) if p.counters.failed else ()
        measure, series = request.args.get("measure", "")[:16], services().migrations.throughput(id)
        review = services().migrations.review(id) if p.counters.listing_final else None
        before = not progress_view.is_approved(p) or (p.spec.dry_run and p.state is not State.CANCELLED)
        notes = review_notes(p, review) if before and p.counters.listing_final else ()
        after = next_step(p)
        return {
            "p": p,
            "badge": progress_view.badge(p),
            "review": not progress_view.is_approved(p),
            "before": before,
            "notes": notes,
            "startable": p.state is State.READY and not blocked(notes),
            "start_label": start_label(p),
            "bar": progress_view.bar(p),
            "ending": ending(p, failures) if p.state.final and not before else None,
            "quoted": quoted(p),
            "measure": measure,
            "speed": None if before else throughput_view.shown(p, series, measure),
            "in_flight": sorted(p.in_flight, key=lambda f: (-f.size, f.key))[:IN_FLIGHT],
            "limited_by": throughput_view.limited_by(p),
            "limits": services().migration_limits.of(p.spec),
            "more_in_flight": max(0, len(p.in_flight) - IN_FLIGHT),
            "failures": failures,
            "seconds": fragments.paced(progress_view.poll_seconds(p)),
            "sentence": progress_view.sentence(p),
            "shown": _shown(p),
            "next": after,
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

    @route("/<int:id>/check", Permission.MIGRATE, methods=("POST",))
    def check(self, id: int) -> Response | str:
        """Make the review once more."""
        services().migrations.check_again(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/retry", Permission.MIGRATE, methods=("POST",))
    def retry(self, id: int) -> Response | str:
        """Retry the failed objects."""
        services().migrations.retry_failed(actor(), id)
        return self._controlled(id)

    @route("/<int:id>/limit", Permission.MIGRATE, methods=("POST",))
    def limit(self, id: int) -> Response:
        """Change its limits of bytes and objects per second."""
        bandwidth, objects = (
            request.form.get(name, "") for name in ("bandwidth_limit", "objects_per_second")
        )
        try:
            services().migration_limits.change(actor(), id, bandwidth=bandwidth, objects=objects)
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT):
                raise
            return make_response(self._page(id, error), STATUS[error.kind])
        flash_done("The limits are set. A migration at work keeps to them within a second.")
        return see_other(url_for("migrations.show", id=id))

    def _controlled(self, id: int) -> Response | str:
        if not from_htmx():
            return see_other(url_for("migrations.show", id=id))
        p = services().migrations.progress(id)
        return self._fragment(p, request.args.get("shown") != _shown(p))

    @route("/<int:id>/cancel", Permission.MIGRATE)
    def confirm_cancel(self, id: int) -> str:
        """Explain what cancelling means with the counts of this moment, and ask for confirmation."""
        p = services().migrations.progress(id)
        page = "cancel_live" if from_htmx() else "cancel"
        seconds = fragments.paced(progress_view.poll_seconds(p))
        return str(self.render(f"admin/migrations/{page}.html", p=p, seconds=seconds))

    @route("/<int:id>/cancel", Permission.MIGRATE, methods=("POST",))
    def cancel(self, id: int) -> Response:
        """Cancel the migration; copied objects stay."""
        services().migrations.cancel(actor(), id)
        flash_done("The migration is cancelled. What was copied stays where it is.")
        return see_other(url_for("migrations.show", id=id))


def _wanted() -> tuple[int | None, MigrationFilter]:
    """Which migrations the address asks for."""
    texts = (request.args.get(name, "").strip()[:MAX_TEXT] for name in ("state", "backend", "text"))
    return parse_integer(request.args, "before"), MigrationFilter(*texts)


def _shown(p: Progress) -> str:
    """What decides which buttons there are: a fragment repeats them only if it has changed."""
    return f"{p.state.value}-{int(p.stopping)}-{int(p.counters.failed > 0)}"
