"""``stowage backend``: the places that hold objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dashboard.cli import values, wording
from dashboard.cli.backend_looks import describe, run_test
from dashboard.cli.frame import DONE, WITH_ERRORS, Group, Invocation, pass_invocation
from dashboard.cli.values import YES, confirmed

if TYPE_CHECKING:
    from dashboard.services.backends.service import BackendInfo, Draft
    from dashboard.storage.options import Preset

OPTION = click.option(
    "--option",
    "options",
    metavar="NAME=VALUE",
    multiple=True,
    help="An option; repeat for more. A certificate may be given as NAME=file:PATH.",
)
SECRET = click.option(
    "--secret",
    "secrets",
    metavar="NAME[=env:VAR|=file:PATH]",
    multiple=True,
    help="A secret, from an environment variable or a file; NAME alone asks for it. Never in clear.",
)
TEST = click.option(
    "--test", is_flag=True, help="Test the connection first, and save only if everything passes."
)


@click.group(cls=Group)
def backend() -> None:
    """The places that hold objects."""


@backend.command("list")
@pass_invocation
def list_backends(invocation: Invocation) -> None:
    """List all backends, the active one first."""
    every = invocation.services.backends.list()
    invocation.out.document({"backends": every})
    invocation.out.table(
        ("name", "provider", "place", "state", ">objects", ">size", "active"),
        [
            (
                one.name,
                one.preset_label,
                one.summary,
                one.status.badge.value,
                "" if one.status.objects is None else f"{one.status.objects:,}",
                wording.size(one.status.bytes),
                "active" if one.active else "",
            )
            for one in every
        ],
    )


@backend.command()
@click.argument("name")
@pass_invocation
def show(invocation: Invocation, name: str) -> None:
    """Show one backend: its options, which secrets are set, what was last seen of it."""
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
        out.document({"presets": [{"name": one.name, "label": one.label} for one in PRESETS.values()]})
        out.table(("preset", "provider"), [(one.name, one.label) for one in PRESETS.values()])
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
                "yes" if option.required else "",
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
    """Print a new key, for --secret encryption_key or sse_customer_key. Nothing is saved: keep it.

    Without its key nothing that is encrypted can ever be read again.
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
    from dashboard.services.backends.service import Draft
    from dashboard.storage.registry import every_option, find_preset

    known = every_option(find_preset(preset))
    draft = Draft(name, preset, values.options_from(options, known), values.secrets_from(secrets, known))
    if test and not passes(invocation, draft):
        return WITH_ERRORS
    info = invocation.services.backends.add(invocation.actor, draft)
    invocation.out.document(info)
    invocation.out.note(f"“{name}” is added. Test it with: stowage backend test {name}")
    return DONE


@backend.command()
@click.argument("name")
@click.option("--rename", metavar="NEW-NAME", help="Give it another name.")
@click.option("--preset", help="Another provider of the same kind of storage.")
@OPTION
@SECRET
@click.option("--clear-secret", "cleared", metavar="NAME", multiple=True, help="Forget a secret.")
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
    """Change what is given of the backend NAME and keep the rest.

    Secrets that are not given stay, unless an option that decides where they are sent changes.
    """
    from dashboard.services.backends.service import Draft
    from dashboard.storage.registry import every_option, find_preset

    before = invocation.services.backends.get(name)
    chosen = find_preset(preset or before.preset)
    known = every_option(chosen)
    draft = Draft(
        name=rename or name,
        preset=chosen.name,
        options=_kept(before, chosen) | values.options_from(options, known),
        secrets=values.secrets_from(secrets, known),
        existing=name,
        version=before.version,
        cleared=frozenset(cleared),
    )
    if test and not passes(invocation, draft):
        return WITH_ERRORS
    info = invocation.services.backends.edit(invocation.actor, draft)
    invocation.out.document(info)
    invocation.out.note(f"“{info.name}” is changed.")
    return DONE


@backend.command()
@click.argument("name")
@YES
@pass_invocation
def remove(invocation: Invocation, name: str, yes: bool) -> int:
    """Forget the backend NAME and its secrets. Its objects stay where they are."""
    invocation.services.backends.get(name)
    if not confirmed(f"Forget “{name}” and its secrets? Its objects stay where they are.", yes=yes):
        invocation.out.document({"name": name, "removed": False})
        return WITH_ERRORS
    invocation.services.backends.remove(invocation.actor, name)
    invocation.out.document({"name": name, "removed": True})
    invocation.out.note(f"“{name}” is forgotten.")
    return DONE


@backend.command()
@click.option(
    "--dismiss", metavar="NAME", help="No longer show what was overtaken or lost on its way to NAME."
)
@pass_invocation
def waiting(invocation: Invocation, dismiss: str | None) -> None:
    """List what was written elsewhere while a backend was away, and waits to be sent home.

    What was overtaken is kept where it waited, also after it was dismissed.
    """
    write_back, out = invocation.services.write_back, invocation.out
    if dismiss is not None:
        write_back.dismiss(invocation.actor, dismiss)
    every = write_back.summary()
    out.document({"waiting": every})
    out.table(
        ("home", "kept in", ">waiting", ">overtaken", ">lost"),
        [
            (one.home, one.stand_in, f"{one.waiting:,}", f"{one.overtaken:,}", f"{one.lost:,}")
            for one in every
        ],
    )


@backend.command()
@click.argument("name")
@click.option("--create-bucket", is_flag=True, help="Make the bucket or folder first if it is missing.")
@pass_invocation
def test(invocation: Invocation, name: str, create_bucket: bool) -> int:
    """Test the connection to NAME step by step, with a canary object that is removed again."""
    invocation.services.backends.get(name)
    if create_bucket:
        invocation.services.probes.create_bucket(invocation.actor, name)
        invocation.out.note("It is there.")
    return DONE if run_test(invocation, name) else WITH_ERRORS


def _kept(before: BackendInfo, preset: Preset) -> dict[str, str]:
    """The stored options; under another preset only those it shows, for it decides the others anew."""
    from dashboard.storage.registry import options_of

    if preset.name == before.preset:
        return dict(before.options)
    shown = {option.name for option in options_of(preset)}
    return {name: value for name, value in before.options.items() if name in shown}


def passes(invocation: Invocation, draft: Draft) -> bool:
    """Whether a draft stands its test; says so where it does not."""
    if run_test(invocation, draft, only_failure=True):
        return True
    invocation.out.note("Nothing was saved.")
    return False
