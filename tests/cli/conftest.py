"""The command line in this process, on an instance of its own."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from dashboard.app import open_services
from dashboard.cli import stowage
from dashboard.cli.invocation import Program
from dashboard.serving import serve

PASSWORD = "a long enough pass phrase"


@dataclass(frozen=True)
class CommandResult:
    """What one command did. ``out`` and ``err`` as printed."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document; anything else on standard output fails here."""
        return json.loads(self.out)


Cli = Callable[..., CommandResult]


def command_line(instance: Path) -> Cli:
    """Run commands on this instance: ``cli("backend", "list", input="")``."""

    def run(*arguments: str, input: str = "") -> CommandResult:
        with logging_restored():
            result = CliRunner().invoke(
                stowage,
                ["--instance", str(instance), *arguments],
                input=input,
                obj=Program(open_services, serve),
            )
        return CommandResult(result.exit_code, result.stdout, result.stderr)

    return run


@contextmanager
def logging_restored() -> Iterator[None]:
    """A command sets logging up for its whole process, which here is everybody's."""
    loggers = [logging.getLogger(name) for name in (None, "botocore", "boto3", "urllib3")]
    levels = [logger.level for logger in loggers]
    handlers = list(logging.getLogger().handlers)
    try:
        yield
    finally:
        logging.getLogger().handlers[:] = handlers
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def set_up(cli: Cli, other: Path) -> Cli:
    assert cli("setup", "--username", "ann", "--password-stdin", input=f"{PASSWORD}\n").code == 0
    other.mkdir()
    added = cli("backend", "add", "other", "--preset", "local", "--option", f"root={other}")
    assert added.code == 0, added.err
    return cli


@pytest.fixture
def instance(tmp_path: Path) -> Path:
    return tmp_path / "instance"


@pytest.fixture
def cli(instance: Path) -> Cli:
    """On an empty instance."""
    return command_line(instance)


@pytest.fixture
def console(cli: Cli, tmp_path: Path) -> Cli:
    """After setup, with a second local backend called ``other``."""
    return set_up(cli, tmp_path / "other")


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    """The same for tests whose commands are all refused: one for the whole session, because it is slow."""
    folder = tmp_path_factory.mktemp("untouched")
    return set_up(command_line(folder / "instance"), folder / "other")


@pytest.fixture
def files(instance: Path, console: Cli) -> Path:
    """The folder of ``local-disk`` with 30 objects in it."""
    folder = instance / "files"
    for number in range(30):
        path = folder / f"folder-{number % 3}" / f"file {number}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x" * number * 100)
    return folder
