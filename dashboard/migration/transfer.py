"""Copying or comparing one object, and proving the copy. The result is one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TypeVar

from dashboard.errors import Kind
from dashboard.migration.decide import matches_fingerprint, same_time
from dashboard.migration.destination_names import alternative_names
from dashboard.migration.final_phase import copied_result
from dashboard.migration.grouping.groups import Groups
from dashboard.migration.grouping.publishing import Unpublished
from dashboard.migration.ledger import Done
from dashboard.migration.live import Spent
from dashboard.migration.overlap import CLOCK_SKEW_SECONDS
from dashboard.migration.pool import Failed, Result, Stopped, Task
from dashboard.migration.provenance import Provenance
from dashboard.migration.reasons import (
    AGE_UNKNOWN,
    ALREADY_EXISTS,
    DESTINATION_CHANGED,
    NAME_COLLISION,
    NO_FREE_NAME,
    NOT_NEWER,
    READ_BACK_DIFFERS,
    SAME,
    VANISHED,
    reason_for,
)
from dashboard.migration.retry_policy import REQUEST_ATTEMPTS
from dashboard.migration.types import Action, ObjectState, OnConflict, Verify
from dashboard.storage.copying import Copied, Interrupted, copy_object, read_back, same_content
from dashboard.storage.driver import SMALL, Driver, LooksBeforeCreating, stat_or_none
from dashboard.storage.errors import ContainerMissing, Exists, NotFound, StorageError
from dashboard.storage.net.rate_limits import RateLimits
from dashboard.storage.net.retries import limit_attempts
from dashboard.storage.object_powers import ResumesWrites
from dashboard.storage.types import Entry, ObjectInfo

Stop = Callable[[], bool]
Attempt = Result | Unpublished[Result]
T = TypeVar("T")


class Transfer:
    """Copies objects of one migration. Thread-safe. ``may_write`` is asked right before an object becomes
    visible, too: where it returns false, others may have the object by now. ``await_plan`` returns when the
    plan is complete."""

    def __init__(
        self,
        provenance: Provenance,
        source_name: str,
        spent: Spent | None = None,
        limits: RateLimits | None = None,
        may_write: Callable[[], bool] = lambda: True,
        *,
        await_plan: Callable[[Stop], None] = lambda stop: None,
    ) -> None:
        self._provenance = provenance
        self._may_write = may_write
        self._await_plan = await_plan
        self._source_name = source_name
        self._spent = spent or Spent()
        self.limits = limits or RateLimits()
        self._groups = Groups(provenance.destination, provenance.spec.verify)

    def move(self, task: Task, stop: Stop) -> Attempt:
        """Do what the plan decided for the row. Returns storage errors as ``Failed``, never raises them. What
        is only prepared is for :meth:`publish`."""

        def should_stop() -> bool:
            return stop() or not self._may_write()

        def check() -> None:
            if should_stop():
                raise Interrupted

        def attempt() -> Attempt:
            self.limits.begin_object(check)
            task.begin()
            with limit_attempts(REQUEST_ATTEMPTS), self.limits.applied(check):
                ends = self._provenance, self._source_name
                work = _Move(ends, task, should_stop, spent=self._spent, groups=self._groups)
                work.await_plan = partial(self._await_plan, should_stop)
                return work.run()

        return self._guarded(task, attempt)

    def publish(self, group: Sequence[tuple[Task, Unpublished[Result]]]) -> list[Result | None]:
        """Publish what was prepared. Returns what :meth:`move` would have returned, None for those to begin
        again with."""
        if not self._may_write():
            return [Stopped()] * len(group)
        with self._spent.timed("writing"):
            found = self._groups.publish([each.prepared for _, each in group])
        pairs = zip(group, found, strict=True)
        return [self._guarded(task, partial(one.finish, outcome)) for (task, one), outcome in pairs]

    def _guarded(self, task: Task, attempt: Callable[[], T]) -> T | Result:
        """Return what ``attempt`` returns, or why it did not end."""
        try:
            return attempt()
        except Interrupted:
            return Stopped()
        except _KeepExisting as kept:
            return kept.result
        except NotFound as error:
            return self._missing(task, error)
        except StorageError as error:
            return self._failed(task, error)

    def _missing(self, task: Task, error: NotFound) -> Failed:
        try:
            found = stat_or_none(self._provenance.source, task.row.key)
        except StorageError as other:
            return self._failed(task, other)
        if found is None:
            return Failed(Kind.NOT_FOUND, VANISHED)
        # It exists (again).
        return replace(self._failed(task, error), retryable=True)

    def _failed(self, task: Task, error: StorageError) -> Failed:
        if isinstance(error, ContainerMissing):
            return Failed(error.kind, reason_for(error), fatal=True)
        reason = reason_for(error, task.row.key, task.row.destination_key)
        return Failed(error.kind, reason, retryable=error.retryable)


class _KeepExisting(Exception):
    """The existing object at the destination stays."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


