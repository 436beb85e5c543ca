"""Settings, Notifications: a channel is tested as typed, saved, told, muted and removed; secrets stay."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import pytest

from tests.servers.processes import wait_until
from tests.services.notifications.receivers import HttpReceiver, http_receiver
from tests.web.conftest import SECRET, Browser, WebConsole

PAGE = "/settings/notifications"


@pytest.fixture(scope="module")
def receiver() -> Iterator[HttpReceiver]:
    with http_receiver() as found:
        yield found


def webhook(receiver: HttpReceiver, **changed: object) -> dict[str, object]:
    return {
        "kind": "webhook",
        "name": "ops",
        "events": ["backend_down", "disk_full"],
        "every": "60",
        "enabled": "1",
        "secret.url": receiver.url(f"/{SECRET}"),
        **changed,
    }


def finished(browser: Browser, panel: str) -> str:
    """The panel of a test once it has ended."""
    address = re.search(r'hx-get="([^"]+)"', panel)
    assert address is not None, panel
    pages = [panel]

    def ended() -> bool:
        pages.append(browser.htmx(address[1]).get_data(as_text=True))
        return "hx-get" not in pages[-1]

    wait_until(ended, seconds=60, what="the test has ended")
    return pages[-1]


def test_a_channel_from_its_first_test_to_its_end(
    console: WebConsole, admin: Browser, receiver: HttpReceiver
) -> None:
    assert "Nobody is told yet" in admin.get(PAGE).get_data(as_text=True)
    for kind in ("webhook", "slack", "email"):
        assert admin.get(f"{PAGE}/new?kind={kind}").status_code == 200
    panel = finished(admin, admin.htmx(f"{PAGE}/test", **webhook(receiver)).get_data(as_text=True))
    assert "Everything works" in panel
    assert receiver.got[-1].json["title"] == "This is a test"
    assert console.services.notifications.channels.list() == ()
    tested = re.search(r'name="tested" value="([^"]+)"', panel)
    assert tested is not None

    saved = admin.post(f"{PAGE}/new", **webhook(receiver, tested=tested[1])).get_data(as_text=True)
    key = re.search(r'id="new-key">([^<]+)<', saved)
    assert key is not None
    page = admin.get(PAGE).get_data(as_text=True)
    assert "Tested" in page
    form = admin.get(f"{PAGE}/channels/ops").get_data(as_text=True)
    assert "Everything works" in form
    for text in (page, form, admin.get("/audit").get_data(as_text=True)):
        assert SECRET not in text
        assert key[1] not in text

    changed = admin.post(
        f"{PAGE}/channels/ops",
        **webhook(receiver, existing="ops", version="1", events=["backup"], **{"secret.url": ""}),
    )
    assert changed.status_code == 303
    assert [e.value for e in console.services.notifications.channels.get("ops").events] == ["backup"]
    late = admin.post(f"{PAGE}/channels/ops", **webhook(receiver, existing="ops", version="1"))
    assert late.status_code == 409
    assert "Somebody else changed" in late.get_data(as_text=True)

    admin.post(f"{PAGE}/channels/ops/mute", hours="8")
    assert "Muted" in admin.get(PAGE).get_data(as_text=True)
    admin.post(f"{PAGE}/channels/ops/mute", hours="")
    shown = admin.post(f"{PAGE}/channels/ops/test")
    assert shown.status_code == 303
    test = admin.get(shown.location)
    finished(admin, test.get_data(as_text=True))
    log = admin.get(PAGE).get_data(as_text=True)
    assert "This is a test" in log
    number = re.search(r"/deliveries/(\d+)/send-again", log)
    assert number is not None
    assert admin.post(f"{PAGE}/deliveries/{number[1]}/send-again").status_code == 303
    assert console.services.notifications.send_next()
    assert receiver.got[-1].headers["stowage-delivery"] == receiver.got[-2].headers["stowage-delivery"]

    audit = admin.get("/audit").get_data(as_text=True)
    for sentence in ("added the channel", "changed the channel", "muted the channel", "tested the channel"):
        assert sentence in audit
    assert admin.post(f"{PAGE}/channels/ops/remove").status_code == 303
    assert "Nobody is told yet" in admin.get(PAGE).get_data(as_text=True)


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"name": "Ops Team"}, "name"),
        ({"secret.url": "ftp://example.com/"}, "url"),
        ({"secret.url": "https://169.254.169.254/latest"}, "url"),
        ({"secret.url": "https://user:pass@example.com/"}, "url"),
        ({"events": []}, "events"),
        ({"every": "7"}, "every"),
        ({"secret.secret": "short"}, "secret"),
        ({"option.authority": "no certificate"}, "authority"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(
    admin: Browser, receiver: HttpReceiver, changed: dict[str, object], field: str
) -> None:
    for path in (f"{PAGE}/new", f"{PAGE}/test"):
        response = admin.post(path, **webhook(receiver, **changed))
        assert response.status_code == 400
        assert f'id="field-{field}-error"' in response.get_data(as_text=True)
    panel = admin.htmx(f"{PAGE}/test", **webhook(receiver, **changed)).get_data(as_text=True)
    assert f'data-wrong="field-{field}"' in panel


def test_only_admins_see_channels(signed_in: Callable[[str], Browser]) -> None:
    for username in ("otto", "vera"):
        assert signed_in(username).get(PAGE).status_code == 403
