"""A console with one backend, a clock that tests move, and a server that gets messages."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboard.models.notifications import watch
from dashboard.services.backends.status import Badge
from dashboard.services.notifications.notification_values import ChannelDraft, ChannelKind
from dashboard.services.notifications.notifications import Notifications
from dashboard.services.services import Services
from dashboard.services.upkeep import upkeep
from dashboard.storage.types import Secret
from tests.services.composed import add_local, composed
from tests.services.console import ADMIN
from tests.services.notifications.receivers import HttpReceiver, http_receiver

KEY = "a key for signatures, 32 letters"
START = 1_800_000_000.0


@dataclass
class NotifiedConsole:
    """A console whose notifications run on a clock of the test."""

    services: Services
    receiver: HttpReceiver
    now: float = START

    @property
    def notifications(self) -> Notifications:
        return self.services.notifications

    def add(self, name: str = "ops", path: str = "/hook", **changes: object) -> None:
        secrets = {"url": Secret(self.receiver.url(path)), "secret": Secret(KEY)}
        draft = ChannelDraft(name, ChannelKind.WEBHOOK, {}, secrets, **changes)  # type: ignore[arg-type]
        self.notifications.channels.save(ADMIN, draft)

    def turn(self, seconds: float = 0.0) -> list[str]:
        """Let time pass, as if nothing had happened meanwhile, run the job once, and return the titles of
        what arrived."""
        before = len(self.receiver.got)
        self.run_after(seconds)
        return [each["title"] for got in self.receiver.got[before:] for each in got.json["events"]]

    def run_after(self, seconds: float) -> None:
        """Like :meth:`turn`, for messages of any form."""
        self.now += seconds
        with self.services.database.work_write() as connection:
            connection.execute(update(watch).values(watched_at=self.now))
        self.run()

    def run(self) -> None:
        """The job, once."""
        self.notifications._watcher.watch(self.now)
        while self.notifications.send_next():
            pass

    def badge(self, badge: Badge, message: str = "", name: str = "nas") -> None:
        backend = self.services.backends.get(name)
        self.services.status.record_check(backend.id, badge, None, message)


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


@pytest.fixture
def told(
    tmp_path: Path, receiver: HttpReceiver, monkeypatch: pytest.MonkeyPatch
) -> Iterator[NotifiedConsole]:
    # Whatever disk they run on: one that is nearly full is a message, too.
    monkeypatch.setattr(upkeep, "_space", lambda path: (1, 100, 50))
    with composed(tmp_path / "instance") as services:
        add_local(services, "nas", tmp_path / "nas")
        found = NotifiedConsole(services, receiver)
        services.notifications._clock = services.notifications.channels._clock = lambda: found.now
        found.notifications._watcher.watch(found.now)
        yield found
