"""Users through the API, and that a token reaches no further than it may."""

from __future__ import annotations

import pytest

from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import ADMIN, PASSWORD, WebConsole

PATH = "/api/v1/users"


@pytest.fixture(scope="module")
def program(new_program: NewProgram) -> ApiProgram:
    return new_program("users")


def test_people_are_added_changed_and_shut_out(program: ApiProgram, console: WebConsole) -> None:
    made = program.post(PATH, {"username": "nils", "password": PASSWORD, "role": "operator"})
    assert (made.status_code, made.json["role"]) == (201, "operator")
    assert made.headers["Location"] == f"{PATH}/nils"
    assert PASSWORD not in made.text
    assert "nils" in [each["username"] for each in program.get(PATH).json["users"]]
    assert program.send("PATCH", f"{PATH}/nils", {"role": "viewer"}).json["role"] == "viewer"
    nils = console.browser()
    assert nils.sign_in("nils").status_code == 303
    assert program.send("PATCH", f"{PATH}/nils", {"disabled": True}).json["disabled"] is True
    assert nils.get("/").status_code == 303
    program.send("PATCH", f"{PATH}/nils", {"disabled": False})
    new = "other quite unrelated words"
    assert program.send("PATCH", f"{PATH}/nils", {"password": new}).status_code == 200
    assert console.browser().sign_in("nils", new).status_code == 303


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", PATH, {"username": "Bad Name!", "password": PASSWORD}, 400),
        ("POST", PATH, {"username": ADMIN, "password": PASSWORD}, 400),
        ("POST", PATH, {"username": "weak", "password": "short"}, 400),
        ("PATCH", f"{PATH}/vera", {}, 400),
        ("PATCH", f"{PATH}/vera", {"role": "viewer", "disabled": False}, 400),
        ("PATCH", f"{PATH}/vera", {"role": "emperor"}, 400),
        ("PATCH", f"{PATH}/{ADMIN}", {"role": "viewer"}, 409),
        ("PATCH", f"{PATH}/{ADMIN}", {"disabled": True}, 409),
        ("PATCH", f"{PATH}/nobody", {"role": "viewer"}, 404),
        ("GET", f"{PATH}/nobody", None, 404),
        ("GET", f"{PATH}/%00", None, 404),
    ],
)
def test_what_cannot_be_done_is_refused(
    program: ApiProgram, method: str, path: str, body: object, status: int
) -> None:
    assert program.send(method, path, body).status_code == status
