"""Backends: adding, editing, removing, ordering them, and building their drivers."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.jobs.types import JobKind
from dashboard.migration.types import State
from dashboard.models.backends import Backend, BackendStatus
from dashboard.models.migrations import Migration
from dashboard.services.audit import AuditLog, redact_options
from dashboard.services.backends.drafts import changes, check_name, location_changes, resolve, with_defaults
from dashboard.services.backends.drivers import DriverCache
from dashboard.services.backends.fallback_drivers import (
    SERVING,
    STAND_IN,
    CircuitBreakers,
    with_waiting_writes,
    wrap_driver,
)
from dashboard.services.backends.machine_folders import CacheFolders
from dashboard.services.backends.queries import MAX_FALLBACK, BackendQueries, get_row, info
from dashboard.services.backends.read_only_backends import refuse_read_only_now
from dashboard.services.backends.status import Badge, Status, reset
from dashboard.services.backends.stored import StoredBackends, edit_conflict_error
from dashboard.services.backends.values import BackendInfo, Draft, Resolved, Stored
from dashboard.services.catalogue.file_rows import invalidate_rows
from dashboard.services.database import Database
from dashboard.services.jobs import enqueue
from dashboard.services.keys import Keys
from dashboard.services.permissions import Actor, Permission
from dashboard.services.requests.request_counts import RequestCounts
from dashboard.storage import registry
from dashboard.storage.checks.wrappers import READ_ONLY, is_read_only
from dashboard.storage.driver import Driver
from dashboard.storage.registry import MachinePolicy

__all__ = ["BackendInfo", "Backends", "Badge", "Draft", "Status"]


class Backends(BackendQueries):
    """Thread-safe. ``machine``: what a backend may use of this machine.
    ``caches``: the folder for cached objects; without it nothing is cached."""

    def __init__(
        self,
        database: Database,
        audit: AuditLog,
        keys: Keys,
        *,
        machine: MachinePolicy | None = None,
        caches: Path | None = None,
    ) -> None:
        super().__init__(database)
        self._audit = audit
        self._keys = keys
        self._saved = StoredBackends(database, keys)
        self._machine = machine or MachinePolicy()
        self._drivers = DriverCache()
        self.requests = RequestCounts(database)
        self._breakers = CircuitBreakers(database)
        self._caches = CacheFolders(caches)

    def add(self, actor: Actor, draft: Draft) -> BackendInfo:
        """Save a new backend. Raises ``InvalidInput`` naming the field."""
        actor.require(Permission.CONFIGURE)
        self._keys.require_unsealed()
        check_name(draft.name)
        resolved = resolve(draft, None, self._saved.open, self._machine)
        with self._database.write() as session:
            return info(self.insert(session, actor, resolved))

    def insert(self, session: Session, actor: Actor, resolved: Resolved, *, active: bool = False) -> Backend:
        """Save a checked draft in the caller's writing transaction, and schedule its first check."""
        _refuse_taken(session, resolved.name)
        now = time.time()
        row = Backend(
            name=resolved.name,
            driver=resolved.driver,
            preset=resolved.preset.name,
            options=dict(resolved.options),
            active=active,
            created_at=now,
            updated_at=now,
            status=BackendStatus(),
        )
        session.add(row)
        # This creates the id, which the secrets are bound to.
        session.flush()
        self._saved.store(session, row, resolved)
        _schedule_check(session, row.id)
        set_options = {name: value for name, value in resolved.options.items() if value}
        detail = redact_options(registry.all_options(resolved.preset), set_options)
        self._audit.record(
            session, actor, "backend.add", row.name, preset=row.preset, **_prefixed(detail, resolved.typed)
        )
        return row

    def check_name(self, draft: Draft) -> None:
        """Raise ``InvalidInput`` if the draft could not be saved under its name."""
        check_name(draft.name)
        if draft.name != draft.existing:
            with self._database.read() as session:
                _refuse_taken(session, draft.name)

    def shared_place_warning(self, name: str) -> str:
        """What to know if other backends hold some or all of the same objects, as their options say; else
        nothing. No network call."""
        with self._database.read() as session:
            rows = session.execute(select(Backend.name, Backend.driver, Backend.options)).all()
        places = {each: registry.location(driver, options) for each, driver, options in rows}
        here = places.pop(name, None)
        others = [
            each
            for each, there in sorted(places.items())
            if here is not None
            and here.server == there.server
            and (here.path.startswith(there.path) or there.path.startswith(here.path))
        ]
        if not others:
            return ""
        return (
            f"{name} holds the same files as {' and '.join(others)}: what is deleted in one is gone in the "
            "other, and their counts overlap. If that is not meant, give one of them a folder of its own."
        )

    def resolve(self, draft: Draft) -> Resolved:
        """Check a draft as ``add`` or ``edit`` would, without saving. No network call."""
        stored = self._saved.read(draft.existing) if draft.existing else None
        if stored is not None and draft.version not in (None, stored.version):
            raise edit_conflict_error(stored.name)
        return resolve(draft, stored, self._saved.open, self._machine)

    def edit(self, actor: Actor, draft: Draft) -> BackendInfo:
        """Save changes to ``draft.existing``. Raises ``InvalidInput`` naming the field, and ``CONFLICT``
        if somebody else edited it meanwhile or an unfinished migration uses it."""
        actor.require(Permission.CONFIGURE)
        self._keys.require_unsealed()
        check_name(draft.name)
        resolved = self.resolve(draft)
        stored = resolved.stored
        if stored is None:
            raise InvalidInput("existing", "The backend to change is missing.")
        from dashboard.services.fallback.waiting_store import (
            refuse_losing_waiting_writes,
            refuse_while_waiting,
        )

        relocated = location_changes(stored, resolved.preset, resolved.options)
        with self._database.write() as session:
            row = get_row(session, stored.name)
            if row.id != stored.id or row.version != stored.version:
                raise edit_conflict_error(stored.name)
            if resolved.name != stored.name:
                _refuse_taken(session, resolved.name)
            if is_read_only(resolved.options):
                refuse_read_only_now(session, row)
            if relocated or resolved.name != stored.name:
                _refuse_in_use(session, row, "moved or renamed")
            if relocated:
                refuse_while_waiting(session, row, "moved")
            refuse_losing_waiting_writes(session, row, stored.options, resolved.options)
            self._audit_edit(session, actor, stored, resolved, draft.cleared)
            row.name, row.preset, row.options = resolved.name, resolved.preset.name, dict(resolved.options)
            row.version += 1
            row.updated_at = time.time()
            # Other credentials may write, or not any more.
            row.status.write_checked_at, row.status.write_denied = None, ""
            for secret in [s for s in row.secrets if s.name in draft.cleared - resolved.typed]:
                row.secrets.remove(secret)
            self._saved.store(session, row, resolved)
            if relocated:
                # Earlier checks and counts say nothing about the new location.
                reset(row.status)
                self._forget_files(session, row.id)
            _schedule_check(session, row.id, count=bool(relocated))
            edited = info(row)
        self._drivers.retire(stored.id, "")
        self._caches.forget(stored.id)
        return edited

    def set_read_only(self, actor: Actor, name: str, *, on: bool) -> BackendInfo:
        """Refuse every write of this console to a backend from now on, or allow them again. Idempotent.
        Raises ``InvalidInput`` for the active backend and for one that waiting writes are in or for, and
        ``CONFLICT`` naming the unfinished migrations that write there."""
        from dashboard.services.fallback.waiting_store import refuse_losing_waiting_writes

        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = get_row(session, name)
            if is_read_only(row.options) == on:
                return info(row)
            options = {**row.options, READ_ONLY: "true" if on else "false"}
            if on:
                refuse_read_only_now(session, row)
                refuse_losing_waiting_writes(session, row, row.options, options)
            row.options, row.updated_at = options, time.time()
            row.version += 1
            row.status.write_checked_at, row.status.write_denied = None, ""
            _schedule_check(session, row.id)
            was = {f"before.option.{READ_ONLY}": "false" if on else "true"}
            self._audit.record(
                session, actor, "backend.edit", name, **was, **{f"option.{READ_ONLY}": options[READ_ONLY]}
            )
            changed = info(row)
        self._drivers.retire(changed.id, "")
        return changed

    def remove(self, actor: Actor, name: str) -> None:
        """Delete a backend and its secrets, but none of its objects. Raises ``CONFLICT`` for the active
        backend and for one that an unfinished migration uses."""
        from dashboard.services.fallback.waiting_store import refuse_while_waiting

        actor.require(Permission.CONFIGURE)
        with self._database.write() as session:
            row = get_row(session, name)
            if row.active:
                raise StowageError(
                    Kind.CONFLICT,
                    f"“{name}” is the active backend and cannot be removed.",
                    operation="remove backend",
                    subject=name,
                    remedy="Make another backend the active one first.",
                )
            _refuse_in_use(session, row, "removed")
            refuse_while_waiting(session, row, "removed")
            self._audit.record(session, actor, "backend.remove", name, preset=row.preset)
            session.delete(row)
            backend_id = row.id
            self._forget_files(session, backend_id)
        self._drivers.retire(backend_id, "")
        self._caches.forget(backend_id)

    def fallback_order(self, actor: Actor, names: Sequence[str]) -> None:
        """Set which backends a read tries next, in this order; it does not try the others."""
        actor.require(Permission.CONFIGURE)
        if len(set(names)) != len(names):
            raise InvalidInput("names", "A backend is named twice in the fallback order.")
        if len(names) > MAX_FALLBACK:
            raise InvalidInput(
                "names",
                f"The fallback order holds at most {MAX_FALLBACK} backends.",
                remedy="A read that finds nothing asks all of them: leave some out.",
            )
        with self._database.write() as session:
            rows = [get_row(session, name) for name in names]
            query = select(Backend.name).where(Backend.fallback_position.is_not(None))
            before = ", ".join(session.scalars(query.order_by(Backend.fallback_position)))
            session.execute(update(Backend).values(fallback_position=None))
            for position, row in enumerate(rows, start=1):
                row.fallback_position = position
            self._audit.record(session, actor, "backend.fallback_order", ", ".join(names), before=before)

    def refresh(self, actor: Actor, name: str | None = None) -> None:
        """Schedule a check and a count of one backend, or of all, in the background."""
        actor.require(Permission.TEST)
        self._keys.require_unsealed()
        with self._database.write() as session:
            rows = [get_row(session, name)] if name is not None else list(session.scalars(select(Backend)))
            for row in rows:
                _schedule_check(session, row.id)
                row.status.counting_at = time.time()
            self._audit.record(session, actor, "backend.refresh", name if name is not None else "all")

    def driver(self, name: str, *, label: str = "") -> Driver:
        """The backend's driver, kept open for the next caller; do not close it.

        With a ``label`` of your own you keep the same driver through edits until :meth:`release`, and it
        uses only the backend itself: no cache, no stand-ins. Writes that wait there for other backends are
        visible only to stand-ins and to write back.
        Raises ``NOT_FOUND``, and ``SEALED`` if secrets cannot be opened. No network call.
        """
        self._keys.require_unsealed()
        stored = self._saved.read(name)

        def build() -> Driver:
            secrets = self._saved.sendable_secrets(stored)
            reads = label in ("", SERVING)
            internal = self._caches.options_for(stored.id, stored.version, reads=reads)
            options = with_defaults(stored.driver, stored.options)
            driver = registry.build(
                stored.driver,
                options,
                secrets,
                internal_options=internal,
                machine=self._machine,
                innermost=self.requests.counted(stored.id),
            )
            return wrap_driver(
                self._database, self._breakers, stored, driver, label=label, driver_of=self._stand_in_driver
            )

        return self._drivers.get(stored.id, stored.version, label, build)

    def driver_with_waiting(self, name: str, *, label: str) -> Driver:
        """Like :meth:`driver` with a label, but it also shows the objects waiting to be written back to this
        backend."""
        home = self.driver(name, label=label)
        return with_waiting_writes(self._database, self._saved.read(name), home, self._stand_in_driver)

    def serving_driver(self, name: str) -> Driver:
        """The driver with which the console serves files, kept open like that of :meth:`driver`: with cache
        and waiting writes, without stand-ins. Calls fail at once while the backend does not respond."""
        return with_waiting_writes(
            self._database, self._saved.read(name), self.driver(name, label=SERVING), self._stand_in_driver
        )

    def _stand_in_driver(self, name: str) -> Driver:
        return self.driver(name, label=STAND_IN)

    def release(self, label: str) -> None:
        """Close the drivers opened under a label. Idempotent."""
        self._drivers.release(label)

    def draft_driver(self, draft: Draft) -> Driver:
        """A driver for something not saved yet. The caller closes it. Raises as ``add`` and ``edit`` do."""
        self._keys.require_unsealed()
        resolved = self.resolve(draft)
        return registry.build(resolved.driver, resolved.options, resolved.secrets, machine=self._machine)

    def close(self) -> None:
        """Close every driver. Idempotent."""
        self._drivers.close()
        self.requests.close()

    def _forget_files(self, session: Session, backend_id: int) -> None:
        from dashboard.services.history.history import forget_history

        # Before this change commits: rather a file too few in the catalogue than one at the wrong place.
        with self._database.work_write() as connection:
            invalidate_rows(connection, backend_id)
            forget_history(connection, backend_id)
        enqueue(session, JobKind.FILES, 0)

    def _audit_edit(
        self, session: Session, actor: Actor, stored: Stored, resolved: Resolved, cleared: frozenset[str]
    ) -> None:
        names = changes(stored, resolved.options)
        known = registry.all_options(resolved.preset)
        detail = redact_options(known, {n: resolved.options.get(n, "") for n in names})
        before = redact_options(known, {n: stored.options.get(n, "") for n in names})
        extra = {"renamed_to": resolved.name} if resolved.name != stored.name else {}
        extra |= {f"before.option.{name}": value for name, value in before.items()}
        self._audit.record(
            session,
            actor,
            "backend.edit",
            stored.name,
            **extra,
            **_prefixed(detail, resolved.typed | cleared),
        )


