"""``stowage backup``: backups of the console itself, and putting one back."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Group, Invocation, pass_invocation


@click.group(cls=Group)
def backup() -> None:
    """Backups of the console itself: its databases, not your files."""


@backup.command("create", cls=Command)
@pass_invocation
def create(invocation: Invocation) -> int:
    """Make a backup now, where the schedule says, and wait for it.

    It is read back before it counts.
    """
    from dashboard.services.backups.backup_values import BackupInfo, BackupState

    backups = invocation.services.backups
    number = backups.request(invocation.actor)

    def current() -> BackupInfo:
        found = backups.get(number)
        assert found is not None
        return found

    invocation.services.runner.run_until(
        lambda: current().state not in (BackupState.QUEUED, BackupState.RUNNING)
    )
    made = current()
    invocation.out.document({"backup": asdict(made)})
    if made.state is BackupState.FAILED:
        invocation.out.note(f"{made.message} {made.remedy}".rstrip())
        return WITH_ERRORS
    where = f"{made.backend}:{made.key}" if made.backend else _local(invocation, made.key)
    if not invocation.out.as_json:
        invocation.out.say(f"{where} ({formatting.size(made.size or 0)})")
    return DONE


@backup.command("list", cls=Command)
@pass_invocation
def list_backups(invocation: Invocation) -> None:
    """List the backups that are there, and attempts that failed."""
    found = invocation.services.backups.list()
    invocation.out.document({"backups": [asdict(each) for each in found]})
    invocation.out.table(
        ("when", "state", "where", "size", ""),
        [
            (
                formatting.ago(each.finished_at or each.created_at),
                each.state.value,
                f"{each.backend}:{each.key}" if each.backend else _local(invocation, each.key),
                formatting.size(each.size) if each.size is not None else "",
                each.message,
            )
            for each in found
        ],
    )


@backup.command("schedule", cls=Command)
@click.option("--every", "every_hours", type=int, metavar="HOURS", help="Every 1, 6, 12, 24 or 168 hours.")
@click.option("--keep", type=int, metavar="N", help="How many to keep.")
@click.option("--backend", metavar="NAME", help="Where they go; “” for the folder backups/ of the instance.")
@click.option("--off", is_flag=True, help="Make none by schedule.")
@pass_invocation
def schedule(invocation: Invocation, /, off: bool, **wanted: int | str | None) -> None:
    """Show when backups are made, or set it. Any option but --off switches the schedule on."""
    backups = invocation.services.backups
    changes: dict[str, Any] = {name: value for name, value in wanted.items() if value is not None}
    if off and changes:
        raise click.UsageError("--off goes with no other option.")
    current = backups.schedule()
    if off or changes:
        current = replace(current, enabled=not off, **changes)
        backups.change_schedule(invocation.actor, current)
    invocation.out.document({"schedule": asdict(current)})
    if invocation.out.as_json:
        return
    where = f"the backend {current.backend}" if current.backend else _local(invocation, "")
    if current.enabled:
        invocation.out.say(f"Every {current.every_hours} hours to {where}; {current.keep} are kept.")
    else:
        invocation.out.say("None are scheduled. Switch it on with: stowage backup schedule --every 24")


@backup.command("verify", cls=Command)
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@pass_invocation
def verify(invocation: Invocation, archive: Path) -> None:
    """Read a backup completely and compare it with what it says it holds."""
    from dashboard.services.backups.archive import verify_archive

    manifest = verify_archive(archive)
    invocation.out.document({"backup": asdict(manifest)})
    if not invocation.out.as_json:
        made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(manifest.created_at))
        invocation.out.say(f"Whole: of {made}, written by Stowage {manifest.version}.")


@backup.command("restore", cls=Command)
@click.argument("archive", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--replace", "replacing", is_flag=True, help="Keep the databases that are there under other names."
)
@pass_invocation
def restore_backup(invocation: Invocation, archive: Path, replacing: bool) -> None:
    """Put a backup into the instance folder, on this machine or on a new one. Stop the console first."""
    from dashboard.services.backups.restoring import restore

    settings = invocation.settings()
    done = restore(settings, archive, replace=replacing)
    services = invocation.services
    state = services.keys.state()
    backends = services.backends.count()
    invocation.out.document(
        {
            "instance": str(settings.instance),
            "manifest": asdict(done.manifest),
            "kept": [str(path) for path in done.kept],
            "backends": backends,
            "sealed": state.sealed,
        }
    )
    if invocation.out.as_json:
        return
    made = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(done.manifest.created_at))
    invocation.out.say(f"Restored into {settings.instance}: the console of {made}, {backends} backends.")
    for path in done.kept:
        invocation.out.say(f"Kept: {path}")
    if state.sealed:
        invocation.out.note(f"{state.reason} {state.remedy}")


def _local(invocation: Invocation, key: str) -> str:
    from dashboard.services.backups.backup_values import FOLDER

    return str(invocation.settings().instance / FOLDER / key)
