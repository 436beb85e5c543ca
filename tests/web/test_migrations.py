"""Migration pages: the form, the review, the buttons, the report, the API."""

from __future__ import annotations

import pytest

from dashboard.migration.types import OnConflict, Spec, State, Verify
from dashboard.services.permissions import Actor, Role
from tests.web.conftest import Browser, WebConsole, add_bucket

WHO = Actor("maria", Role.ADMIN, "web")


@pytest.fixture(scope="module", autouse=True)
def with_a_bucket(admin: Browser) -> None:
    assert add_bucket(admin).status_code == 303


def create(console: WebConsole, **spec: object) -> int:
    return console.services.migrations.create(WHO, "local-disk", "bucket-one", Spec(**spec))  # type: ignore[arg-type]


def test_the_form_becomes_a_spec(admin: Browser, console: WebConsole) -> None:
    response = admin.post(
        "/migrations/new",
        source="local-disk",
        destination="bucket-one",
        prefix=" lead/",
        include="**/*.jpg\r\n\r\n *.png ",
        exclude="tmp/**",
        on_conflict="newer",
        verify="readback",
        workers="4",
        carriers="2",
        dry_run="true",
    )
    assert response.status_code == 303
    number = int(response.headers["Location"].rpartition("/")[2])
    assert console.services.migrations.progress(number).spec == Spec(
        prefix=" lead/",
        include=("**/*.jpg", "*.png"),
        exclude=("tmp/**",),
        on_conflict=OnConflict.NEWER,
        verify=Verify.READBACK,
        dry_run=True,
        workers=4,
        carriers=2,
    )


@pytest.mark.parametrize(
    ("field", "changed"),
    [
        ("source", {"source": ""}),
        ("destination", {"destination": "nowhere"}),
        ("workers", {"workers": "9999"}),
        ("workers", {"workers": "²"}),
        ("workers", {"workers": "00000199"}),
        ("carriers", {"carriers": "65"}),
        ("carriers", {"carriers": "many"}),
        ("prefix", {"prefix": "a\x00b"}),
        ("on_conflict", {"on_conflict": "whatever"}),
        ("verify", {"verify": ""}),
        ("delete_source", {"delete_source": "true", "verify": "size"}),
    ],
)
def test_what_cannot_be_done_is_said_beside_its_field(
    admin: Browser, field: str, changed: dict[str, str]
) -> None:
    usual = {
        "source": "local-disk",
        "destination": "bucket-one",
        "on_conflict": "skip-same",
        "verify": "checksum",
    }
    page = admin.post("/migrations/new", **{**usual, "include": "kept/**", **changed})
    assert page.status_code == 400
    assert f'id="{field}-error"' in page.text
    assert "kept/**" in page.text


def test_the_form_can_be_filled_from_an_address_or_an_earlier_migration(
    admin: Browser, console: WebConsole
) -> None:
    page = admin.get("/migrations/new?source=bucket-one&destination=local-disk").text
    assert '<option value="bucket-one" selected>' in page
    number = create(console, prefix="old/", verify=Verify.SIZE)
    page = admin.get(f"/migrations/new?like={number}").text
    assert 'value="old/"' in page
    assert 'value="size" checked' in page


def test_a_page_shows_the_review_before_anything_is_copied(admin: Browser, console: WebConsole) -> None:
    page = admin.get(f"/migrations/{create(console)}").text
    assert "You can start when both sides are listed and checked." in page
    assert 'id="do-start"' not in page
    assert "What will happen" in page
    assert "stowage migrate local-disk bucket-one" in page


def test_buttons_do_what_they_say(admin: Browser, console: WebConsole) -> None:
    number = create(console, prefix="buttons/")
    assert admin.post(f"/migrations/{number}/start").status_code == 303
    assert admin.post(f"/migrations/{number}/pause").status_code == 303
    assert console.services.migrations.progress(number).state is State.PAUSED
    fragment = admin.htmx(f"/migrations/{number}/resume", nothing="")
    assert fragment.status_code == 200
    assert 'id="migration"' in fragment.text
    assert 'id="actions" hx-swap-oob="true"' in fragment.text
    assert "cannot be resumed" in admin.get(f"/migrations/{number}/cancel").text
    assert admin.post(f"/migrations/{number}/cancel").status_code == 303
    assert console.services.migrations.progress(number).state is State.CANCELLED
    refused = admin.htmx(f"/migrations/{number}/pause", nothing="")
    assert refused.status_code == 409
    assert refused.headers["HX-Retarget"] == "#failures"


