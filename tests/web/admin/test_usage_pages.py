"""The Usage page, reviewing duplicates, and prices."""

from __future__ import annotations

from pathlib import Path

import pytest

from dashboard.services.backends.values import Draft
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.permissions import Actor, Role
from tests.web.conftest import Browser, WebConsole


@pytest.fixture(scope="module")
def files(console: WebConsole) -> Path:
    """Three files of “local-disk”, two of which are the same."""
    services = console.services
    backend = services.backends.get("local-disk")
    root = Path(backend.options["root"])
    for key, text, sha256 in (("a.txt", "same", "a"), ("b.txt", "same", "a"), ("<i>.jpg", "else", "b")):
        (root / key).write_text(text)
        info = services.backends.driver("local-disk").stat(key)
        facts = FileFacts(backend.id, key, info.size, info.modified, info.etag or "", sha256=sha256 * 64)
        services.catalogue.record([facts])
    services.checks.count_backend(backend.id, lambda: False)
    services.usage.summing_up.run()
    return root


def page(browser: Browser, path: str, status: int = 200) -> str:
    response = browser.get(path)
    assert response.status_code == status
    return response.get_data(as_text=True)


def test_the_page_shows_what_is_stored(admin: Browser, files: Path) -> None:
    text = page(admin, "/usage")
    for part in ("<b>12 B</b><span>stored", "<b>3</b><span>objects", "Text, data", "saves 4 B", "no price"):
        assert part in text, part
    assert "<i>.jpg" not in text
    assert "As a table" in text


def test_periods_and_measures_are_links(admin: Browser, files: Path) -> None:
    text = page(admin, "/usage?days=365&measure=objects")
    assert 'measure=objects" aria-current="true"' in text
    page(admin, "/usage?days=x&measure=x")


def test_the_csv_has_every_figure(admin: Browser, files: Path) -> None:
    body = admin.get("/usage/export.csv").get_data(as_text=True)
    assert '"backend","local-disk","3","12"' in body
    assert admin.get("/usage/export.csv").headers["Content-Disposition"].startswith("attachment")


def test_duplicates_are_reviewed_and_deleted_but_one(
    console: WebConsole, admin: Browser, viewer: Browser, files: Path
) -> None:
    assert "a.txt" in page(admin, "/usage/duplicates")
    (group,) = console.services.usage.reports.duplicates()
    assert "Delete 1 file" not in page(viewer, f"/usage/duplicates/{group.id}")
    assert viewer.post(f"/usage/duplicates/{group.id}/delete", keep="oldest").status_code == 403
    text = page(admin, f"/usage/duplicates/{group.id}")
    assert "Delete 1 file" in text
    assert admin.post(f"/usage/duplicates/{group.id}/delete", keep="nothing").status_code == 400
    (kept,) = [f for f in console.services.usage.duplicates.files(group) if f.key == "b.txt"]
    response = admin.post(f"/usage/duplicates/{group.id}/delete", keep=str(kept.id), confirmed="1")
    assert response.status_code == 303
    assert not (files / "a.txt").exists()
    assert (files / "b.txt").read_text() == "same"
    assert "was deleted" in page(admin, "/usage/duplicates")
    page(admin, f"/usage/duplicates/{group.id}", 404)


def test_what_several_backends_hold_is_told_apart_from_waste(
    console: WebConsole, admin: Browser, tmp_path: Path
) -> None:
    services, who = console.services, Actor("maria", Role.ADMIN, "web")
    assert "Nothing is at two backends" in page(admin, "/usage/shared")
    for name in ("shelf", "attic"):
        (tmp_path / name).mkdir()
        services.backends.add(who, Draft(name, "local", {"root": str(tmp_path / name)}, {}))
    for name in ("local-disk", "shelf", "attic"):
        number = services.backends.get(name).id
        services.catalogue.record([FileFacts(number, "film.mp4", 3_000_000, 1.0, "", sha256="f" * 64)])
    services.backends.fallback_order(who, ("shelf",))
    services.usage.summing_up.run()
    text = page(admin, "/usage/shared")
    assert "would save 3.0 MB" in text
    assert all(each in text for each in ("film.mp4", "Active backend", "Fallback order", "Spare"))
    (content,) = services.usage.several.contents()
    text = page(admin, f"/usage/shared/{content.id}")
    assert "Deleting the spare copies saves 3.0 MB." in text
    assert "<form" not in text.split("<main")[1].split("</main")[0], "nothing is deleted from here"
    services.backends.fallback_order(who, ("shelf", "attic"))
    assert "Every copy is kept on purpose." in page(admin, f"/usage/shared/{content.id}")
    assert '"at several backends","all","1","6000000"' in page(admin, "/usage/export.csv")
    page(admin, "/usage/shared/999", 404)
    found = admin.client.get(f"/api/v1/usage/shared/{content.id}").json
    assert found is not None
    assert [each["purpose"] for each in found["content"]["copies"]] == ["active", "fallback", "fallback"]
    assert len(found["files"]) == 3
    listed = admin.client.get("/api/v1/usage/shared?limit=1").json
    assert listed is not None
    assert listed["totals"]["contents"] == 1
    for name in ("shelf", "attic"):
        services.backends.remove(who, name)


def test_prices_are_edited(admin: Browser, viewer: Browser) -> None:
    assert viewer.get("/settings/prices").status_code == 403
    assert 'name="storage.b2" inputmode="decimal" placeholder="no price" value="0.006"' in page(
        admin, "/settings/prices"
    )
    fields = {"currency": "EUR", "downloads": "0", "storage.local": "0.5", "download.local": ""}
    assert admin.post("/settings/prices", **fields).status_code == 303
    assert "EUR 0.00" in page(admin, "/usage")
    assert admin.post("/settings/prices", **{**fields, "storage.local": "much"}).status_code == 400
    assert admin.post("/settings/prices", **{**fields, "currency": ""}).status_code == 400
    assert admin.post("/settings/prices/restore").status_code == 303
    assert "estimated prices" in page(admin, "/usage")
