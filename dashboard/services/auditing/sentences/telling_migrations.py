"""Sentences about migrations, scheduled copies and recurring jobs."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.wording import (
    Part,
    PartKind,
    Telling,
    backend,
    changed,
    counted,
    named,
    number_of,
    telling,
    tells,
)

_OUTCOMES = {"clean": "everything is there", "with_skips": "some were skipped", "with_errors": "some failed"}


def _migration(row: AuditRow) -> Part:
    return Part(row.thing or f"migration {row.subject}", PartKind.MIGRATION, (row.subject,))


def _reason(row: AuditRow) -> str:
    reason = row.detail.get("reason", "") or row.detail.get("result", "")
    return f": {reason}" if reason else ""


@tells("migration.create")
def _created(row: AuditRow) -> Telling:
    verb = "began" if row.detail.get("approved") == "yes" else "planned"
    return telling(f"{verb} the migration ", _migration(row), used=("approved",))


@tells("migration.approve")
def _approved(row: AuditRow) -> Telling:
    return telling("started the migration ", _migration(row))


@tells("migration.start")
def _started(row: AuditRow) -> Telling:
    return telling("began to work on ", _migration(row))


@tells("migration.pause")
def _paused(row: AuditRow) -> Telling:
    return telling("paused ", _migration(row))


@tells("migration.limit")
def _limited(row: AuditRow) -> Telling:
    return telling("changed the limits of ", _migration(row))


@tells("migration.resume")
def _resumed(row: AuditRow) -> Telling:
    return telling("resumed ", _migration(row))


@tells("migration.cancel")
def _cancelled(row: AuditRow) -> Telling:
    return telling("cancelled ", _migration(row))


@tells("migration.retry")
def _retried(row: AuditRow) -> Telling:
    count = counted(number_of(row, "objects"), "failed object")
    return telling(f"retried {count} of ", _migration(row), used=("objects",))


@tells("migration.finish")
def _finished(row: AuditRow) -> Telling:
    outcome = row.detail.get("result", "")
    result = _OUTCOMES.get(outcome, outcome)
    return telling("finished ", _migration(row), f": {result}" if result else "", used=("result",))


@tells("migration.stop")
def _stopped(row: AuditRow) -> Telling:
    return telling("stopped ", _migration(row), _reason(row), used=("result", "reason"))


@tells("migration.fail")
def _failed(row: AuditRow) -> Telling:
    return telling("stopped ", _migration(row), _reason(row), used=("result", "reason"))


def _ends(row: AuditRow) -> tuple[str | Part, ...]:
    source, destination = row.detail.get("from", ""), row.detail.get("to", "")
    return (" of ", backend(source), " to ", backend(destination)) if source and destination else ()


@tells("schedule.add")
def _copy_added(row: AuditRow) -> Telling:
    when = row.detail.get("when", "")
    return telling("scheduled copies", *_ends(row), f", {when}" if when else "", used=("from", "to", "when"))


@tells("schedule.change")
def _copy_changed(row: AuditRow) -> Telling:
    changes = changed(row.detail, "when", "keep", "on")
    used = ("from", "to", "when", "keep", "on")
    return telling("changed the scheduled copies", *_ends(row), used=used, changes=changes)


@tells("schedule.remove")
def _copy_removed(row: AuditRow) -> Telling:
    return telling("removed the scheduled copies", *_ends(row), used=("from", "to"))


@tells("schedule.restore")
def _copy_restored(row: AuditRow) -> Telling:
    return telling("planned to restore a copy", *_ends(row), used=("from", "to"))


@tells("job.schedule")
def _rescheduled(row: AuditRow) -> Telling:
    changes = changed(row.detail, "when", "on")
    return telling(
        "changed the schedule of the job ", named(row.subject), used=("when", "on"), changes=changes
    )


@tells("job.run")
def _run(row: AuditRow) -> Telling:
    return telling("ran the job ", named(row.subject))
