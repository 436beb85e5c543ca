"""What is typed: ``--option``, ``--secret``, passwords, and a yes. A secret never stands in clear in argv."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from dashboard.errors import InvalidInput
from dashboard.services.one_line import printable
from dashboard.storage.options import Option, OptionType, SecretForm
from dashboard.storage.types import Secret

LARGEST_FILE = 64 * 1024
YES = click.option("--yes", is_flag=True, help="Do not ask.")

HOW = (
    "Give it as --secret {name}=env:VARIABLE or --secret {name}=file:PATH, or as --secret {name} alone "
    "to be asked for it."
)


def confirmed(question: str, *, yes: bool) -> bool:
    """Whether the person agrees. Wrong use where nobody can be asked and ``--yes`` was not given."""
    if yes:
        return True
    require_person()
    return click.confirm(printable(question), err=True)


def require_person() -> None:
    """Wrong use unless there is a terminal to ask on."""
    if not sys.stdin.isatty():
        raise click.UsageError("This asks before it acts, and there is no terminal to ask on: give --yes.")


def options_from(given: Iterable[str], known: Iterable[Option]) -> dict[str, str]:
    """``name=value`` texts as a mapping. A multi-line option may be given as ``name=file:PATH``.

    Raises ``InvalidInput`` for a text without ``=``, a name given twice, and a secret.
    """
    specs = {option.name: option for option in known}
    values: dict[str, str] = {}
    for text in given:
        name, equals, value = text.partition("=")
        spec = specs.get(name)
        if spec is not None and spec.secret:
            raise _in_clear(name)
        if not equals:
            raise InvalidInput("option", "An option is given as --option name=value.")
        _refuse_second(name, values)
        if spec is not None and spec.type is OptionType.MULTILINE and value.startswith("file:"):
            value = _file(name, value.removeprefix("file:"))
        values[name] = value
    return values


def secrets_from(given: Iterable[str], known: Iterable[Option]) -> dict[str, Secret]:
    """``name=env:VAR``, ``name=file:PATH`` and bare names (asked for without echo) as secrets.

    Raises ``InvalidInput`` for anything else; what was typed is not repeated, it may be the secret.
    """
    specs = {option.name: option for option in known if option.secret}
    values: dict[str, Secret] = {}
    for text in given:
        name, equals, source = text.partition("=")
        if name not in specs:
            raise InvalidInput(
                "secret", "There is no secret of that name here.", remedy=f"Known: {', '.join(specs)}."
            )
        _refuse_second(name, values)
        if not equals:
            values[name] = _asked(specs[name])
        elif source.startswith("env:"):
            values[name] = _variable(name, source.removeprefix("env:"))
        elif source.startswith("file:"):
            values[name] = Secret(_file(name, source.removeprefix("file:")).rstrip("\r\n"))
        else:
            raise _in_clear(name)
    return values


def _asked(option: Option) -> Secret:
    if option.form is SecretForm.TEXT:
        raise InvalidInput(
            option.name,
            f"“{option.label}” has several lines and cannot be asked for.",
            remedy=f"Give it as --secret {option.name}=file:PATH or --secret {option.name}=env:VARIABLE.",
        )
    return ask_secret(option.label, HOW.format(name=option.name))


def ask_secret(label: str, remedy: str, *, twice: bool = False) -> Secret:
    """Ask on the terminal without echo. Raises ``InvalidInput`` where there is none."""
    if not sys.stdin.isatty():
        raise InvalidInput("secret", f"“{label}” cannot be asked for: this is not a terminal.", remedy=remedy)
    return Secret(click.prompt(label, hide_input=True, confirmation_prompt=twice, err=True))


def password(from_stdin: bool) -> Secret:
    """A password: the first line of standard input, or asked for twice without echo."""
    if not from_stdin:
        return ask_secret("Password", "Use --password-stdin and hand it in on standard input.", twice=True)
    return line_from_stdin("password")


def line_from_stdin(what: str) -> Secret:
    """The first line of standard input. Raises ``InvalidInput`` when it is empty or not text."""
    try:
        line = sys.stdin.readline(LARGEST_FILE).rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidInput(what, f"The {what} on standard input is not UTF-8 text.") from None
    if not line:
        raise InvalidInput(
            what, f"There is no {what} on standard input.", remedy="Pipe it in as the first line."
        )
    return Secret(line)


def _variable(name: str, variable: str) -> Secret:
    # The one reading of the environment outside settings: which variable it is, is only known here.
    value = os.environ.get(variable, "")
    if not value:
        raise InvalidInput(
            name, f"The environment variable {variable} is not set.", remedy=HOW.format(name=name)
        )
    return Secret(value)


def _file(name: str, path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(LARGEST_FILE + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise InvalidInput(
            name, f"The file for “{name}” cannot be read: {why}.", remedy="Check its path."
        ) from None
    if len(content) > LARGEST_FILE:
        raise InvalidInput(name, f"The file for “{name}” is larger than {LARGEST_FILE // 1024} KiB.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(name, f"The file for “{name}” is not UTF-8 text.") from None


def _in_clear(name: str) -> InvalidInput:
    return InvalidInput(
        name,
        f"“{name}” is a secret and must not stand on the command line, where others on this machine see it.",
        remedy=HOW.format(name=name),
    )


def _refuse_second(name: str, values: Mapping[str, object]) -> None:
    if name in values:
        raise InvalidInput(name, f"“{name}” is given twice.")
