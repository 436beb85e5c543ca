"""Links as a resource of the API."""

from __future__ import annotations

import pytest

from dashboard.services.files.sharing.link_uses import Recipient
from tests.web.api.conftest import ApiProgram, NewProgram
from tests.web.conftest import WebConsole


@pytest.fixture(scope="module")
def reader(console: WebConsole, new_program: NewProgram) -> ApiProgram:
    """A token that may only read files, of a viewer."""
    console.services.backends.driver("local-disk").put("a/b.txt", b"shared")
    return new_program("read_files", username="vera")


def test_a_link_is_created_listed_and_revoked(reader: ApiProgram, console: WebConsole) -> None:
    body = {"backend": "local-disk", "key": "a/b.txt", "seconds": 60, "uses": 2}
    created = reader.post("/api/v1/links", body)
    assert created.status_code == 201
    url, link = created.json["url"], created.json["link"]
    assert url.startswith("http://localhost/d/")
    assert created.headers["Location"] == f"/api/v1/links/{link['id']}"
    assert (link["state"], link["max_uses"], link["uses"], link["created_by"]) == ("open", 2, 0, "vera")
    token = url.rpartition("/")[2]
    assert console.services.links.open(token, Recipient()).key == "a/b.txt"
    assert reader.get(created.headers["Location"]).json == link
    assert token not in reader.get("/api/v1/links").text
    revoked = reader.send("DELETE", f"/api/v1/links/{link['id']}")
    assert (revoked.status_code, revoked.json["state"]) == (200, "revoked")
    assert reader.send("DELETE", f"/api/v1/links/{link['id']}").status_code == 200


def test_lists_are_paged_and_show_ones_own(reader: ApiProgram, new_program: NewProgram) -> None:
    made = [
        reader.post("/api/v1/links", {"backend": "local-disk", "key": "a/b.txt"}).json["link"]["id"]
        for _ in range(3)
    ]
    first = reader.get("/api/v1/links?limit=2&open=true").json
    second = reader.get(f"/api/v1/links?limit=2&open=true&cursor={first['next_cursor']}").json
    assert [link["id"] for link in (*first["links"], *second["links"])] == made[::-1]
    assert second["next_cursor"] is None
    other = new_program("read_files", username="otto")
    assert other.get("/api/v1/links").json["links"] == []
    assert other.get(f"/api/v1/links/{made[0]}").status_code == 404
    assert other.send("DELETE", f"/api/v1/links/{made[0]}").status_code == 404
    # An administrator's token sees everybody's only if it may manage users.
    assert new_program("read_files").get("/api/v1/links").json["links"] == []
    assert len(new_program("read_files", "users").get("/api/v1/links?open=true").json["links"]) == 3


@pytest.mark.parametrize(
    ("changed", "status", "subject"),
    [
        ({"key": "missing"}, 404, "missing"),
        ({"backend": "nowhere"}, 404, "nowhere"),
        ({"seconds": 0}, 400, "seconds"),
        ({"uses": 0}, 400, "uses"),
        ({"network": "somewhere"}, 400, "network"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_mistakes_name_their_field(
    reader: ApiProgram, changed: dict[str, object], status: int, subject: str
) -> None:
    refused = reader.post("/api/v1/links", {"backend": "local-disk", "key": "a/b.txt", **changed})
    assert (refused.status_code, refused.json["error"]["subject"]) == (status, subject)


def test_a_token_without_the_scope_shares_nothing(new_program: NewProgram) -> None:
    program = new_program("view")
    assert program.get("/api/v1/links").status_code == 403
    assert program.post("/api/v1/links", {"backend": "local-disk", "key": "a/b.txt"}).status_code == 403
