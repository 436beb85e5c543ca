"""Where a command's words go: tables or one JSON document on standard output, the rest beside it."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import TYPE_CHECKING, Any

import click

from dashboard.services.one_line import printable

if TYPE_CHECKING:
    from dashboard.errors import StowageError

WIDEST = 10_000
"""Columns assumed where nobody looks: a table in a file or a pipe is not to be cut."""


class Output:
    """Prints for a person, or one JSON document for a program. Everything printed is made printable."""

    def __init__(self, as_json: bool = False) -> None:
        self.as_json = as_json

    def say(self, text: str = "") -> None:
        """A line of the answer."""
        click.echo(printable(text), err=self.as_json)

    def note(self, text: str) -> None:
        """A line that is not the answer: what is being done, what to do next."""
        click.echo(printable(text), err=True)

    def explain(self, text: str) -> None:
        """Several lines of our own words, after an empty one."""
        click.echo(err=True)
        for line in text.splitlines():
            self.note(line)

    def document(self, value: object) -> None:
        """The answer for a program. Called once in a run; nothing is printed for a person."""
        if self.as_json:
            click.echo(json.dumps(plain(value), indent=2))

    def table(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """The answer as a table for a person; columns whose name begins with ``>`` align right."""
        if self.as_json:
            return
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        watched = sys.stdout.isatty()
        table = Table(box=box.SIMPLE_HEAD if watched else None, pad_edge=False, show_edge=False)
        for column in columns:
            table.add_column(column.removeprefix(">"), justify="right" if column[:1] == ">" else "left")
        for row in rows:
            table.add_row(*(Text(printable(cell)) for cell in row))
        Console(width=None if watched else WIDEST, highlight=False).print(table)

    def fields(self, pairs: Sequence[tuple[str, str]]) -> None:
        """The answer as "name: value" lines for a person; empty values are left out."""
        if self.as_json:
            return
        shown = [(name, value) for name, value in pairs if value]
        width = max((len(name) for name, _ in shown), default=0)
        for name, value in shown:
            click.echo(f"{name:<{width}}  {printable(value)}")

    def fail(self, error: StowageError) -> None:
        """The one sentence and the remedy, or the error's JSON document."""
        if self.as_json:
            self.document({"error": error.as_dict()})
        self.note(f"Error: {error.reason}")
        if error.remedy:
            self.note(error.remedy)


def plain(value: object) -> Any:
    """A value of the services as JSON knows it. A secret among it is a mistake and raises."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | frozenset):
        return [plain(item) for item in value]
    if value is None or isinstance(value, str | int | float):
        return value
    raise TypeError(f"{type(value).__name__} has no place in an answer")
