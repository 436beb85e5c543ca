"""Uses everything Stowage has, with nothing but its own dependencies: run by ``test_environments.py``
in an environment that holds no test tools.

Imports every module, shows the help of every command, opens every page in both languages, takes each provider
through its form to a connection test against a port where nobody listens, and puts every wrapper around a
folder. Prints what it did; anything the console itself is to blame for (a missing package, an unexpected
exception) ends it with an error.
"""

from __future__ import annotations

import base64
import html
import importlib
import json
import logging
import pkgutil
import re
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click
from click.testing import CliRunner
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from flask.testing import FlaskClient

import dashboard
from dashboard.app import create_app, open_services
from dashboard.cli import stowage
from dashboard.cli.invocation import Program
from dashboard.serving import serve
from dashboard.settings import Settings
from dashboard.storage.options import OptionType
from dashboard.storage.registry import PRESETS, options_of
from dashboard.web.context import EXTENSION

EXTRAS = {
    "dashboard.storage.django_files",
    "dashboard.storage.integrations.django",
    "dashboard.storage.integrations.fsspec",
    "dashboard.services.cluster.messages",
    "dashboard.services.cluster.monitoring",
    "dashboard.services.cluster.node",
    "dashboard.services.migrations.carrying.remote",
    "dashboard.services.postgresql.connections",
    "dashboard.services.postgresql.dialect",
    "dashboard.services.postgresql.texts",
    "dashboard.__main__",
}
"""Modules whose packages only some programs install, and the one that starts the program."""
PASSWORD = "a few unrelated words"
WRAPPED = {
    "encrypt": "true",
    "compress": "txt log",
    "cache": "true",
    "fallback": "true",
    "cdn_domain": "cdn.example.com",
    "encryption_key": base64.b64encode(bytes(range(32))).decode(),
}
"""Every wrapper that needs no server, around the folder of the first provider."""
NO_PAGES = (
    *("/api/", "/static", "/admin/storage", "/environment-variables", "/readyz", "/healthz", "/metrics"),
    *("/setup", "/sign-out"),
)
"""How addresses begin where programs are answered, and of what is over."""
BACKEND_PAGES = ("", "/edit", "/remove", "/activate")


def modules() -> int:
    """Import every module of the package; returns how many there are."""
    names = [each.name for each in pkgutil.walk_packages(dashboard.__path__, "dashboard.")]
    for name in names:
        if name not in EXTRAS:
            importlib.import_module(name)
    return len(names)


def commands() -> int:
    """Show the help of every command, which loads what it needs; returns how many there are."""
    found = 0
    todo: list[tuple[str, ...]] = [()]
    for path in todo:
        shown = CliRunner().invoke(stowage, [*path, "--help"], obj=Program(open_services, serve))
        assert shown.exit_code == 0, f"{path}: {shown.output} {shown.exception}"
        found += 1
        command: click.Command = stowage
        for name in path:
            assert isinstance(command, click.Group)
            got = command.get_command(click.Context(command), name)
            assert got is not None, path
            command = got
        if isinstance(command, click.Group):
            todo += [(*path, name) for name in command.list_commands(click.Context(command))]
    return found


class Person:
    """A browser with the token of the last page it saw."""

    def __init__(self, client: FlaskClient) -> None:
        self._client = client
        self._token = ""
        self.pages = 0

    def get(self, path: str, *, fragment: bool = False, language: str = "en") -> str:
        """A page that must be there, or leads to one."""
        headers = {"HX-Request": "true"} if fragment else {}
        answer = self._client.get(path, headers={**headers, "Accept-Language": language})
        assert answer.status_code in (200, 204, 303), f"GET {path}: {answer.status}"
        self.pages += 1
        text = answer.get_data(as_text=True)
        if found := re.search(r'name="csrf-token" content="([^"]+)"', text):
            self._token = found[1]
        return text

    def post(
        self, path: str, fields: Mapping[str, str], *, expected: int = 303, fragment: bool = False
    ) -> str:
        """Send a form."""
        headers = {"HX-Request": "true"} if fragment else {}
        answer = self._client.post(path, data={**fields, "csrf_token": self._token}, headers=headers)
        said = answer.get_data(as_text=True)
        assert answer.status_code == expected, f"POST {path}: {answer.status}\n{re.sub('<[^>]+>', '', said)}"
        return said


