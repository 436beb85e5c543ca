"""``stowage uploads``: upload policies, and uploads that are under way."""

from __future__ import annotations

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import Group, Invocation, pass_invocation


@click.group(cls=Group)
def uploads() -> None:
    """Upload policies, and cleaning up after uploads."""


@uploads.group(cls=Group)
def policies() -> None:
    """What may be uploaded, and what is done to it."""


@policies.command("list")
@pass_invocation
def list_policies(invocation: Invocation) -> None:
    """List all policies."""
    found = invocation.services.upload_policies.list()
    invocation.out.document({"policies": {name: policy.as_dict() for name, policy in found.items()}})
    invocation.out.table(
        ("name", "up to", "endings", "scan", "if the name is taken"),
        [
            (
                name,
                formatting.size(policy.max_size),
                " ".join(policy.endings) or "all",
                policy.scan.value,
                policy.on_conflict.value,
            )
            for name, policy in found.items()
        ],
    )


@policies.command("export")
@pass_invocation
def export_policies(invocation: Invocation) -> None:
    """Print all policies as TOML."""
    text = invocation.services.upload_policies.as_toml()
    invocation.out.document({"toml": text})
    if not invocation.out.as_json:
        for line in text.splitlines():
            invocation.out.say(line)


@policies.command("import")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@pass_invocation
def import_policies(invocation: Invocation, file: str) -> None:
    """Add or replace the policies of a TOML document, all or none.

    “-” reads standard input.
    """
    try:
        with click.open_file(file, encoding="utf-8") as opened:
            text = opened.read()
    except (OSError, UnicodeDecodeError) as error:
        raise click.BadParameter(f"“{file}” cannot be read as text.") from error
    names = invocation.services.upload_policies.load_toml(invocation.actor, text)
    invocation.out.document({"policies": list(names)})
    invocation.out.note(f"Saved: {', '.join(names)}." if names else "The document has no policy.")


@policies.command("remove")
@click.argument("name")
@pass_invocation
def remove_policy(invocation: Invocation, name: str) -> None:
    """Remove a policy; uploads that name it get the default."""
    invocation.services.upload_policies.remove(invocation.actor, name)
    invocation.out.document({"removed": name})
    invocation.out.note(f"The policy “{name}” is removed.")


@uploads.command()
@pass_invocation
def sweep(invocation: Invocation) -> None:
    """Remove uploads that nobody continued for a day, and what failures left behind.

    The runner does this every minute.
    """
    removed = invocation.services.uploads.sweep()
    invocation.out.document({"removed": removed})
    invocation.out.note(f"{removed:,} removed.")
