"""Sentences about files, folders and links."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.wording import (
    Part,
    Telling,
    backend,
    counted,
    file_at,
    file_of,
    folder_of,
    named,
    number_of,
    size_of,
    telling,
    tells,
)


@tells("file.upload")
def _uploaded(row: AuditRow) -> Telling:
    where = row.detail.get("backend", "")
    return telling("uploaded ", file_at(where, row.subject), used=("backend",))


@tells("file.put")
def _put(row: AuditRow) -> Telling:
    return telling("uploaded ", file_of(row), " from the command line")


@tells("file.delete")
def _deleted(row: AuditRow) -> Telling:
    if row.outcome == "refused":
        return _failed(row, "delete")
    undo = "" if row.detail.get("undo") == "yes" else ", without a way to undo it"
    return telling("deleted ", *_files(row), undo, used=("files", "undo"))


@tells("file.undo")
def _undone(row: AuditRow) -> Telling:
    if row.outcome == "refused":
        return _failed(row, "restore")
    return telling("restored what had been deleted: ", *_files(row), used=("files",))


@tells("file.edit")
def _edited(row: AuditRow) -> Telling:
    what = row.detail.get("changed", "") or "details"
    return telling(f"changed {what} of ", file_of(row), used=("changed",))


@tells("file.restore")
def _restored(row: AuditRow) -> Telling:
    return telling("made an older version of ", file_of(row), " the current one")


@tells("file.folder")
def _folder_made(row: AuditRow) -> Telling:
    return telling("created the folder ", folder_of(row))


@tells("file.move")
def _moved(row: AuditRow) -> Telling:
    if row.outcome == "refused":
        return _failed(row, "move")
    return telling("moved ", *_files(row), *_to(row), used=("to", "files"))


@tells("file.copy")
def _copied(row: AuditRow) -> Telling:
    if row.outcome == "refused":
        return _failed(row, "copy")
    return telling("copied ", *_files(row), *_to(row), used=("to", "files"))


@tells("folder.move")
def _folder_moved(row: AuditRow) -> Telling:
    return telling("moved the folder ", folder_of(row), *_to(row), used=("to",))


@tells("folder.copy")
def _folder_copied(row: AuditRow) -> Telling:
    return telling("copied the folder ", folder_of(row), *_to(row), used=("to",))


@tells("folder.delete")
def _folder_deleted(row: AuditRow) -> Telling:
    return telling("deleted the folder ", folder_of(row))


@tells("files.delete_old")
def _old_requested(row: AuditRow) -> Telling:
    days = counted(number_of(row, "older_than_days"), "day")
    count = counted(number_of(row, "files"), "file")
    return telling(
        f"asked to delete {count} ({size_of(row, 'bytes')}) older than {days} from ",
        _where(row),
        used=("files", "bytes", "older_than_days"),
    )


@tells("files.old_deleted")
def _old_deleted(row: AuditRow) -> Telling:
    count = counted(number_of(row, "deleted"), "old file")
    failed = number_of(row, "failed")
    return telling(
        f"deleted {count} ({size_of(row, 'bytes')}) from ",
        _where(row),
        f"; {failed:,} could not be deleted" if failed else "",
        used=("deleted", "bytes", "failed"),
    )


@tells("link.create")
def _shared(row: AuditRow) -> Telling:
    days = number_of(row, "seconds") / 86_400
    period = counted(round(days), "day") if days >= 1 else counted(round(days * 24), "hour")
    return telling(
        "shared ",
        file_at(row.detail.get("backend", ""), row.detail.get("key", "")),
        f" by a link for {period}",
        used=("backend", "key", "seconds"),
    )


@tells("link.revoke")
def _revoked(row: AuditRow) -> Telling:
    return telling("revoked a link to ", named(row.detail.get("key") or row.subject), used=("key",))


@tells("link.first_use")
def _used(row: AuditRow) -> Telling:
    return telling(
        "used a link for the first time: ", named(row.detail.get("key") or row.subject), used=("key",)
    )


def _files(row: AuditRow) -> tuple[str | Part, ...]:
    more = number_of(row, "files") - 1
    return (file_of(row), f" and {counted(more, 'other file')}") if more > 0 else (file_of(row),)


def _to(row: AuditRow) -> tuple[str | Part, ...]:
    target = row.detail.get("to", "")
    return (" to ", named(target)) if target else ()


def _failed(row: AuditRow, verb: str) -> Telling:
    count, reason = number_of(row, "files"), row.detail.get("reason", "")
    what = (f"{count:,} files, first ", file_of(row)) if count > 1 else (file_of(row),)
    return telling(f"could not {verb} ", *what, f": {reason}" if reason else "", used=("files", "reason"))


def _where(row: AuditRow) -> str | Part:
    return row.subject if row.subject == "all backends" else backend(row.subject)
