"""The program root: one application from settings, nothing started, nothing assumed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flask import Flask, request
from sqlalchemy import select

from dashboard.app import create_app, open_services, open_storage
from dashboard.cli.invocation import Program
from dashboard.errors import Kind, StowageError
from dashboard.models.base import WORK_BIND
from dashboard.models.console import User
from dashboard.services.backends.backends import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.web.context import EXTENSION


def settings(folder: Path, **overrides: int) -> Settings:
    return Settings.from_env({}, instance=folder / "instance", **overrides)  # type: ignore[arg-type]


def seen_address(app: Flask) -> tuple[str | None, str, str]:
    """What the application believes of a request that claims to come through a proxy."""
    seen: list[tuple[str | None, str, str]] = []

    @app.before_request
    def look() -> None:
        seen.append((request.remote_addr, request.scheme, request.host))

    # Ours is the last to be asked, and the guards answer before it.
    app.before_request_funcs[None].insert(0, app.before_request_funcs[None].pop())
    app.test_client().get(
        "/",
        headers={
            "X-Forwarded-For": "198.51.100.7",
            "X-Forwarded-Proto": "https",
            "X-Forwarded-Host": "evil.example",
        },
    )
    return seen[0]


def test_forwarded_headers_count_only_behind_a_declared_proxy(tmp_path: Path) -> None:
    assert seen_address(create_app(settings(tmp_path))) == ("127.0.0.1", "http", "localhost")
    trusting = create_app(settings(tmp_path, trusted_proxies=1))
    assert seen_address(trusting) == ("198.51.100.7", "https", "localhost")


def test_an_application_starts_nothing_and_finds_its_files(tmp_path: Path) -> None:
    before = set(threading.enumerate())
    app = create_app(settings(tmp_path))
    assert set(threading.enumerate()) <= before
    assert app.static_folder
    assert (Path(app.static_folder)).is_dir()
    assert app.jinja_loader
    assert app.jinja_loader.list_templates()
    assert Path(app.instance_path) == tmp_path / "instance"
    assert not (tmp_path / "instance" / "runner.lock").exists()


def test_the_engines_of_a_console_are_those_of_its_flask_sqlalchemy(tmp_path: Path) -> None:
    app = create_app(settings(tmp_path))
    services: Services = app.extensions[EXTENSION]
    db = app.extensions["sqlalchemy"]
    with app.app_context():
        assert (services.database.main, services.database.work) == (db.engine, db.engines[WORK_BIND])
        with db.engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
        services.accounts.add(Actor("maria", Role.ADMIN, "web"), "otto", "a few unrelated words", Role.VIEWER)
        assert db.session.scalars(select(User.username)).all() == ["otto"]
    services.close()


def test_services_given_are_the_services_used(tmp_path: Path) -> None:
    ours = settings(tmp_path)
    services = open_services(ours)
    try:
        app = create_app(ours, services)
        assert services in app.extensions.values()
    finally:
        services.close()


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "instance").write_text("a file")
    with pytest.raises(StowageError, match="cannot be used"):
        open_services(settings(tmp_path))


def test_the_command_line_gets_everything_through_one_value(tmp_path: Path) -> None:
    program = Program(open_services, lambda _settings, _announce: None)
    services = program.open_services(settings(tmp_path))
    services.close()
    services.close()


def test_a_program_of_ones_own_uses_the_backends_of_an_instance(tmp_path: Path) -> None:
    services = open_services(settings(tmp_path))
    admin = Actor("ann", Role.ADMIN, "cli")
    roots = [tmp_path / name for name in ("one", "two")]
    for root in roots:
        root.mkdir()
        services.backends.add(admin, Draft(root.name, "local", {"root": str(root)}, {}))
    services.activation.activate(admin, "one")
    with open_storage(tmp_path / "instance") as storage:
        storage.put("a.txt", b"to the active one")
        two = storage.backend("two")
        two.put("b.txt", b"x")
        services.activation.activate(admin, "two")
        services.backends.edit(
            admin,
            Draft(
                "two",
                "local",
                {"root": str(roots[1]), "read_only": "false", "public_url": "https://example.com/"},
                {},
                existing="two",
            ),
        )
        assert two.url("b.txt") == "https://example.com/b.txt"
        assert storage.exists("b.txt")
        with pytest.raises(StowageError) as caught:
            storage.backend("three")
        assert caught.value.kind is Kind.NOT_FOUND
    assert (roots[0] / "a.txt").read_bytes() == b"to the active one"
    services.close()


def test_a_folder_without_an_instance_stays_as_it_was(tmp_path: Path) -> None:
    with pytest.raises(StowageError) as caught:
        open_storage(tmp_path / "nothing")
    assert caught.value.kind is Kind.NOT_FOUND
    assert list(tmp_path.iterdir()) == []