def _schedule_check(session: Session, backend_id: int, *, count: bool = True) -> None:
    enqueue(session, JobKind.CHECK, backend_id)
    if count:
        enqueue(session, JobKind.COUNT, backend_id)


def _refuse_taken(session: Session, name: str) -> None:
    if session.scalar(select(Backend.id).where(Backend.name == name)) is not None:
        raise InvalidInput("name", f"There is already a backend “{name}”.", remedy="Choose another name.")


def _refuse_in_use(session: Session, row: Backend, action: str) -> None:
    final = [state.value for state in State if state.final]
    migration = session.scalar(
        select(Migration.id)
        .where(or_(Migration.source_id == row.id, Migration.destination_id == row.id))
        .where(Migration.state.not_in(final))
        .limit(1)
    )
    if migration is not None:
        raise StowageError(
            Kind.CONFLICT,
            f"“{row.name}” cannot be {action}: migration {migration} uses it and is not finished.",
            operation="change backend",
            subject=row.name,
            remedy="Wait for the migration to finish, or cancel it.",
        )


def _prefixed(detail: Mapping[str, str], secrets: frozenset[str]) -> dict[str, str]:
    """Return options as audit fields with a prefix of their own, and secrets only as names."""
    fields = {f"option.{name}": value for name, value in detail.items()}
    if secrets:
        fields["secrets"] = ", ".join(sorted(secrets))
    return fields
