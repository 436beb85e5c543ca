"""``stowage backend``: the places that hold objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dashboard.cli import arguments, formatting
from dashboard.cli.arguments import YES, confirm
from dashboard.cli.backend_output import describe, run_test
from dashboard.cli.invocation import DONE, WITH_ERRORS, Commands, Group, Invocation, pass_invocation

if TYPE_CHECKING:
    from dashboard.services.backends.backends import Draft

OPTION = click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option; may be repeated. A certificate can be read from a file: NAME=file:PATH.",
)
SECRET = click.option(
    "--secret",
    "secrets",
    metavar="NAME[=env:VAR|=file:PATH]",
    multiple=True,
    help="A secret, from an environment variable or a file; NAME alone prompts for it.",
)
TEST = click.option(
    "--test", is_flag=True, help="Test the connection first, and save only if every step passes."
)


@click.group(cls=Group)
def backend() -> None:
    """The places that hold objects."""


backend.commands = Commands(
    {
        "activate": "dashboard.cli.backend_work:activate",
        "check": "dashboard.cli.backend_work:check",
        "count": "dashboard.cli.backend_work:count",
        "import-env": "dashboard.cli.backend_import:import_env",
    }
)


@backend.command("list")
@pass_invocation
def list_backends(invocation: Invocation) -> None:
    """List all backends, the active one first."""
    found = invocation.services.backends.list()
    invocation.out.document({"backends": found})
    invocation.out.table(
        ("name", "provider", "place", "state", ">objects", ">size", "active"),
        [
            (
                row.name,
                row.preset_label,
                row.summary,
                row.status.badge.value,
                "" if row.status.objects is None else f"{row.status.objects:,}",
                formatting.size(row.status.bytes),
                "active" if row.active else "",
            )
            for row in found
        ],
    )


@backend.command()
@click.argument("name")
@pass_invocation
def show(invocation: Invocation, name: str) -> None:
    """Show one backend: its options, which secrets are set, and its last known state."""
    info = invocation.services.backends.get(name)
    invocation.out.document(info)
    invocation.out.fields(describe(info))


@backend.command()
@click.argument("preset", required=False)
@pass_invocation
def presets(invocation: Invocation, preset: str | None) -> None:
    """List the providers, or the options and secrets of one PRESET."""
    from dashboard.storage.registry import PRESETS, find_preset, options_of

    out = invocation.out
    if preset is None:
        out.document({"presets": [{"name": row.name, "label": row.label} for row in PRESETS.values()]})
        out.table(("preset", "provider"), [(row.name, row.label) for row in PRESETS.values()])
        return
    chosen = find_preset(preset)
    options = options_of(chosen)
    out.document({"name": chosen.name, "label": chosen.label, "help": chosen.help, "options": options})
    out.table(
        ("name", "given as", "needed", "meaning", "default"),
        [
            (
                option.name,
                "--secret" if option.secret else "--option",
                "yes" if option.required else "=".join(option.required_with or ()),
                option.label,
                option.default,
            )
            for option in options
        ],
    )
    if chosen.help:
        out.explain(chosen.help)


@backend.command("new-key")
@pass_invocation
def new_key(invocation: Invocation) -> None:
    """Print a new key for --secret encryption_key or sse_customer_key. It is not saved anywhere: keep it.

    Without its key, nothing that is encrypted can ever be read again.
    """
    from dashboard.storage.checks.wrappers import new_encryption_key

    key = new_encryption_key().reveal()
    invocation.out.document({"key": key})
    invocation.out.say(key)


@backend.command()
@click.argument("name")
@click.option("--preset", required=True, help="The provider; see: stowage backend presets.")
@OPTION
@SECRET
@TEST
@pass_invocation
def add(
    invocation: Invocation,
    *,
    name: str,
    preset: str,
    options: tuple[str, ...],
    secrets: tuple[str, ...],
    test: bool,
) -> int:
    """Add a backend called NAME."""
    from dashboard.services.backends.backends import Draft
    from dashboard.storage.registry import all_options, find_preset

    known = all_options(find_preset(preset))
    draft = Draft(
        name, preset, arguments.parse_options(options, known), arguments.parse_secrets(secrets, known)
    )
    if test and not passes_test(invocation, draft):
        return WITH_ERRORS
    info = invocation.services.backends.add(invocation.actor, draft)
    invocation.out.document(info)
    invocation.out.note(f"“{name}” has been added. Test it with: stowage backend test {name}")
    _note_shared_place(invocation, name)
    return DONE


@backend.command()
@click.argument("name")
@click.option("--rename", metavar="NEW-NAME", help="Give it another name.")
@click.option("--preset", help="Another provider of the same kind of storage.")
@OPTION
@SECRET
@click.option("--clear-secret", "cleared", metavar="NAME", multiple=True, help="Remove a secret.")
@TEST
@pass_invocation
def edit(
    invocation: Invocation,
    *,
    name: str,
    rename: str | None,
    preset: str | None,
    options: tuple[str, ...],
    secrets: tuple[str, ...],
    cleared: tuple[str, ...],
    test: bool,
) -> int:
    """Change the given settings of the backend NAME and keep all others.

    Secrets that are not given are kept, unless an option changes that decides where they are sent.
    """
    from dashboard.services.backends.backends import Draft
    from dashboard.services.backends.drafts import options_to_keep
    from dashboard.storage.registry import all_options, find_preset

    before = invocation.services.backends.get(name)
    chosen = find_preset(preset or before.preset)
    known = all_options(chosen)
    draft = Draft(
        name=rename or name,
        preset=chosen.name,
        options=options_to_keep(before, chosen) | arguments.parse_options(options, known),
        secrets=arguments.parse_secrets(secrets, known),
        existing=name,
        version=before.version,
        cleared=frozenset(cleared),
    )
    if test and not passes_test(invocation, draft):
        return WITH_ERRORS
    info = invocation.services.backends.edit(invocation.actor, draft)
    invocation.out.document(info)
    invocation.out.note(f"“{info.name}” is changed.")
    _note_shared_place(invocation, info.name)
    return DONE


def _note_shared_place(invocation: Invocation, name: str) -> None:
    if warning := invocation.services.backends.shared_place_warning(name):
        invocation.out.note(warning)


@backend.command("read-only")
@click.argument("name")
@click.option("--off", is_flag=True, help="Allow writes again.")
@YES
@pass_invocation
def read_only(invocation: Invocation, name: str, off: bool, yes: bool) -> int:
    """Refuse every write of this console to the backend NAME. Other programs are not affected."""
    invocation.services.backends.get(name)
    question = f"Allow writes to “{name}” again?" if off else f"Refuse every write to “{name}”?"
    if not confirm(question, yes=yes):
        invocation.out.document({"name": name, "changed": False})
        return WITH_ERRORS
    info = invocation.services.backends.set_read_only(invocation.actor, name, on=not off)
    invocation.out.document(info)
    invocation.out.note(f"“{name}” takes writes again." if off else f"“{name}” is read-only.")
    return DONE


@backend.command()
@click.argument("name")
@YES
@pass_invocation
def remove(invocation: Invocation, name: str, yes: bool) -> int:
    """Remove the backend NAME and its secrets. Its objects stay where they are."""
    invocation.services.backends.get(name)
    if not confirm(f"Remove “{name}” and its secrets? Its objects stay where they are.", yes=yes):
        invocation.out.document({"name": name, "removed": False})
        return WITH_ERRORS
    invocation.services.backends.remove(invocation.actor, name)
    invocation.out.document({"name": name, "removed": True})
    invocation.out.note(f"“{name}” is removed.")
    return DONE


@backend.command()
@click.option("--dismiss", metavar="NAME", help="No longer show overtaken and lost objects of NAME.")
@pass_invocation
def waiting(invocation: Invocation, dismiss: str | None) -> None:
    """List objects that are waiting to be written back to a backend that was unavailable.

    Overtaken objects stay where they are stored, even after they are dismissed.
    """
    write_back, out = invocation.services.write_back, invocation.out
    if dismiss is not None:
        write_back.dismiss(invocation.actor, dismiss)
    found = write_back.summary()
    out.document({"waiting": found})
    out.table(
        ("home", "stored in", ">waiting", ">overtaken", ">lost"),
        [
            (row.home, row.stand_in, f"{row.waiting:,}", f"{row.overtaken:,}", f"{row.lost:,}")
            for row in found
        ],
    )


@backend.command()
@click.argument("name")
@click.option("--create-bucket", is_flag=True, help="Create the bucket or folder first if it does not exist.")
@pass_invocation
def test(invocation: Invocation, name: str, create_bucket: bool) -> int:
    """Test the connection to NAME step by step, with a test object that is removed again."""
    invocation.services.backends.get(name)
    if create_bucket:
        invocation.services.probes.create_bucket(invocation.actor, name)
        invocation.out.note("Created.")
    return DONE if run_test(invocation, name) else WITH_ERRORS


def passes_test(invocation: Invocation, draft: Draft) -> bool:
    """Test a draft. Returns whether it passed, and prints a note if not."""
    if run_test(invocation, draft, only_failure=True):
        return True
    invocation.out.note("Nothing was saved.")
    return False
