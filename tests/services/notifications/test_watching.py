"""A cause is told once when it begins and once when it ends; what comes and goes does not flood anybody."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.migration.types import Spec, State
from dashboard.services.backends.status import Badge
from dashboard.services.notifications import outbox
from dashboard.services.notifications.notification_values import DeliveryState, EventKind
from dashboard.storage.errors import StorageError
from tests.services.composed import add_local, await_state, fill, running
from tests.services.console import ADMIN
from tests.services.notifications.conftest import NotifiedConsole


def test_a_backend_that_is_down_is_told_once_and_once_that_it_is_up(told: NotifiedConsole) -> None:
    told.add()
    assert told.turn() == []
    told.badge(Badge.DOWN, "Connection refused.")
    assert told.turn(1) == []  # one failed check is not told
    assert told.turn(60) == ["nas is down"]
    event = told.receiver.got[-1].json["events"][0]
    assert (event["state"], event["severity"], event["subject"]) == ("began", "bad", "nas")
    assert "Connection refused." in event["text"]
    assert event["since"]
    for _ in range(4):
        assert told.turn(60) == []
    told.badge(Badge.HEALTHY)
    assert told.turn(60) == ["nas is up again"]
    assert told.receiver.got[-1].json["events"][0]["state"] == "ended"
    assert told.turn(3600) == []


def test_a_backend_that_flaps_for_hours_is_no_storm(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    got: list[str] = []
    for turn in range(24):
        told.badge(Badge.HEALTHY if turn % 4 > 1 else Badge.DOWN, "Connection refused.")
        got += told.turn(150)
    # 12 changes in an hour: two messages at once, then one every half an hour at most.
    assert 2 <= len(got) <= 5, got
    assert any("came and went" in e["text"] for g in told.receiver.got for e in g.json["events"])
    told.badge(Badge.HEALTHY)
    last = [*got, *told.turn(3600), *told.turn(3600)][-1]
    assert last == "nas is up again"


def test_that_it_is_up_is_not_said_of_what_nobody_knows(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    assert told.turn(60) == ["nas is down"]
    told.badge(Badge.UNKNOWN)
    assert told.turn(3600) == []
    told.badge(Badge.DOWN, "Refused.")
    assert told.turn(60) == []
    told.badge(Badge.DEGRADED, "It answers, but slowly.")
    assert told.turn(3600) == ["nas is up again, but does not work as it should"]


def test_a_backend_that_was_removed_is_not_up_again(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    assert told.turn(60) == ["nas is down"]
    told.services.backends.remove(ADMIN, "nas")
    assert told.turn(60) == []


def test_a_muted_channel_is_told_afterwards_what_is_still_so(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.notifications.channels.mute(ADMIN, "ops", 8)
    told.badge(Badge.DOWN, "Refused.")
    assert told.turn(1) == told.turn(7000) == []
    told.badge(Badge.HEALTHY)
    assert told.turn(60) == []
    told.badge(Badge.DOWN, "Refused again.")
    told.turn(1)
    assert told.turn(8 * 3600) == ["nas is down"]


def test_a_new_channel_is_told_what_is_wrong_now_and_nothing_of_the_past(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    told.turn(60)
    told.add("second", "/second")
    assert told.turn(60) == ["nas is down"]
    assert told.receiver.got[-1].path == "/second"


def test_reminders_come_once_a_day_only_where_they_are_wanted(told: NotifiedConsole) -> None:
    told.add()
    told.add("daily", "/daily", reminders=True)
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    assert len(told.turn(60)) == 2
    before = len(told.receiver.got)
    for _ in range(5):
        told.turn(43_200)
    reminders = told.receiver.got[before:]
    assert [each.path for each in reminders] == ["/daily", "/daily"]
    assert {each.json["events"][0]["state"] for each in reminders} == {"reminder"}


def test_many_causes_are_one_message(
    told: NotifiedConsole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "MAX_EVENTS", 5)
    for number in range(7):
        add_local(told.services, f"disk-{number:02}", tmp_path / str(number))
    told.add()
    told.turn()
    for number in range(7):
        told.badge(Badge.DOWN, "Refused.", f"disk-{number:02}")
    told.turn(1)
    told.turn(60)
    assert len(told.receiver.got) == 1
    message = told.receiver.got[0].json
    assert (len(message["events"]), message["omitted"]) == (5, 2)
    assert message["title"].endswith("is down, and 6 more")


def test_messages_of_a_channel_keep_their_distance(told: NotifiedConsole) -> None:
    told.add(every=3600)
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    assert told.turn(60) == ["nas is down"]
    told.badge(Badge.HEALTHY)
    assert told.turn(60) == []
    assert told.turn(3600) == ["nas is up again"]


def test_an_event_that_is_not_chosen_is_not_told(told: NotifiedConsole) -> None:
    told.add(events=frozenset({EventKind.DISK_FULL}))
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    assert told.turn(600) == []


def test_the_ends_of_migrations_are_told_once(told: NotifiedConsole, tmp_path: Path) -> None:
    add_local(told.services, "copy", tmp_path / "copy")
    fill(tmp_path / "nas", {"a": 10, "b": 20})
    told.add()
    told.turn()
    services = told.services
    with running(services):
        number = services.migrations.create(ADMIN, "nas", "copy", Spec(), approve=True)
        await_state(services, number, State.FINISHED)
    assert services.migrations.progress(number).counters.copied == 2
    titles = [each["title"] for got in told.receiver.got for each in got.json["events"]]
    titles += told.turn(60)
    assert titles == ["nas → copy finished"]
    assert told.turn(60) == []
    with services.database.write() as session:
        services.audit.record(session, ADMIN, "migration.fail", str(number), reason="The <b>key</b> is gone.")
    assert told.turn(60) == ["nas → copy stopped"]
    assert "The <b>key</b> is gone." in told.receiver.got[-1].json["events"][0]["text"]


def test_that_stowage_did_not_run_is_told_by_the_next_start(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    assert told.turn(500) == []
    told.now += 7200
    told.run()
    assert [event["title"] for event in told.receiver.got[-1].json["events"]] == [
        "Stowage did not run for 2 h"
    ]
    assert told.turn(60) == []


def test_killed_between_any_two_steps_nothing_is_lost_and_at_most_one_repeated(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    queue = told.notifications._outbox
    for name in ("add", "begin", "settle_sent"):
        whole = getattr(queue, name)
        setattr(queue, name, killed)
        with contextlib.suppress(KeyboardInterrupt):
            told.turn(60)
        setattr(queue, name, whole)
    told.turn(60)
    ids = [got.json["id"] for got in told.receiver.got]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    (delivery,) = told.notifications.deliveries()
    assert delivery.state is DeliveryState.SENT
    assert told.turn(3600) == []


def test_an_error_of_storage_has_no_credentials_in_a_message(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    error = StorageError(
        Kind.UNREACHABLE,
        "GET https://user:pass@host.example/bucket/key?X-Amz-Signature=abc&x=1 failed\r\nBcc: all@x",
        operation="list",
    )
    told.badge(Badge.DOWN, error.reason)
    told.turn(1)
    told.turn(60)
    text = told.receiver.got[-1].json["events"][0]["text"]
    assert text.startswith("GET https://host.example/bucket/key failed Bcc: all@x")
