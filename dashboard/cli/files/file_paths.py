"""Files as commands name them, ``BACKEND:KEY``, and what became of each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from dashboard.cli import formatting
from dashboard.cli.invocation import DONE, WITH_ERRORS, Invocation
from dashboard.services.files.changing.outcomes import Outcome
from dashboard.storage.driver import Driver

MAX_NAMED = 20
"""Files whose errors are printed; JSON has all of them."""


@dataclass(frozen=True, slots=True)
class FilePath:
    """A file or, with a slash at the end or with no key, a folder."""

    backend: str
    key: str

    @property
    def is_folder(self) -> bool:
        """Whether it names a folder or the whole backend."""
        return not self.key or self.key.endswith("/")

    @property
    def name(self) -> str:
        """The last part of its key."""
        return self.key.removesuffix("/").rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.backend}:{self.key}"


if TYPE_CHECKING:
    _Type = click.ParamType[FilePath]
else:
    # The oldest click that is accepted knows no type parameter at run time.
    _Type = click.ParamType


class FilePathType(_Type):
    """``BACKEND:KEY`` on a command line. A key may contain colons."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> FilePath:
        """See ``click.ParamType``."""
        if isinstance(value, FilePath):
            return value
        backend, colon, key = str(value).partition(":")
        if not colon or not backend or "/" in backend:
            self.fail(f"“{value}” is not written as BACKEND:KEY, such as media:photos/cat.jpg.", param, ctx)
        return FilePath(backend, key)


PATH = FilePathType()


def open_driver(invocation: Invocation, path: FilePath) -> Driver:
    """Return the backend itself, without cache and stand-ins."""
    from dashboard.services.files.browse import LABEL

    return invocation.services.backends.driver_with_waiting(path.backend, label=LABEL)


def print_outcomes(invocation: Invocation, outcomes: Sequence[Outcome], done: str, **more: object) -> int:
    """Print what became of files; return the exit code. ``done`` completes “3 files …”; ``more`` goes into
    the JSON document."""
    failed = [outcome for outcome in outcomes if not outcome.done]
    invocation.out.document({"files": [as_dict(outcome) for outcome in outcomes], **more})
    if succeeded := len(outcomes) - len(failed):
        invocation.out.note(f"{formatting.count_of(succeeded, 'file')} {done}.")
    print_failures(invocation, ((each.key, f"{each.reason} {each.remedy}".strip()) for each in failed))
    if not outcomes:
        invocation.out.note("There is no file there.")
    return WITH_ERRORS if failed or not outcomes else DONE


def print_failures(invocation: Invocation, failures: Iterable[tuple[str, str]]) -> None:
    """Print keys and reasons, the first of them."""
    for number, (key, reason) in enumerate(failures):
        if number == MAX_NAMED:
            invocation.out.note("There are more; --json names all of them.")
            return
        invocation.out.note(f"{key}: {reason}")


def as_dict(outcome: Outcome) -> dict[str, object]:
    """An outcome as JSON."""
    error = None
    if outcome.kind is not None:
        error = {"kind": outcome.kind.value, "reason": outcome.reason, "remedy": outcome.remedy}
    return {"key": outcome.key, "to": outcome.to, "error": error}
