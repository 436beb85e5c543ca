"""“Test connection”: starts a probe of the form's draft or of a saved backend, and shows its steps."""

from __future__ import annotations

from dataclasses import dataclass

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import StowageError
from dashboard.services.permissions import Permission
from dashboard.storage.probe import ProbeRun
from dashboard.web.admin.backend_forms import fields
from dashboard.web.admin.backend_forms.backend_form import SHOWN_ON_FORM, form_page, submitted_form
from dashboard.web.admin.command_lines import test_command
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.errors import STATUS


@dataclass(frozen=True, slots=True)
class ProbeSummary:
    """What a test found, for its badge and for the bar that stays in view. ``tone``: ok, warn, bad, or empty
    while it runs. ``only_reads``: whether it would do as read-only."""

    tone: str
    badge: str
    sentence: str
    only_reads: bool = False


def summarize(run: ProbeRun) -> ProbeSummary:
    """Return what a test has found so far."""
    if not run.finished:
        return ProbeSummary("", "Testing", "Testing the connection.")
    if run.passed:
        return ProbeSummary("ok", "Everything works", "Everything works.")
    states = {step.name: step.state for step in run.steps}
    failed = next((step for step in run.steps if step.state == "failed"), None)
    if states.get("list") == "passed" and states.get("write") == "failed":
        return ProbeSummary("warn", "May only read", "Works for reading only.", only_reads=True)
    if states.get("write") == "passed" and states.get("delete") == "failed":
        return ProbeSummary("warn", "May not delete", "Files can be written, but not deleted.")
    sentence = f"“{failed.label}” failed." if failed else "The test broke off."
    return ProbeSummary("bad", "Does not work yet", sentence)


class ProbePages(Page):
    """``/backends/test`` and ``/probe/<id>``"""

    path = "/"
    endpoint_name = "probes"
    menu_parent = "Backends"
    default_view = "show"

    @route("/probe/<id>", Permission.VIEW)
    def show(self, id: str) -> str:
        """The steps so far; the fragment polls until the probe has finished."""
        name = request.args.get("name", "")
        run = services().probes.get(actor(), id)
        page = "admin/probe_panel.html" if from_htmx() else "admin/probe.html"
        return str(
            self.render(
                page,
                run=run,
                probe=id,
                name=name,
                command=test_command(name) if name else "",
            )
        )

    @route("/backends/test", Permission.CONFIGURE, methods=("POST",))
    def test_draft(self) -> Response | str:
        """Test the draft in the form."""
        try:
            draft = fields.draft(request.form)
            services().backends.check_name(draft)
            probe = services().probes.start(actor(), draft)
        except StowageError as error:
            return self._refused(error)
        return self._started(probe, "")

    @route("/backends/create-bucket", Permission.CONFIGURE, methods=("POST",))
    def create_for_draft(self) -> Response | str:
        """Create the bucket of the draft, then test it."""
        try:
            draft = fields.draft(request.form)
            services().backends.check_name(draft)
            services().probes.create_bucket(actor(), draft)
            probe = services().probes.start(actor(), draft)
        except StowageError as error:
            return self._refused(error)
        return self._started(probe, "")

    @route("/backend/<name>/test", Permission.TEST, methods=("POST",))
    def test_saved(self, name: str) -> Response | str:
        """Test a saved backend."""
        return self._started(services().probes.start(actor(), name), name)

    @route("/backend/<name>/create-bucket", Permission.CONFIGURE, methods=("POST",))
    def create_for_saved(self, name: str) -> Response | str:
        """Create the bucket of a saved backend, then test it."""
        services().probes.create_bucket(actor(), name)
        flash_done("Created.")
        return self._started(services().probes.start(actor(), name), name)

    def _started(self, probe: str, name: str) -> Response | str:
        if not from_htmx():
            return see_other(url_for("probes.show", id=probe, name=name or None))
        run = services().probes.get(actor(), probe)
        # Most tests finish sooner than the usual polling interval.
        return str(self.render("admin/probe_panel.html", run=run, probe=probe, name=name, begun=True))

    def _refused(self, error: StowageError) -> Response:
        """Show why a draft cannot be tested, in the panel or, without JavaScript, on the form."""
        if from_htmx():
            # Status 200, because htmx would show an error outside the panel.
            wrong = fields.field_id(request.form.get("preset", ""), error.subject)
            return make_response(self.render("admin/probe_panel.html", run=None, error=error, wrong=wrong))
        if error.kind not in SHOWN_ON_FORM:
            raise error
        return make_response(form_page(self, submitted_form(error)), STATUS[error.kind])
