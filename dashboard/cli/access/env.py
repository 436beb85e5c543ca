"""``stowage env``: the settings file, and the variables that the console knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from dashboard.cli import arguments, formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Group, Invocation, pass_invocation
from dashboard.errors import InvalidInput
from dashboard.storage.options import Option, OptionType, SecretForm

if TYPE_CHECKING:
    from dashboard.services.environment.environment_values import Plan
    from dashboard.services.environment.variables import KnownVariable

NO_CHANGE = "Nothing changes."


@click.group(cls=Group)
def env() -> None:
    """The settings file: what it sets, and changing it.

    Every change is shown first, and preceded by a backup.
    """


@env.command("list")
@click.option("--all", "every", is_flag=True, help="Also variables that nothing sets.")
@pass_invocation
def list_variables(invocation: Invocation, every: bool) -> int:
    """List the variables and what sets them. Secrets are masked.

    “process” is the environment of this command, which may differ from that of a running console. The exit
    code is 1 if a line of the file cannot be read.
    """
    state = invocation.services.environment.state(invocation.actor)
    out = invocation.out
    shown = [each for each in state.variables if every or each.is_set]
    out.document(state)
    out.note(f"File: {state.file}{'' if state.exists else ' (does not exist yet)'}")
    rows = [
        (
            each.variable.name,
            each.shown if each.is_set else each.variable.default,
            each.source,
            f"{each.variable.effect.value}{' (waits for a restart)' if each.pending else ''}",
        )
        for each in shown
    ]
    out.table(("variable", "value", "set by", "counts"), rows)
    for sentence in (state.warning, state.error, state.problem):
        if sentence:
            out.note(sentence)
    if state.others:
        out.note(f"{state.others} more in the file are not Stowage's; they are kept as they are.")
    return WITH_ERRORS if state.problem or state.error else DONE


@env.command("set")
@click.argument("assignments", metavar="[NAME=VALUE]...", nargs=-1)
@click.option(
    "--secret",
    "secrets",
    multiple=True,
    metavar="NAME[=SOURCE]",
    help="A secret: NAME to be prompted, NAME=env:VARIABLE, or NAME=file:PATH. Repeatable.",
)
@arguments.YES
@pass_invocation
def set_variables(
    invocation: Invocation, assignments: tuple[str, ...], secrets: tuple[str, ...], yes: bool
) -> int:
    """Set variables in the settings file, after showing the difference.

    Secrets are never accepted as arguments: see --secret.
    """
    from dashboard.services.environment.variables import KNOWN, known

    options = [_option(each) for each in KNOWN.values()]
    changes: dict[str, str | None] = {}
    for text in assignments:
        known(text.partition("=")[0])
    changes |= arguments.parse_options(assignments, options)
    changes |= {name: value.reveal() for name, value in arguments.parse_secrets(secrets, options).items()}
    if not changes:
        raise InvalidInput("name", "Name at least one variable: stowage env set NAME=VALUE")
    return _save(invocation, changes, yes=yes)


@env.command()
@click.argument("names", metavar="NAME...", nargs=-1, required=True)
@arguments.YES
@pass_invocation
def unset(invocation: Invocation, names: tuple[str, ...], yes: bool) -> int:
    """Remove variables from the settings file, after showing the difference."""
    return _save(invocation, dict.fromkeys(names), yes=yes)


@env.command()
@click.argument("backup", default="")
@pass_invocation
def diff(invocation: Invocation, backup: str) -> int:
    """Show what restoring BACKUP would change; without BACKUP, the newest one. Secrets are masked."""
    editor = invocation.services.environment
    found = editor.backups(invocation.actor)
    if not backup and not found:
        invocation.out.document({"backup": None, "changes": []})
        invocation.out.note("There is no backup yet: the first change makes one.")
        return DONE
    compared = editor.compare(invocation.actor, backup or found[0].id)
    _show(invocation, compared.plan)
    invocation.out.document({"backup": compared.backup, "changes": compared.plan.changes})
    return DONE


@env.command()
@pass_invocation
def backups(invocation: Invocation) -> None:
    """List the backups of the settings file, newest first."""
    found = invocation.services.environment.backups(invocation.actor)
    invocation.out.document({"backups": found})
    rows = [(each.id, formatting.ago(each.at), each.by, each.before) for each in found]
    invocation.out.table(("backup", "made", "by", "before"), rows)


@env.command()
@click.argument("backup")
@arguments.YES
@pass_invocation
def restore(invocation: Invocation, backup: str, yes: bool) -> int:
    """Put the settings file back as it was in BACKUP, after showing the difference."""
    editor, actor = invocation.services.environment, invocation.actor
    compared = editor.compare(actor, backup)
    _show(invocation, compared.plan)
    if not _agreed(compared.plan, "Restore it?", yes=yes):
        return WITH_ERRORS
    plan = editor.restore(actor, backup, version=compared.plan.version)
    _report(invocation, plan)
    return DONE


def _save(invocation: Invocation, changes: dict[str, str | None], *, yes: bool) -> int:
    editor, actor = invocation.services.environment, invocation.actor
    plan = editor.plan(actor, changes)
    if plan.errors:
        raise plan.errors[0]
    _show(invocation, plan)
    if not plan.count:
        invocation.out.document({"saved": False, "changes": []})
        return DONE
    if not _agreed(plan, "Save this?", yes=yes):
        return WITH_ERRORS
    _report(invocation, editor.save(actor, changes, version=plan.version))
    return DONE


def _agreed(plan: Plan, question: str, *, yes: bool) -> bool:
    if plan.errors:
        raise plan.errors[0]
    return arguments.confirm(question, yes=yes)


def _show(invocation: Invocation, plan: Plan) -> None:
    out = invocation.out
    for each in plan.changes:
        if each.before is not None:
            out.note(f"- {each.name}={each.before}")
        if each.after is not None:
            out.note(f"+ {each.name}={each.after}")
    for name in plan.others:
        out.note(f"~ {name} (not a variable of Stowage)")
    if not plan.count:
        out.note(NO_CHANGE)


def _report(invocation: Invocation, plan: Plan) -> None:
    invocation.out.document({"saved": True, "changes": plan.changes})
    for each in plan.changes:
        invocation.out.note(f"{each.name} {each.when}.")


def _option(variable: KnownVariable) -> Option:
    """A variable in the terms of ``--option`` and ``--secret``."""
    form = SecretForm.TEXT if variable.multiline else SecretForm.KEY
    return Option(
        variable.name,
        variable.name,
        type=OptionType.SECRET if variable.secret else OptionType.TEXT,
        form=form,
    )
