"""The documentation is complete, its links resolve, and its command lines parse."""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from dashboard.cli import stowage
from dashboard.migration.types import Counters, InFlight, Progress, Spec
from dashboard.settings import Settings
from dashboard.storage.registry import PRESETS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "instance" / "README.md"])
CLI = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
CONFIGURATION = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")

EVERYWHERE = {"--json", "--help", "-h"}


def commands(
    group: click.Group = stowage, path: tuple[str, ...] = ("stowage",)
) -> Iterator[tuple[str, click.Command]]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


def sections() -> dict[str, str]:
    """The text under each heading of the command line's page, by the command the heading names."""
    parts = re.split(r"^#{2,3} (stowage[a-z -]*)(?: .*)?$", CLI, flags=re.MULTILINE)
    return {name.strip(): text for name, text in zip(parts[1::2], parts[2::2], strict=True)}


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda v: v if isinstance(v, str) else "")
def test_every_command_and_option_is_documented(name: str, command: click.Command) -> None:
    section = sections().get(name)
    assert section is not None, f"docs/cli.md has no section “{name}”"
    options = {o for p in command.params if isinstance(p, click.Option) for o in (*p.opts, *p.secondary_opts)}
    missing = {option for option in options - EVERYWHERE if f"`{option}`" not in section}
    assert not missing
    invented = set(re.findall(r"^\| `(--[a-z-]+)`", section, re.MULTILINE)) - options
    assert not invented


def test_no_command_is_documented_that_does_not_exist() -> None:
    known = {name for name, _ in commands()}
    groups = {f"stowage {name}" for name, c in stowage.commands.items() if isinstance(c, click.Group)}
    assert set(sections()) == known | groups


def test_global_options_are_documented() -> None:
    for parameter in stowage.params:
        for option in parameter.opts:
            assert f"`{option}`" in CLI


SETTINGS = [field for field in dataclasses.fields(Settings) if field.name != "environment"]


@pytest.mark.parametrize("field", SETTINGS, ids=lambda field: field.name)
def test_every_setting_is_documented(field: dataclasses.Field[object]) -> None:
    assert f"| `STOWAGE_{field.name.upper()}` |" in CONFIGURATION
    if isinstance(field.default, int | str) and not isinstance(field.default, bool):
        row = next(line for line in CONFIGURATION.splitlines() if f"`STOWAGE_{field.name.upper()}`" in line)
        assert f"`{field.default}`" in row


def test_no_setting_is_documented_that_does_not_exist() -> None:
    known = {"STOWAGE_ENV_FILE"} | {f"STOWAGE_{field.name.upper()}" for field in SETTINGS}
    documented = {
        name
        for document in DOCUMENTS
        for name in re.findall(r"STOWAGE_[A-Z_]+", document.read_text(encoding="utf-8"))
    }
    assert documented - known == {"STOWAGE_DEBUG", "STOWAGE_TEST_CHROMIUM"}


def test_every_make_target_is_documented_and_explains_itself() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))
    explained = set(re.findall(r"^([a-z]+):.*## \S", makefile, re.MULTILINE))
    assert targets == explained
    assert set(re.findall(r"^\| `make ([a-z]+)` \|", CONFIGURATION, re.MULTILINE)) == targets


def test_every_menu_entry_is_explained(tmp_path: Path) -> None:
    from dashboard.app import create_app

    app = create_app(Settings(instance=tmp_path, key_file=tmp_path / "stowage.key"))
    # Only what has an icon stands in the menu; the other views are pages below those.
    names = [item.name for item in app.extensions["admin"][0].menu() if item.get_icon_value()]
    text = (ROOT / "docs" / "first-five-minutes.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| \*\*(.+)\*\* \|", text, re.MULTILINE) == names


def test_every_provider_is_named() -> None:
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    for preset in PRESETS.values():
        if preset.name not in ("s3", "local"):
            assert preset.label.lower() in readme.lower(), f"the README does not name {preset.label}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_relative_link_resolves(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://", "mailto:")):
            assert (document.parent / target).exists(), f"{document.name} links to {target}"


def command_lines() -> Iterator[tuple[str, str]]:
    """Every ``stowage ...`` line in a block of shell, and every one between backticks."""
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for block in re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if found := re.search(r"(?:^|\s|=\S* )(stowage [a-z-][^#]*)", line):
                    yield document.name, found[1].strip()
        for code in re.findall(r"`(stowage [a-z-][^`\n]*)`", text):
            if not code.startswith(("stowage runner", "stowage migrate ...")):
                yield document.name, code


@pytest.mark.parametrize(("document", "line"), sorted(set(command_lines())))
def test_every_command_line_parses(document: str, line: str) -> None:
    # Placeholders for numbers.
    words = ["1" if word == "ID" else word for word in shlex.split(line)][1:]
    context = click.Context(stowage, info_name="stowage")
    current: click.Command = stowage
    while isinstance(current, click.Group):
        while words and words[0].startswith("--"):
            words = words[2:] if words[0] == "--instance" else words[1:]
        if not words:
            return  # the group itself was meant
        name, found, words = current.resolve_command(context, words)
        assert found is not None, f"{document}: {line}"
        context, current = click.Context(found, parent=context, info_name=name), found
    required = any(p.required for p in current.params)
    if words or not required:
        current.parse_args(context, list(words))


def test_the_help_of_commands_is_what_the_page_says() -> None:
    for name, command in commands():
        first = (command.help or "").strip().splitlines()[0].strip()
        assert first.split("  ")[0][:60] in sections()[name], name


def test_every_field_of_a_migration_as_json_is_documented() -> None:
    shown = {field.name for value in (Progress, Spec, InFlight) for field in dataclasses.fields(value)}
    counters = {field.name.removesuffix("_bytes") for field in dataclasses.fields(Counters)}
    section = CLI.partition("## A migration as JSON")[2].partition("\n## ")[0]
    named = set(re.findall(r"`([a-z_]+)`", section)) - {"_bytes"}
    assert (shown | counters | {"percent", "done"}) - named == set()
