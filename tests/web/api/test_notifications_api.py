"""Notifications over the API: channels, tests and deliveries, without their secrets."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers.processes import wait_until
from tests.services.notifications.receivers import HttpReceiver, http_receiver
from tests.web.api.conftest import NewProgram
from tests.web.conftest import SECRET

PATH = "/api/v1/notifications"


@pytest.fixture
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


def test_a_channel_is_tested_added_used_and_removed(new_program: NewProgram, receiver: HttpReceiver) -> None:
    program = new_program("configure")
    url = receiver.url(f"/{SECRET}")
    body = {"name": "ops", "kind": "webhook", "secrets": {"url": url}, "events": ["backup", "runner"]}
    started = program.post(f"{PATH}/tests", body)
    assert started.status_code == 202

    def finished(location: str) -> bool:
        return bool(program.get(location).json["finished"])

    wait_until(lambda: finished(started.headers["Location"]), seconds=60, what="the test has ended")
    assert program.get(started.headers["Location"]).json["passed"] is True
    assert program.get(f"{PATH}/channels").json == {"channels": []}
    added = program.post(f"{PATH}/channels", body)
    assert added.status_code == 201
    assert len(added.json["key"]) > 30
    shown = program.get(f"{PATH}/channels/ops")
    assert shown.json["destination"] == f"http://127.0.0.1:{receiver.port}"
    assert shown.json["events"] == ["backup", "runner"]
    again = program.post(f"{PATH}/channels", body)
    assert (again.status_code, again.json["error"]["subject"]) == (400, "name")

    change = {"name": "night", "kind": "webhook", "version": 1}
    changed = program.send("PUT", f"{PATH}/channels/ops", change)
    assert (changed.json["channel"]["name"], changed.json["key"]) == ("night", None)
    assert program.send("PUT", f"{PATH}/channels/night", change).status_code == 409
    assert program.post(f"{PATH}/channels/night/mute", {"hours": 1}).json["muted_until"] > 0
    assert program.post(f"{PATH}/channels/night/mute", {"hours": None}).json["muted_until"] is None
    assert program.post(f"{PATH}/channels/night/mute", {"hours": 1e9}).status_code == 400

    tested = program.post(f"{PATH}/channels/night/test")
    wait_until(lambda: finished(tested.headers["Location"]), seconds=60, what="the test has ended")
    listed = program.get(f"{PATH}/deliveries?channel=night")
    (delivery,) = listed.json["deliveries"]
    assert (delivery["state"], delivery["reason"], delivery["status"]) == ("sent", "test", 200)
    wait_for = program.post(f"{PATH}/channels/night/test").headers["Location"]
    wait_until(lambda: finished(wait_for), seconds=60, what="the second test has ended")
    newest = program.get(f"{PATH}/deliveries?limit=1").json
    older = program.get(f"{PATH}/deliveries?limit=1&cursor={newest['next_cursor']}").json
    assert older["deliveries"][0]["id"] == delivery["id"] < newest["deliveries"][0]["id"]
    sent = program.post(f"{PATH}/deliveries/{delivery['id']}/send-again")
    assert (sent.status_code, sent.json["uid"]) == (202, delivery["uid"])
    for answer in (shown, changed, listed, tested, sent):
        assert SECRET not in answer.text
    assert program.send("DELETE", f"{PATH}/channels/night").status_code == 204
    assert program.get(f"{PATH}/channels/night").status_code == 404
    assert program.get(f"{PATH}/deliveries?channel=night").status_code == 404


def test_a_token_that_only_reads_sees_no_channel(new_program: NewProgram) -> None:
    program = new_program("view", "audit", "test")
    for path in ("channels", "deliveries"):
        assert program.get(f"{PATH}/{path}").status_code == 403
