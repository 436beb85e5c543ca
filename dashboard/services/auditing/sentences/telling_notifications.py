"""Sentences about the channels of notifications."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.wording import (
    ChangedValue,
    Telling,
    changed,
    label,
    named,
    telling,
    tells,
)


@tells("notification.add")
def _added(row: AuditRow) -> Telling:
    kinds = {"webhook": "a webhook", "slack": "Slack-compatible", "email": "by e-mail"}
    kind = kinds.get(row.detail.get("kind", ""), "")
    return telling(
        "added the channel ",
        named(row.subject),
        f" for notifications ({kind})" if kind else "",
        used=("kind",),
    )


@tells("notification.edit")
def _edited(row: AuditRow) -> Telling:
    names = ("events", "every", "reminders", "enabled", "host", "to")
    changes = changed(row.detail, *names)
    renamed = row.detail.get("renamed_to", "")
    if renamed:
        changes = (ChangedValue("Name", row.subject, renamed), *changes)
    replaced = [name for name in row.detail.get("secrets", "").split(", ") if name]
    changes += tuple(ChangedValue(label(name), "", "replaced") for name in replaced)
    used = (*names, "renamed_to", "secrets")
    return telling("changed the channel ", named(renamed or row.subject), used=used, changes=changes)


@tells("notification.remove")
def _removed(row: AuditRow) -> Telling:
    return telling("removed the channel ", named(row.subject))


@tells("notification.mute")
def _muted(row: AuditRow) -> Telling:
    hours = row.detail.get("hours", "")
    after = f" for {hours} {'hour' if hours == '1' else 'hours'}" if hours else ""
    return telling("muted the channel ", named(row.subject), after, used=("hours",))


@tells("notification.unmute")
def _unmuted(row: AuditRow) -> Telling:
    return telling("ended the muting of the channel ", named(row.subject))


@tells("notification.test")
def _tested(row: AuditRow) -> Telling:
    before = "tested the channel " if row.detail.get("saved") == "yes" else "tested an unsaved channel, "
    return telling(before, named(row.subject), used=("saved",))


@tells("notification.resend")
def _sent_again(row: AuditRow) -> Telling:
    return telling("sent a message to the channel ", named(row.subject), " again")
