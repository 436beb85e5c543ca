"""Programs that use the API of a console that is set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from dashboard.services.permissions import Actor, Role
from dashboard.web.context import API_DOCUMENT
from tests.web.api.checked import DocumentCheck
from tests.web.conftest import ADMIN, WebConsole

ROLES = {ADMIN: Role.ADMIN, "otto": Role.OPERATOR, "vera": Role.VIEWER}
_numbers = count()


@dataclass
class ApiProgram:
    """A client without cookies that sends a token with every request."""

    client: FlaskClient
    token: str
    document: DocumentCheck

    def send(self, method: str, path: str, json: Any = None, **options: Any) -> TestResponse:
        """Send a request. The document must describe the response, if it is to one of its routes."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        response = self.client.open(path, method=method, json=json, headers=headers, **options)
        if self.document.knows(method, path):
            self.document.check(method, path, response)
        return response

    def get(self, path: str, **options: Any) -> TestResponse:
        return self.send("GET", path, **options)

    def post(self, path: str, json: Any = None, **options: Any) -> TestResponse:
        return self.send("POST", path, json, **options)


NewProgram = Callable[..., ApiProgram]


@pytest.fixture(scope="module")
def new_program(console: WebConsole) -> NewProgram:
    """``new_program("view", "migrate", username="otto")``"""

    def make(*scopes: str, username: str = ADMIN) -> ApiProgram:
        return program(console, scopes, username)

    return make


def program(console: WebConsole, scopes: Sequence[str], username: str = ADMIN) -> ApiProgram:
    who = Actor(username, ROLES[username], "web")
    made = console.services.tokens.create(who, f"token {next(_numbers)}", scopes)
    client = console.app.test_client(use_cookies=False)
    document = DocumentCheck(console.app.extensions[API_DOCUMENT]())
    return ApiProgram(client, made.secret.reveal(), document)
