"""Settings, Notifications: the channels, a form for each kind, its test, and what was sent."""

from __future__ import annotations

import time
from typing import Any

from flask import make_response, request, url_for
from werkzeug.wrappers import Response

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.notifications.attempts import ChannelTest
from dashboard.services.notifications.channel_rules import PORTS, SECURITY
from dashboard.services.notifications.notification_values import (
    EVENT_LABELS,
    EVERY,
    Channel,
    ChannelKind,
    DeliveryState,
)
from dashboard.services.permissions import Permission
from dashboard.web.admin.backend_forms.backend_form import SHOWN_ON_FORM
from dashboard.web.admin.backend_forms.probes import ProbeSummary
from dashboard.web.admin.page import Page, flash_done, route, see_other
from dashboard.web.admin.settings import channel_fields
from dashboard.web.context import actor, from_htmx, services
from dashboard.web.errors import STATUS

LOGGED = 30
"""Deliveries on a page."""
MUTES = {1.0: "1 hour", 8.0: "8 hours", 24.0: "1 day", 168.0: "7 days"}
KINDS = {
    ChannelKind.WEBHOOK: ("link", "Webhook", "A signed JSON message to a program of yours."),
    ChannelKind.SLACK: (
        "bolt",
        "Slack-compatible",
        "An incoming webhook of Slack, Mattermost or Rocket.Chat.",
    ),
    ChannelKind.EMAIL: ("text", "E-mail", "Through a mail server, to a list of addresses."),
}
"""Icon, name and sentence."""


def summarize(run: ChannelTest) -> ProbeSummary:
    """Return what a test has found so far."""
    if not run.finished:
        return ProbeSummary("", "Testing", "Sending a message.")
    if run.passed:
        return ProbeSummary("ok", "Everything works", "The message was accepted.")
    failed = run.failed
    sentence = f"“{failed.label}” failed." if failed else "The test broke off."
    return ProbeSummary("bad", "Does not work yet", sentence)


