"""Settings, Backups: the schedule is checked, a backup is requested, and only admins see it."""

from __future__ import annotations

from collections.abc import Callable

from dashboard.services.backups.backup_values import BackupSchedule
from tests.web.conftest import Browser, WebConsole


def text(browser: Browser) -> str:
    return browser.get("/settings/backups").get_data(as_text=True)


def test_the_schedule_is_saved_and_a_wrong_one_says_which_field(admin: Browser, console: WebConsole) -> None:
    assert "There are none yet." in text(admin)
    wrong = admin.post("/settings/backups/schedule", enabled="1", every_hours="24", keep="many", backend="")
    assert wrong.status_code == 400
    page = wrong.get_data(as_text=True)
    assert 'id="keep-error"' in page
    assert 'value="many"' in page
    wrong = admin.post("/settings/backups/schedule", enabled="1", every_hours="24", keep="7", backend="gone")
    assert 'id="backend-error"' in wrong.get_data(as_text=True)
    done = admin.post(
        "/settings/backups/schedule", enabled="1", every_hours="168", keep="7", backend="local-disk"
    )
    assert done.status_code == 303
    assert console.services.backups.schedule() == BackupSchedule(True, 168, 7, "local-disk")
    audit = admin.get("/audit").get_data(as_text=True)
    assert "changed the backup schedule of the console" in audit


def test_a_backup_is_requested_once_and_waits_for_a_runner(admin: Browser, console: WebConsole) -> None:
    for _ in range(2):
        assert admin.post("/settings/backups/create").status_code == 303
    (row,) = console.services.backups.list()
    page = text(admin)
    assert row.key in page
    assert "Waiting" in page
    fragment = admin.htmx("/settings/backups/list").get_data(as_text=True)
    assert 'hx-trigger="every 2s, wake"' in fragment
    assert 'id="summary" aria-labelledby="what-title" hx-swap-oob="true"' in fragment


def test_only_admins_see_backups(signed_in: Callable[[str], Browser]) -> None:
    for username in ("otto", "vera"):
        assert signed_in(username).get("/settings/backups").status_code == 403
