"""``stowage backend import-env``: a backend from the environment variables that other programs use."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dashboard.cli.backend import TEST, passes_test
from dashboard.cli.invocation import DONE, WITH_ERRORS, Command, Invocation, pass_invocation

if TYPE_CHECKING:
    from dashboard.services.backends.importing import Imported


@click.command("import-env", cls=Command)
@click.argument("name", default="media")
@click.option("--yes", is_flag=True, help="Save it. Without this, nothing is changed.")
@TEST
@pass_invocation
def import_env(invocation: Invocation, name: str, yes: bool, test: bool) -> int:
    """Show the backend that AWS_*, S3_*, MINIO_*, AZURE_*, GCS_*, SFTP_* or MEDIA_* variables describe.

    With --yes it is saved as NAME (“media” by default). Secrets are shown as ***.
    """
    from dashboard.services.backends.importing import import_environment, importable
    from dashboard.storage.library.environment import naming_variables

    found = import_environment(importable(invocation.settings().environment), name)
    with naming_variables(found.used):
        invocation.services.backends.resolve(found.draft)
    _show(invocation, found)
    if test and not passes_test(invocation, found.draft):
        return WITH_ERRORS
    if yes:
        invocation.services.backends.add(invocation.actor, found.draft)
        invocation.out.note(f"“{name}” has been added. Test it with: stowage backend test {name}")
    else:
        invocation.out.note("Nothing was saved. To save it, add --yes.")
    invocation.out.document(_document(found, saved=yes))
    return DONE


def _show(invocation: Invocation, found: Imported) -> None:
    invocation.out.table(("variable", "option", "value"), found.rows())
    if found.ignored:
        invocation.out.note(f"Set but not needed: {', '.join(found.ignored)}.")


def _document(found: Imported, *, saved: bool) -> dict[str, object]:
    return {
        "name": found.draft.name,
        "preset": found.draft.preset,
        "values": [
            {"variable": variable, "option": option, "value": value}
            for variable, option, value in found.rows()
        ],
        "ignored": list(found.ignored),
        "saved": saved,
    }
