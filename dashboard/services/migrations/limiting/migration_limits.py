"""The limits of migrations: what is in force, and changing them while they run.

A migration has limits of its own, or those of the console's settings. The texts are kept with its spec; the
runner reads them several times a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import tzinfo
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from dashboard.migration.types import Spec, State
from dashboard.rates.bandwidth import OFF, Bandwidth, Rate, parse_objects, print_objects
from dashboard.services.audit import AuditLog
from dashboard.services.database import Database
from dashboard.services.migrations.rows import get_row, not_possible_error
from dashboard.services.migrations.spec import DEFAULT_LIMIT, from_json, own_bandwidth, own_objects, to_json
from dashboard.services.permissions import Actor, Permission
from dashboard.settings import Settings
from dashboard.storage.net.rate_limits import Rates


@dataclass(frozen=True, slots=True)
class LimitsInForce:
    """The texts that count, whether they are the console's, and what they mean now: ``rates``, and when
    another bandwidth holds next, and which."""

    bandwidth: str
    objects: str
    bandwidth_is_default: bool
    objects_is_default: bool
    rates: Rates
    until: float | None
    then: Rate

    @property
    def any(self) -> bool:
        """Whether anything is limited, now or later."""
        return self.bandwidth != OFF or self.objects != OFF

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON, for the API and the command line."""
        return {
            "bandwidth_limit": self.bandwidth,
            "bandwidth_is_default": self.bandwidth_is_default,
            "objects_per_second": self.objects,
            "objects_is_default": self.objects_is_default,
            "bytes_per_second": self.rates.bytes,
            "until": self.until,
            "then": self.then,
        }


class MigrationLimits:
    """Thread-safe. ``settings`` returns those that count now."""

    def __init__(self, database: Database, audit: AuditLog, settings: Callable[[], Settings]) -> None:
        self._database = database
        self._audit = audit
        self._settings = settings

    def of(self, spec: Spec, *, now: float | None = None) -> LimitsInForce:
        """What is in force for a migration; ``now`` in seconds since the epoch."""
        return in_force(spec, self._settings(), time.time() if now is None else now)

    def change(
        self, actor: Actor, migration_id: int, *, bandwidth: str | None = None, objects: str | None = None
    ) -> None:
        """Change the limits of a migration, also while it runs; it keeps to them within a second. None leaves
        one as it is; empty, or ``default``, is the console's. Raises ``InvalidInput`` naming the field, and
        ``CONFLICT`` once it has ended for good."""
        actor.require(Permission.MIGRATE)
        with self._database.write() as session:
            row = get_row(session, migration_id)
            before = from_json(row.spec)
            after = replace(
                before,
                bandwidth_limit=before.bandwidth_limit if bandwidth is None else own_bandwidth(bandwidth),
                objects_per_second=before.objects_per_second if objects is None else own_objects(objects),
            )
            if after == before:
                return
            state = State(row.state)
            if state.final and state is not State.FAILED:
                raise not_possible_error(row, "can no longer be given other limits")
            # What is stored beside the spec stays.
            row.spec = {**row.spec, **to_json(after)}
            self._audit.record(
                session,
                actor,
                "migration.limit",
                str(row.id),
                bandwidth=after.bandwidth_limit or DEFAULT_LIMIT,
                objects=after.objects_per_second or DEFAULT_LIMIT,
            )


def in_force(spec: Spec, settings: Settings, now: float) -> LimitsInForce:
    """What is in force for a migration with these settings of the console."""
    bandwidth = _bandwidth(spec.bandwidth_limit or settings.bandwidth_limit)
    objects = _objects(spec.objects_per_second) if spec.objects_per_second else settings.objects_per_second
    zone = _zone(settings.time_zone)
    change = bandwidth.next_change(now, zone)
    return LimitsInForce(
        bandwidth=str(bandwidth),
        objects=print_objects(objects),
        bandwidth_is_default=not spec.bandwidth_limit,
        objects_is_default=not spec.objects_per_second,
        rates=Rates(bandwidth.at(now, zone), objects or None),
        until=change[0] if change else None,
        then=change[1] if change else None,
    )


def rates_now(spec: Spec, settings: Settings) -> Rates:
    """What a migration may copy per second at this moment."""
    objects = _objects(spec.objects_per_second) if spec.objects_per_second else settings.objects_per_second
    bandwidth = _bandwidth(spec.bandwidth_limit or settings.bandwidth_limit)
    return Rates(bandwidth.at(time.time(), _zone(settings.time_zone)), objects or None)


_bandwidth = lru_cache(maxsize=64)(Bandwidth.parse)
_objects = lru_cache(maxsize=64)(parse_objects)


@lru_cache(maxsize=8)
def _zone(name: str | None) -> tzinfo | None:
    return ZoneInfo(name) if name else None
