"""Switching the active backend: no file stops being found, and nothing is switched to that takes no files."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import update

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.backends import Comparison as ComparisonRow
from dashboard.services.active_storage import ActiveStorage
from dashboard.services.audit import AuditLog
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.services.switching import activation
from dashboard.services.switching.activation import Switch
from dashboard.storage.errors import NotFound
from dashboard.storage.probe import WriteCheck
from dashboard.storage.types import Secret
from tests.servers.processes import wait_until
from tests.servers.s3 import READER
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, composed, fill, running
from tests.services.console import ADMIN

NAMES = [f"photos/{number:03}.jpg" for number in range(322)]
"""In the old backend; the first 48 are in the new one too."""


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console whose active backend is “old”."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "old", tmp_path / "old")
        add_local(services, "new", tmp_path / "new")
        services.activation.activate(ADMIN, "old")
        yield services


@pytest.fixture
def half(services: Services, tmp_path: Path) -> Services:
    """274 of its 322 objects are missing in “new”, and both were compared."""
    fill(tmp_path / "old", dict.fromkeys(NAMES, 3))
    fill(tmp_path / "new", dict.fromkeys(NAMES[:48], 3))
    compare(services)
    return services


def compare(services: Services, name: str = "new") -> None:
    services.activation.compare(ADMIN, name)

    def compared() -> bool:
        known = services.activation.comparison(name)
        return known is not None and not known.running

    with running(services):
        wait_until(compared, seconds=60, what="the comparison")


def active(services: Services) -> str:
    return services.backends.summary().active


def order(services: Services) -> list[str]:
    return [info.name for info in services.backends.summary().fallback]


def refusal(services: Services, name: str, switch: Switch | None = None) -> StowageError:
    """The error of a switch that must change nothing."""
    before = active(services), order(services), len(services.audit.rows(action="backend.activate"))
    with pytest.raises(StowageError) as caught:
        services.activation.activate(ADMIN, name, switch)
    assert (active(services), order(services), len(services.audit.rows(action="backend.activate"))) == before
    return caught.value


def meanwhile(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[], object], check: WriteCheck | None = None
) -> None:
    """Let something happen between the test and the switch."""

    def checked(*_: object, **__: object) -> WriteCheck:
        monkeypatch.undo()
        change()
        return check or WriteCheck()

    monkeypatch.setattr(activation, "check_writing", checked)


def test_every_file_is_found_after_a_switch_that_keeps_the_former_backend(half: Services) -> None:
    done = half.activation.activate(ADMIN, "new")
    assert (done.former, done.reads, done.note) == ("old", ("new", "old"), "")
    assert (active(half), order(half)) == ("new", ["old"])
    storage = ActiveStorage(lambda: half)
    assert [name for name in NAMES[::40] if not storage.exists(name)] == []
    storage.save("photos/later.jpg", b"x")
    assert half.backends.driver("new").stat("photos/later.jpg").size == 1


def test_the_former_backend_comes_first_and_the_order_of_the_others_stays(
    half: Services, tmp_path: Path
) -> None:
    for name in ("archive", "tape"):
        add_local(half, name, tmp_path / name)
    half.backends.fallback_order(ADMIN, ["tape", "new", "archive"])
    assert half.activation.activate(ADMIN, "new").reads == ("new", "old", "tape", "archive")
    # Back again: what was stored in between is found too.
    assert half.activation.activate(ADMIN, "old").reads == ("old", "new", "tape", "archive")
    rows = half.audit.rows(action="backend.activate")
    assert dict(rows[1].detail) == {"from": "old", "reads": "new, old, tape, archive"}


def test_files_go_missing_only_if_their_number_is_typed(half: Services) -> None:
    for number in (None, 0, 48, 273, 322):
        refused = refusal(half, "new", Switch(keep_former=False, missing=number))
        assert isinstance(refused, InvalidInput)
        assert (refused.subject, refused.reason) == (
            "missing",
            "There are 274 files that would not be found.",
        )
    done = half.activation.activate(ADMIN, "new", Switch(keep_former=False, missing=274))
    assert done.reads == ("new",)
    storage = ActiveStorage(lambda: half)
    assert [storage.exists(name) for name in (NAMES[47], NAMES[48])] == [True, False]
    with pytest.raises(NotFound):
        storage.read(NAMES[-1])
    assert dict(half.audit.rows(action="backend.activate")[0].detail)["missing"] == "274"


def test_a_number_is_agreed_to_only_after_a_comparison_that_still_holds(
    half: Services, tmp_path: Path
) -> None:
    forget = Switch(keep_former=False, missing=274)
    with half.database.write() as session:
        old = time.time() - activation.AGREED_SECONDS - 1
        session.execute(update(ComparisonRow).values(at=old))
    assert "not known how many files" in refusal(half, "new", forget).reason
    compare(half)
    (tmp_path / "elsewhere").mkdir()
    half.backends.edit(
        ADMIN, Draft("new", "local", {"root": str(tmp_path / "elsewhere")}, {}, existing="new")
    )
    assert "not known how many files" in refusal(half, "new", forget).reason
    # While it runs, its figures are not the result.
    half.activation.compare(ADMIN, "new")
    assert "not known how many files" in refusal(half, "new", Switch(keep_former=False, missing=0)).reason
    half.activation.activate(ADMIN, "new")
    assert order(half) == ["old"]


def test_a_backend_that_is_down_is_refused_until_its_name_is_typed(half: Services, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "new")
    refused = refusal(half, "new")
    assert refused.kind is Kind.CONFLICT
    assert refused.reason.startswith("“new” cannot take files now: ")
    assert refused.remedy
    wrong = refusal(half, "new", Switch(override="old"))
    assert isinstance(wrong, InvalidInput)
    assert wrong.subject == "override"
    half.activation.activate(ADMIN, "new", Switch(override="new"))
    assert (active(half), order(half)) == ("new", ["old"])
    assert dict(half.audit.rows(action="backend.activate")[0].detail)["tested"] == "no"


def test_a_key_that_cannot_write_is_refused(half: Services, seaweedfs: SeaweedFS) -> None:
    bucket = seaweedfs.new_bucket()
    add_s3(half, "reads", seaweedfs.endpoint, bucket, READER)
    assert "cannot take files now" in refusal(half, "reads").reason


def test_the_test_leaves_nothing_behind(half: Services, tmp_path: Path) -> None:
    half.activation.activate(ADMIN, "new")
    found = {path.name for path in (tmp_path / "new").rglob("*") if path.is_file()}
    assert found == {name.removeprefix("photos/") for name in NAMES[:48]}


def test_a_backend_that_edits_lose_between_test_and_switch_is_refused(
    half: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other").mkdir()
    edit = Draft("new", "local", {"root": str(tmp_path / "other")}, {}, existing="new")
    meanwhile(monkeypatch, lambda: half.backends.edit(ADMIN, edit))
    with pytest.raises(StowageError, match="was changed while it was tested"):
        half.activation.activate(ADMIN, "new")
    assert (active(half), order(half)) == ("old", [])


def test_two_administrators_do_not_undo_each_other(
    half: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_local(half, "third", tmp_path / "third")
    meanwhile(monkeypatch, lambda: half.activation.activate(ADMIN, "third"))
    with pytest.raises(StowageError, match="was changed while it was tested"):
        half.activation.activate(ADMIN, "new")
    assert (active(half), order(half)) == ("third", ["old"])
    seen = refusal(half, "new", Switch(seen_active="old"))
    assert seen.reason == "“third” was made active meanwhile."
    assert half.activation.activate(ADMIN, "new", Switch(seen_active="third")).reads == (
        "new",
        "third",
        "old",
    )


def test_an_order_that_another_changes_meanwhile_keeps_both_changes(
    half: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_local(half, "third", tmp_path / "third")
    meanwhile(monkeypatch, lambda: half.backends.fallback_order(ADMIN, ["third"]))
    assert half.activation.activate(ADMIN, "new").reads == ("new", "old", "third")


def test_switches_at_the_same_moment_leave_one_active_backend_and_every_former_one(
    half: Services, tmp_path: Path
) -> None:
    names = ["new", *(add_local(half, name, tmp_path / name).name for name in ("b", "c", "d"))]
    barrier = threading.Barrier(len(names))
    errors: list[StowageError] = []

    def switch(name: str) -> None:
        barrier.wait()
        try:
            half.activation.activate(ADMIN, name)
        except StowageError as error:
            errors.append(error)

    threads = [threading.Thread(target=switch, args=(name,)) for name in names]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {error.kind for error in errors} <= {Kind.CONFLICT}
    assert active(half) in names
    made = len(half.audit.rows(action="backend.activate"))
    # The first switch, to “old”, is not one of these.
    assert made == 1 + len(names) - len(errors)
    assert len(order(half)) == made - 1
    assert order(half)[-1] == "old"


def test_a_switch_that_cannot_be_recorded_changes_nothing(
    half: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise StowageError(Kind.FULL, "The disk is full.", operation="database")

    monkeypatch.setattr(AuditLog, "record", full)
    with pytest.raises(StowageError, match="The disk is full"):
        half.activation.activate(ADMIN, "new")
    assert (active(half), order(half)) == ("old", [])


def test_a_full_order_is_not_cut_short(
    half: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activation, "MAX_FALLBACK", 2)
    names = ["b0", "b1"]
    for name in names:
        add_local(half, name, tmp_path / name)
    half.backends.fallback_order(ADMIN, names)
    assert "already holds 2" in refusal(half, "new").reason
    half.activation.activate(ADMIN, "b0")
    assert order(half) == ["old", *names[1:]]


def test_a_backend_where_nothing_may_be_deleted_can_be_active_and_says_so(
    half: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = WriteCheck(leftover="The test object “x” was not deleted.")
    meanwhile(monkeypatch, lambda: None, left)
    assert half.activation.activate(ADMIN, "new").note == left.leftover


def test_a_second_click_changes_nothing(half: Services) -> None:
    half.activation.activate(ADMIN, "new")
    assert half.activation.activate(ADMIN, "new").reads == ("new", "old")
    assert len(half.audit.rows(action="backend.activate")) == 2
    # What was compared with the former active backend says nothing any more.
    assert half.activation.comparison("old") is None


def test_secrets_stay_out_of_the_audit(services: Services) -> None:
    secret = "canary-secret-value-0123456789"
    services.backends.add(
        ADMIN,
        Draft(
            "shy",
            "s3",
            {"endpoint": "http://127.0.0.1:9", "bucket": "bbb", "access_key_id": "K" * 16},
            {"secret_access_key": Secret(secret)},
        ),
    )
    services.activation.activate(ADMIN, "shy", Switch(override="shy"))
    assert secret not in repr(services.audit.rows(limit=500))
