"""The ledger of a migration: its objects filtered and page by page, trying them again, and reports."""

from __future__ import annotations

from collections.abc import Mapping

from flask import request, url_for
from werkzeug.wrappers import Response

from dashboard.migration.types import ObjectState, State
from dashboard.services.migrations.ledger_search import ObjectFilter
from dashboard.services.permissions import Permission
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.downloads import long_download
from dashboard.web.numbers import parse_integer

PAGE = 50
MAX_TEXT = 2000
UNITS = {"B": 1, "kB": 1000, "MB": 1000**2, "GB": 1000**3}
RETRIES = (State.FINISHED, State.FAILED, State.PAUSED)
"""The states in which failed objects can be tried again."""


class LedgerPages(Page):
    """``/migrations/<id>/objects``"""

    path = "/migrations"
    endpoint_name = "ledger"
    menu_parent = "Migrations"
    default_view = "objects"

    @route("/<int:id>/objects", Permission.VIEW)
    def objects(self, id: int) -> str:
        """Objects of the ledger that match the filters, page by page."""
        wanted, after = _filter(request.args), request.args.get("after", "")
        p = services().migrations.progress(id)
        page = services().migrations.objects(id, wanted, after=after, limit=PAGE)
        return str(
            self.render(
                "admin/migrations/objects.html",
                p=p,
                page=page,
                wanted=wanted,
                given=_given(request.args),
                filtered=wanted != ObjectFilter(wanted.state),
                states=ObjectState,
                units=UNITS,
                failures=services().migrations.failures(id) if p.counters.failed else (),
                can_retry=p.state in RETRIES and bool(p.counters.failed) and not p.spec.dry_run,
                after=after,
            )
        )

    @route("/<int:id>/objects/retry", Permission.MIGRATE, methods=("POST",))
    def retry(self, id: int) -> Response:
        """Try the failed objects that match the filters again, and no others."""
        count = services().migrations.retry_failed(actor(), id, _filter(request.form))
        flash_done(f"{count:,} {'object is' if count == 1 else 'objects are'} tried again.")
        return see_other(url_for("migrations.show", id=id))

    @route("/<int:id>/report.csv", Permission.VIEW)
    def report(self, id: int) -> Response:
        """Every object of the ledger as CSV, streamed."""
        p = services().migrations.progress(id)
        name = f"stowage-migration-{id}-{p.source}-to-{p.destination}.csv"
        lines = services().migrations.report(id)
        return long_download(actor().name, lines, name, "text/csv; charset=utf-8")


def _given(values: Mapping[str, str]) -> dict[str, str]:
    names = ("state", "kind", "reason", "prefix", "min", "min_unit", "max", "max_unit")
    return {name: values[name][:MAX_TEXT] for name in names if values.get(name)}


def _filter(values: Mapping[str, str]) -> ObjectFilter:
    given = _given(values)
    state = next((each for each in ObjectState if each.value == given.get("state")), None)
    return ObjectFilter(
        state,
        given.get("kind", ""),
        given.get("reason", ""),
        given.get("prefix", ""),
        _bytes(given, "min"),
        _bytes(given, "max"),
    )


def _bytes(given: Mapping[str, str], name: str) -> int | None:
    number = parse_integer(given, name)
    return None if number is None else number * UNITS.get(given.get(f"{name}_unit", "B"), 1)
