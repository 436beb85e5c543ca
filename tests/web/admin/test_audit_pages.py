"""The Audit page: sentences, local times, filters, pages, the chain, exports."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable

import pytest

from dashboard.cli.oversight import audit_commands
from dashboard.services.permissions import Actor, Role
from tests.services.database_file import change_by_hand
from tests.web.conftest import ADMIN, Browser, WebConsole

HOSTILE = (
    "=cmd|' /C calc'!A0",
    "+1",
    "-1",
    "@SUM(A1)",
    "\t=1",
    "a;=1",
    "\u202egnp.exe",
    "<b>x</b>",
    "x\r\ny",
)


@pytest.fixture
def operator(signed_in: Callable[[str], Browser]) -> Browser:
    return signed_in("otto")


def record(console: WebConsole, action: str, subject: str, who: str = "ann", **detail: object) -> None:
    actor = Actor(who, Role.ADMIN, "web", "10.0.4.35")
    with console.services.database.write() as session:
        console.services.audit.record(session, actor, action, subject, **detail)  # type: ignore[arg-type]


def page(browser: Browser, path: str = "/audit") -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return response.get_data(as_text=True)


def entries(text: str) -> list[str]:
    found = re.findall(
        r'<div class="text">(.*?)(?:<span class="tag|<div class="chgs|<dl|</div>)', text, re.DOTALL
    )
    return [re.sub(r"\s+", " ", re.sub("<[^>]+>", "", each)).strip() for each in found]


def test_entries_are_sentences_with_links(console: WebConsole, admin: Browser) -> None:
    record(console, "backend.test", "local-disk", saved="yes")
    text = page(admin)
    assert entries(text)[0] == "ann tested local-disk"
    assert '<a href="/backend/local-disk">' in text
    assert "backend.test" not in text
    assert "saved" not in text


def test_only_what_changed_is_shown_and_the_old_value_is_struck_through(
    console: WebConsole, admin: Browser
) -> None:
    before, after = {"before.option.region": "one"}, {"option.region": "two", "option.flag": "False"}
    record(console, "backend.edit", "media", **before, **after, secrets="secret_access_key")
    text = page(admin)
    assert re.search(r'Region: <s class="old"><bdi>one</bdi></s>.*?<span class="new"><bdi>two</bdi>', text)
    assert re.search(r'Secret access key: <span class="new"><bdi>replaced', text)
    assert "False" not in "".join(entries(text))


def test_codes_are_in_the_opened_entry_only(console: WebConsole, admin: Browser) -> None:
    record(console, "backend.test", "media", saved="yes")
    row = console.services.audit.rows(limit=1)[0]
    assert row.mac not in page(admin)
    opened = page(admin, f"/audit?open={row.id}")
    assert row.mac in opened
    assert "backend.test" in opened
    assert 'aria-expanded="true"' in opened


def test_times_are_those_of_the_console_and_exact_on_hover(console: WebConsole, admin: Browser) -> None:
    text = page(admin)
    assert re.search(
        r'<time datetime="[^"]+[+-]\d\d:\d\d" title="\d{4}-[^"]+" data-clock>\d\d:\d\d</time>', text
    )
    assert re.search(r"<h3 class=\"day\" data-day>Today, \w+day \d+ \w+</h3>", text)
    assert "Z</time>" not in text


def test_filters_narrow_what_is_shown(console: WebConsole, admin: Browser) -> None:
    for number in range(3):
        record(console, "file.upload", f"photos/{number}.jpg", "fay", backend="media")
    record(console, "file.delete", "archive: old.tar", "fay", files="1", undo="no")

    def found(query: str) -> list[str]:
        return entries(page(admin, f"/audit?actor=fay&{query}"))

    assert len(found("action=file")) == 4
    assert found("action=link") == []
    assert found("thing=archive") == ["fay deleted archive/old.tar, without a way to undo it"]
    assert len(found("thing=media")) == 3
    assert found("q=photos/2") == ["fay uploaded media/photos/2.jpg"]
    assert found("q=%25") == []
    assert len(found("q=10.0.4.35")) == 4
    assert found("until=2001-01-01") == []
    assert len(found("since=2001-01-01")) == 4
    assert entries(page(admin, "/audit?actor=nobody")) == []
    assert "No entry of this period fits" in page(admin, "/audit?q=zzz")


@pytest.mark.parametrize(
    "query", ["period=x", "since=x", "since=99999-99-99", "before=x", "open=-1", "q=" + "x" * 999]
)
def test_wrong_filters_do_no_harm(admin: Browser, query: str) -> None:
    page(admin, f"/audit?{query}")


def test_pages_go_back_without_gaps(console: WebConsole, admin: Browser) -> None:
    for number in range(120):
        record(console, "file.upload", f"{number}.jpg", "pat", backend="media")
    seen: list[str] = []
    path = "/audit?actor=pat"
    while True:
        text = page(admin, path)
        seen += entries(text)
        older = re.search(r'href="([^"]+)">Older</a>', text)
        if older is None:
            break
        path = older[1].replace("&amp;", "&")
    assert seen == [f"pat uploaded media/{number}.jpg" for number in reversed(range(120))]


def test_verifying_says_what_is_wrong(console: WebConsole, admin: Browser) -> None:
    record(console, "backend.test", "media", saved="yes")
    assert "Not checked yet" in page(admin)
    assert admin.post("/audit/verify").status_code == 303
    assert "Chain verified" in page(admin)
    change_by_hand(console.services.database.main, "UPDATE audit SET actor = 'bob' WHERE id = 2")
    admin.post("/audit/verify")
    text = page(admin)
    assert "Chain broken" in text
    assert "Entry 2 was changed." in text


def test_a_long_chain_is_checked_by_the_runner(
    console: WebConsole, admin: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.audit.MAX_AT_ONCE", 0)
    admin.post("/audit/verify")
    assert "being checked" in page(admin)
    assert [job.kind for job in console.services.jobs.list() if job.kind == "audit"] == ["audit"]


def test_retention_is_for_administrators(console: WebConsole, admin: Browser, operator: Browser) -> None:
    assert operator.post("/audit/retention", days="365").status_code == 403
    assert "Entries are kept" not in page(operator)
    assert admin.post("/audit/retention", days="365").status_code == 303
    text = page(admin)
    assert '<option value="365" selected>1 year</option>' in text
    assert f"{ADMIN} changed how long this log is kept" in entries(text)
    assert admin.post("/audit/retention", days="3").status_code == 400


def test_a_spreadsheet_runs_nothing_of_the_csv(console: WebConsole, admin: Browser) -> None:
    for text in HOSTILE:
        record(console, "file.upload", text, "cy", backend=text)
    response = admin.get("/audit/export.csv?actor=cy")
    assert response.headers["Content-Disposition"].startswith("attachment")
    body = response.get_data(as_text=True)
    rows = list(csv.reader(io.StringIO(body)))
    assert len(rows) == len(HOSTILE) + 1
    assert all(len(row) == len(rows[0]) for row in rows)
    for row in rows[1:]:
        for cell in row:
            assert not re.search(r"(^|[;|])\s*[-=+@]", cell), cell
    assert body.count("\r\n") == len(rows)


def test_json_lines_have_the_exact_values(console: WebConsole, admin: Browser) -> None:
    for text in HOSTILE:
        record(console, "file.upload", text, "jo", backend=text)
    body = admin.get("/audit/export.jsonl?actor=jo").get_data(as_text=True)
    found = [json.loads(line) for line in body.splitlines()]
    assert [each["subject"] for each in found] == list(HOSTILE)
    assert all(each["mac"] and each["sentence"] for each in found)


def test_hostile_texts_stay_text(console: WebConsole, admin: Browser) -> None:
    record(console, "backend.add", "<script>alert(1)</script>", preset='"><img src=x>')
    text = page(admin)
    assert "<script>alert" not in text
    assert "<img" not in text


def test_a_viewer_sees_none_of_it(viewer: Browser) -> None:
    for path in ("/audit", "/audit/export.csv", "/audit/export.jsonl"):
        assert viewer.get(path).status_code == 403
    assert viewer.post("/audit/verify").status_code == 403


def test_the_commands_take_the_same_filters() -> None:
    options = {
        command.name: {p.name for p in command.params} for command in audit_commands.audit.commands.values()
    }
    assert options["list"] - {"limit"} == options["export"] - {"kind"}
