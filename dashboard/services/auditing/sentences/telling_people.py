"""Sentences about people, their sessions and tokens."""

from __future__ import annotations

from dashboard.services.auditing.audit_rows import AuditRow
from dashboard.services.auditing.sentences.wording import (
    ChangedValue,
    Telling,
    named,
    person,
    telling,
    tells,
)

UNKNOWN = "(unknown)"


@tells("sign_in")
def _signed_in(row: AuditRow) -> Telling:
    if row.outcome == "done":
        return telling("signed in")
    if row.subject == UNKNOWN:
        return telling("Somebody tried to sign in with a name that does not exist", whole=True)
    return telling("Somebody failed to sign in as ", person(row.subject), whole=True)


@tells("sign_out")
def _signed_out(row: AuditRow) -> Telling:
    return telling("signed out")


@tells("user.add")
def _added(row: AuditRow) -> Telling:
    role = row.detail.get("role", "")
    return telling("added ", person(row.subject), f" as {role}" if role else "", used=("role",))


@tells("user.role")
def _role(row: AuditRow) -> Telling:
    change = ChangedValue("Role", row.detail.get("before", ""), row.detail.get("after", ""))
    return telling("gave ", person(row.subject), " another role", used=("before", "after"), changes=(change,))


@tells("user.password")
def _password(row: AuditRow) -> Telling:
    if row.subject == row.actor:
        return telling("changed their password")
    return telling("set a new password for ", person(row.subject))


@tells("user.disable")
def _disabled(row: AuditRow) -> Telling:
    return telling("disabled ", person(row.subject))


@tells("user.enable")
def _enabled(row: AuditRow) -> Telling:
    return telling("enabled ", person(row.subject))


@tells("session.end")
def _session_ended(row: AuditRow) -> Telling:
    number, device = row.detail.get("sessions", ""), row.detail.get("device", "")
    if number:
        return telling("ended their other sessions: ", number, used=("sessions",))
    whose = () if row.subject == row.actor else (" of ", person(row.subject))
    return telling("ended a session", *whose, f" ({device})" if device else "", used=("device",))


@tells("two_factor.enable")
def _two_factor_on(row: AuditRow) -> Telling:
    return telling("turned on two-factor sign-in")


@tells("two_factor.disable")
def _two_factor_off(row: AuditRow) -> Telling:
    return telling("turned off two-factor sign-in")


@tells("two_factor.codes")
def _recovery_codes(row: AuditRow) -> Telling:
    return telling("made new recovery codes")


@tells("two_factor.recovery")
def _recovery_code_used(row: AuditRow) -> Telling:
    return telling("used a recovery code to sign in")


@tells("two_factor.reset")
def _two_factor_reset(row: AuditRow) -> Telling:
    return telling("reset the two-factor sign-in of ", person(row.subject))


@tells("token.create")
def _token(row: AuditRow) -> Telling:
    return telling("created the API token ", named(row.subject), *_whose(row), used=("user",))


@tells("token.revoke")
def _revoked(row: AuditRow) -> Telling:
    return telling("revoked the API token ", named(row.subject), *_whose(row), used=("user",))


def _whose(row: AuditRow) -> tuple[str, ...]:
    user = row.detail.get("user", "")
    return (f" of {user}",) if user and user != row.actor else ()
