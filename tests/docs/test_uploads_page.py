"""docs/uploads.md: its programs run, in Flask, Django and FastAPI themselves."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import RequestFactory
from fastapi.testclient import TestClient

from dashboard.app import open_storage, open_uploads
from dashboard.errors import Kind, StowageError
from dashboard.media.policy import UploadPolicy
from tests.docs.test_library import an_instance
from tests.suites import configure

configure()
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "uploads.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_the_programs_on_the_page_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shared").mkdir()
    (tmp_path / "holiday.txt").write_text("Sun and sea.")
    an_instance(tmp_path / "instance", tmp_path / "shared")
    # Flask looks for the file of its module.
    program: dict[str, Any] = {"__name__": __name__}
    for number, block in enumerate(BLOCKS[:-1], start=1):
        exec(compile(block, f"docs/uploads.md, example {number}", "exec", dont_inherit=True), program)

    flask = program["app"].test_client()
    assert (
        flask.post("/photos", data={"file": (io.BytesIO(b"one"), "a.txt")}).get_json()["key"]
        == "photos/a.txt"
    )
    again = flask.post("/photos", data={"file": (io.BytesIO(b"two"), "a.txt")})
    assert (again.status_code, again.get_json()["error"]) == (409, "There is already a file “photos/a.txt”.")

    upload = SimpleUploadedFile("b.txt", b"three")
    response = program["photos_view"](_with_user(RequestFactory().post("/photos", {"file": upload})))
    assert response.status_code == 201
    wrong = SimpleUploadedFile("c.png", b"no image")
    refused = program["photos_view"](_with_user(RequestFactory().post("/photos", {"file": wrong})))
    assert refused.status_code == 415

    with TestClient(program["api"]) as fastapi:
        sent = fastapi.post("/photos", files={"file": ("d.txt", b"four")})
        assert (sent.status_code, sent.json()["key"]) == (201, "photos/d.txt")
        refused = fastapi.post("/photos", files={"file": ("d.png", b"no image")})
        assert refused.status_code == 415
        assert "d.png" in refused.json()["detail"]

    exec(compile(BLOCKS[-1], "docs/uploads.md, the handler", "exec", dont_inherit=True), program)
    invoice = program["invoice"].key
    files = {
        path.relative_to(tmp_path / "shared").as_posix() for path in (tmp_path / "shared").rglob("*.txt")
    }
    assert files == {"trips/holiday.txt", "photos/a.txt", "photos/b.txt", "photos/d.txt", invoice}
    assert (tmp_path / "shared" / invoice).read_bytes().endswith(b"Received by us.\n")
    assert list((tmp_path / "instance" / "uploads").iterdir()) == []


def _with_user(request: Any) -> Any:
    request.user = "ada"
    return request


def test_a_program_reads_why_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StowageError) as error:
        open_uploads(tmp_path / "nowhere")
    assert error.value.kind is Kind.NOT_FOUND
    (tmp_path / "shared").mkdir()
    an_instance(tmp_path / "instance", tmp_path / "shared")

    def broken() -> Any:
        yield b"the first part"
        raise ConnectionError

    with open_uploads(tmp_path / "instance") as uploads:
        with pytest.raises(ConnectionError):
            uploads.accept("a.txt", broken())
        with pytest.raises(StowageError) as error:
            uploads.accept("a.txt", [b"x"], policy="photos")
        assert error.value.kind is Kind.NOT_FOUND
        uploads.accept("a.txt", [])
        with pytest.raises(StowageError) as error:
            uploads.accept("b.txt", [b"x" * 20], policy=UploadPolicy(max_size=10))
        assert error.value.kind is Kind.OVER_LIMIT
        with pytest.raises(StowageError) as error:
            uploads.accept("b.txt", [b"x"], policy=UploadPolicy(endings=(".png",)))
        assert error.value.kind is Kind.WRONG_TYPE
    with open_storage(tmp_path / "instance") as shared:
        assert [entry.key for entry in shared.files()] == ["a.txt"]
    assert list((tmp_path / "instance" / "uploads").iterdir()) == []
