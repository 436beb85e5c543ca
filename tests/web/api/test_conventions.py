"""Who gets in with a token, and the one shape of everything that goes wrong."""

from __future__ import annotations

import pytest

from dashboard.services.people.token_buckets import TokenBuckets
from dashboard.services.permissions import Actor, Role
from tests.web.api.conftest import NewProgram
from tests.web.conftest import ADMIN, Browser, WebConsole

ERROR = {"kind", "reason", "operation", "subject", "remedy", "retryable"}


def test_a_token_is_its_user_and_no_more_than_its_scopes(new_program: NewProgram) -> None:
    operator = new_program("view", "migrate", username="otto")
    account = operator.get("/api/v1/account").json
    assert (account["username"], account["role"]) == ("otto", "operator")
    assert account["permissions"] == ["view", "migrate"]
    assert account["token"]["scopes"] == ["migrate", "view"]
    assert operator.token not in str(account)
    assert operator.get("/api/v1/backends").status_code == 200
    refused = new_program("migrate", username="otto").get("/api/v1/backends")
    assert refused.status_code == 403
    assert refused.json["error"]["reason"] == "This token may not look at this console."
    assert "scope “view”" in refused.json["error"]["remedy"]


def test_a_request_without_a_valid_token_is_told_how_to_send_one(
    console: WebConsole, new_program: NewProgram
) -> None:
    anonymous = console.browser().get("/api/v1/backends")
    assert anonymous.status_code == 401
    assert anonymous.headers["WWW-Authenticate"] == "Bearer realm=Stowage"
    program = new_program("view")
    program.token = "stw_" + "a" * 43
    refused = program.get("/api/v1/backends")
    assert refused.status_code == 401
    assert "error=invalid_token" in refused.headers["WWW-Authenticate"]
    assert set(refused.json["error"]) == ERROR
    assert "Authorization: Bearer" in refused.json["error"]["remedy"]


def test_a_wrong_token_is_not_saved_by_a_session(admin: Browser, new_program: NewProgram) -> None:
    admin.get("/settings")
    for wrong in ("stw_" + "b" * 43, "", "nonsense"):
        headers = {"Authorization": f"Bearer {wrong}", "X-CSRFToken": admin.token}
        assert admin.get("/api/v1/backends", headers=headers).status_code == 401
        assert admin.get("/settings", headers=headers).status_code == 200, "pages do not look at it"
    narrow = new_program("read_files", username="vera")
    headers = {"Authorization": f"Bearer {narrow.token}"}
    shown = admin.get("/api/v1/account", headers=headers)
    assert shown.json["username"] == "vera", "the token decides, not the session beside it"
    assert admin.get("/api/v1/backends", headers=headers).status_code == 403


def test_pages_are_not_for_tokens(new_program: NewProgram) -> None:
    program = new_program("view", "configure", "users")
    for path in ("/", "/settings", "/backends"):
        assert program.get(path).headers["Location"].startswith("/sign-in")
    assert program.post("/settings/users", None).status_code == 303


def test_a_file_is_read_with_a_token_and_errors_of_programs_are_json(new_program: NewProgram) -> None:
    reader, other = new_program("read_files"), new_program("view")
    path = "/files/local-disk/none.txt"
    missing = reader.get(path)
    assert (missing.status_code, missing.json["error"]["kind"]) == (404, "not_found")
    assert other.get(path).status_code == 403
    other.token = "stw_" + "c" * 43
    refused = other.get(path)
    assert (refused.status_code, refused.mimetype) == (401, "application/json")


def test_a_token_dies_in_the_middle_of_a_conversation(console: WebConsole, new_program: NewProgram) -> None:
    program, admin = new_program("view", username="vera"), Actor(ADMIN, Role.ADMIN, "web")
    assert program.get("/api/v1/backends").status_code == 200
    console.services.accounts.set_disabled(admin, "vera", True)
    assert program.get("/api/v1/backends").status_code == 401
    console.services.accounts.set_disabled(admin, "vera", False)
    assert program.get("/api/v1/backends").status_code == 200
    mine = console.services.tokens.list(admin, everybody=True)[0]
    console.services.tokens.revoke(admin, mine.id)
    assert program.get("/api/v1/backends").status_code == 401


def test_responses_are_never_cached_nor_guessed(new_program: NewProgram) -> None:
    program = new_program("view")
    for path in ("/api/v1/backends", "/api/v1/nothing", "/api/v1/backends/none"):
        response = program.get(path)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.mimetype == "application/json"


@pytest.mark.parametrize(
    ("method", "path", "status", "kind"),
    [
        ("GET", "/api/v1/nothing", 404, "not_found"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("GET", "/api/v1/backends/none", 404, "not_found"),
        ("GET", "/api/v1/migrations/99999999999999999999999", 404, "not_found"),
        ("DELETE", "/api/v1/account", 405, "unsupported"),
        ("GET", "/api/v1/backends?limit=0", 400, "invalid"),
        ("GET", "/api/v1/backends?limit=1&limit=2", 400, "invalid"),
        ("GET", "/api/v1/backends?limt=5", 400, "invalid"),
        ("GET", "/api/v1/backends?cursor=x", 400, "invalid"),
        ("GET", "/api/v1/backends?cursor=bnVsbA", 400, "invalid"),
    ],
)
def test_errors_have_one_shape(
    new_program: NewProgram, method: str, path: str, status: int, kind: str
) -> None:
    response = new_program("view").send(method, path)
    assert response.status_code == status
    assert response.json["error"]["kind"] == kind
    assert set(response.json["error"]) == ERROR


def test_a_cursor_of_one_list_is_none_of_another(
    new_program: NewProgram, console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.web.api import cursors

    program = new_program("view")
    theirs = cursors.encode("migrations", 7)
    refused = program.get(f"/api/v1/backends?cursor={theirs}")
    assert (refused.status_code, refused.json["error"]["subject"]) == (400, "cursor")
    assert program.get(f"/api/v1/migrations?cursor={theirs}").status_code == 200
    for forged in (("migrations", -1), ("migrations", 2**70), ("migrations", "7"), ("migrations", 1, 2)):
        cursor = cursors.encode(*forged)
        assert program.get(f"/api/v1/migrations?cursor={cursor}").status_code == 400
    assert cursors.decode(cursors.encode("files", "a/ü\n", 3), "files", str, int) == ("a/ü\n", 3)


def test_too_many_requests_say_when_to_try_again(
    new_program: NewProgram, console: WebConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = new_program("view")
    monkeypatch.setattr(console.services.tokens, "_requests", TokenBuckets(per_second=0.01, burst=3))
    statuses = [program.get("/api/v1/account").status_code for _ in range(4)]
    assert statuses == [200, 200, 200, 429]
    refused = program.get("/api/v1/account")
    assert int(refused.headers["Retry-After"]) >= 1
    assert refused.json["error"]["kind"] == "throttled"
    assert refused.json["error"]["retryable"] is True
