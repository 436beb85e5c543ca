"""The backends: the list, the fallback order, and the page of one backend."""

from __future__ import annotations

import math
import time
from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import Kind, StowageError
from dashboard.services.backends.backends import BackendInfo
from dashboard.services.backends.probes import ProbeRun
from dashboard.services.permissions import Permission
from dashboard.web.admin.backend_forms.fields import shown_options
from dashboard.web.admin.backends.backend_detail import (
    first_check,
    last_tests,
    layers,
    past_view,
    snippet_facts,
    usage_facts,
)
from dashboard.web.admin.page import MenuItem, Page, flash_done, route, see_other
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

BUSY_SECONDS, IDLE_SECONDS = 2, 15
PAGE = 50
FIRST_CHECK_SECONDS = 120.0
"""For which the page of a new backend is refreshed often; later its first check may never come."""


class BackendPages(Page):
    """``/backends`` and ``/backend/<name>``"""

    path = "/"
    endpoint_name = "backends"
    menu_item = MenuItem("Backends", "backends")

    @route("/backends", Permission.VIEW, read_together=True)
    def index(self) -> str:
        """All backends, and the fallback order."""
        return str(self.render("admin/backends.html", **_page()))

    @route("/backends/live", Permission.VIEW, read_together=True)
    def live(self) -> str:
        """The current table of backends."""
        return str(self.render("admin/backends_live.html", **_page()))

    @route("/backend/<name>", Permission.VIEW, read_together=True)
    def show(self, name: str) -> str:
        """One backend."""
        backend = services().backends.get(name)
        probe = request.args.get("probe", "")
        return str(
            self.render(
                "admin/backends/detail.html",
                probe=probe,
                run=_run(probe),
                has_settings=services().bucket_settings.is_supported(name),
                shared=services().backends.shared_place_warning(name),
                origin=request.host_url.rstrip("/"),
                tests=last_tests(backend),
                options=shown_options(backend),
                layers=layers(backend),
                **snippet_facts(backend),
                **_one(backend),
            )
        )

    @route("/backend/<name>/live", Permission.VIEW, read_together=True)
    def live_one(self, name: str) -> str:
        """The current status of one backend."""
        return str(self.render("admin/backends/detail_live.html", **_one(services().backends.get(name))))

    @route("/backends/refresh", Permission.TEST, methods=("POST",))
    def refresh_all(self) -> Response | str:
        """Check and count every backend in the background."""
        services().backends.refresh(actor(), None)
        return self._refreshed(None)

    @route("/backend/<name>/refresh", Permission.TEST, methods=("POST",))
    def refresh(self, name: str) -> Response | str:
        """Check and count one backend in the background."""
        services().backends.refresh(actor(), name)
        return self._refreshed(name)

    @route("/backend/<name>/stop-count", Permission.TEST, methods=("POST",))
    def stop_count(self, name: str) -> Response | str:
        """Stop a count that is under way; the last finished one stays."""
        services().schedules.recurring.stop_count(actor(), name)
        return self._refreshed(name)

    def _refreshed(self, name: str | None) -> Response | str:
        """The live part of the page that sent the request, or without JavaScript the page itself."""
        shows = request.form.get("shows", "")
        if shows == "overview":
            return see_other(url_for("overview.live" if from_htmx() else "overview.index"))
        if shows == "backend" and name is not None:
            return see_other(url_for("backends.live_one" if from_htmx() else "backends.show", name=name))
        page = parse_integer(request.form, "page") or None
        return see_other(url_for("backends.live" if from_htmx() else "backends.index", page=page))

    @route("/backends/fallback", Permission.CONFIGURE, methods=("POST",))
    def fallback(self) -> Response:
        """Save the fallback order."""
        services().backends.fallback_order(actor(), tuple(request.form.getlist("order")))
        flash_done("The fallback order is saved.")
        return see_other(url_for("backends.index", _anchor="fallback"))

    @route("/backend/<name>/read-only", Permission.CONFIGURE)
    def confirm_read_only(self, name: str) -> str:
        """Explain what read-only means, or its end, and ask for confirmation."""
        return self._read_only_page(name, None)

    @route("/backend/<name>/read-only", Permission.CONFIGURE, methods=("POST",))
    def read_only(self, name: str) -> Response:
        """Refuse every write to a backend, or allow them again."""
        on = request.form.get("on") == "true"
        try:
            services().backends.set_read_only(actor(), name, on=on)
        except StowageError as error:
            if error.kind not in (Kind.INVALID, Kind.CONFLICT):
                raise
            return make_response(self._read_only_page(name, error), STATUS[error.kind])
        flash_done(f"{name} is read-only." if on else f"{name} takes writes again.")
        return see_other(url_for("backends.show", name=name))

    def _read_only_page(self, name: str, error: StowageError | None) -> str:
        backend = services().backends.get(name)
        return str(self.render("admin/backends/read_only.html", backend=backend, error=error))

    @route("/backend/<name>/remove", Permission.CONFIGURE)
    def confirm_remove(self, name: str) -> str:
        """Explain what removing means, and ask for confirmation."""
        return str(self.render("admin/backend_remove.html", backend=services().backends.get(name)))

    @route("/backend/<name>/remove", Permission.CONFIGURE, methods=("POST",))
    def remove(self, name: str) -> Response:
        """Remove a backend from the console; its objects stay where they are."""
        services().backends.remove(actor(), name)
        flash_done(f"{name} is removed. Its files are untouched.")
        return see_other(url_for("backends.index"))


def _run(probe: str) -> ProbeRun | None:
    """Return the connection test with this id, or None if it has expired."""
    try:
        return services().probes.get(actor(), probe) if probe else None
    except StowageError:
        return None


def _page() -> dict[str, Any]:
    summary = services().backends.summary()
    last = max(1, math.ceil(summary.count / PAGE))
    page = min(parse_integer(request.args, "page") or 1, last)
    backends = services().backends.list(offset=(page - 1) * PAGE, limit=PAGE)
    fallback = summary.fallback
    return {
        "backends": backends,
        "summary": summary,
        "page": page,
        "last": last,
        "fallback": fallback,
        "outside": [b for b in backends if b.fallback_position is None and not b.active],
        "moves": _moves([b.name for b in fallback]),
        "seconds": BUSY_SECONDS if summary.busy else IDLE_SECONDS,
    }


def _one(backend: BackendInfo) -> dict[str, Any]:
    return {
        "backend": backend,
        "name": backend.name,
        "past": past_view(backend),
        "states": services().history.states(backend.id, limit=6),
        "since": services().history.since([backend.id]).get(backend.id),
        "waiting": first_check(backend),
        **usage_facts(backend),
        "seconds": BUSY_SECONDS if _busy(backend) else IDLE_SECONDS,
    }


def _busy(backend: BackendInfo) -> bool:
    return backend.status.counting or (
        backend.status.checked_at is None and time.time() - backend.created_at < FIRST_CHECK_SECONDS
    )


def _moves(names: list[str]) -> dict[str, dict[str, list[str]]]:
    """For each backend, the resulting order after moving it up or down, or removing it."""
    moves: dict[str, dict[str, list[str]]] = {}
    for i, name in enumerate(names):
        rest = [n for n in names if n != name]
        moves[name] = {
            "up": [*rest[: max(i - 1, 0)], name, *rest[max(i - 1, 0) :]],
            "down": [*rest[: i + 1], name, *rest[i + 1 :]],
            "out": rest,
        }
    return moves
