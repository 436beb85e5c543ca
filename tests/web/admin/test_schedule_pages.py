"""Settings, Scheduled jobs: what runs when, changing it, and a copy from its form to its restore."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboard.models.schedules import CopySchedule
from dashboard.services.backends.values import Draft
from dashboard.services.schedules.copy_values import RunState
from tests.services.composed import fill
from tests.services.console import ADMIN
from tests.services.schedules.conftest import due_now
from tests.web.conftest import Browser, WebConsole

PAGE = "/settings/schedules"
COPIES = f"{PAGE}/copies"
FORM = {"rhythm": "daily", "at": "03:00", "every": "6", "unit": "h", "weekday": "sun", "enabled": "1"}
COPY = {
    **FORM,
    "source": "work",
    "destination": "vault",
    "keep_days": "30",
    "verify": "checksum",
    "prefix": "",
}


def text(browser: Browser, path: str = PAGE) -> str:
    response = browser.get(path)
    assert response.status_code == 200
    return response.get_data(as_text=True)


@pytest.fixture(scope="module")
def root(console: WebConsole, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folders of the backends “work” and “vault”."""
    root = tmp_path_factory.mktemp("places")
    for name in ("work", "vault"):
        (root / name).mkdir()
        console.services.backends.add(ADMIN, Draft(name, "local", {"root": str(root / name)}, {}))
    return root


@pytest.fixture
def copy(admin: Browser, console: WebConsole, root: Path) -> Iterator[str]:
    """The page of a new schedule."""
    added = admin.post(f"{COPIES}/new", **COPY)
    assert added.status_code == 303
    yield added.location
    for each in console.services.schedules.copies.list():
        console.services.schedules.copies.remove(ADMIN, each.id)


def test_every_job_is_listed_with_when_it_runs(admin: Browser) -> None:
    page = text(admin)
    for words in (
        "Counts",
        "every 6 hours",
        "Tests of backends",
        "every minute",
        "Backup of the console",
        "Off",
    ):
        assert words in page
    assert f"{PAGE}/jobs/counts" in page
    assert f"{PAGE}/jobs/uploads/run" in page
    assert 'href="/settings/backups"' in page, "backups are set in one place"


def test_a_time_is_changed_and_a_wrong_one_says_why(admin: Browser, console: WebConsole) -> None:
    assert 'value="6"' in text(admin, f"{PAGE}/jobs/counts")
    wrong = admin.post(f"{PAGE}/jobs/counts", **FORM | {"rhythm": "every", "every": "1", "unit": "min"})
    assert wrong.status_code == 400
    assert 'id="when-error"' in wrong.get_data(as_text=True)
    for odd in ({"rhythm": ""}, {"at": "25:00"}, {"rhythm": "every", "every": "x"}, {"at": "3"}):
        assert admin.post(f"{PAGE}/jobs/counts", **FORM | odd).status_code == 400
    assert admin.post(f"{PAGE}/jobs/counts", **FORM).status_code == 303
    assert "daily at 03:00" in text(admin)
    assert admin.post(f"{PAGE}/jobs/counts", **FORM | {"enabled": "0"}).status_code == 303
    assert not console.services.schedules.recurring.get("counts").enabled
    assert "changed the schedule of the job" in text(admin, "/audit")
    assert admin.get(f"{PAGE}/jobs/nothing").status_code == 404


def test_a_job_is_run_now(admin: Browser, console: WebConsole) -> None:
    assert admin.post(f"{PAGE}/jobs/totals/run").status_code == 303
    assert "usage" in [job.kind for job in console.services.jobs.list()]


def test_a_form_with_a_mistake_comes_back_as_it_was_typed(admin: Browser, root: Path) -> None:
    assert "Copy a backend by schedule" in text(admin, f"{COPIES}/new")
    wrong = admin.post(f"{COPIES}/new", **COPY | {"destination": "work", "keep_days": "90"})
    assert wrong.status_code == 400
    page = wrong.get_data(as_text=True)
    assert 'id="destination-error"' in page
    assert '<option value="90" selected>' in page
    for odd in ({"verify": "hope"}, {"keep_days": "-1"}, {"keep_days": "99999"}, {"source": "nowhere"}):
        assert admin.post(f"{COPIES}/new", **COPY | odd).status_code == 400


def test_a_copy_is_run_and_restored(admin: Browser, console: WebConsole, root: Path, copy: str) -> None:
    fill(root / "work", {"a": 10})
    assert "It has not run yet." in text(admin, copy)
    assert admin.post(f"{copy}/run").status_code == 303
    again = admin.post(f"{copy}/run")
    assert (again.status_code, "still under way" in again.get_data(as_text=True)) == (409, True)
    fragment = admin.htmx(f"{copy}/live").get_data(as_text=True)
    assert "Migration 1" in fragment
    assert "every 2s" in fragment
    console.services.runner.run_job_until_final(1, lambda progress: None)
    assert (root / "vault" / "a").stat().st_size == 10
    assert "As it was after the run of" in text(admin, copy)
    refused = admin.post(f"{copy}/restore", after_run="99", to="", prefix="")
    assert 'id="after_run-error"' in refused.get_data(as_text=True)
    planned = admin.post(f"{copy}/restore", after_run="", to="", prefix="")
    assert (planned.status_code, planned.location) == (303, "/migrations/2")
    assert "Complete" in text(admin)


def test_a_copy_is_changed_switched_and_removed(admin: Browser, console: WebConsole, copy: str) -> None:
    number = int(copy.rpartition("/")[2])
    changed = COPY | {"rhythm": "weekly", "keep_days": "0", "exclude": "**/*.tmp\n\n", "source": "vault"}
    assert 'value="03:00"' in text(admin, f"{copy}/edit")
    assert admin.post(f"{copy}/edit", **changed).status_code == 303
    info = console.services.schedules.copies.get(number)
    assert (info.source, info.keep_days, info.spec.exclude) == ("work", 0, ("**/*.tmp",))
    assert info.timing.words == "every Sunday at 03:00"
    assert admin.post(f"{copy}/edit", **changed | {"verify": "hope"}).status_code == 400
    assert admin.post(f"{copy}/switch", enabled="0").status_code == 303
    assert not console.services.schedules.copies.get(number).enabled
    assert admin.post(f"{copy}/remove").status_code == 303
    assert admin.get(copy).status_code == 404


def test_who_sees_and_does_what(signed_in: Callable[[str], Browser], copy: str) -> None:
    operator, viewer = signed_in("otto"), signed_in("vera")
    assert operator.get(f"{COPIES}/new").status_code == 403
    assert operator.post(f"{PAGE}/jobs/totals/run").status_code == 403
    assert operator.post(f"{PAGE}/jobs/counts/run").status_code == 303
    assert viewer.post(f"{copy}/run").status_code == 403
    page = text(viewer, copy)
    assert "Run now</button>" not in page
    assert "Restore from this copy" not in page
    assert "Remove this schedule" not in page


def test_a_copy_that_could_not_begin_is_a_cause_on_the_overview(
    admin: Browser, console: WebConsole, copy: str
) -> None:
    number = int(copy.rpartition("/")[2])
    with console.services.database.write() as session:
        session.execute(update(CopySchedule).values(next_run=1.0, destination_id=None))
    due_now(console.services)
    assert console.services.schedules.copies.runs(number)[0].state is RunState.REFUSED
    page = text(admin, "/")
    assert "The copy work → vault could not begin" in page
    assert copy in page
