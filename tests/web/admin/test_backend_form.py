"""The form of a backend: the picker, fields by choice, Test and Save, what is said beside which field."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.storage.registry import PRESETS
from tests.web.conftest import SECRET, Browser, WebConsole, add_bucket


def test_every_provider_has_a_symbol_of_its_own_in_a_group(admin: Browser) -> None:
    page = admin.get("/backends/new").text
    cards = re.findall(r'class="provider" href="[^"]*preset=(\w+)"[^>]*>.*?#([\w-]+)"', page)
    assert sorted(name for name, _ in cards) == sorted(PRESETS)
    assert len(cards) == len(PRESETS) == 20
    symbols = [symbol for _, symbol in cards]
    assert len(set(symbols)) == len(symbols), symbols
    sprite = admin.get("/static/icons.svg").get_data(as_text=True)
    assert all(f'id="{symbol}"' in sprite for symbol in symbols)
    assert re.findall(r'<h3 id="family-\d">([^<]+)', page) == [
        "On this server",
        "Object storage",
        "File servers",
    ]


@pytest.mark.parametrize(
    ("query", "found"),
    [("was", ["wasabi"]), ("NAS", ["share"]), ("google", ["gcs", "gcs_interop"]), ("nowhere at all", [])],
)
def test_the_picker_is_searched_without_javascript_too(admin: Browser, query: str, found: list[str]) -> None:
    page = admin.get(f"/backends/new?q={query}").text
    assert sorted(re.findall(r'class="provider" href="[^"]*preset=(\w+)"', page)) == found
    assert ("data-nothing hidden" in page) == bool(found)


def test_a_chosen_provider_folds_to_one_line(admin: Browser) -> None:
    page = admin.get("/backends/new?preset=b2").text
    folded = re.search(r'<details class="chosen"><summary>(.*?)</summary>', page, re.DOTALL)
    assert folded
    assert "Backblaze B2" in folded[1]
    assert "Change" in folded[1]
    assert (
        page.index('class="savebar"') > page.index("What Stowage can add") > page.index('id="option-bucket"')
    )


def test_how_to_sign_in_decides_which_fields_are_shown(admin: Browser) -> None:
    page = admin.get("/backends/new?preset=aws").text
    assert page.index('name="option.sign_in"') < page.index('id="option-access_key_id"')
    off = re.findall(r"data-off>\s*<label (?:for|class)=\"([\w-]+)\"", page)
    assert {"option-profile", "option-role_arn", "option-external_id", "option-session_name"} <= set(off)
    assert "option-access_key_id" not in off
    # Without JavaScript nothing is hidden: the style sheet does it below a class that a script sets.
    sheet = admin.get("/static/components.css").get_data(as_text=True)
    assert ".js [data-off]" in sheet
    assert "data-off" not in sheet.replace(".js [data-off]", "").replace(":not([data-off])", "")


def test_a_field_with_an_error_is_never_hidden(admin: Browser) -> None:
    page = add_bucket(admin, name="hidden-error", **{"option.sse_kms_key_id": "a key!"}).text
    wrong = re.search(r'<div class="field"([^>]*)>\s*<label for="option-sse_kms_key_id"', page)
    assert wrong
    assert "data-off" not in wrong[1]
    assert 'id="option-sse_kms_key_id-error"' in page


@pytest.mark.parametrize(
    ("name", "says"), [("local-disk", "already a backend"), ("Not A Name", "lowercase letters"), ("", "63")]
)
def test_test_refuses_a_name_that_could_not_be_saved_at_the_field(
    admin: Browser, tmp_path: Path, name: str, says: str
) -> None:
    fields = {"preset": "local", "name": name, "option.root": str(tmp_path)}
    panel = admin.htmx("/backends/test", **fields).text
    assert 'data-wrong="name"' in panel
    assert says in panel
    assert "Not yet." in panel
    plain = admin.post("/backends/test", **fields)
    assert plain.status_code == 400
    assert 'id="name-error"' in plain.text
    assert says in plain.text


def test_an_error_of_the_test_names_its_field(admin: Browser) -> None:
    fields = {"option.endpoint": "nonsense", "option.bucket": "some-bucket", "option.access_key_id": "AKID"}
    fields["secret.secret_access_key"] = SECRET
    panel = admin.htmx("/backends/test", preset="s3", name="draft", **fields).text
    assert 'data-wrong="option-endpoint"' in panel
    missing = admin.htmx("/backends/test", preset="s3", name="draft", **{"option.region": "x"}).text
    assert re.search(r'data-wrong="(option|secret)-\w+"', missing)
    odd = admin.htmx("/backends/test", preset="nothing", name="draft")
    assert "data-wrong" not in odd.text


def test_what_was_typed_is_kept_and_secrets_are_asked_for_by_name(admin: Browser) -> None:
    page = add_bucket(admin, name="Not A Name").text
    assert "Type again: Secret access key." in page
    assert 'value="some-bucket"' in page
    assert SECRET not in page
    assert "Type again: Secret access key." not in admin.get("/backends/new?preset=s3").text


def test_an_extra_that_is_switched_off_is_off(admin: Browser, console: WebConsole, tmp_path: Path) -> None:
    fields = {
        "preset": "local",
        "name": "switched",
        "option.root": str(tmp_path / "one"),
        "option.compress": "csv",
    }
    assert admin.post("/backends/new", extras="compress", extra="compress", **fields).status_code == 303
    saved = console.services.backends.get("switched")
    assert saved.options["compress"] == "csv"
    page = admin.get("/backend/switched/edit").text
    assert re.search(r'id="extra-compress"[^>]* checked', page)
    other = {**fields, "name": "switched-off", "option.cdn_domain": "cdn.example.com"}
    other["option.root"] = str(tmp_path / "other")
    assert admin.post("/backends/new", extras=["compress", "cdn_domain"], **other).status_code == 303
    saved = console.services.backends.get("switched-off")
    assert (saved.options["compress"], saved.options["cdn_domain"]) == ("", "")


def test_two_backends_over_one_place_are_saved_with_a_warning(
    admin: Browser, console: WebConsole, tmp_path: Path
) -> None:
    def add(name: str, folder: Path) -> str:
        folder.mkdir(exist_ok=True)
        saved = admin.post("/backends/new", preset="local", name=name, **{"option.root": str(folder)})
        return admin.get(saved.headers["Location"]).text

    admin.get("/backends")
    assert "holds the same files" not in add("place-one", tmp_path / "one")
    assert "place-two holds the same files as place-one" in add("place-two", tmp_path / "one")
    assert "place-inner holds the same files as place-one and place-two" in add(
        "place-inner", tmp_path / "one" / "inner"
    )
    assert "holds the same files" not in add("place-other", tmp_path / "one-and-more")


def test_the_bar_says_the_last_test_in_words(
    admin: Browser, tmp_path: Path, finished_probe: Callable[[dict[str, str]], str]
) -> None:
    assert "Not tested yet." in admin.get("/backends/new?preset=local").text
    good = finished_probe({"preset": "local", "name": "draft", "option.root": str(tmp_path)})
    assert re.search(r'id="test-state"[^>]*hx-swap-oob="true".*<b>Everything works.</b>', good, re.DOTALL)
    gone = {"preset": "local", "name": "draft", "option.root": str(tmp_path / "nowhere")}
    assert "<b>“Find the folder” failed.</b>" in finished_probe(gone)


@pytest.fixture
def finished_probe(admin: Browser) -> Callable[[dict[str, str]], str]:
    """The panel of a draft's test when it is over."""

    def run(fields: dict[str, str]) -> str:
        panel = admin.htmx("/backends/test", **fields).text
        while "hx-get" in panel:
            panel = admin.htmx(panel.partition('hx-get="')[2].partition('"')[0]).text
        return panel

    return run
