"""The ``stowage`` command line: one Click group per service, loaded when it is used.

Exit codes: 0 success; 1 failed, stopped or finished with errors; 2 usage error. Modules here import
services only inside commands, so that ``stowage --help`` is quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from dashboard import __version__
from dashboard.cli.invocation import Commands, Invocation, MainGroup, pass_invocation

__all__ = ["stowage"]


@click.group(
    cls=MainGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.option(
    "--instance",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder with the databases and the key. Default: STOWAGE_INSTANCE, else instance/ of the "
    "checkout, else ~/.local/share/stowage.",
)
@click.option(
    "--debug",
    is_flag=True,
    envvar="STOWAGE_DEBUG",
    help="Show where in the program an error occurred, without any values. Also: STOWAGE_DEBUG=1.",
)
@click.version_option(__version__, prog_name="Stowage", message="%(prog)s %(version)s")
@pass_invocation
def stowage(invocation: Invocation, instance: Path | None, debug: bool) -> None:
    """Stowage: one console for every place your files live.

    Exit codes: 0 success; 1 failed, stopped or finished with errors; 2 usage error.
    """
    invocation.instance, invocation.debug = instance, debug


stowage.commands = Commands(
    {
        "audit": "dashboard.cli.oversight.audit_commands:audit",
        "backend": "dashboard.cli.backend:backend",
        "backup": "dashboard.cli.backup:backup",
        "db": "dashboard.cli.oversight.db_commands:db",
        "env": "dashboard.cli.access.env:env",
        "files": "dashboard.cli.files.file_group:files",
        "flower": "dashboard.cli.oversight.flower_command:flower",
        "keys": "dashboard.cli.access.keys:keys",
        "migrate": "dashboard.cli.migrate:migrate",
        "migrations": "dashboard.cli.migrations:migrations",
        "notify": "dashboard.cli.oversight.notify_commands:notify",
        "run": "dashboard.cli.start:run",
        "schedule": "dashboard.cli.oversight.schedule_commands:schedule",
        "setup": "dashboard.cli.start:setup",
        "storage": "dashboard.cli.storage:storage",
        "token": "dashboard.cli.access.token:token",
        "worker": "dashboard.cli.start:worker",
        "uploads": "dashboard.cli.uploads:uploads",
        "usage": "dashboard.cli.oversight.usage_command:usage",
        "user": "dashboard.cli.access.user:user",
        "workers": "dashboard.cli.oversight.workers_command:workers",
    }
)
