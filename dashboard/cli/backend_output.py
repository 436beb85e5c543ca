"""Backends and their connection tests as terminal output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from dashboard.cli import formatting
from dashboard.cli.invocation import Invocation

if TYPE_CHECKING:
    from dashboard.services.backends.backends import BackendInfo, Draft
    from dashboard.storage.probe import Step

MARKS = {"passed": "ok", "failed": "FAILED", "skipped": "skipped"}


def describe(info: BackendInfo) -> list[tuple[str, str]]:
    """The facts about a backend, as names and values."""
    status = info.status
    seen = status.badge.value
    if status.latency_ms is not None:
        seen += f", {status.latency_ms:.0f} ms"
    if status.checked_at is not None:
        seen += f", as of {formatting.ago(status.checked_at)}"
    held = ""
    if status.objects is not None:
        held = f"{formatting.count_of(status.objects)}, {formatting.size(status.bytes)}"
        held += f", as of {formatting.ago(status.counted_at)}"
        if status.unreadable_folders:
            held += f"; {formatting.count_of(status.unreadable_folders, 'folder')} could not be read"
    return [
        ("name", info.name),
        ("provider", info.preset_label),
        ("place", info.summary),
        ("active", "yes: new files go here" if info.active else "no"),
        ("fallback", "" if info.fallback_position is None else f"number {info.fallback_position}"),
        *((name, _one_line(value)) for name, value in sorted(info.options.items())),
        *((name, f"set, ends in …{ends}" if ends else "set") for name, ends in sorted(info.secrets.items())),
        ("state", seen),
        ("", status.message),
        ("", status.remedy),
        ("holds", held),
    ]


def run_test(
    invocation: Invocation, subject: str | Draft, *, only_failure: bool = False, document: bool = True
) -> bool:
    """Test a backend or a draft, printing a line per step. Returns whether every step passed.

    With ``only_failure`` the JSON document is printed only if a step failed, without ``document`` never.
    """
    out = invocation.out
    ended: dict[str, Step] = {}
    for step in invocation.services.probes.run(invocation.actor, subject):
        if step.state not in MARKS:
            continue
        ended[step.name] = step
        took = "" if step.milliseconds is None else f"{step.milliseconds:,.0f} ms"
        out.note(f"{MARKS[step.state]:<8} {step.label:<14} {took:>9}  {step.message}".rstrip())
        if step.remedy and step.state == "failed":
            out.note(f"         {step.remedy}")
    passed = bool(ended) and all(step.state != "failed" for step in ended.values())
    if document and not (only_failure and passed):
        out.document(_document(ended, passed))
    can_create = any(step.can_create_bucket for step in ended.values())
    if can_create and isinstance(subject, str):
        out.note(f"Create it with: stowage backend test {subject} --create-bucket")
    return passed


def _document(steps: dict[str, Step], passed: bool) -> dict[str, Any]:
    return {"passed": passed, "steps": list(steps.values())}


def _one_line(value: str) -> str:
    first, _, rest = value.strip().partition("\n")
    return f"{first} …" if rest else first