class NotificationPages(Page):
    """``/settings/notifications``"""

    path = "/settings/notifications"
    endpoint_name = "notifications"
    menu_parent = "Settings"
    menu_permission = Permission.CONFIGURE

    @route("", Permission.CONFIGURE)
    def index(self) -> str:
        """The channels, and what was sent to them."""
        return str(self.render("admin/notifications/page.html", **_listed()))

    @route("/log", Permission.CONFIGURE)
    def live(self) -> str:
        """What was sent, for the page that is open."""
        return str(self.render("admin/notifications/log.html", **_listed()))

    @route("/new", Permission.CONFIGURE)
    def new(self) -> str:
        """The kinds to choose from; with ``kind``, its form."""
        kind = request.args.get("kind", "")
        form = channel_fields.empty(ChannelKind(kind)) if kind in set(ChannelKind) else None
        return self._page(form)

    @route("/new", Permission.CONFIGURE, methods=("POST",))
    def add(self) -> Response:
        """Save a new channel; errors are shown next to their fields."""
        return self._save("")

    @route("/channels/<name>", Permission.CONFIGURE)
    def edit(self, name: str) -> str:
        """The form of a saved channel, without its secrets."""
        return self._page(channel_fields.of_channel(services().notifications.channels.get(name)))

    @route("/channels/<name>", Permission.CONFIGURE, methods=("POST",))
    def save(self, name: str) -> Response:
        """Save the changes to a channel."""
        return self._save(name)

    @route("/channels/<name>/mute", Permission.CONFIGURE, methods=("POST",))
    def mute(self, name: str) -> Response:
        """Hold messages back for a while, or no longer."""
        text = request.form.get("hours", "")
        hours = next((each for each in MUTES if f"{each:g}" == text), None)
        if text and hours is None:
            raise InvalidInput("hours", "Choose how long.")
        services().notifications.channels.mute(actor(), name, hours)
        flash_done(f"{name} is muted for {MUTES[hours]}." if hours else f"{name} is not muted any more.")
        return see_other(url_for("notifications.index"))

    @route("/channels/<name>/remove", Permission.CONFIGURE, methods=("POST",))
    def remove(self, name: str) -> Response:
        """Remove a channel and its secrets."""
        services().notifications.channels.remove(actor(), name)
        flash_done(f"{name} is removed.")
        return see_other(url_for("notifications.index"))

    @route("/channels/<name>/test", Permission.CONFIGURE, methods=("POST",))
    def test_saved(self, name: str) -> Response:
        """Test a saved channel."""
        test = services().notifications.tests.start(actor(), name)
        return see_other(url_for("notifications.show_test", id=test, name=name))

    @route("/test", Permission.CONFIGURE, methods=("POST",))
    def test_draft(self) -> Response | str:
        """Send a message with what is in the form, without saving it."""
        try:
            draft = channel_fields.draft(request.form)
            test = services().notifications.tests.start(actor(), draft)
        except StowageError as error:
            return self._refused(error)
        if not from_htmx():
            return see_other(url_for("notifications.show_test", id=test))
        return self._panel(test, "", begun=True)

    @route("/tests/<id>", Permission.CONFIGURE)
    def show_test(self, id: str) -> str:
        """The steps so far; the fragment polls until the test has finished."""
        name = request.args.get("name", "")
        if from_htmx():
            return self._panel(id, name)
        run = services().notifications.tests.get(actor(), id)
        return str(
            self.render("admin/notifications/test.html", run=run, test=id, name=name, test_summary=summarize)
        )

    @route("/deliveries/<int:id>/send-again", Permission.CONFIGURE, methods=("POST",))
    def send_again(self, id: int) -> Response:
        """Send a message once more, now."""
        delivery = services().notifications.send_again(actor(), id)
        flash_done(f"“{delivery.title}” is sent to {delivery.channel} again.")
        return see_other(url_for("notifications.index", _anchor="log"))

    def _save(self, name: str) -> Response:
        try:
            draft = channel_fields.draft(request.form)
            if draft.existing != name:
                raise InvalidInput("existing", "This form was opened for another channel.")
            saved = services().notifications.channels.save(actor(), draft)
        except StowageError as error:
            return self._with_error(error)
        channel = saved.channel
        if tested := request.form.get("tested", ""):
            services().notifications.tests.adopt(actor(), tested, channel)
        if saved.made_key is not None:
            # Shown this once, so there is no other page to go to.
            return make_response(
                self.render("admin/notifications/key.html", channel=channel, key=saved.made_key.reveal())
            )
        flash_done(f"{channel.name} is saved.")
        return see_other(url_for("notifications.index"))

    def _refused(self, error: StowageError) -> Response:
        if from_htmx():
            # Status 200, because htmx would show an error outside the panel.
            wrong = channel_fields.field_id(error.subject)
            panel = self.render("admin/notifications/test_panel.html", run=None, error=error, wrong=wrong)
            return make_response(panel)
        return self._with_error(error)

    def _with_error(self, error: StowageError) -> Response:
        if error.kind not in SHOWN_ON_FORM:
            raise error
        return make_response(self._page(channel_fields.submitted(request.form, error)), STATUS[error.kind])

    def _panel(self, test: str, name: str, *, begun: bool = False) -> str:
        run = services().notifications.tests.get(actor(), test)
        return str(
            self.render(
                "admin/notifications/test_panel.html",
                run=run,
                test=test,
                name=name,
                begun=begun,
                test_summary=summarize,
            )
        )

    def _page(self, form: channel_fields.ChannelForm | None) -> str:
        channel = form.channel if form else None
        kept = services().notifications.tests.last(channel) if channel else None
        return str(
            self.render(
                "admin/notifications/form.html",
                form=form,
                kinds=KINDS,
                events=EVENT_LABELS,
                every=EVERY,
                security=SECURITY,
                ports=PORTS,
                kept=kept,
                test_summary=summarize,
                run=ChannelTest(kept.steps) if kept else None,
            )
        )


def _listed() -> dict[str, Any]:
    notifications = services().notifications
    channels = notifications.channels.list()
    wanted = request.args.get("channel", "")
    shown = wanted if any(each.name == wanted for each in channels) else ""
    failed = request.args.get("failed") == "1"
    deliveries = notifications.deliveries(shown, limit=LOGGED, failed=failed)
    return {
        "channels": channels,
        "kinds": KINDS,
        "labels": EVENT_LABELS,
        "mutes": {f"{hours:g}": words for hours, words in MUTES.items()},
        "tests": {each.id: notifications.tests.last(each) for each in channels},
        "states": {each.id: _state(each) for each in channels},
        "deliveries": deliveries,
        "shown": shown,
        "failed": failed,
        "busy": any(each.state is DeliveryState.WAITING for each in deliveries),
        "runner": services().runner.is_alive(),
        "public_url": services().live.public_url(),
    }


def _state(channel: Channel) -> str:
    if not channel.enabled:
        return "off"
    return "muted" if channel.is_muted(time.time()) else "on"