def test_a_poll_repeats_the_buttons_only_when_they_change(admin: Browser, console: WebConsole) -> None:
    number = create(console)
    path = (
        admin.get(f"/migrations/{number}")
        .text.partition('hx-get="')[2]
        .partition('"')[0]
        .replace("&amp;", "&")
    )
    assert 'id="actions"' not in admin.htmx(path).text
    console.services.migrations.cancel(WHO, number)
    assert 'id="actions" hx-swap-oob="true"' in admin.htmx(path).text


def test_the_report_is_a_download(admin: Browser, console: WebConsole) -> None:
    number = create(console)
    response = admin.get(f"/migrations/{number}/report.csv")
    assert response.mimetype == "text/csv"
    name = f"stowage-migration-{number}-local-disk-to-bucket-one.csv"
    assert response.headers["Content-Disposition"] == f'attachment; filename="{name}"'
    assert response.text.startswith('"key","size","state",')


def test_only_so_many_reports_are_sent_at_once(admin: Browser, viewer: Browser, console: WebConsole) -> None:
    address = f"/migrations/{create(console)}/report.csv"
    unread = [viewer.client.get(address, buffered=False) for _ in range(2)]
    refused = viewer.get(address)
    assert refused.status_code == 429
    assert int(refused.headers["Retry-After"]) > 0
    assert "downloads in progress already" in refused.text
    assert admin.get(address).status_code == 200
    for each in unread:
        each.close()
    assert viewer.get(address).status_code == 200


@pytest.mark.parametrize("beyond", ["9223372036854775808", "1" * 5000, "-1", "x", "٣"])
def test_numbers_beyond_every_row_are_no_failure(admin: Browser, console: WebConsole, beyond: str) -> None:
    number = create(console)
    for address in (
        f"/migrations?before={beyond}",
        f"/migrations/live?before={beyond}",
        f"/audit?before={beyond}",
        f"/migrations/new?like={beyond}",
    ):
        assert admin.get(address).status_code in (200, 404), address
    page = admin.get(f"/migrations/{number}/objects?after={beyond}")
    assert page.status_code == 400
    assert "The link to this page is incomplete." in page.text
    assert admin.get(f"/migrations/{beyond}").status_code == 404
    assert admin.get(f"/api/v1/migrations/{beyond}").status_code == 404
    assert admin.get(f"/api/v1/migrations?limit={beyond}").status_code == 400


def test_the_api_gives_progress_as_json(admin: Browser, console: WebConsole) -> None:
    number = create(console, prefix="api/")
    shown = admin.get(f"/api/v1/migrations/{number}").json
    assert shown["id"] == number
    assert shown["state"] == "planning"
    assert shown["spec"]["prefix"] == "api/"
    assert shown["counters"]["found"] == 0
    assert shown["counters"]["listing_final"] is False
    assert shown["percent"] == 0
    listed = admin.get("/api/v1/migrations?limit=1").json
    assert [p["id"] for p in listed["migrations"]] == [number]
    older = admin.get(f"/api/v1/migrations?cursor={listed['next_cursor']}").json
    assert all(p["id"] < number for p in older["migrations"])


def test_the_api_says_of_a_secret_only_that_it_is_set(admin: Browser) -> None:
    found = {b["name"]: b for b in admin.get("/api/v1/backends").json["backends"]}
    assert found["bucket-one"]["secrets_set"] == ["secret_access_key"]
    assert "secrets" not in found["bucket-one"]
    assert found["local-disk"]["status"]["badge"] == "healthy"


@pytest.mark.parametrize(
    ("path", "status", "kind"),
    [
        ("/api/v1/migrations/999999", 404, "not_found"),
        ("/api/v1/nothing", 404, "not_found"),
        ("/api/v1/migrations?limit=many", 400, "invalid"),
        ("/api/v1/migrations?limit=0", 400, "invalid"),
    ],
)
def test_the_api_has_one_shape_of_error(admin: Browser, path: str, status: int, kind: str) -> None:
    response = admin.get(path)
    assert response.status_code == status
    assert response.json["error"]["kind"] == kind
    assert set(response.json["error"]) == {"kind", "reason", "operation", "subject", "remedy", "retryable"}
