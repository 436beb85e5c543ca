"""Exit codes, JSON, help: what every command has in common."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dashboard.cli import stowage
from dashboard.services.people.accounts import Accounts
from tests.cli.conftest import Cli

ROOT = Path(__file__).resolve().parents[2]


def commands(group: click.Group = stowage, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands()), ids=" ".join)
def test_every_command_explains_itself_and_takes_json(cli: Cli, path: tuple[str, ...]) -> None:
    answer = cli(*path, "--help")
    assert answer.code == 0
    assert "--json" in answer.out


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("backend",),
        ("backend", "list", "--nonsense"),
        ("backend", "show", "nope"),
        ("backend", "add", "x", "--preset", "nope"),
        ("backend", "add", "x", "--preset", "local", "--option", "root"),
        ("backend", "add", "x", "--preset", "local", "--option", "rot=/tmp/x"),
        ("migrations", "show", "99"),
        ("migrate", "nope", "other", "--yes"),
        ("migrate", "local-disk", "other", "--workers", "999", "--yes"),
        ("migrate", "local-disk", "other", "--verify", "hope", "--yes"),
        ("user", "passwd", "nobody", "--password-stdin"),
    ],
    ids=" ".join,
)
def test_wrong_use_is_exit_code_2_and_a_sentence(untouched: Cli, arguments: tuple[str, ...]) -> None:
    answer = untouched(*arguments, input="a long enough pass phrase\n")
    assert answer.code == 2, answer
    assert answer.out == ""
    assert "Traceback" not in answer.err


def test_an_error_with_json_is_one_document(untouched: Cli) -> None:
    answer = untouched("backend", "show", "nope", "--json")
    assert answer.code == 2
    error = answer.document["error"]
    assert error["kind"] == "not_found"
    assert "nope" in error["reason"]
    assert "nope" in answer.err


def test_bad_arguments_with_json_are_one_document(cli: Cli) -> None:
    answer = cli("migrations", "show", "three", "--json")
    assert answer.code == 2
    assert answer.document["error"]["kind"] == "invalid"


def test_a_refused_operation_is_exit_code_1(untouched: Cli) -> None:
    answer = untouched("backend", "remove", "local-disk", "--yes")
    assert answer.code == 1
    assert "active" in answer.err


def test_an_unusable_setting_is_a_sentence(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOWAGE_PORT", "many")
    answer = cli("backend", "list")
    assert answer.code == 2
    assert "STOWAGE_PORT" in answer.err


def test_an_unforeseen_error_shows_neither_traceback_nor_its_text(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    def burst(self: Accounts) -> None:
        raise RuntimeError("s3cr3t-in-a-message")

    monkeypatch.setattr(Accounts, "list", burst)
    answer = cli("user", "list")
    assert answer.code == 1
    assert "STOWAGE_DEBUG" in answer.err
    assert "Traceback" not in answer.err

    monkeypatch.setenv("STOWAGE_DEBUG", "1")
    answer = cli("user", "list")
    assert "in burst" in answer.err
    assert "s3cr3t" not in answer.out + answer.err


def test_the_instance_can_be_named_on_the_command_line(cli: Cli, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    assert cli("--instance", str(elsewhere), "user", "list").code == 0
    assert (elsewhere / "stowage.db").exists()


def test_help_loads_no_web_no_database_and_no_vendor() -> None:
    code = (
        "import sys, dashboard.__main__ as m\n"
        "sys.argv = ['stowage', '--help']\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "heavy = {'flask', 'sqlalchemy', 'boto3', 'rich', 'cryptography'} & set(sys.modules)\n"
        "print('heavy:', sorted(heavy))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("heavy: []\n")


def test_a_reader_that_goes_away_is_no_traceback(instance: Path) -> None:
    line = f"'{sys.executable}' -m dashboard --instance '{instance}' backend presets --json | head -c 1"
    ran = subprocess.run(["sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "Traceback" not in ran.stderr
    assert "Exception ignored" not in ran.stderr
