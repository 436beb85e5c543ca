"""Tests of channels: a message that is really sent, step by step, of a draft or of a saved channel.

They exist in this process's memory, and for other consoles on the same server in its database; of a saved
channel the last one is kept.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace

from sqlalchemy import select
from sqlalchemy.dialects.sqlite import insert as upsert

from dashboard.errors import Kind, StowageError
from dashboard.models.notifications import tests as table
from dashboard.services.audit import AuditLog
from dashboard.services.consoles.followed_tests import FollowedTests, KeptTest
from dashboard.services.database import Database
from dashboard.services.notifications.attempts import (
    Answer,
    ChannelTest,
    DeliveryError,
    run_stages,
    waiting,
)
from dashboard.services.notifications.channel_rules import Resolved
from dashboard.services.notifications.channels import Channels
from dashboard.services.notifications.notification_values import (
    Channel,
    ChannelDraft,
    ChannelMessage,
    Event,
    EventKind,
    KeptChannelTest,
    Phase,
)
from dashboard.services.notifications.outbox import Outbox
from dashboard.services.notifications.sending import Attempt, attempt_for, hide
from dashboard.services.permissions import Actor, Permission
from dashboard.storage.probe import Step

log = logging.getLogger(__name__)

KEEP_SECONDS = 600.0
"""Seconds for which a test is kept in memory."""
MAX_PARALLEL, MAX_KEPT = 4, 100


@dataclass(slots=True)
class _Running:
    actor: str
    begun: float
    mark: bytes
    run: ChannelTest


@dataclass(frozen=True, slots=True)
class _Target:
    """What is tested; ``channel`` is None for a draft."""

    name: str
    resolved: Resolved
    channel: Channel | None


class ChannelTests:
    """Thread-safe. A test belongs to the actor who started it and is forgotten after ten minutes."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        channels: Channels,
        outbox: Outbox,
        *,
        console: Callable[[], str],
    ) -> None:
        self._database = database
        self._audit = audit
        self._channels = channels
        self._outbox = outbox
        self._console = console
        self._lock = threading.Lock()
        self._runs: dict[str, _Running] = {}
        self._followed = FollowedTests(database, "channel", KEEP_SECONDS)

    def start(self, actor: Actor, target: ChannelDraft | str) -> str:
        """Test a draft or a saved channel in the background; return the id for :meth:`get`. Raises what
        :meth:`Channels.resolve` raises, and ``THROTTLED`` if too many are running."""
        found = self._resolve(actor, target)
        message = self._message(actor, found)
        attempt = attempt_for(found.resolved, message)
        running = _Running(actor.name, time.monotonic(), _mark(found.resolved), waiting(attempt.stages()))
        test_id = secrets.token_urlsafe(12)
        self._register(test_id, running)
        self._follow(test_id, running)
        arguments = (test_id, running, found, message, attempt)
        # A daemon, so that stopping the console never waits for a server that does not answer.
        threading.Thread(target=self._work, args=arguments, name="channel-test", daemon=True).start()
        return test_id

    def run(self, actor: Actor, name: str) -> Iterator[Step]:
        """Test a saved channel now, yielding each step when it starts and when it ends."""
        found = self._resolve(actor, name)
        message = self._message(actor, found)
        attempt = attempt_for(found.resolved, message)
        running = _Running(actor.name, time.monotonic(), b"", waiting(attempt.stages()))
        return self._steps(running, found, message, attempt)

    def get(self, actor: Actor, test_id: str) -> ChannelTest:
        """The present state of a test of this actor. Raises ``NOT_FOUND``."""
        with self._lock:
            self._expire()
            running = self._runs.get(test_id)
            if running is not None and running.actor == actor.name:
                return running.run
        if (kept := self._followed.find(test_id, actor.name)) is not None:
            return _test_of(kept)
        raise StowageError(
            Kind.NOT_FOUND,
            "This test is over and forgotten.",
            operation="test channel",
            remedy="Test the channel again.",
        )

    def adopt(self, actor: Actor, test_id: str, channel: Channel) -> None:
        """Keep the finished test of a draft for the channel it was saved as, if nothing changed since."""
        with self._lock:
            running = self._runs.get(test_id)
        kept = self._followed.find(test_id, actor.name) if running is None else None
        if kept is not None:
            mark, run = bytes.fromhex(kept.mark), _test_of(kept)
        elif running is not None and running.actor == actor.name:
            mark, run = running.mark, running.run
        else:
            return
        if run.finished and mark == _mark(self._channels.target(channel.id)):
            self._keep(channel, actor.name, run)

    def last(self, channel: Channel) -> KeptChannelTest | None:
        """The last test of a saved channel, or None."""
        with self._database.work_read() as connection:
            row = connection.execute(select(table).where(table.c.channel_id == channel.id)).one_or_none()
        if row is None:
            return None
        return KeptChannelTest(row.at, row.tested_by, row.passed, tuple(Step(**step) for step in row.steps))

    def _resolve(self, actor: Actor, target: ChannelDraft | str) -> _Target:
        actor.require(Permission.CONFIGURE)
        if isinstance(target, str):
            channel = self._channels.get(target)
            found = _Target(channel.name, self._channels.target(channel.id), channel)
        else:
            found = _Target(target.name, self._channels.resolve(actor, target), None)
        with self._database.write() as session:
            saved = "yes" if found.channel else "no"
            self._audit.record(session, actor, "notification.test", found.name, saved=saved)
        return found

    def _message(self, actor: Actor, found: _Target) -> ChannelMessage:
        now = time.time()
        event = Event(
            kind=EventKind.TEST,
            phase=Phase.HAPPENED,
            key="test",
            tone="info",
            title="This is a test",
            text=f"{actor.name} tests the channel “{found.name}”. Messages will look like this one.",
            at=now,
            path="/settings/notifications",
        )
        return ChannelMessage(secrets.token_hex(16), found.name, (event,), 0, now, self._console())

    def _register(self, test_id: str, running: _Running) -> None:
        with self._lock:
            self._expire()
            under_way = sum(not each.run.finished for each in self._runs.values())
            if under_way >= MAX_PARALLEL:
                raise StowageError(
                    Kind.THROTTLED,
                    f"{under_way} tests of channels are under way already.",
                    operation="test channel",
                    remedy="Wait until one of them ends, at most a minute.",
                )
            while len(self._runs) >= MAX_KEPT:
                del self._runs[next(key for key, each in self._runs.items() if each.run.finished)]
            self._runs[test_id] = running

    def _expire(self) -> None:
        oldest = time.monotonic() - KEEP_SECONDS
        for key in [key for key, each in self._runs.items() if each.begun < oldest]:
            del self._runs[key]

    def _follow(self, test_id: str, running: _Running) -> None:
        self._followed.keep(test_id, running.actor, asdict(running.run), running.mark.hex())

    def _work(
        self, test_id: str, running: _Running, found: _Target, message: ChannelMessage, attempt: Attempt
    ) -> None:
        try:
            for _ in self._steps(running, found, message, attempt):
                self._follow(test_id, running)
        except Exception as error:  # noqa: BLE001  # the boundary of a background job
            # Without the message, which may hold what was sent.
            frames = [f"{each.filename}:{each.lineno}" for each in traceback.extract_tb(error.__traceback__)]
            log.error("A test of a channel broke off with %s at %s", type(error).__name__, ", ".join(frames))
            for step in running.run.steps:
                if step.state in ("waiting", "running"):
                    text = "Something unexpected went wrong here; the log has the details."
                    running.run = running.run.with_step(replace(step, state="failed", message=text))
            self._follow(test_id, running)

    def _steps(
        self, running: _Running, found: _Target, message: ChannelMessage, attempt: Attempt
    ) -> Iterator[Step]:
        failure: DeliveryError | None = None
        try:
            for seen, error in run_stages(attempt.stages()):
                step = replace(seen, message=hide(seen.message, found.resolved))
                failure = error or failure
                run = running.run.with_step(step)
                if run.finished and found.channel is not None:
                    # Before anybody sees that it has finished.
                    answer = Answer(attempt.answer.status, hide(attempt.answer.text, found.resolved))
                    if failure is not None:
                        failure.answer = hide(failure.answer, found.resolved)
                    self._outbox.record_test(found.channel, message, answer, failure)
                    self._keep(found.channel, running.actor, run)
                running.run = run
                yield step
        finally:
            attempt.close()

    def _keep(self, channel: Channel, tested_by: str, run: ChannelTest) -> None:
        values = {
            "at": time.time(),
            "tested_by": tested_by[:64],
            "passed": run.passed,
            "steps": [asdict(step) for step in run.steps],
        }
        with self._database.work_write() as connection:
            statement = upsert(table).values(channel_id=channel.id, **values)
            connection.execute(statement.on_conflict_do_update(index_elements=["channel_id"], set_=values))


def _test_of(kept: KeptTest) -> ChannelTest:
    return ChannelTest(tuple(Step(**step) for step in kept.state["steps"]))


def _mark(resolved: Resolved) -> bytes:
    """A digest of everything that a test depends on."""
    parts = [resolved.kind.value]
    for name, value in sorted(resolved.options.items()):
        parts += [name, value]
    for name, secret in sorted(resolved.secrets.items()):
        parts += [name, secret.reveal()] if name != "secret" else []
    return hashlib.sha256("\0".join(parts).encode()).digest()
