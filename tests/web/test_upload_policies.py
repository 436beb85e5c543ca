"""Settings → Uploads: policies made, changed and removed, on the page and as TOML."""

from __future__ import annotations

from tests.web.conftest import WebConsole

TYPED = {
    **{"max_size": "20 MB", "max_pixels": "24", "endings": ".jpg, png", "thumbnails": "small 400x300"},
    **{"scan": "required", "on_conflict": "rename", "kinds": "image", "unique_names": "1"},
}


def test_a_policy_is_made_changed_and_removed(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in("maria")
    assert browser.post("/settings/uploads", name="photos", **TYPED).status_code == 303
    policy = console.services.upload_policies.get("photos")
    assert (policy.max_size, policy.endings, policy.max_pixels) == (20_000_000, (".jpg", ".png"), 24_000_000)
    assert (policy.unique_names, policy.organise_by_date, policy.scan.value) == (True, False, "required")
    page = browser.get("/settings/uploads/photos").get_data(as_text=True)
    assert 'value="20 MB"' in page
    assert 'value=".jpg .png"' in page
    changed = {**TYPED, "max_size": "1 GB"}
    assert browser.post("/settings/uploads/photos", **changed).status_code == 303
    assert console.services.upload_policies.get("photos").max_size == 10**9
    assert browser.post("/settings/uploads/photos/remove").status_code == 303
    assert "photos" not in console.services.upload_policies.list()
    actions = [row.action for row in console.services.audit.rows(action="upload_policy")]
    assert actions == ["upload_policy.remove", "upload_policy.save", "upload_policy.save"]


def test_the_form_says_what_is_wrong_and_keeps_what_was_typed(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in("maria")
    for name, value, field in (
        ("max_size", "much", "max_size"),
        ("max_pixels", "nan", "max_pixels"),
        ("max_pixels", "1e9", "max_pixels"),
        ("endings", ".exe", "endings"),
        ("thumbnails", "huge", "thumbnails"),
        ("kinds", "", "kinds"),
        ("name", "No!", "name"),
        ("name", "default", "name"),
    ):
        response = browser.post("/settings/uploads", **{"name": "photos", **TYPED, name: value})
        page = response.get_data(as_text=True)
        assert response.status_code == 400, (name, value)
        assert f'id="{field}-error"' in page, (name, value)
        assert name == "max_size" or 'value="20 MB"' in page
    assert "photos" not in console.services.upload_policies.list()


def test_policies_travel_as_toml(console: WebConsole) -> None:
    browser = console.browser()
    browser.sign_in("maria")
    browser.post("/settings/uploads", name="photos", **TYPED)
    exported = browser.get("/settings/uploads/policies.toml")
    assert exported.mimetype == "application/toml"
    before = dict(console.services.upload_policies.list())
    browser.post("/settings/uploads/photos/remove")
    assert browser.post("/settings/uploads/import", toml=exported.get_data(as_text=True)).status_code == 303
    assert dict(console.services.upload_policies.list()) == before
    for bad in (
        "no toml",
        "photos = 1",
        "[photos]\nsize = 3",
        "[photos]\nmax_size = -1",
        "[a]\nkinds = [[1]]",
    ):
        response = browser.post("/settings/uploads/import", toml=bad)
        assert response.status_code == 400, bad
        assert 'id="toml-error"' in response.get_data(as_text=True)
    assert dict(console.services.upload_policies.list()) == before


def test_only_who_may_configure_sees_and_changes_policies(console: WebConsole) -> None:
    before = dict(console.services.upload_policies.list())
    for username in ("otto", "vera"):
        browser = console.browser()
        browser.sign_in(username)
        assert browser.get("/settings/uploads").status_code == 403
        assert browser.post("/settings/uploads", name="photos", **TYPED).status_code == 403
        assert "/settings/uploads" not in browser.get("/settings").get_data(as_text=True)
    assert dict(console.services.upload_policies.list()) == before
