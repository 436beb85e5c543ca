"""Backend forms: the provider's own fields, errors beside them, secrets that only go in."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event

from dashboard.errors import InvalidInput
from dashboard.services.backends.values import Draft
from dashboard.services.permissions import Actor, Role
from dashboard.storage.checks.wrappers import new_encryption_key
from dashboard.storage.registry import PRESETS, options_of
from tests.web.conftest import ADMIN, SECRET, Browser, WebConsole, add_bucket, set_up


@pytest.mark.parametrize("preset", list(PRESETS))
def test_a_provider_asks_only_for_its_own_options_in_its_own_words(admin: Browser, preset: str) -> None:
    page = admin.get(f"/backends/new?preset={preset}").text
    shown = {o.name for o in options_of(PRESETS[preset])}
    for option in options_of(PRESETS[preset]):
        assert f'name="{"secret" if option.secret else "option"}.{option.name}"' in page
    for hidden in PRESETS[preset].hidden - shown:
        assert f'name="option.{hidden}"' not in page
    for label in PRESETS[preset].labels.values():
        assert label in page
    assert "Where do I find these?" in page


def test_a_pasted_key_has_room_and_is_never_shown_again(admin: Browser, console: WebConsole) -> None:
    page = admin.get("/backends/new?preset=sftp").text
    assert '<textarea id="secret-private_key"' in page
    pasted = "-----BEGIN OPENSSH PRIVATE KEY-----\r\ncanary-line\r\n-----END OPENSSH PRIVATE KEY-----\r\n"
    form = {"option.host": "files.example.com", "option.user": "ada", "secret.private_key": pasted}
    wrong = admin.post("/backends/new", preset="sftp", name="Bad Name", **form)
    assert wrong.status_code == 400
    assert "canary-line" not in wrong.text
    assert admin.post("/backends/new", preset="sftp", name="keyed", **form).status_code == 303
    for path in ("/backend/keyed", "/backend/keyed/edit"):
        assert "canary-line" not in admin.get(path).text
    assert "set; leave empty to keep it" in admin.get("/backend/keyed/edit").text
    assert console.services.backends.driver("keyed").name == "sftp"


def test_the_endpoint_is_previewed_from_its_fields(admin: Browser) -> None:
    page = admin.get("/backends/new?preset=b2").text
    assert 'data-pattern="https://s3.{region}.backblazeb2.com"' in page
    again = add_bucket(
        admin, name="Bad Name", preset="b2", **{"option.region": "us-west-004", "option.endpoint": ""}
    )
    assert again.status_code == 400
    assert "https://s3.us-west-004.backblazeb2.com</span>" in again.text


def test_an_unknown_provider_is_a_sentence(admin: Browser) -> None:
    response = admin.get("/backends/new?preset=floppy")
    assert response.status_code == 400
    assert "floppy" in response.text


def test_an_error_stands_beside_its_field_and_typing_is_kept(admin: Browser) -> None:
    page = add_bucket(admin, name="half-typed", **{"option.endpoint": "ftp://nowhere"})
    assert page.status_code == 400
    assert 'id="option-endpoint-error"' in page.text
    assert 'aria-describedby="option-endpoint-error option-endpoint-hint" aria-invalid="true"' in page.text
    assert 'value="half-typed"' in page.text
    assert 'value="ftp://nowhere"' in page.text
    assert SECRET not in page.text


def test_a_blank_secret_keeps_the_stored_one_unless_the_server_changes(
    admin: Browser, console: WebConsole
) -> None:
    assert add_bucket(admin, name="keeps").status_code == 303
    saved = console.services.backends.get("keeps")
    typed = {"existing": "keeps", "version": str(saved.version), "secret.secret_access_key": ""}
    form = {f"option.{name}": value for name, value in saved.options.items() if value != "false"}
    same = admin.post(
        "/backend/keeps/edit", preset="s3", name="keeps", **{**form, **typed, "option.bucket": "some-bucket"}
    )
    assert same.status_code == 303
    assert console.services.backends.get("keeps").secrets == {"secret_access_key": SECRET[-4:]}
    typed["version"] = str(console.services.backends.get("keeps").version)
    moved = admin.post(
        "/backend/keeps/edit",
        preset="s3",
        name="keeps",
        **{**form, **typed, "option.endpoint": "http://127.0.0.2:9"},
    )
    assert moved.status_code == 400
    assert 'id="secret-secret_access_key-error"' in moved.text


def test_a_stale_form_does_not_overwrite_somebody_elses_change(admin: Browser, console: WebConsole) -> None:
    assert add_bucket(admin, name="shared").status_code == 303
    saved = console.services.backends.get("shared")
    form = {f"option.{name}": value for name, value in saved.options.items() if value != "false"}
    stale = admin.post(
        "/backend/shared/edit",
        preset="s3",
        name="shared",
        existing="shared",
        version=str(saved.version - 1),
        **form,
    )
    assert stale.status_code == 409
    assert "Somebody else changed" in stale.text


def test_a_form_cannot_be_sent_to_another_backends_address(admin: Browser) -> None:
    response = admin.post("/backend/local-disk/edit", preset="local", name="x", existing="other")
    assert response.status_code == 400


def test_a_draft_that_cannot_be_tried_says_so_in_the_panel(admin: Browser) -> None:
    panel = admin.htmx("/backends/test", preset="s3", name="draft", **{"option.endpoint": "nonsense"})
    assert panel.status_code == 200
    assert 'id="probe"' in panel.text
    assert 'role="alert"' in panel.text
    plain = admin.post("/backends/test", preset="s3", name="draft", **{"option.endpoint": "nonsense"})
    assert plain.status_code == 400
    assert 'id="backend-form"' in plain.text
    assert 'value="nonsense"' in plain.text


def test_a_test_runs_before_saving_and_stops_asking_when_finished(admin: Browser) -> None:
    panel = admin.htmx(
        "/backends/test",
        preset="local",
        name="draft",
        **{"option.root": "/nonexistent-stowage-folder/for/sure"},
    )
    assert panel.status_code == 200
    for _ in range(200):
        if "hx-get" not in panel.text:
            break
        path = panel.text.partition('hx-get="')[2].partition('"')[0]
        panel = admin.htmx(path)
    assert "Does not work yet" in panel.text
    assert "hx-trigger" not in panel.text


def test_removing_asks_first_and_leaves_the_files(admin: Browser, console: WebConsole) -> None:
    assert add_bucket(admin, name="going").status_code == 303
    assert "stay where they are" in admin.get("/backend/going/remove").text
    assert admin.post("/backend/going/remove").status_code == 303
    assert admin.get("/backend/going").status_code == 404
    refused = admin.post("/backend/local-disk/remove")
    assert refused.status_code == 409
    assert "active backend" in refused.text


def test_the_order_of_fallback_is_saved(admin: Browser, console: WebConsole) -> None:
    assert add_bucket(admin, name="second").status_code == 303
    assert admin.post("/backends/fallback", order="second").status_code == 303
    assert console.services.backends.get("second").fallback_position == 1
    assert admin.post("/backends/fallback", order="nobody").status_code == 404


def test_thousands_of_backends_are_shown_a_page_at_a_time(fresh: WebConsole, tmp_path: Path) -> None:
    set_up(fresh)
    who = Actor(ADMIN, Role.ADMIN, "web")
    for number in range(70):
        fresh.services.backends.add(
            who, Draft(f"folder-{number:03}", "local", {"root": str(tmp_path / f"{number}")}, {})
        )
    browser = fresh.browser()
    browser.sign_in(ADMIN)
    statements = counted_statements(fresh, browser)
    first, second = browser.get("/backends").text, browser.get("/backends?page=2").text
    assert first.count('id="row-') == 50
    assert second.count('id="row-') == 21
    assert "Page 2 of 2" in second
    assert browser.get("/backends?page=99999999999999999999").text.count('id="row-') == 21
    assert "41 more backends" in browser.get("/").text
    assert 'value="folder-069"' in browser.get("/migrations/new").text
    cursor = browser.get("/api/v1/backends?limit=60").json["next_cursor"]
    page = browser.get(f"/api/v1/backends?limit=30&cursor={cursor}").json
    assert (len(page["backends"]), page["next_cursor"]) == (11, None)
    # What a page costs does not grow with the number of backends.
    assert max(statements.values()) < 60, statements
    with pytest.raises(InvalidInput, match="at most 50"):
        fresh.services.backends.fallback_order(who, [f"folder-{number:03}" for number in range(51)])


def counted_statements(console: WebConsole, browser: Browser) -> dict[str, int]:
    """How many statements the database was asked for each page."""
    count = [0]
    engine = console.services.backends._database.main

    def tick(*_: object) -> None:
        count[0] += 1

    event.listen(engine, "before_cursor_execute", tick)
    found = {}
    for page in ("/", "/backends", "/settings", "/migrations", "/migrations/new"):
        count[0] = 0
        browser.get(page)
        found[page] = count[0]
    event.remove(engine, "before_cursor_execute", tick)
    return found


def test_the_shell_line_names_no_secret(admin: Browser) -> None:
    assert add_bucket(admin, name="shell").status_code == 303
    page = admin.get("/backend/shell?use=Command+line").text
    assert "stowage backend add shell --preset s3" in page
    assert "secret_access_key=env:SECRET_ACCESS_KEY" in page


def test_a_backend_that_was_tested_as_a_draft_is_tested_again_as_saved(
    admin: Browser, console: WebConsole, tmp_path: Path
) -> None:
    fields = {"preset": "local", "name": "another-disk", "option.root": str(tmp_path / "files")}
    (tmp_path / "files").mkdir()
    panel = admin.htmx("/backends/test", **fields)
    while "hx-get" in panel.text:
        panel = admin.htmx(panel.text.partition('hx-get="')[2].partition('"')[0])
    assert "Everything works" in panel.text
    tested = panel.text.partition('name="tested" value="')[2].partition('"')[0]
    saved = admin.post("/backends/new", tested=tested, **fields)
    assert saved.headers["Location"].startswith("/backend/another-disk?probe=")
    page = admin.get(saved.headers["Location"]).text
    while "Everything works" not in page:
        page = admin.get(saved.headers["Location"]).text
    assert console.services.status.checklist().tested


def test_a_new_encryption_key_can_be_made_where_none_is_stored(admin: Browser, console: WebConsole) -> None:
    assert 'data-make-key="secret-encryption_key"' in admin.get("/backends/new?preset=local").text
    key = new_encryption_key().reveal()
    typed = {"option.encrypt": "true", "secret.encryption_key": key}
    assert add_bucket(admin, name="sealed", **typed).status_code == 303
    for path in ("/backend/sealed", "/backend/sealed/edit"):
        page = admin.get(path).text
        assert key not in page
        assert 'data-make-key="secret-encryption_key"' not in page
    assert add_bucket(admin, name="keyless", **{"option.encrypt": "true"}).status_code == 400
