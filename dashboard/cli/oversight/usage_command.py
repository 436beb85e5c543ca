"""``stowage usage``: how much is stored, of what, and what it costs."""

from __future__ import annotations

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import Command, Invocation, pass_invocation


@click.command(cls=Command)
@click.option("--sum-up", is_flag=True, help="Sum the catalogue up first.")
@click.option("--csv", "as_csv", is_flag=True, help="Print everything as CSV.")
@pass_invocation
def usage(invocation: Invocation, sum_up: bool, as_csv: bool) -> None:
    """Show how much each backend holds, what is in duplicates, and what a month costs.

    Objects and sizes are those of the last count, the rest is what the catalogue knows.
    """
    from dashboard.services.usage.prices import cost_of

    room, out = invocation.services.usage, invocation.out
    if sum_up:
        room.summing_up.run()
    table = room.prices.table()
    if as_csv and not out.as_json:
        for line in room.reports.csv_lines(table):
            click.echo(line, nl=False)
        return
    found = room.reports.usage()
    costs = [cost_of(each, table) for each in found.backends]
    out.document({"usage": found, "costs": costs, "currency": table.currency})
    out.table(
        ("backend", ">objects", ">size", ">in duplicates", ">requests", ">errors", ">a month"),
        [
            (
                each.name,
                "" if each.objects is None else f"{each.objects:,}",
                formatting.size(each.bytes),
                formatting.size(each.duplicate_bytes),
                f"{each.traffic.requests:,}",
                f"{each.traffic.failed:,}",
                "" if cost.total is None else table.money(cost.total),
            )
            for each, cost in zip(found.backends, costs, strict=True)
        ],
    )
    for kind in found.kinds:
        out.say(f"{kind.name}: {formatting.count_of(kind.files, 'file')}, {formatting.size(kind.bytes)}")
