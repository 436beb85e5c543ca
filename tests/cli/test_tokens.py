"""``stowage token``: made, listed and revoked in a shell."""

from __future__ import annotations

from tests.cli.conftest import Cli


def test_a_token_is_made_listed_and_revoked(console: Cli) -> None:
    made = console("token", "create", "nightly", "--user", "ann", "--scope", "view", "--scope", "migrate")
    assert made.code == 0, made.err
    text = made.out.strip()
    assert text.startswith("stw_")
    assert text not in made.err
    listed = console("token", "list", "--json").document["tokens"]
    assert [(t["name"], t["ending"], t["state"]) for t in listed] == [("nightly", text[-4:], "active")]
    assert listed[0]["scopes"] == ["migrate", "view"]
    assert text not in console("token", "list").out
    assert console("token", "revoke", str(listed[0]["id"])).code == 0
    assert console("token", "list", "--json").document["tokens"][0]["state"] == "revoked"


def test_as_json_with_and_without_an_end(console: Cli) -> None:
    never = console("token", "create", "a", "--user", "ann", "--never-expires", "--json").document
    assert never["expires_at"] is None
    assert never["token"].startswith("stw_")
    day = console("token", "create", "b", "--user", "ANN", "--days", "1", "--json").document
    assert day["expires_at"] - day["created_at"] == 86_400


def test_what_cannot_be_done_is_said(untouched: Cli) -> None:
    assert untouched("token", "create", "a", "--user", "nobody").code == 2
    assert untouched("token", "create", "a").code == 2
    assert untouched("token", "create", "a", "--user", "ann", "--scope", "keys").code == 2
    assert untouched("token", "revoke", "7").code == 2
    assert untouched("token", "create", "", "--user", "ann").code == 2
