"""``stowage audit``: what was done, and whether the log of it is whole."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation

if TYPE_CHECKING:
    from dashboard.services.audit import AuditFilter


@click.group(cls=Group)
def audit() -> None:
    """What was done, and whether the log of it is whole."""


@audit.command()
@click.option(
    "--accept-end",
    is_flag=True,
    help="You put back an older copy of the database: record that, and go on from there.",
)
@pass_invocation
def verify(invocation: Invocation, accept_end: bool) -> int:
    """Check that nobody changed, removed, added or reordered entries of the audit log.

    The exit code is 1 if the chain is broken, or cannot be checked. Keep the number and the code of the
    newest entry elsewhere, to compare them later.
    """
    log, actor, out = invocation.services.audit, invocation.actor, invocation.out
    result = log.accept_end(actor) if accept_end else log.verify(actor)
    out.document(result)
    out.say(result.sentence)
    for problem in result.problems:
        out.say(f"  {problem.sentence}")
    if result.problem_count > len(result.problems):
        out.say(f"  {result.problem_count - len(result.problems):,} more.")
    if result.head_id:
        out.say(f"Newest entry: {result.head_id} {result.head_mac}")
    if result.later:
        out.note(f"{result.later:,} entries were chained after they were written: see the documentation.")
    if result.removed:
        out.note(f"{result.removed:,} entries were removed by retention.")
    return DONE if result.whole else WITH_ERRORS


@audit.command("list")
@click.option("--actor", default="", help="Only what this person did.")
@click.option(
    "--action", default="", help="Only this action, such as backend.add, or backend for all of these."
)
@click.option("--thing", default="", help="Only what was done to this backend, user or file.")
@click.option("--text", default="", help="Only entries in which this text occurs.")
@click.option("--days", type=click.IntRange(min=1), help="Only the last days.")
@click.option("--limit", type=click.IntRange(1, 500), default=50, show_default=True, help="How many.")
@pass_invocation
def list_entries(
    invocation: Invocation, /, *, actor: str, action: str, thing: str, text: str, days: int | None, limit: int
) -> None:
    """List the newest entries of the audit log as sentences."""
    from dashboard.services.auditing.exporting import as_json
    from dashboard.services.auditing.sentences.tell import tell

    rows = invocation.services.audit.rows(matching=_filter(actor, action, thing, text, days), limit=limit)
    invocation.out.document({"entries": [as_json(row) for row in rows]})
    invocation.out.table(
        ("when", "what", "from"),
        [(formatting.ago(row.at), tell(row).text, row.address or row.via) for row in rows],
    )


@audit.command()
@click.option("--format", "kind", type=click.Choice(("csv", "jsonl")), default="csv", show_default=True)
@click.option("--actor", default="", help="Only what this person did.")
@click.option(
    "--action", default="", help="Only this action, such as backend.add, or backend for all of these."
)
@click.option("--thing", default="", help="Only what was done to this backend, user or file.")
@click.option("--text", default="", help="Only entries in which this text occurs.")
@click.option("--days", type=click.IntRange(min=1), help="Only the last days.")
@pass_invocation
def export(
    invocation: Invocation, /, *, kind: str, actor: str, action: str, thing: str, text: str, days: int | None
) -> None:
    """Write the audit log to standard output, oldest entry first.

    CSV is safe to open in a spreadsheet; JSON Lines has the exact values.
    """
    from dashboard.services.auditing.exporting import csv_lines, json_lines

    rows = invocation.services.audit.stream(_filter(actor, action, thing, text, days))
    for line in csv_lines(rows) if kind == "csv" else json_lines(rows):
        click.echo(line, nl=False)


def _filter(actor: str, action: str, thing: str, text: str, days: int | None) -> AuditFilter:
    from dashboard.services.audit import AuditFilter

    return AuditFilter(action, actor, thing, text, None if days is None else time.time() - days * 86_400)