class _Move:
    """One attempt at one object."""

    def __init__(
        self, ends: tuple[Provenance, str], task: Task, stop: Stop, *, spent: Spent, groups: Groups
    ) -> None:
        self._spent = spent
        self._grouped = groups.begin(task)
        self._provenance, self._source_name = ends
        provenance = self._provenance
        self._source: Driver = provenance.source
        self._destination: Driver = provenance.destination
        self._spec = provenance.spec
        self._task = task
        self._row = task.row
        self._stop = stop
        self._entry = Entry(task.row.key, task.row.size, task.row.modified, task.row.etag)
        # An object under one of these keys may be our own write whose response was lost.
        self._sent = set(task.attempted_keys)
        self._source_info: ObjectInfo | None = None
        self._checksums = ("", "")
        self._resume_since: float | None = None
        self.await_plan: Callable[[], None] = lambda: None

    def run(self) -> Attempt:
        row = self._row
        if self._task.recheck_source or row.maybe_written:
            self._entry = self._source.stat(row.key).entry
        if row.maybe_written:
            self._take_up()
        if row.action is Action.KEEP_BOTH:
            self._resume_since = None
            return self._keep_both()
        if self._task.bad_copy_key:
            return self._copy(row.key, create_only=False)
        if row.action is Action.COMPARE or row.maybe_written:
            return self._compare_first()
        if row.action is Action.REPLACE:
            return self._copy(row.key, create_only=False)
        return self._create()

    def _take_up(self) -> None:
        """Resume what a killed run has sent of this object if it is still the same; otherwise remove that."""
        row, entry = self._row, self._entry
        if row.size < SMALL or row.started_at is None or not isinstance(self._destination, ResumesWrites):
            return
        self._resume_since = row.started_at - CLOCK_SKEW_SECONDS
        timeless = row.modified is None or entry.modified is None
        same_age = timeless or same_time(row.modified or 0.0, entry.modified or 0.0)
        if (row.size, row.etag) != (entry.size, entry.etag) or not same_age:
            self._drop_parts()

    def _drop_parts(self) -> None:
        """Remove what a killed run sent, which nothing will resume."""
        if self._resume_since is not None:
            self._destination.sweep([self._row.key], since=self._resume_since)
            self._resume_since = None

    def _compare_first(self) -> Attempt:
        found = stat_or_none(self._destination, self._row.key)
        if found is None:
            return self._create()
        self._drop_parts()
        with self._spent.timed("verifying"):
            same = self._has_same_content(found)
        return self._already_copied(found) if same else self._handle_existing(found)

    def _create(self) -> Attempt:
        """Copy an object that the plan did not find at the destination; never overwrite a newer one there."""
        try:
            return self._copy(self._row.key, create_only=True)
        except Exists as error:
            if error.perhaps_ours:
                self._sent.add(self._row.key)
            found = stat_or_none(self._destination, self._row.key)
            if found is None:
                raise
            if self._row.key not in self._sent:
                self._await_complete_plan()
            if self._has_same_content(found):
                return self._already_copied(found)
            return self._handle_existing(found)

    def _await_complete_plan(self) -> None:
        """Only that can tell what to do with an object that the plan has not found, or not yet."""
        if self._row.action is Action.COPY and not self._row.found:
            self.await_plan()

    def _handle_existing(self, found: ObjectInfo) -> Attempt:
        """Another object exists: treat it as the person chose."""
        self._await_complete_plan()
        result = self._result_if_kept(found)
        if result is not None and self._spec.on_conflict is OnConflict.KEEP_BOTH:
            return self._keep_both()
        return result or self._copy(self._row.key, create_only=False)

    def _result_if_kept(self, found: ObjectInfo) -> Result | None:
        """Return the result if the existing object must stay, or None if it may be replaced: because it is
        ours, or because the person could see it in the plan and chose to replace it."""
        sent = found.key in self._sent
        if self._row.written or self._provenance.certainly_wrote(found, self._entry, sent=sent):
            return None
        match self._spec.on_conflict:
            case OnConflict.OVERWRITE:
                return None if self._is_listed(found.key) else Failed(Kind.CONFLICT, NAME_COLLISION)
            case OnConflict.SKIP_SAME:
                return (
                    None
                    if matches_fingerprint(self._row.found, found)
                    else Failed(Kind.CONFLICT, DESTINATION_CHANGED)
                )
            case OnConflict.KEEP_BOTH | OnConflict.FAIL:
                return Failed(Kind.CONFLICT, ALREADY_EXISTS)
            case OnConflict.NEWER:
                return self._not_newer(found)

    def _is_listed(self, key: str) -> bool:
        """Whether an object that the plan did not find is listed under exactly this name; otherwise it is
        another one, perhaps of this migration, that the destination treats as the same."""
        if self._row.action is not Action.COPY:
            return True
        return any(entry.key == key for entry in self._destination.list(key))

    def _not_newer(self, found: ObjectInfo) -> Result | None:
        if self._entry.modified is None or found.modified is None:
            return Failed(Kind.CONFLICT, AGE_UNKNOWN)
        if self._entry.modified > found.modified:
            return None
        return Done(ObjectState.SKIPPED, self._entry.size, NOT_NEWER)

    def _keep_both(self) -> Attempt:
        """Keep both: write under the first free name."""
        if self._task.bad_copy_key or self._row.written:
            return self._copy(self._task.bad_copy_key or self._row.target, create_only=False)
        found = stat_or_none(self._destination, self._row.key)
        if found is None:
            return self._create()
        if self._has_same_content(found):
            return self._already_copied(found)
        for name in alternative_names(self._row.key, self._source_name):
            if result := self._write_as(name):
                return result
        return Failed(Kind.CONFLICT, NO_FREE_NAME)

    def _write_as(self, name: str) -> Attempt | None:
        """Write under this name unless another object has it."""
        self._destination.check_key(name)
        there = stat_or_none(self._destination, name)
        if there is not None and self._has_same_content(there):
            return self._already_copied(there)
        if there is not None and self._result_if_kept(there):
            return None
        try:
            return self._copy(name, create_only=there is None)
        except Exists:
            return None

    # ---- the destination

    def _has_same_content(self, found: ObjectInfo) -> bool:
        """Whether the destination has this content. If the copy is ours, stat the source again before
        comparing: a later change must not count as copied."""
        stop, row = self._stop, self._row
        sent = found.key in self._sent
        ours = self._provenance.wrote(found, self._task, self._entry, sent=sent)
        self._source_info = self._source.stat(row.key) if ours else None
        if self._source_info is not None:
            self._entry = self._source_info.entry
        reported = found.md5 or found.etag
        if self._source_info is not None and (self._spec.verify is Verify.READBACK or not reported):
            if found.size != self._entry.size:
                return False
            self._checksums = (
                read_back(self._source, row.key, stop=stop, if_version=self._source_info.version),
                read_back(self._destination, found.key, stop=stop, if_version=found.version),
            )
            return self._checksums[0] == self._checksums[1]
        self._checksums = (found.md5 or "", found.md5 or "")
        return same_content(self._source, self._destination, self._entry, found, stop=stop)

    def _already_copied(self, found: ObjectInfo) -> Done:
        """The same content exists: from our earlier attempt, or from another program. The latter counts as
        skipped, so it never leads to the deletion of a source."""
        if self._source_info is None:
            return Done(ObjectState.SKIPPED, self._entry.size, SAME)
        proven = self._spec.verify is not Verify.SIZE
        info, size = self._source_info, self._entry.size
        return copied_result(info, size, self._checksums, to=found.key, etag=found.etag, proven=proven)

    # ---- copying

    def _copy(self, to: str, *, create_only: bool) -> Attempt:
        check_free = create_only and self._provenance.must_check_before_write(self._entry)
        if create_only and isinstance(self._destination, LooksBeforeCreating):
            create_only = self._destination.supports_create_only()
            if not create_only:
                self._require_free(to)
                check_free = True
        try:
            copied = self._copy_object(to, create_only=create_only, check_free=check_free)
        except StorageError as error:
            if not create_only or error.kind is not Kind.UNSUPPORTED:
                raise
            # A file system without hard links has no create-only writes: check, then write.
            copied = self._copy_object(to, create_only=False, check_free=True)
        return self._grouped.result(copied, to, self._verify)

    def _copy_object(self, to: str, *, create_only: bool, check_free: bool) -> Copied:
        """``check_free``: right before the write, check that the key is free. Whether an existing object may
        be replaced is always checked then, because hours may have passed since the plan or the first byte."""

        def before_write() -> None:
            if check_free:
                self._require_free(to)
            elif not create_only and self._spec.on_conflict is not OnConflict.OVERWRITE:
                found = stat_or_none(self._destination, to)
                if found is not None and (result := self._result_if_kept(found)):
                    raise _KeepExisting(result)
            self._task.attempted_keys.add(to)

        return copy_object(
            self._source,
            self._destination,
            self._entry,
            to=to,
            create_only=create_only,
            progress=self._task.progress,
            stop=self._stop,
            need_md5=self._spec.verify is Verify.READBACK,
            metadata=self._provenance.metadata_for(to),
            before_write=before_write,
            prove_read=self._spec.verify is not Verify.SIZE,
            timed=self._spent.timed,
            resume_since=self._resume_since,
            prepare=self._grouped.prepare,
        )

    def _require_free(self, key: str) -> None:
        if stat_or_none(self._destination, key) is not None:
            raise Exists(key)

    def _verify(self, copied: Copied, to: str) -> Result:
        written, verify = copied.written, self._spec.verify
        proven = verify is Verify.CHECKSUM and written.proven
        checksums = written.expected_checksum or written.md5, written.stored_checksum or ""
        done = copied_result(copied.info, written.size, checksums, to=to, etag=written.etag, proven=proven)
        if proven or verify is Verify.SIZE:
            return done
        with self._spent.timed("verifying"):
            found = read_back(self._destination, to, stop=self._stop)
        done = replace(done, source_checksum=written.md5, destination_checksum=found)
        if found == written.md5:
            return replace(done, state=ObjectState.VERIFIED)
        return Failed(Kind.DAMAGED, READ_BACK_DIFFERS, retryable=True, bad_copy=done)
