"""The composition root: one application from settings, nothing started, nothing assumed."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from flask import Flask, request

from dashboard.app import create_app, open_services
from dashboard.errors import StowageError
from dashboard.services.composition import Composition
from dashboard.settings import Settings


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
    before = threading.active_count()
    app = create_app(settings(tmp_path))
    assert threading.active_count() == before
    assert app.static_folder
    assert (Path(app.static_folder)).is_dir()
    assert app.jinja_loader
    assert app.jinja_loader.list_templates()
    assert Path(app.instance_path) == tmp_path / "instance"
    assert not (tmp_path / "instance" / "runner.lock").exists()


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
    composition = Composition(open_services, lambda _settings, _announce: None)
    services = composition.open_services(settings(tmp_path))
    services.close()
    services.close()
