"""The ``stowage`` command line: one Click group per service.

Exit codes: 0 success; 1 failed, stopped or finished with errors; 2 usage error. Modules here import
services only inside commands, so that ``stowage --help`` is quick.
"""

from __future__ import annotations

from pathlib import Path

import click

from dashboard import __version__
from dashboard.cli import backend_import, backend_work
from dashboard.cli.access.env import env
from dashboard.cli.access.keys import keys
from dashboard.cli.access.token import token
from dashboard.cli.access.user import user
from dashboard.cli.backend import backend
from dashboard.cli.backup import backup
from dashboard.cli.files import file_group
from dashboard.cli.invocation import Invocation, MainGroup, pass_invocation
from dashboard.cli.migrate import migrate
from dashboard.cli.migrations import migrations
from dashboard.cli.oversight.audit_commands import audit
from dashboard.cli.oversight.notify_commands import notify
from dashboard.cli.oversight.schedule_commands import schedule
from dashboard.cli.oversight.usage_command import usage
from dashboard.cli.start import run, setup
from dashboard.cli.storage import storage
from dashboard.cli.uploads import uploads

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


backend.add_command(backend_work.count)
backend.add_command(backend_work.check)
backend.add_command(backend_work.activate)
backend.add_command(backend_import.import_env)
for command in (
    run,
    setup,
    backend,
    backup,
    file_group.files,
    migrate,
    migrations,
    keys,
    user,
    token,
    env,
    storage,
):
    stowage.add_command(command)
stowage.add_command(uploads)
stowage.add_command(audit)
stowage.add_command(notify)
stowage.add_command(usage)
stowage.add_command(schedule)
