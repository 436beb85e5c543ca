"""``stowage db``: the databases themselves, in the instance folder or on PostgreSQL."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Group, Invocation, pass_invocation

if TYPE_CHECKING:
    from dashboard.services.moving.tables import TableSum


@click.group(cls=Group)
def db() -> None:
    """The console's databases: their schema, their state, and moving them to PostgreSQL."""


@db.command("check", cls=Command)
@pass_invocation
def check_databases(invocation: Invocation) -> int:
    """Look for damage, count the rows, and compare the schema with this version's. Changes nothing.

    Exit code 1 if something is wrong, or if an upgrade is needed.
    """
    from dashboard.services.moving.database_checks import check

    found = check(invocation.settings())
    document = [asdict(each) | {"current": each.current} for each in found]
    invocation.out.document({"databases": document})
    if not invocation.out.as_json:
        for each in found:
            rows = sum(each.rows.values())
            size = formatting.size(each.size)
            invocation.out.say(f"{each.name}: {each.kept_by}, {size}, schema {each.schema}, {rows:,} rows")
    for each in found:
        for problem in each.problems:
            invocation.out.note(f"{each.name}: {problem}")
        if each.schema > each.newest:
            invocation.out.note(f"{each.name} was written by a newer Stowage.")
        elif not each.current:
            invocation.out.note(f"{each.name} needs an upgrade: stowage db upgrade")
    return DONE if all(each.current and not each.problems for each in found) else WITH_ERRORS


@db.command("upgrade", cls=Command)
@pass_invocation
def upgrade_databases(invocation: Invocation) -> None:
    """Bring both databases to the schema of this version, or make them.

    Files are upgraded by any start too, and a copy is kept; databases on PostgreSQL only by this. Stop every
    console of the earlier version first.
    """
    from dashboard.services.database import open_database, prepare_instance
    from dashboard.services.moving.database_checks import check

    settings = invocation.settings()
    prepare_instance(settings)
    database = open_database(settings)
    try:
        database.upgrade(shared=True)
    finally:
        database.close()
    found = check(settings)
    invocation.out.document({"databases": [{"name": each.name, "schema": each.schema} for each in found]})
    if not invocation.out.as_json:
        for each in found:
            invocation.out.say(f"{each.name}: schema {each.schema}")


@db.command("move", cls=Command)
@click.option("--to", "url", required=True, metavar="URL", help="postgresql://user@host/database")
@click.option(
    "--password-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A file with the password. Default: STOWAGE_DATABASE_PASSWORD_FILE.",
)
@pass_invocation
def move_databases(invocation: Invocation, url: str, password_file: Path | None) -> None:
    """Copy the databases of the instance folder into an empty PostgreSQL database.

    Stop the console first. Every table is compared afterwards; the files stay as they are. Stopped at any
    moment, nothing is left behind: run it again.
    """
    from dashboard.services.moving.moves import move

    settings = invocation.settings(database_url="")
    target = invocation.settings(
        database_url=_without_password(url),
        database_password_file=password_file or settings.database_password_file,
    )

    def on_table(done: TableSum) -> None:
        if done.rows:
            invocation.out.note(f"{done.table}: {done.rows:,} rows")

    moved = move(replace(settings, database_url=None), target, on_table=on_table)
    invocation.out.document({"rows": moved.rows, "tables": [asdict(each) for each in moved.tables]})
    if not invocation.out.as_json:
        invocation.out.say(f"Moved and compared: {moved.rows:,} rows of {len(moved.tables)} tables.")
        invocation.out.say("Before the next start, set STOWAGE_DATABASE_URL to that address:")
        invocation.out.say("  stowage env set STOWAGE_DATABASE_URL=…")
        invocation.out.say(f"{settings.database} and {settings.work_database.name} were not changed.")


def _without_password(url: str) -> str:
    # Everybody on the machine sees the arguments of a command.
    authority = url.partition("://")[2].partition("/")[0]
    if ":" in authority.rpartition("@")[0] or "password=" in url.partition("?")[2]:
        raise click.UsageError(
            "The address holds a password, which everybody on this machine could read. Put the password "
            "into a file, and name it with --password-file."
        )
    return url
