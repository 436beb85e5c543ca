"""Switching the active backend: tests it and shows what is missing there before anything changes."""

from __future__ import annotations

from dataclasses import dataclass

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.probes import ProbeRun
from dashboard.services.backends.status import Badge, Status
from dashboard.services.backends.values import BackendInfo
from dashboard.services.permissions import Permission
from dashboard.services.switching.activation import TEST, Switch, Switched
from dashboard.web.admin.page import Page, flash_done, flash_with_button, route, see_other
from dashboard.web.context import actor, services
from dashboard.web.errors import STATUS
from dashboard.web.numbers import parse_integer

KEEP, FORGET = "fallback", "none"
"""What the form says about the backend that was active."""
NEEDED = ("write", "read")
"""The steps of a test that have to pass."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a backend cannot take files, what to do, and where a test failed."""

    message: str
    remedy: str
    at: str


class ActivationPages(Page):
    """``/backend/<name>/activate``"""

    path = "/"
    endpoint_name = "activation"
    menu_parent = "Backends"
    default_view = "preview"

    @route("/backend/<name>/activate", Permission.CONFIGURE)
    def preview(self, name: str) -> str:
        """Show how the backend differs from the active one; offer to copy what is missing."""
        return self._page("admin/activate.html", name)

    @route("/backend/<name>/comparison", Permission.CONFIGURE, methods=("POST",))
    def compare(self, name: str) -> Response:
        """Test the backend, and compare it with the active one unless a recent comparison exists."""
        test = None
        if not services().backends.get(name).active:
            if services().backends.summary().active:
                services().activation.compare(actor(), name)
            test = services().probes.start(actor(), name)
        return see_other(url_for("activation.preview", name=name, test=test))

    @route("/backend/<name>/comparison", Permission.CONFIGURE)
    def live(self, name: str) -> str:
        """The test and the comparison so far; the fragment polls until both have finished."""
        return self._page("admin/activate_live.html", name)

    def _page(self, template: str, name: str, error: StowageError | None = None) -> str:
        backend = services().backends.get(name)
        summary = services().backends.summary()
        comparison = None
        if summary.active and not backend.active:
            comparison = services().activation.comparison(name)
        test = request.values.get("test", "")
        run = _test(test)
        field = error.subject if isinstance(error, InvalidInput) else ""
        refused = _refused_now(error, backend.status) or _refusal(run)
        if refused is None and run is None and backend.status.badge in (Badge.DOWN, Badge.READ_ONLY):
            refused = Refusal(backend.status.message, backend.status.remedy, "at the last check")
        # A refusal does not show the comparison; replaced again, it would lose what is typed into it.
        comparing = comparison is not None and comparison.running and not refused
        return str(
            self.render(
                template,
                backend=backend,
                comparison=comparison,
                active=summary.active,
                others=[each.name for each in summary.fallback if each.name != name],
                run=run,
                test=test if run else "",
                refused=refused,
                down_since=_down_since(backend) if refused else None,
                busy=bool(run and not run.finished) or comparing,
                keep=request.form.get("keep", KEEP) == KEEP,
                error=error,
                field=field,
            )
        )

    @route("/backend/<name>/activate", Permission.CONFIGURE, methods=("POST",))
    def activate(self, name: str) -> Response:
        """Make this the backend that new files go to. It is tested once more."""
        switch = Switch(
            keep_former=request.form.get("keep", KEEP) != FORGET,
            missing=parse_integer(request.form, "missing"),
            override=request.form.get("override", "").strip(),
            seen_active=request.form.get("seen_active"),
        )
        try:
            done = services().activation.activate(actor(), name, switch)
        except StowageError as error:
            if error.kind not in (Kind.CONFLICT, Kind.INVALID):
                raise
            return make_response(self._page("admin/activate.html", name, error), STATUS[error.kind])
        _announce(name, done)
        after = "overview.index" if request.form.get("then") == "overview" else "backends.index"
        return see_other(url_for(after))


def _announce(name: str, done: Switched) -> None:
    looks = f" Reads look in {', then '.join(done.reads)}." if len(done.reads) > 1 else ""
    sentence = f"New files now go to {name}.{looks} {done.note}".strip()
    if not done.former:
        flash_done(sentence)
        return
    fields = {"keep": KEEP, "seen_active": name}
    url = url_for("activation.activate", name=done.former)
    flash_with_button(sentence, button=f"Switch back to {done.former}", url=url, fields=fields)


def _test(probe_id: str) -> ProbeRun | None:
    """The test of this page, if it is still known."""
    if not probe_id:
        return None
    try:
        return services().probes.get(actor(), probe_id)
    except StowageError:
        return None


def _down_since(backend: BackendInfo) -> float | None:
    """Since when its checks have failed, if they do."""
    if backend.status.badge is not Badge.DOWN:
        return None
    return services().history.since([backend.id]).get(backend.id)


def _refusal(run: ProbeRun | None) -> Refusal | None:
    """Why the test of this page says that the backend cannot take files."""
    if run is None or not run.finished:
        return None
    states = {step.name: step.state for step in run.steps}
    if all(states.get(name) == "passed" for name in NEEDED):
        return None
    failed = next((step for step in run.steps if step.state == "failed"), None)
    step = failed or next(step for step in run.steps if step.name in NEEDED)
    at = f"step {run.steps.index(step) + 1} of {len(run.steps)}: {step.label.lower()}"
    return Refusal(step.message, step.remedy, at)


def _refused_now(error: StowageError | None, status: Status) -> Refusal | None:
    """The same of the test at the moment of the switch, or of a switch without one."""
    if error is None:
        return None
    if error.operation == TEST:
        return Refusal(error.reason, error.remedy, "at the moment of the switch")
    if error.subject == "override":
        return Refusal(status.message, status.remedy, "see the backend")
    return None
