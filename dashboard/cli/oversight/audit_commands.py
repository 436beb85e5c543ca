"""``stowage audit``: what was done, and whether the log of it is whole."""

from __future__ import annotations

import click

from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation


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
