"""User input: ``--option``, ``--secret``, passwords, confirmation. Secrets are never accepted in argv."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from dashboard.errors import InvalidInput
from dashboard.services.text import printable
from dashboard.storage.options import Option, OptionType, SecretForm
from dashboard.storage.types import Secret

MAX_FILE_BYTES = 64 * 1024
YES = click.option("--yes", is_flag=True, help="Do not ask.")

HOW_TO_GIVE = (
    "Give it as --secret {name}=env:VARIABLE or --secret {name}=file:PATH, or as --secret {name} alone "
    "to be prompted for it."
)


def confirm(question: str, *, yes: bool) -> bool:
    """Ask for confirmation. A usage error if there is no terminal and ``--yes`` was not given."""
    if yes:
        return True
    require_terminal()
    return click.confirm(printable(question), err=True)


def require_terminal() -> None:
    """Raise a usage error unless there is a terminal to ask on."""
    if not sys.stdin.isatty():
        raise click.UsageError("This command asks for confirmation, but there is no terminal: add --yes.")


def parse_options(texts: Iterable[str], options: Iterable[Option]) -> dict[str, str]:
    """Parse ``name=value`` texts. A multi-line option can be read from a file: ``name=file:PATH``.

    Raises ``InvalidInput`` for a text without ``=``, a repeated name, and a secret.
    """
    by_name = {option.name: option for option in options}
    values: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        option = by_name.get(name)
        if option is not None and option.secret:
            raise _plain_text_error(name)
        if not equals:
            raise InvalidInput("option", "Options are given as --option name=value.")
        _refuse_repeated(name, values)
        if option is not None and option.type is OptionType.MULTILINE and value.startswith("file:"):
            value = _read_file(name, value.removeprefix("file:"))
        values[name] = value
    return values


def parse_secrets(texts: Iterable[str], options: Iterable[Option]) -> dict[str, Secret]:
    """Parse ``name=env:VAR``, ``name=file:PATH`` and bare names, which are prompted for without echo.

    Raises ``InvalidInput`` for anything else, without repeating what was typed: it may be the secret.
    """
    by_name = {option.name: option for option in options if option.secret}
    values: dict[str, Secret] = {}
    for text in texts:
        name, equals, source = text.partition("=")
        if name not in by_name:
            raise InvalidInput(
                "secret", "There is no secret of that name.", remedy=f"Known: {', '.join(by_name)}."
            )
        _refuse_repeated(name, values)
        if not equals:
            values[name] = _prompt(by_name[name])
        elif source.startswith("env:"):
            values[name] = _read_variable(name, source.removeprefix("env:"))
        elif source.startswith("file:"):
            values[name] = Secret(_read_file(name, source.removeprefix("file:")).rstrip("\r\n"))
        else:
            raise _plain_text_error(name)
    return values


def _prompt(option: Option) -> Secret:
    if option.form is SecretForm.TEXT:
        raise InvalidInput(
            option.name,
            f"“{option.label}” has several lines and cannot be typed at a prompt.",
            remedy=f"Give it as --secret {option.name}=file:PATH or --secret {option.name}=env:VARIABLE.",
        )
    return prompt_secret(option.label, HOW_TO_GIVE.format(name=option.name))


def prompt_secret(label: str, remedy: str, *, twice: bool = False) -> Secret:
    """Prompt on the terminal without echo. Raises ``InvalidInput`` if there is no terminal."""
    if not sys.stdin.isatty():
        raise InvalidInput(
            "secret", f"“{label}” cannot be prompted for: this is not a terminal.", remedy=remedy
        )
    return Secret(click.prompt(label, hide_input=True, confirmation_prompt=twice, err=True))


def read_password(from_stdin: bool) -> Secret:
    """Read a password from standard input, or prompt for it twice without echo."""
    if not from_stdin:
        return prompt_secret("Password", "Use --password-stdin, and pipe it in.", twice=True)
    return read_line("password")


def read_line(what: str) -> Secret:
    """Read the first line of standard input. Raises ``InvalidInput`` if it is empty or not text."""
    try:
        line = sys.stdin.readline(MAX_FILE_BYTES).rstrip("\r\n")
    except UnicodeDecodeError:
        raise InvalidInput(what, f"The {what} on standard input is not UTF-8 text.") from None
    if not line:
        raise InvalidInput(
            what, f"There is no {what} on standard input.", remedy="Pipe it in as the first line."
        )
    return Secret(line)


def _read_variable(name: str, variable: str) -> Secret:
    # Read here and not in settings, because the user chooses the variable.
    value = os.environ.get(variable, "")
    if not value:
        raise InvalidInput(
            name, f"The environment variable {variable} is not set.", remedy=HOW_TO_GIVE.format(name=name)
        )
    return Secret(value)


def _read_file(name: str, path: str) -> str:
    try:
        with Path(path).expanduser().open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "not a path"
        raise InvalidInput(
            name, f"The file for “{name}” cannot be read: {why}.", remedy="Check its path."
        ) from None
    if len(content) > MAX_FILE_BYTES:
        raise InvalidInput(name, f"The file for “{name}” is larger than {MAX_FILE_BYTES // 1024} KiB.")
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidInput(name, f"The file for “{name}” is not UTF-8 text.") from None


def _plain_text_error(name: str) -> InvalidInput:
    return InvalidInput(
        name,
        f"“{name}” is a secret and must not be on the command line, where other users can see it.",
        remedy=HOW_TO_GIVE.format(name=name),
    )


def _refuse_repeated(name: str, values: Mapping[str, object]) -> None:
    if name in values:
        raise InvalidInput(name, f"“{name}” is given more than once.")
