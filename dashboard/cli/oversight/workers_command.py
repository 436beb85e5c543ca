"""``stowage workers``: which processes run jobs and copy objects, and on what."""

from __future__ import annotations

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import Command, Invocation, pass_invocation

MAX_TASKS = 3
"""Of one process, in a line of the table."""


@click.command(cls=Command)
@pass_invocation
def workers(invocation: Invocation) -> None:
    """Show which processes run jobs and copy objects, on what, and when each gave its last sign of life."""
    found = invocation.services.working.list()
    invocation.out.document({"processes": found})
    invocation.out.table(
        ("process", "machine", ">pid", "state", "works on", ">since", ">sign of life", ">objects/s"),
        [
            (
                each.kind.value,
                f"{each.machine} {each.address}".strip(),
                str(each.pid or ""),
                each.state,
                ", ".join(f"{task.kind} {task.subject_id or ''}".strip() for task in each.tasks[:MAX_TASKS]),
                formatting.ago(each.started_at),
                formatting.ago(each.seen_at),
                f"{each.rate:,.1f}" if each.rate else "",
            )
            for each in found
        ],
    )
    for each in found:
        if each.message:
            invocation.out.note(f"{each.machine} takes no work: {each.message} {each.remedy}".strip())
