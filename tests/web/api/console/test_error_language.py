"""Errors of the API are told in the language of whoever reads them; what programs decide by never changes."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pytest
from sqlalchemy import update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.catalogue import uploads
from dashboard.services.files.receiving.upload_rows import UploadState, ended_with
from dashboard.services.permissions import Actor, Permission, Role
from tests.web.api.conftest import NewProgram
from tests.web.conftest import ADMIN, Browser, WebConsole

MISSING = "/api/v1/backends/nas"
ENGLISH, GERMAN = "There is no backend “nas”.", "Es gibt kein Backend „nas“."
MARIA = Actor(ADMIN, Role.ADMIN, "web")


@pytest.fixture
def german(console: WebConsole, admin: Browser) -> Iterator[Browser]:
    """Maria, who has chosen German."""
    console.services.accounts.preferences.change(MARIA, language="de", time_zone="", theme="")
    yield admin
    console.services.accounts.preferences.change(MARIA, language="", time_zone="", theme="")


@pytest.mark.parametrize(
    ("asked", "reason", "language"),
    [
        (None, ENGLISH, "en"),
        ("*", ENGLISH, "en"),
        ("fr", ENGLISH, "en"),
        ("de", GERMAN, "de"),
        ("de-AT, en;q=0.5", GERMAN, "de"),
        ("en, de;q=0.9", ENGLISH, "en"),
        ("de;q=0", ENGLISH, "en"),
        ("de-CH-1996", GERMAN, "de"),
        (";;q=,\u00ff" * 500, ENGLISH, "en"),
    ],
)
def test_a_program_gets_english_unless_it_asks(
    new_program: NewProgram, german: Browser, asked: str | None, reason: str, language: str
) -> None:
    program = new_program("view")
    plain = program.get(MISSING).json["error"]
    response = program.get(MISSING, headers={"Accept-Language": asked} if asked else {})
    assert response.json["error"]["reason"] == reason
    assert response.headers["Content-Language"] == language
    for name in ("kind", "operation", "subject", "retryable"):
        assert response.json["error"][name] == plain[name]


def test_a_page_s_own_requests_get_the_language_of_the_page(console: WebConsole, german: Browser) -> None:
    response = german.client.get(MISSING, headers={"Accept-Language": "en"})
    assert response.json is not None
    assert response.json["error"]["reason"] == GERMAN, "what was chosen counts, not the browser"
    forged = german.client.patch("/api/v1/account/preferences", json={})
    assert forged.json is not None
    assert forged.json["error"]["reason"].startswith("Diese Seite war zu lange geöffnet")
    refused = german.client.post(
        "/api/v1/uploads",
        headers={
            "X-CSRFToken": german.token,
            "Tus-Resumable": "1.0.0",
            "Upload-Length": str(10**14),
            "Upload-Metadata": "filename YS50eHQ=",
        },
    )
    assert refused.json is not None
    assert (refused.status_code, refused.headers["Content-Language"]) == (413, "de")
    assert refused.json["error"]["reason"].startswith("Die Datei hat 100 TB; höchstens")


def test_nobody_who_is_signed_in_gets_what_the_request_asks_for(console: WebConsole) -> None:
    anonymous = console.browser()
    assert anonymous.get(MISSING).json["error"]["reason"] == "You are not signed in."
    asked = anonymous.get(MISSING, headers={"Accept-Language": "de"})
    assert (asked.status_code, asked.json["error"]["kind"]) == (401, "forbidden")
    assert asked.json["error"]["reason"] == "Sie sind nicht angemeldet."
    assert asked.headers["WWW-Authenticate"] == "Bearer realm=Stowage"


def test_a_file_s_address_with_a_token_is_no_page(new_program: NewProgram, german: Browser) -> None:
    program = new_program("read_files")
    path = "/files/local-disk/none.txt"
    assert program.get(path).headers["Content-Language"] == "en", "Maria's choice is for her pages"
    assert program.get(path, headers={"Accept-Language": "de"}).headers["Content-Language"] == "de"


def test_what_became_of_each_file_is_told_in_german(console: WebConsole, german: Browser) -> None:
    response = german.client.post(
        "/api/v1/backends/local-disk/files/delete",
        json={"files": [{"key": "none"}, {"key": "no/more"}], "confirmed": 2},
        headers={"X-CSRFToken": german.token},
    )
    assert response.json is not None
    outcomes = response.json["outcomes"]
    assert {each["kind"] for each in outcomes} == {"not_found"}
    assert all("Objekt" in each["reason"] or "Datei" in each["reason"] for each in outcomes), outcomes


def test_why_an_upload_was_refused_is_told_in_german(console: WebConsole, german: Browser) -> None:
    sent = german.client.post(
        "/api/v1/uploads",
        data={"file": (io.BytesIO(b"hello"), "a.txt")},
        headers={"X-CSRFToken": german.token},
    )
    assert sent.json is not None
    refusal = InvalidInput("file", "The form has no file.", remedy="Send it in the field “file”.")
    with console.services.database.work_write() as connection:
        values = {"state": UploadState.REFUSED.value, **ended_with(refusal)}
        connection.execute(update(uploads).where(uploads.c.id == sent.json["id"]).values(**values))
    told = german.client.get(f"/api/v1/uploads/{sent.json['id']}").json
    assert told is not None
    assert told["error"] == {
        "status": 400,
        "kind": "invalid",
        "reason": "Das Formular enthält keine Datei.",
        "remedy": "Senden Sie sie im Feld „file“.",
    }


def test_an_error_while_looking_who_asks_is_an_error_still(
    console: WebConsole, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(token: str) -> None:
        raise StowageError(Kind.TIMEOUT, "The database took too long to respond.", retryable=True)

    monkeypatch.setattr(console.services.accounts, "resume", busy)
    response = admin.client.get(MISSING, headers={"Accept-Language": "de"})
    assert response.status_code == 504
    assert response.json is not None
    assert response.json["error"]["kind"] == "timeout"
    assert response.json["error"]["retryable"] is True
    page = admin.client.get("/backends")
    assert (page.status_code, page.mimetype) == (504, "text/html")
    assert "The database took too long to respond." in page.text


def test_a_scope_that_is_missing_is_told_in_german(new_program: NewProgram) -> None:
    refused = new_program(Permission.MIGRATE).get(MISSING, headers={"Accept-Language": "de"})
    assert refused.status_code == 403
    assert refused.json["error"]["reason"] == "Diesem Token fehlt die Berechtigung: diese Konsole ansehen."