def service_account(port: int) -> str:
    """The key file of a service account that nobody has."""
    key = rsa.generate_private_key(65537, 2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return json.dumps(
        {
            "type": "service_account",
            "project_id": "nobody-123456",
            "private_key_id": "0" * 40,
            "private_key": key.decode(),
            "client_email": "nobody@nobody-123456.iam.gserviceaccount.com",
            "token_uri": f"http://127.0.0.1:{port}/token",
        }
    )


def typed(preset: str, folder: Path, port: int) -> Mapping[str, str]:
    """What somebody types into a provider's form; fields it does not have are left out."""
    driver, nowhere = PRESETS[preset].driver, f"http://127.0.0.1:{port}"
    if driver == "local":
        return {"root": str(folder / preset), "mounted": "false"}
    return {
        "endpoint": {"azure": f"{nowhere}/nobody"}.get(driver, nowhere),
        "host": "127.0.0.1",
        "port": str(port),
        "encryption": "none",
        "host_key": "",
        "user": "nobody",
        "username": "nobody",
        "account": "nobody",
        "account_id": "0" * 32,
        "project": "abcdefghijklmnopqrst" if preset == "supabase" else "",
        "container": "a-container",
        "bucket": "a-bucket",
        "store": "aStore0",
        "region": "eu-central-1",
        "access_key_id": "AKIDEXAMPLE",
    }


def secrets_of(preset: str, port: int) -> Mapping[str, str]:
    """As :func:`typed`, for the fields that are never shown again."""
    azure = base64.b64encode(bytes(64)).decode()
    return {
        "secret_access_key": "nobodys-secret-access-key",
        "password": "nobody's password",
        "token": "vercel_blob_rw_aStore0_abcdefghijklmnopqrst",
        "credential": azure if PRESETS[preset].driver == "azure" else service_account(port),
    }


def form(preset: str, folder: Path, port: int, more: Mapping[str, str]) -> dict[str, str]:
    """The fields as the page sends them."""
    values = {**typed(preset, folder, port), **more}
    hidden = {**secrets_of(preset, port), **more}
    fields = {"preset": preset, "name": f"a-{preset.replace('_', '-')}"}
    for option in options_of(PRESETS[preset]):
        if option.secret:
            if option.name in hidden:
                fields[f"secret.{option.name}"] = hidden[option.name]
            continue
        value = values.get(option.name) or option.default
        if option.type is not OptionType.BOOLEAN or value == "true":
            fields[f"option.{option.name}"] = value
    return fields


def tested(person: Person, fields: Mapping[str, str]) -> str:
    """The panel after “Test connection”."""
    panel = person.post("/backends/test", fields, expected=200, fragment=True)
    until = time.monotonic() + 60
    while match := re.search(r'hx-get="([^"]+)"', panel):
        assert time.monotonic() < until, "the connection test does not end"
        time.sleep(0.02)
        panel = person.get(html.unescape(match[1]), fragment=True)
    return panel


def console(folder: Path, faults: list[str]) -> tuple[int, int]:
    """Take a console through everything; returns how many backends and pages it had."""
    with socket.socket() as taken:
        # Bound and not listening: nobody else gets this port while it runs, and nobody answers there.
        taken.bind(("127.0.0.1", 0))
        return _console(folder, taken.getsockname()[1], faults)


def _console(folder: Path, port: int, faults: list[str]) -> tuple[int, int]:
    app = create_app(Settings.from_env({}, instance=folder / "instance"))
    services = app.extensions[EXTENSION]
    services.setup.complete(services.setup.issue_code(), "maria", PASSWORD)
    person = Person(app.test_client())
    assert "Anmelden" in person.get("/sign-in", language="de")
    person.get("/sign-in")
    person.post("/sign-in", {"username": "maria", "password": PASSWORD})
    person.get("/settings")
    names = []
    for preset, known in PRESETS.items():
        # A provider's own address leads out of this machine.
        if known.defaults.get("endpoint"):
            changed: Callable[[str, str], None] = known.defaults.__setitem__  # type: ignore[attr-defined]
            changed("endpoint", f"http://127.0.0.1:{port}")
        (folder / preset).mkdir()
        fields = form(preset, folder, port, WRAPPED if preset == "local" else {})
        person.get(f"/backends/new?preset={preset}")
        panel = tested(person, fields)
        works = PRESETS[preset].driver == "local"
        assert ("Everything works" in panel) == works, re.sub(r"\s*<[^>]+>\s*", " ", panel)
        person.post("/backends/new", fields)
        names.append(fields["name"])
        assert not faults, f"{preset}: {faults[0]}"
    pages = sorted(
        rule.rule
        for rule in app.url_map.iter_rules()
        if "GET" in (rule.methods or ())
        and not rule.arguments
        and "/export." not in rule.rule
        and not rule.rule.startswith(NO_PAGES)
    )
    for path in (*pages, *(f"/backend/{name}{page}" for name in names for page in BACKEND_PAGES)):
        person.get(path)
        assert not faults, f"{path}: {faults[0]}"
    for path in pages:
        person.get(path, language="de")
        assert not faults, f"{path} in German: {faults[0]}"
    services.close()
    return len(names), person.pages


class LoggedErrors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept
        self.setFormatter(logging.Formatter())

    def emit(self, record: logging.LogRecord) -> None:
        self._kept.append(self.format(record))


def main() -> None:
    """Everything, in a folder that is gone afterwards."""
    faults: list[str] = []
    logging.getLogger().addHandler(LoggedErrors(faults))
    count, helps = modules(), commands()
    with tempfile.TemporaryDirectory() as folder, suppress(KeyboardInterrupt):
        backends, pages = console(Path(folder), faults)
        sys.stdout.write(f"{count} modules, {helps} commands, {backends} backends, {pages} pages\n")


if __name__ == "__main__":
    main()
