"""A migration's pages from the review to the result: what stands in the way, one bar, one next step."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from dashboard.cli import follow
from dashboard.errors import Kind
from dashboard.migration.ledger import Done, Live, Planned, Settled
from dashboard.migration.types import (
    Action,
    CarrierProgress,
    ObjectState,
    OnConflict,
    Outcome,
    Progress,
    Spec,
    State,
)
from dashboard.models.migrations import Migration
from dashboard.services.backends.values import Draft
from dashboard.services.migrations import job_handler
from dashboard.services.migrations.series import SeriesWriter
from dashboard.services.migrations.sql_ledger import SqlLedger
from dashboard.services.permissions import Actor, Role
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import StorageError
from tests.servers.processes import wait_until
from tests.services.composed import fill
from tests.web.conftest import Browser, WebConsole

WHO = Actor("maria", Role.ADMIN, "web")
PHOTOS = {f"photos/{number:02}.jpg": 1000 for number in range(40)}


@pytest.fixture(scope="module")
def disk(console: WebConsole) -> Path:
    """The folder of the active backend, with 40 photos and two papers."""
    root = Path(console.services.backends.get("local-disk").options["root"])
    fill(root, PHOTOS | {"papers/a.pdf": 500, "papers/b.pdf": 500})
    return root


@pytest.fixture
def folder(console: WebConsole, disk: Path, tmp_path: Path) -> Callable[..., str]:
    """Makes a backend on a folder with these files."""

    def add(name: str, sizes: dict[str, int] | None = None) -> str:
        root = tmp_path / name
        root.mkdir()
        fill(root, sizes or {})
        console.services.backends.add(WHO, Draft(name, "local", {"root": str(root)}, {}))
        return name

    return add


def ran(console: WebConsole, number: int) -> Progress:
    return console.services.runner.run_job_until_final(number, lambda _: None)


def planned(console: WebConsole, source: str, destination: str, **spec: object) -> int:
    """A migration that waits for its start."""
    number = console.services.migrations.create(WHO, source, destination, Spec(**spec))  # type: ignore[arg-type]
    ran(console, number)
    return number


def finished(console: WebConsole, source: str, destination: str, **spec: object) -> int:
    number = planned(console, source, destination, **spec)
    console.services.migrations.approve(WHO, number)
    assert ran(console, number).state is State.FINISHED
    return number


def primary(page: str) -> list[str]:
    """The texts of the primary buttons."""
    return re.findall(r'class="btn primary"[^>]*>([^<]*)<', page.split("<main")[1])


# ---- the review


def test_the_button_says_what_it_does(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    number = planned(console, "local-disk", folder("empty"))
    page = admin.get(f"/migrations/{number}").text
    assert primary(page) == ["Copy 42 objects (41 kB)"]
    for sentence in (
        "empty takes files: a test object was written and removed.",
        "Objects of local-disk can be read.",
        "are free in empty, 41 kB are needed.",
        "empty is empty.",
        "empty can hold every name.",
    ):
        assert sentence in page
    assert "Checked before the start" in page


def test_a_prefix_that_matches_nothing_cannot_be_started(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    number = planned(console, "local-disk", folder("typo"), prefix="phtos/")
    page = admin.get(f"/migrations/{number}").text
    assert "Nothing in local-disk under “phtos/”." in page
    assert "Did you mean “photos/”?" in page
    assert 'id="do-start"' not in page
    assert "It cannot start yet" in page
    link = re.search(r'id="suggestion" href="([^"]+)"', page)
    assert link
    form = admin.get(link[1].replace("&amp;", "&")).text
    assert 'value="photos/"' in form
    assert '<option value="typo" selected>' in form
    deeper = planned(console, "local-disk", "typo", prefix="photo/2025/")
    assert "Did you mean “photos/”?" in admin.get(f"/migrations/{deeper}").text


def test_an_empty_source_and_a_complete_destination_leave_nothing_to_start(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    empty, full = folder("nothing"), folder("full")
    number = planned(console, empty, full)
    page = admin.get(f"/migrations/{number}").text
    assert "nothing is empty; there is nothing to copy." in page
    assert 'id="do-start"' not in page
    finished(console, "local-disk", full, prefix="papers/")
    again = planned(console, "local-disk", full, prefix="papers/", on_conflict=OnConflict.NEWER)
    page = admin.get(f"/migrations/{again}").text
    assert "Everything is in full already; there is nothing to copy." in page
    assert 'id="do-start"' not in page


def test_too_little_space_and_an_unreadable_source_are_found_before_the_start(
    admin: Browser, console: WebConsole, folder: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise StorageError(Kind.DENIED, "The key may not read.", operation="read", remedy="Allow it.")

    with monkeypatch.context() as patched:
        patched.setattr(job_handler, "free_bytes", lambda *_: 30_000)
        patched.setattr(LocalDriver, "read", denied)
        number = planned(console, "local-disk", folder("small"))
        page = admin.get(f"/migrations/{number}").text
    assert "small is too small: 41 kB are needed, 30 kB are free." in page
    assert "Objects of local-disk are listed but cannot be read: The key may not read." in page
    assert 'id="do-start"' not in page
    # Both are mended: the same plan is checked again and can start.
    assert admin.post(f"/migrations/{number}/check").status_code == 303
    assert ran(console, number).state is State.READY
    assert primary(admin.get(f"/migrations/{number}").text) == ["Copy 42 objects (41 kB)"]


def test_a_destination_that_takes_no_files_never_gets_a_start(
    admin: Browser, console: WebConsole, folder: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise StorageError(Kind.DENIED, "The key may not write.", operation="put", remedy="Allow it.")

    name = folder("locked")
    monkeypatch.setattr(LocalDriver, "put", denied)
    number = planned(console, "local-disk", name)
    page = admin.get(f"/migrations/{number}").text
    assert "Nothing can be written to the destination: " in page
    assert 'id="do-start"' not in page
    assert primary(page) == ["Try again"]


def test_a_dry_run_writes_nothing_and_says_what_it_did_not_test(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    name = folder("dry")
    number = planned(console, "local-disk", name, dry_run=True)
    page = admin.get(f"/migrations/{number}").text
    assert "Not tested whether dry takes files: a dry run writes nothing." in page
    assert primary(page) == ["Do it for real"]
    root = Path(console.services.backends.get(name).options["root"])
    # The first check of a backend, which may be under way, writes a test object and removes it.
    left = [
        path for path in root.rglob("*") if path.is_file() and "stowage-" not in str(path.relative_to(root))
    ]
    assert left == []


# ---- the result


def test_the_figures_of_a_clean_migration_lead_to_its_objects(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    number = finished(console, "local-disk", folder("clean"))
    page = admin.get(f"/migrations/{number}").text
    assert "All 42 objects are in clean, each compared by checksum." in page
    assert page.count('class="bar big"') == 1
    assert primary(page) == ["Make clean active"]
    assert "Everything that local-disk held when it was listed is in clean" in page
    link = re.search(r'id="figure-verified" href="([^"]+)">42<', page)
    assert link
    objects = admin.get(link[1].replace("&amp;", "&")).text
    assert objects.count(">Verified</span>") == 42
    assert "as planned" in page


def test_what_failed_is_not_counted_as_done(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    name = folder("taken", PHOTOS)
    number = finished(console, "local-disk", name, prefix="photos/", on_conflict=OnConflict.FAIL)
    page = admin.get(f"/migrations/{number}").text
    assert "None of the 40 objects could be copied." in page
    assert "100.0 %" not in page
    assert 'aria-label="0.0 % of 40 kB in taken"' in page
    assert primary(page) == ["Retry 40 failed"]
    assert "Make taken active" not in page
    assert console.services.migrations.progress(number).percent == 0.0


def test_active_is_offered_only_where_everything_of_the_active_backend_is(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    name = folder("part")
    number = finished(console, "local-disk", name, prefix="papers/")
    page = admin.get(f"/migrations/{number}").text
    assert "All 2 objects are in part" in page
    assert primary(page) == []
    assert "It is not known whether part has everything that is in local-disk." in page
    console.services.activation.compare(WHO, name)
    console.services.runner.run_until(lambda: not console.services.activation.comparison(name).running)  # type: ignore[union-attr]
    page = admin.get(f"/migrations/{number}").text
    assert "2 of 42 objects are there; 40 are missing." in page
    assert "Copy what is missing" in page
    assert primary(page) == []


def test_a_move_says_what_it_left_at_the_source(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    source = folder("from", {f"{number}": 10 for number in range(5)})
    copied = finished(console, source, folder("to"), include=("[0-2]",))
    assert console.services.migrations.progress(copied).outcome is Outcome.CLEAN
    number = finished(console, source, "to", delete_source=True)
    page = admin.get(f"/migrations/{number}").text
    assert (
        "3 of 5 objects are still in from: a move deletes only what it has copied and verified itself."
        in page
    )


def test_only_what_is_filtered_is_tried_again(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    name = folder("again", PHOTOS)
    number = finished(console, "local-disk", name, prefix="photos/", on_conflict=OnConflict.FAIL)
    page = admin.get(f"/migrations/{number}/objects?state=failed&prefix=photos/0&min=1&min_unit=B").text
    assert page.count(">Failed</span>") == 10
    assert "Retry the failed ones that match" in page
    fields = {"state": "failed", "prefix": "photos/0"}
    assert admin.post(f"/migrations/{number}/objects/retry", **fields).status_code == 303
    counters = console.services.migrations.progress(number).counters
    assert (counters.failed, counters.found - counters.done) == (30, 10)
    (group,) = console.services.migrations.failures(number)
    assert group.objects == 30
    # They turn out to be the same; the others were left alone.
    after = ran(console, number).counters
    assert (after.failed, after.skipped) == (30, 10)
    nothing = admin.post(f"/migrations/{number}/objects/retry", prefix="papers/")
    assert nothing.status_code == 409
    assert "has no failed objects that match" in nothing.text


# ---- the list, the cancel page, the menu


def test_the_list_is_filtered_and_shows_failures_on_a_phone(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    name = folder("listed", {"papers/a.pdf": 500})
    failed = finished(console, "local-disk", name, prefix="papers/", on_conflict=OnConflict.FAIL)
    waiting = planned(console, "local-disk", name, prefix="photos/")

    def shown(query: str) -> set[int]:
        page = admin.get(f"/migrations?backend={name}&{query}").text
        return {int(found) for found in re.findall(r'id="migration-(\d+)"', page)}

    assert shown("") == {failed, waiting}
    assert shown("state=failed") == {failed}
    assert shown("state=active") == {waiting}
    assert shown("text=photos") == {waiting}
    assert shown("state=cancelled") == set()
    assert shown("text=%25") == set()
    assert "No migration matches" in admin.get(f"/migrations?backend={name}&state=nonsense").text
    # Not among the columns that a narrow screen leaves out.
    assert re.search(
        rf'<td class="r num" data-label="failed"><a [^>]*id="failed-{failed}"', admin.get("/migrations").text
    )


def test_the_cancel_page_and_the_menu_tell_the_present(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    number = console.services.migrations.create(WHO, "local-disk", folder("live"), Spec())
    page = admin.get(f"/migrations/{number}").text
    assert re.search(r'id="running-count" class="count">\d+<', page)
    cancel = admin.get(f"/migrations/{number}/cancel").text
    assert f'hx-get="/migrations/{number}/cancel"' in cancel
    console.services.migrations.cancel(WHO, number)
    part = admin.htmx(f"/migrations/{number}/cancel").text
    assert "It has already ended" in part
    assert "hx-get" not in part
    assert "<html" not in part
    assert 'id="running-count" hx-swap-oob="true"' in admin.htmx(f"/migrations/{number}/live").text


def test_who_carries_is_shown(
    admin: Browser, console: WebConsole, folder: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.migrations.migrations.is_waiting_for_runner", lambda *_: False)
    number = console.services.migrations.create(WHO, "local-disk", folder("carried"), Spec(), approve=True)
    with console.services.database.write() as session:
        row = session.get(Migration, number)
        assert row is not None
        row.state = State.RUNNING.value
    own = CarrierProgress(0, "<b>host", 4711, time.time(), (3,), 8, 40, 4096, 20.0, 2048.0)
    other = CarrierProgress(2, "elsewhere", 4712, time.time(), tuple(range(4, 10)), 8, 41, 4096, 21.0, 2048.0)
    ledger = SqlLedger(console.services.database.work, number)
    ledger.begin()
    ledger.publish(Live("copying", at=time.time(), carriers=(own, other)))
    address = f"/migrations/{number}"
    wait_until(lambda: 'id="carriers-title"' in admin.get(address).text, seconds=120, what="the carriers")
    page = admin.get(address).text
    assert "2 processes copy" in page
    assert "process 4711 on &lt;b&gt;host" in page
    assert "process 4712 on elsewhere" in page
    assert "4, 5, 6, 7 and 2 more" in page
    assert "21 objects/s" in page
    progress = console.services.migrations.progress(number)
    assert "2 carriers" in follow.line(progress)
    said = [value for name, value in follow.totals(progress) if name == "carried by"]
    assert said[0].startswith("the runner: process 4711 on <b>host, chunk 3, since 2")
    assert "process 4712 on elsewhere, chunk 4, 5, 6, 7 and 2 more, since 2" in said[1]
    assert said[1].endswith(", 21 objects/s, 2.0 kB/s")
    assert progress.as_dict()["carriers"][1]["machine"] == "elsewhere"
    console.services.migrations.cancel(WHO, number)


def test_copying_while_the_listing_goes_on_never_looks_complete(
    admin: Browser, console: WebConsole, folder: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.services.migrations.migrations.is_waiting_for_runner", lambda *_: False)
    number = console.services.migrations.create(WHO, "local-disk", folder("early"), Spec(), approve=True)
    ledger = SqlLedger(console.services.database.work, number)
    ledger.begin()
    ledger.record([Planned("a", 7, Action.COPY), Planned("b", 7, Action.COPY)])
    done = Done(ObjectState.VERIFIED, 7)
    ledger.settle([Settled(row, done, 1, time.time()) for row in ledger.claim(2, time.time())])
    ledger.publish(Live("copying", at=time.time()))

    def put(state: State, button: str) -> str:
        with console.services.database.write() as session:
            row = session.get_one(Migration, number)
            row.state = state.value
        address = f"/migrations/{number}"
        wait_until(lambda: f'id="{button}"' in admin.get(address).text, seconds=60, what=button)
        return admin.get(address).text

    page = put(State.RUNNING, "do-pause")
    assert "still listing" in page
    assert "found so far" in page
    assert "99.9 %" in page
    assert "100 %" not in page
    progress = console.services.migrations.progress(number)
    assert "still listing" in follow.line(progress)
    assert (progress.as_dict()["percent"], progress.eta) == (99.9, None)
    page = put(State.PAUSED, "do-resume")
    assert primary(page) == ["Resume"]
    console.services.migrations.cancel(WHO, number)


def test_throughput_and_what_holds_it_back_are_shown(
    admin: Browser, console: WebConsole, folder: Callable[..., str]
) -> None:
    number = finished(console, "local-disk", folder("charted"))
    assert "Throughput" not in admin.get(f"/migrations/{number}").text
    writer = SeriesWriter(number)
    with console.services.database.work_write() as connection:
        for at in range(0, 20, 2):
            spent = {"reading": at * 0.5, "writing": at * 1.5}
            writer.add(
                connection,
                Live("copying", at=1000.0 + at, done_bytes=at * 1000, done_objects=at, spent=spent),
            )
    other = planned(console, "local-disk", "charted")
    assert "Throughput" not in admin.get(f"/migrations/{other}").text
    page = admin.get(f"/migrations/{number}?measure=nonsense").text
    if "Throughput" not in page:
        # The figures of before are shared for two seconds.
        wait_until(
            lambda: "Throughput" in admin.get(f"/migrations/{number}").text, seconds=60, what="the chart"
        )
        page = admin.get(f"/migrations/{number}").text
    assert "Writing charted" in page
    assert "75 %" in page
    assert 'id="measure-bytes"' in page
    assert 'aria-current="true">Objects/s' in admin.get(f"/migrations/{number}?measure=objects").text


# ---- limits


def test_limits_are_set_shown_and_kept_for_the_next(
    console: WebConsole, admin: Browser, folder: Callable[..., str]
) -> None:
    number = planned(console, "local-disk", folder("limited"), bandwidth_limit="08:00,512k 18:00,10M")
    page = admin.get(f"/migrations/{number}").get_data(as_text=True)
    assert 'value="08:00,512k 18:00,10M"' in page
    response = admin.post(
        f"/migrations/{number}/limit", **{"bandwidth_limit": "10 M", "objects_per_second": "5"}
    )
    page = response.get_data(as_text=True)
    assert response.status_code == 400
    assert 'id="bandwidth_limit-error"' in page
    assert 'value="10 M"' in page
    assert 'value="5"' in page
    response = admin.post(
        f"/migrations/{number}/limit", **{"bandwidth_limit": "10m", "objects_per_second": "5"}
    )
    assert response.status_code == 303
    spec = console.services.migrations.progress(number).spec
    assert (spec.bandwidth_limit, spec.objects_per_second) == ("10M", "5")
    console.services.migrations.approve(WHO, number)
    ran(console, number)
    assert 'id="limits"' not in admin.get(f"/migrations/{number}").get_data(as_text=True)
    late = admin.post(f"/migrations/{number}/limit", **{"bandwidth_limit": "off", "objects_per_second": ""})
    assert late.status_code == 409
    form = admin.get(f"/migrations/new?like={number}").get_data(as_text=True)
    assert 'name="bandwidth_limit" class="mono" value="10M"' in form


def test_the_live_page_says_what_holds_until_when(
    console: WebConsole, admin: Browser, folder: Callable[..., str]
) -> None:
    number = planned(
        console, "local-disk", folder("slow"), bandwidth_limit="00:00,1M 12:00,2M", objects_per_second="0.5"
    )
    with console.services.database.write() as session:
        row = session.get(Migration, number)
        assert row is not None
        row.state, row.approved_at = State.RUNNING.value, time.time()
    page = admin.get(f"/migrations/{number}").get_data(as_text=True)
    now = page.split('id="limit-now"')[1].split("</p>")[0]
    assert "Limit: " in now
    assert "until" in now
    assert "then" in now
    assert "0.5 objects/s" in now


def test_a_new_migration_takes_limits(
    console: WebConsole, admin: Browser, folder: Callable[..., str]
) -> None:
    fields = {
        "source": "local-disk",
        "destination": folder("new"),
        "on_conflict": "skip-same",
        "verify": "checksum",
    }
    wrong = admin.post("/migrations/new", **fields, **{"bandwidth_limit": "10"})
    assert wrong.status_code == 400
    assert 'id="bandwidth_limit-error"' in wrong.get_data(as_text=True)
    made = admin.post("/migrations/new", **fields, **{"bandwidth_limit": "10M", "objects_per_second": "off"})
    assert made.status_code == 303
    spec = console.services.migrations.progress(int(made.headers["Location"].rsplit("/", 1)[1])).spec
    assert (spec.bandwidth_limit, spec.objects_per_second) == ("10M", "off")
