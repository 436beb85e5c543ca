"""What all commands share: ``--json``, error messages and exit codes, and access to the services."""

from __future__ import annotations

import os
import pwd
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import click

from dashboard.cli.output import Output
from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.permissions import Actor, Role
from dashboard.services.text import printable
from dashboard.settings import Overrides, Settings, SettingsError

if TYPE_CHECKING:
    from dashboard.services.services import Services
    from dashboard.services.workers.worker_values import Queue

DONE, WITH_ERRORS, WRONG_USE = 0, 1, 2
"""The exit codes."""


@dataclass(frozen=True, slots=True)
class Program:
    """What commands use of the floors above them, which they may not import: ``app.open_services``,
    ``serving.serve`` and ``worker.work``. The outermost group takes it as ``obj``."""

    open_services: Callable[[Settings], Services]
    serve: Callable[[Settings, Callable[[str], None]], None]
    work: Callable[[Settings, Sequence[Queue], int, Callable[[str], None]], None] | None = None


class Invocation:
    """One run of the command: its output, its actor and its services, which open on first use."""

    def __init__(self, program: Program, *, as_json: bool = False) -> None:
        self.program = program
        self.out = Output(as_json)
        self.instance: Path | None = None
        self.debug = False

    def settings(self, **overrides: Unpack[Overrides]) -> Settings:
        """Settings from the environment and the command line."""
        if self.instance is not None:
            overrides["instance"] = self.instance
        return Settings.from_env(**overrides)

    @cached_property
    def services(self) -> Services:
        """The console's services, on the same databases that a running console uses."""
        from dashboard.services import logs

        settings = self.settings()
        # Informational messages of the services would only be noise between a command's own lines.
        logs.configure("warning" if settings.log_level == "info" else settings.log_level)
        return self.program.open_services(settings)

    @cached_property
    def actor(self) -> Actor:
        """An administrator with the system's user name, because who can read the key file can do anything."""
        return Actor(name=_system_user(), role=Role.ADMIN, via="cli")

    def close(self) -> None:
        """Close databases and connections, if they were opened."""
        if "services" in self.__dict__:
            self.services.close()


pass_invocation = click.make_pass_decorator(Invocation)


class Command(click.Command):
    """A command that takes ``--json``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--json", "as_json"],
                is_flag=True,
                expose_value=False,
                is_eager=True,
                callback=_choose_json,
                help="Print exactly one JSON document on standard output; human text goes to standard error.",
            )
        )


class Group(click.Group):
    """A group whose commands take ``--json``."""

    command_class = Command


class Commands(MutableMapping[str, click.Command]):
    """Commands by name, each loaded when it is looked up, from ``module:attribute``."""

    def __init__(self, places: Mapping[str, str]) -> None:
        self._places = dict(places)
        self._loaded: dict[str, click.Command] = {}

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._loaded:
            module, _, attribute = self._places[name].partition(":")
            self._loaded[name] = getattr(import_module(module), attribute)
        return self._loaded[name]

    def __setitem__(self, name: str, command: click.Command) -> None:
        self._places[name], self._loaded[name] = "", command

    def __delitem__(self, name: str) -> None:
        del self._places[name]
        self._loaded.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class MainGroup(Group):
    """The top-level group: turns every error into a message and an exit code."""

    group_class = Group

    def main(self, args: Sequence[str] | None = None, *rest: Any, **extra: Any) -> Any:
        """Run ``sys.argv`` (or ``args``) on the ``Program`` given as ``obj``, and exit."""
        arguments = list(sys.argv[1:] if args is None else args)
        # Errors in the arguments are raised before --json has been parsed.
        invocation = Invocation(extra.pop("obj"), as_json="--json" in arguments)
        extra |= {"prog_name": "stowage", "standalone_mode": False, "obj": invocation}
        sys.exit(_run(invocation, partial(super().main, arguments, *rest, **extra)))


def _run(invocation: Invocation, run: Callable[[], Any]) -> int:
    """Run a command, report its error if it fails, and return the exit code."""
    try:
        try:
            result = run()
            sys.stdout.flush()
        finally:
            invocation.close()
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001  # the last error handler
        return _report(invocation, error)
    return result if isinstance(result, int) else DONE


def _report(invocation: Invocation, error: BaseException) -> int:
    out = invocation.out
    match error:
        case click.ClickException():
            return _report_usage_error(error, out)
        case SettingsError():
            out.fail(InvalidInput("settings", str(error)))
            return WRONG_USE
        case StowageError():
            out.fail(error)
            code = _exit_code(error)
        case click.Abort() | KeyboardInterrupt():
            out.fail(StowageError(Kind.CONFLICT, "Stopped.", operation="interrupt", retryable=True))
            code = WITH_ERRORS
        case BrokenPipeError():
            # The reader of our output has exited; Python must not complain about unwritten output.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return WITH_ERRORS
        case _:
            out.fail(_internal_error(error))
            code = WITH_ERRORS
    if invocation.debug:
        _print_traceback(error)
    return code


def _report_usage_error(error: click.ClickException, out: Output) -> int:
    if not out.as_json:
        error.show()
        return error.exit_code
    command = error.ctx.command_path if isinstance(error, click.UsageError) and error.ctx else "stowage"
    parameter = getattr(error, "param", None)
    out.fail(
        StowageError(
            Kind.INVALID,
            error.format_message(),
            operation=command,
            subject=(parameter.name or "") if isinstance(parameter, click.Parameter) else "",
            remedy=f"See: {command} --help",
        )
    )
    return error.exit_code


def _exit_code(error: StowageError) -> int:
    """A usage error is one that can be fixed on the command line itself: a bad value, an unknown name.

    A missing bucket or object has the same kind, but comes from a driver.
    """
    from dashboard.storage.errors import StorageError

    if isinstance(error, StorageError):
        return WITH_ERRORS
    return WRONG_USE if error.kind in (Kind.INVALID, Kind.NOT_FOUND) else WITH_ERRORS


def _internal_error(error: BaseException) -> StowageError:
    # Its message may hold anything, even a secret; its type is enough to start looking.
    return StowageError(
        Kind.INTERNAL,
        f"Something went wrong inside Stowage ({type(error).__name__}).",
        operation="command",
        remedy="Run it again with STOWAGE_DEBUG=1 to see where, and report the output.",
        retryable=False,
    )


def _print_traceback(error: BaseException) -> None:
    """Print where each exception of the chain was raised, without values or vendors' messages."""
    link: BaseException | None = error
    while link is not None:
        text = link.reason if isinstance(link, StowageError) else "(message withheld)"
        click.echo(f"{type(link).__module__}.{type(link).__name__}: {printable(text)}", err=True)
        for frame in traceback.extract_tb(link.__traceback__):
            click.echo(f"  {frame.filename}:{frame.lineno} in {frame.name}", err=True)
        link = link.__cause__ or link.__context__


def _choose_json(context: click.Context, _: click.Parameter, chosen: bool) -> None:
    if chosen and (invocation := context.find_object(Invocation)):
        invocation.out.as_json = True


def _system_user() -> str:
    number = os.getuid()
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
