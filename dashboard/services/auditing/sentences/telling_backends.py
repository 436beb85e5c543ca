"""Sentences about backends and the console's settings."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.wording import (
    ARROW,
    ChangedValue,
    Telling,
    backend,
    changed,
    counted,
    label,
    named,
    number_of,
    telling,
    tells,
)


@tells("backend.add")
def _added(row: AuditRow) -> Telling:
    preset = row.detail.get("preset", "")
    return telling(
        "added the backend ", backend(row.subject), f" ({preset})" if preset else "", used=("preset",)
    )


@tells("backend.edit")
def _edited(row: AuditRow) -> Telling:
    changes = changed(row.detail, prefix="option.")
    renamed = row.detail.get("renamed_to", "")
    if renamed:
        changes = (ChangedValue("Name", row.subject, renamed), *changes)
    replaced = [name for name in row.detail.get("secrets", "").split(", ") if name]
    changes += tuple(ChangedValue(label(name), "", "replaced") for name in replaced)
    used = (*(name for name in row.detail if name.startswith("option.")), "renamed_to", "secrets")
    return telling("changed ", backend(renamed or row.subject), used=used, changes=changes)


@tells("backend.remove")
def _removed(row: AuditRow) -> Telling:
    return telling("removed the backend ", named(row.subject))


@tells("backend.activate")
def _activated(row: AuditRow) -> Telling:
    former = row.detail.get("from", "")
    changes: tuple[ChangedValue, ...] = ()
    if former:
        changes = (ChangedValue("New files go to", former, row.subject),)
    missing = number_of(row, "missing")
    where = f", with {counted(missing, 'file')} missing there" if missing else ""
    changes += changed(row.detail, "fallback")
    if reads := row.detail.get("reads", ""):
        changes += (ChangedValue("Reads", "", reads),)
    untested = ", although its test failed" if row.detail.get("tested") == "no" else ""
    return telling(
        *("made ", backend(row.subject), " active", where, untested),
        used=("from", "missing", "fallback", "reads", "tested"),
        changes=changes,
    )


@tells("backend.fallback_order")
def _ordered(row: AuditRow) -> Telling:
    old = row.detail.get("before")
    if old is None:
        return telling("set the fallback order: ", named(row.subject or "none"))
    change = ChangedValue("Fallback", old, row.subject or "none")
    return telling("changed the fallback order", used=("before",), changes=(change,))


@tells("backend.refresh")
def _refreshed(row: AuditRow) -> Telling:
    what = "all backends" if row.subject == "all" else backend(row.subject)
    return telling("checked and counted ", what)


@tells("backend.test")
def _tested(row: AuditRow) -> Telling:
    if row.detail.get("saved") == "no":
        return telling("tested settings for ", named(row.subject or "a new backend"), used=("saved",))
    return telling("tested ", backend(row.subject), used=("saved",))


@tells("backend.fix")
def _fixed(row: AuditRow) -> Telling:
    finding = row.detail.get("finding", "").replace("_", " ")
    return telling(
        "changed a setting of the bucket of ",
        backend(row.subject),
        f": {finding}" if finding else "",
        used=("finding",),
    )


@tells("backend.create_bucket")
def _bucket(row: AuditRow) -> Telling:
    return telling("created the bucket of ", backend(row.subject))


@tells("backend.dismiss_waiting")
def _dismissed(row: AuditRow) -> Telling:
    count = counted(number_of(row, "objects"), "waiting write")
    return telling(f"dismissed {count} of ", backend(row.subject), used=("objects",))


@tells("upload_policy.save")
def _policy(row: AuditRow) -> Telling:
    return telling(
        "changed the upload policy ",
        named(row.subject),
        used=tuple(name for name in row.detail if name != "token"),
        changes=changed(row.detail, *(n for n in row.detail if n != "token" and not n.startswith("before."))),
    )


@tells("upload_policy.remove")
def _policy_removed(row: AuditRow) -> Telling:
    return telling("removed the upload policy ", named(row.subject))


@tells("setup")
def _set_up(row: AuditRow) -> Telling:
    return telling("set this console up")


@tells("backend.stop_count")
def _count_stopped(row: AuditRow) -> Telling:
    return telling("stopped the count of ", backend(row.subject))


@tells("backup.schedule")
def _scheduled(row: AuditRow) -> Telling:
    changes = changed(row.detail, "enabled", "every_hours", "keep", "backend")
    return telling("changed the backup schedule of the console", changes=changes)


@tells("backup.request")
def _backed_up(row: AuditRow) -> Telling:
    return telling("requested a backup of the console: ", named(row.subject))


@tells("keys.restore")
def _restored(row: AuditRow) -> Telling:
    return telling("restored the key file from the recovery key")


@tells("keys.rotate")
def _rotated(row: AuditRow) -> Telling:
    if row.outcome == "begun":
        return telling("began to rotate the console's key", used=("old",))
    rows = counted(number_of(row, "rows"), "secret")
    return telling(f"rotated the console's key; {rows} sealed again", used=("rows",))


@tells("audit.chain")
def _chained(row: AuditRow) -> Telling:
    count = counted(number_of(row, "entries"), "earlier entry", "earlier entries")
    return telling(f"chained {count} of this log", used=("entries",))


@tells("audit.accept_end")
def _accepted(row: AuditRow) -> Telling:
    return telling(
        f"accepted an older copy of the database: entries up to {number_of(row, 'seen'):,} had been written",
        used=("seen",),
    )


@tells("audit.retention")
def _retention(row: AuditRow) -> Telling:
    return telling("changed how long this log is kept", used=("days",), changes=changed(row.detail, "days"))


@tells("audit.expire")
def _expired(row: AuditRow) -> Telling:
    count = counted(number_of(row, "entries"), "entry", "entries")
    return telling(f"removed {count} of this log that were older than {row.subject}", used=("entries",))


@tells("environment.change")
def _environment(row: AuditRow) -> Telling:
    # Names of variables are upper case; their values are masked where they are secret.
    names = tuple(name for name in row.detail if name.isupper())
    pairs = {name: row.detail[name].partition(ARROW) for name in names}
    changes = tuple(
        ChangedValue(name, old, new) if arrow else ChangedValue(name, "", old)
        for name, (old, arrow, new) in pairs.items()
    )
    return telling("changed the settings file", used=names, changes=changes)


@tells("environment.backup")
def _environment_copied(row: AuditRow) -> Telling:
    return telling("made a backup of the settings file")


@tells("prices.save")
def _prices(row: AuditRow) -> Telling:
    names = tuple(name for name in row.detail if name != "token" and not name.startswith("before."))
    return telling("changed the prices", used=names, changes=changed(row.detail, *names))


@tells("prices.restore")
def _prices_restored(row: AuditRow) -> Telling:
    return telling("restored the listed prices")
