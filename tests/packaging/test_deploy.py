"""The files in deploy/ say what the program understands: commands, options, settings, extras, names."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from dashboard.cli import stowage
from dashboard.services.environment.variables import KNOWN
from dashboard.services.workers.worker_values import Queue

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if each["image"] == "stowage:local"}
UNITS = sorted(DEPLOY.glob("*.service"))


def check_command(words: list[str]) -> None:
    """Fail unless ``stowage`` has this command with these options."""
    context = click.Context(stowage)
    command = stowage.get_command(context, words[0])
    assert command is not None, words
    command.make_context(words[0], words[1:], resilient_parsing=True)
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words[1:] if word.startswith("-")} <= known, words


@pytest.mark.parametrize("name", OURS)
def test_every_container_runs_a_command_that_there_is(name: str) -> None:
    check_command(OURS[name]["command"])
    settings = set(OURS[name]["environment"])
    assert settings <= KNOWN.keys()
    assert {"STOWAGE_DATABASE_URL", "STOWAGE_BROKER_URL", "STOWAGE_INSTANCE"} <= settings
    assert OURS[name]["build"]["dockerfile"] == "deploy/Dockerfile"


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_every_unit_runs_a_command_that_there_is(unit: Path) -> None:
    text = unit.read_text(encoding="utf-8")
    [line] = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    program, *words = shlex.split(line)
    assert program == "/opt/stowage/bin/stowage"
    check_command(words)
    assert set(re.findall(r"STOWAGE_\w+", text)) <= KNOWN.keys()
    for expected in ("User=stowage", "UMask=0077", "EnvironmentFile=/etc/stowage/stowage.env", "[Install]"):
        assert expected in text


def test_there_are_two_consoles_with_one_folder_behind_the_balancer() -> None:
    consoles = {name for name, each in SERVICES.items() if each.get("command") == ["run"]}
    assert len(consoles) == 2
    assert len({str(SERVICES[name]["volumes"]) for name in consoles}) == 1
    for name in consoles:
        environment = SERVICES[name]["environment"]
        assert environment["STOWAGE_TRUSTED_PROXIES"] == "1"
        assert SERVICES[name]["volumes"] == [f"instance:{environment['STOWAGE_INSTANCE']}"]
        assert "ports" not in SERVICES[name], "only the balancer is reached from outside"
    nginx = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert set(re.findall(r"server ([\w-]+):8080", nginx)) == consoles
    # What the client claims is not passed on.
    assert "X-Forwarded-For $remote_addr;" in nginx
    assert "client_max_body_size 0;" in nginx
    assert nginx.count("{") == nginx.count("}")


def test_redis_loses_and_evicts_nothing() -> None:
    command = SERVICES["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert "ports" not in SERVICES["redis"]


def test_what_is_named_exists() -> None:
    for name, each in SERVICES.items():
        assert set(each.get("depends_on", ())) <= SERVICES.keys(), name
        assert set(each.get("secrets", ())) <= COMPOSE["secrets"].keys(), name
        for service in each.get("depends_on", ()):
            assert "healthcheck" in SERVICES[service], service
        for volume in each.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).is_file(), source
            else:
                assert source in COMPOSE["volumes"], source
        for port in each.get("ports", ()):
            assert port.startswith("127.0.0.1:"), "nobody else can reach it by default"
        image, _, tag = each["image"].rpartition(":")
        assert image, name
        assert tag != "latest", name
    for secret in COMPOSE["secrets"].values():
        assert secret["file"].startswith("./secrets/")
    assert "/deploy/secrets/" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
    assert json.loads((DEPLOY / "s3.json").read_text(encoding="utf-8"))["identities"]


def test_the_image_has_what_it_needs_and_no_more() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(extras.split(",")) <= project["optional-dependencies"].keys()
    copied = {name for line in re.findall(r"^COPY (.+) \S+$", text, re.MULTILINE) for name in line.split()}
    assert all((ROOT / name).exists() for name in copied)
    ignore = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").split("\n")
    assert {line.removeprefix("!") for line in ignore if line.startswith("!")} == copied
    assert "USER stowage" in text
    [python] = re.findall(r"^FROM python:(\d+\.\d+)-slim$", text, re.MULTILINE)
    assert tuple(map(int, python.split("."))) >= (3, 11)


def test_a_worker_is_told_of_queues_that_there_are() -> None:
    workers = [each["command"] for each in SERVICES.values() if each.get("command", [""])[0] == "worker"]
    assert workers
    for command in workers:
        if "--queues" in command:
            named = command[command.index("--queues") + 1].split(",")
            assert set(named) <= {queue.value for queue in Queue}
