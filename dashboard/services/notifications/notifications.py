"""Notifications: the channels, what is told to them, and the job that sends it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from dashboard.errors import Kind, StowageError
from dashboard.jobs.types import DONE, JobContext, JobKind, JobResult
from dashboard.migration.types import Progress
from dashboard.services.attention.causes import Cause, causes
from dashboard.services.attention.gathering import Attention
from dashboard.services.audit import AuditLog
from dashboard.services.backends.backends import Backends
from dashboard.services.backends.status import Badge
from dashboard.services.database import Database
from dashboard.services.environment.live_settings import LiveSettings
from dashboard.services.jobs import enqueue
from dashboard.services.keys import Keys
from dashboard.services.migrations.migrations import Migrations
from dashboard.services.notifications.attempts import DeliveryError, PartlyRefused
from dashboard.services.notifications.channel_tests import ChannelTests
from dashboard.services.notifications.channels import Channels
from dashboard.services.notifications.ended_causes import Situation
from dashboard.services.notifications.happened import Happened
from dashboard.services.notifications.notification_values import ChannelMessage, Delivery
from dashboard.services.notifications.outbox import Outbox
from dashboard.services.notifications.sending import send
from dashboard.services.notifications.watching import KINDS, CauseWatch
from dashboard.services.permissions import Actor, Permission

log = logging.getLogger(__name__)

RECENT_MIGRATIONS = 100
_UNHEALTHY = (Badge.DOWN, Badge.DEGRADED, Badge.READ_ONLY)


@dataclass(frozen=True, slots=True)
class Sources:
    """What there is to tell about."""

    attention: Attention
    backends: Backends
    migrations: Migrations
    live: LiveSettings

    def situation(self) -> Situation:
        """How things stand now."""
        backends = self.backends.list()
        rank = {badge: number for number, badge in enumerate(_UNHEALTHY)}
        worst = sorted((b for b in backends if b.status.badge in rank), key=lambda b: rank[b.status.badge])
        summary = replace(self.backends.summary(), worst=tuple(worst), failing=len(worst))
        migrations = self.migrations.list(limit=RECENT_MIGRATIONS)
        facts = self.attention.facts(summary, backends, migrations, runner_alive=True)
        return Situation(
            facts=facts,
            folded=_by_key(causes(facts)),
            unfolded=_by_key(causes(facts, fold=False)),
            badges={backend.name: backend.status.badge.value for backend in backends},
            migration=self._migration,
        )

    def _migration(self, number: str) -> Progress | None:
        try:
            return self.migrations.progress(int(number))
        except (StowageError, ValueError):
            return None


class Notifications:
    """Thread-safe. ``channels``, ``tests`` and ``attention`` are used by pages, the API and commands."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        keys: Keys,
        sources: Sources,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._audit = audit
        self._console = sources.live.public_url
        self._clock = clock
        self._outbox = Outbox(database)
        self.attention = sources.attention
        self.channels = Channels(database, audit, keys, clock)
        self.tests = ChannelTests(database, audit, self.channels, self._outbox, console=self._console)
        self._watcher = CauseWatch(
            database,
            self.channels,
            self._outbox,
            happened=Happened(database, sources.migrations.progress),
            situation=sources.situation,
        )

    def deliveries(
        self, channel: str = "", *, limit: int = 50, before_id: int | None = None, failed: bool = False
    ) -> tuple[Delivery, ...]:
        """The newest deliveries, of all channels or of one, or those older than ``before_id``. Raises
        ``NOT_FOUND``."""
        found = (self.channels.get(channel),) if channel else self.channels.list()
        names = {each.id: each.name for each in found}
        return self._outbox.list(names, limit=limit, before_id=before_id, failed=failed)

    def send_again(self, actor: Actor, number: int) -> Delivery:
        """Send a delivery once more, now, under the id that it has. Raises ``NOT_FOUND``."""
        actor.require(Permission.CONFIGURE)
        delivery = self._outbox.find(number)
        names = {each.id: each.name for each in self.channels.list()}
        if delivery is None or delivery.channel_id not in names:
            raise StowageError(
                Kind.NOT_FOUND,
                "There is no such delivery.",
                operation="send again",
                remedy="Only the newest ones of each channel are kept.",
            )
        name = names[delivery.channel_id]
        with self._database.write() as session:
            self._audit.record(session, actor, "notification.resend", name, delivery=delivery.uid)
            enqueue(session, JobKind.NOTIFY, 0)
        self._outbox.send_again(delivery, self._clock())
        return replace(delivery, channel=name)

    def run(self, context: JobContext) -> JobResult:
        """The runner's job: queue what there is to tell, and send what is due."""
        self._watcher.watch(self._clock())
        while not context.should_stop() and self.send_next():
            pass
        return DONE

    def send_next(self) -> bool:
        """Try to send the next message that is due; return whether there was one."""
        now = self._clock()
        able = {
            each.id: each.name for each in self.channels.list() if each.enabled and not each.is_muted(now)
        }
        delivery = self._outbox.next_due(able, now) if able else None
        if delivery is None:
            return False
        name = able[delivery.channel_id]
        self._outbox.begin(delivery, now)
        message = ChannelMessage(
            delivery.uid, name, delivery.events, delivery.omitted, delivery.created_at, self._console()
        )
        try:
            answer = send(self.channels.target(delivery.channel_id), message)
            self._outbox.settle_sent(delivery, answer, self._clock())
        except PartlyRefused as error:
            self._outbox.settle_partly(delivery, error, self._clock())
        except DeliveryError as error:
            self._failed(delivery, name, error)
        except StowageError as error:
            # The channel's secrets do not open, or it was removed.
            self._failed(delivery, name, DeliveryError.of(error))
        return True

    def _failed(self, delivery: Delivery, name: str, error: DeliveryError) -> None:
        waits = self._outbox.settle_failed(delivery, error, self._clock())
        log.warning(
            "A message to %s was not delivered (attempt %d%s): %s",
            name,
            delivery.attempts + 1,
            "" if waits else ", given up",
            error.reason,
        )


def _by_key(found: tuple[Cause, ...]) -> dict[str, Cause]:
    return {cause.key: cause for cause in found if cause.kind in KINDS}
