"""Searching the catalogue by details and ages, and saved searches, through the API."""

from __future__ import annotations

import time
from urllib.parse import quote

from dashboard.services.catalogue.file_values import FileFacts
from tests.web.api.conftest import NewProgram
from tests.web.conftest import WebConsole


def test_files_are_searched_by_their_details_and_age(new_program: NewProgram, console: WebConsole) -> None:
    program, now = new_program("read_files"), time.time()
    number = console.services.backends.get("local-disk").id
    console.services.catalogue.record(
        [
            FileFacts(number, "a.jpg", 1, modified=now, details={"model": "X=1", "iso": 100}),
            FileFacts(number, "b.jpg", 1, modified=now - 900, details={"model": "X=1"}),
        ]
    )

    def found(query: str) -> list[str]:
        response = program.get(f"/api/v1/files?{query}")
        assert response.status_code == 200, response.text
        return [file["key"] for file in response.json["files"]]

    model = quote("model=X=1", safe="")
    assert found(f"metadata={model}") == ["a.jpg", "b.jpg"]
    assert found(f"metadata={model}&metadata=iso=100") == ["a.jpg"]
    assert found(f"metadata={model}&min_age=600") == ["b.jpg"]
    assert found(f"metadata={model}&max_age=600") == ["a.jpg"]
    for wrong in ("metadata=model", "max_age=-1", "metadata=" + "&metadata=".join(["a=b"] * 11)):
        assert program.get(f"/api/v1/files?{wrong}").status_code == 400


def test_searches_are_saved_and_everybody_sees_their_own(new_program: NewProgram) -> None:
    mine, theirs = new_program("read_files"), new_program("read_files", username="vera")
    search = {"name": "large", "filters": {"min_size": 5, "metadata": {"a": "b"}, "kind": "image"}}
    saved = mine.post("/api/v1/searches", search)
    assert saved.status_code == 201, saved.text
    again = mine.post("/api/v1/searches", {**search, "sort": "size", "descending": True})
    assert again.json["id"] == saved.json["id"]
    (listed,) = mine.get("/api/v1/searches").json["searches"]
    assert listed == again.json
    assert (listed["filters"]["min_size"], listed["sort"]) == (5, "size")
    assert theirs.get("/api/v1/searches").json == {"searches": []}
    path = f"/api/v1/searches/{listed['id']}"
    assert theirs.send("DELETE", path).status_code == 204
    assert len(mine.get("/api/v1/searches").json["searches"]) == 1
    for _ in range(2):
        assert mine.send("DELETE", path).status_code == 204
    assert mine.get("/api/v1/searches").json == {"searches": []}
    for wrong in ({"name": "", "filters": {}}, {"name": "x", "filters": {"max_age": -1}}, {"name": "x"}):
        assert mine.post("/api/v1/searches", wrong).status_code == 400
    assert new_program("view").get("/api/v1/searches").status_code == 403
