"""A real console on a temporary instance, and a browser without a screen for each role."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from jinja2 import Undefined
from jinja2.utils import missing
from werkzeug.test import TestResponse

from dashboard.app import create_app
from dashboard.services.permissions import Actor, Role
from dashboard.services.services import Services
from dashboard.settings import Settings
from dashboard.web.context import EXTENSION

PASSWORD = "a few unrelated words"
ADMIN = "maria"
SECRET = "canary/SECRET+value=0123456789"


class NoSuchAttribute(Undefined):
    """A template may ask whether a name was given to it. An attribute that is not there was renamed."""

    def __init__(
        self, hint: str | None = None, obj: Any = missing, name: str | None = None, **more: Any
    ) -> None:
        assert obj is missing, (
            f"a template reads {name!r} of {type(obj).__name__}, which has no such attribute"
        )
        super().__init__(hint, obj, name, **more)


@dataclass
class Browser:
    """A client that fills in the token of the last page it saw, as a person's browser would."""

    client: FlaskClient
    token: str = ""
    pages: list[str] = field(default_factory=list)

    def get(self, path: str, **options: Any) -> TestResponse:
        return self._seen(self.client.get(path, **options))

    def post(
        self, path: str, /, *, with_token: bool = True, headers: Any = None, **fields: Any
    ) -> TestResponse:
        data = {name: value for name, value in fields.items() if value is not None}
        if with_token:
            if not self.token:
                self.get("/settings")
            data["csrf_token"] = self.token
        return self._seen(self.client.post(path, data=data, headers=headers))

    def htmx(self, path: str, **fields: Any) -> TestResponse:
        headers = {"HX-Request": "true", "HX-Current-URL": "http://localhost/backends"}
        if fields:
            return self.post(path, headers=headers, **fields)
        return self.get(path, headers=headers)

    def sign_in(self, username: str, password: str = PASSWORD) -> TestResponse:
        self.get("/sign-in")
        response = self.post("/sign-in", username=username, password=password)
        if response.status_code == 303:
            # The token of before the sign-in is worth nothing any more.
            self.get("/settings")
        return response

    def _seen(self, response: TestResponse) -> TestResponse:
        text = response.get_data(as_text=True) if response.mimetype == "text/html" else ""
        found = re.search(r'name="csrf-token" content="([^"]+)"', text)
        if found:
            self.token = found[1]
        self.pages.append(text)
        if response.is_streamed:
            response.get_data()
            response.close()
        return response


@dataclass(frozen=True)
class WebConsole:
    """The application, its services, and new browsers for it."""

    app: Flask
    services: Services

    def browser(self) -> Browser:
        return Browser(self.app.test_client())


def open_console(folder: Path, **settings: Any) -> WebConsole:
    """A console that nobody has set up yet."""
    app = create_app(Settings.from_env({}, instance=folder / "instance", **settings))
    app.jinja_env.undefined = NoSuchAttribute
    return WebConsole(app, app.extensions[EXTENSION])


def set_up(console: WebConsole) -> None:
    """One person of each role and a local backend; no network."""
    console.services.setup.complete(console.services.setup.issue_code(), ADMIN, PASSWORD)
    admin = Actor(ADMIN, Role.ADMIN, "web")
    console.services.accounts.add(admin, "otto", PASSWORD, Role.OPERATOR)
    console.services.accounts.add(admin, "vera", PASSWORD, Role.VIEWER)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[WebConsole]:
    """A console before its setup."""
    console = open_console(tmp_path)
    yield console
    console.services.close()


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebConsole]:
    """A console that is set up: maria is admin, otto operator, vera viewer."""
    opened = open_console(tmp_path_factory.mktemp("console"))
    set_up(opened)
    yield opened
    opened.services.close()


@pytest.fixture(scope="module")
def signed_in(console: WebConsole) -> Callable[[str], Browser]:
    """One browser per person, signed in once: hashing a password is slow on purpose."""
    browsers: dict[str, Browser] = {}

    def browser(username: str = ADMIN) -> Browser:
        if username not in browsers:
            browsers[username] = console.browser()
            assert browsers[username].sign_in(username).status_code == 303
        return browsers[username]

    return browser


@pytest.fixture(scope="module")
def admin(signed_in: Callable[[str], Browser]) -> Browser:
    return signed_in(ADMIN)


@pytest.fixture(scope="module")
def viewer(signed_in: Callable[[str], Browser]) -> Browser:
    return signed_in("vera")


def add_bucket(browser: Browser, name: str = "bucket-one", **changed: str) -> TestResponse:
    """Save an S3 backend whose server is nowhere."""
    fields = {
        "preset": "s3",
        "name": name,
        "option.endpoint": "http://127.0.0.1:9",
        "option.region": "us-east-1",
        "option.bucket": "some-bucket",
        "option.access_key_id": "AKIDEXAMPLE",
        "option.path_style": "true",
        "option.tls_verify": "true",
        "option.sse": "none",
        "secret.secret_access_key": SECRET,
        **changed,
    }
    return browser.post("/backends/new", **fields)
