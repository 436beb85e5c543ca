"""What arrives at real servers, and what is kept when it does not."""

from __future__ import annotations

import email
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from email.policy import default
from pathlib import Path

import pytest
from sqlalchemy import text

from dashboard.errors import InvalidInput, StowageError
from dashboard.services.backends.status import Badge
from dashboard.services.notifications.attempts import ChannelTest
from dashboard.services.notifications.channel_rules import resolve
from dashboard.services.notifications.notification_values import (
    ChannelDraft,
    ChannelKind,
    ChannelMessage,
    DeliveryState,
    Event,
    EventKind,
    Phase,
)
from dashboard.services.notifications.rendering import slack_text, subject_of
from dashboard.storage.types import Secret
from tests.services.console import ADMIN, OPERATOR
from tests.services.notifications.conftest import KEY, NotifiedConsole
from tests.services.notifications.receivers import PASSWORD, USER, MailReceiver, mail_receiver

HOSTILE = (
    "<!channel> @here [x](https://evil.example) <https://evil.example|click> &amp;\r\nBcc: all@example.com"
)


def is_genuine(headers: Mapping[str, str], body: bytes, key: str) -> bool:
    """As in docs/notifications.md."""
    timestamp, signature = headers["stowage-timestamp"], headers["stowage-signature"]
    if abs(time.time() - int(timestamp)) > 300:  # an old message, sent again by somebody else
        return False
    expected = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(signature, f"v1={expected}")


def steps_of(told: NotifiedConsole, draft: ChannelDraft) -> ChannelTest:
    """The steps of a test of a draft."""
    name = told.notifications.channels.save(ADMIN, draft).channel.name
    run = ChannelTest(())
    for step in told.notifications.tests.run(ADMIN, name):
        run = ChannelTest((*(each for each in run.steps if each.name != step.name), step))
    kept = told.notifications.tests.last(told.notifications.channels.get(name))
    assert kept is not None
    assert (kept.passed, kept.steps) == (run.passed, run.steps)
    return run


def by_mail(receiver: MailReceiver, **changed: str) -> ChannelDraft:
    options = {
        "host": "localhost",
        "port": str(receiver.port),
        "security": "starttls",
        "username": USER,
        "from": "stowage@example.com",
        "to": "ops@example.com, night@example.com",
        "authority": receiver.authority,
    }
    password = changed.pop("password", PASSWORD)
    secrets = {"password": Secret(password)} if password else {}
    return ChannelDraft("mail", ChannelKind.EMAIL, {**options, **changed}, secrets)


def test_a_webhook_is_signed_as_the_documentation_says(told: NotifiedConsole) -> None:
    told.add()
    list(told.notifications.tests.run(ADMIN, "ops"))
    (got,) = told.receiver.got
    assert is_genuine(got.headers, got.body, KEY)
    assert not is_genuine(got.headers, got.body + b" ", KEY)
    assert not is_genuine(got.headers, got.body, KEY + "x")
    assert not is_genuine({**got.headers, "stowage-timestamp": "1700000000"}, got.body, KEY)
    assert got.headers["idempotency-key"] == got.headers["stowage-delivery"] == got.json["id"]
    text = (Path(__file__).parents[3] / "docs/notifications.md").read_text(encoding="utf-8")
    for line in ('expected = hmac.new(key.encode(), timestamp.encode() + b"." + body, hashlib.sha256)',):
        assert line in text


def test_nothing_that_a_server_words_becomes_a_mention_or_a_link(told: NotifiedConsole) -> None:
    secrets = {"url": Secret(told.receiver.url("/services/T0/B0/XXXX"))}
    told.notifications.channels.save(ADMIN, ChannelDraft("slack", ChannelKind.SLACK, {}, secrets))
    told.turn()
    told.badge(Badge.DOWN, HOSTILE)
    told.turn(1)
    told.run_after(60)
    text = told.receiver.got[-1].json["text"]
    assert "nas is down" in text
    assert "<" not in text
    assert "@here" not in text
    assert "](" not in text
    assert "https://evil" not in text
    assert "stowage-signature" not in told.receiver.got[-1].headers
    assert slack_text("a & b") == "a &amp; b"


def test_a_mail_has_one_subject_two_bodies_and_no_header_of_others(
    told: NotifiedConsole, tmp_path: Path
) -> None:
    with mail_receiver(tmp_path) as receiver:
        told.notifications.channels.save(ADMIN, by_mail(receiver))
        told.turn()
        told.badge(Badge.DOWN, HOSTILE)
        told.turn(1)
        told.run_after(60)
        (envelope,) = receiver.got
    assert envelope.rcpt_tos == ["ops@example.com", "night@example.com"]
    assert isinstance(envelope.content, bytes)
    message = email.message_from_bytes(envelope.content, policy=default)
    assert message["subject"] == "[Stowage] nas is down"
    assert message["bcc"] is None
    assert message["auto-submitted"] == "auto-generated"
    plain, html = message.get_body(("plain",)), message.get_body(("html",))
    assert plain is not None
    assert html is not None
    assert "nas is down" in plain.get_content()
    assert "<!channel>" not in html.get_content()
    assert "&lt;!channel&gt;" in html.get_content()
    (delivery,) = told.notifications.deliveries()
    assert (delivery.state, delivery.status) == (DeliveryState.SENT, 250)


def test_a_subject_is_one_line_whatever_is_in_it() -> None:
    event = Event(
        EventKind.DISK_FULL, Phase.BEGAN, "k", "bad", "full\r\nBcc: x@y\u2028\x00 " + "z" * 500, "", 0.0
    )
    subject = subject_of(ChannelMessage("u", "c", (event,), 0, 0.0, ""))
    assert subject.isprintable()
    assert len(subject) == 150


def failure(run: ChannelTest) -> tuple[str, str]:
    assert run.failed is not None, run
    assert run.failed.remedy
    return run.failed.name, run.failed.message


def test_each_step_of_a_mail_test_says_what_went_wrong(told: NotifiedConsole, tmp_path: Path) -> None:
    with mail_receiver(tmp_path) as receiver:

        def test(**changed: str) -> tuple[str, str]:
            result = failure(steps_of(told, by_mail(receiver, **changed)))
            told.notifications.channels.remove(ADMIN, "mail")
            return result

        step, said = test(password="wrong")
        assert (step, "did not accept the user name or the password" in said) == ("sign_in", True)
        step, said = test(authority="")
        assert (step, "certificate" in said) == ("tls", True)
        step, said = test(security="tls")
        assert (step, "speaks no TLS" in said) == ("tls", True), said
        receiver.refuse = dict.fromkeys(("ops@example.com", "night@example.com"), "550 Relay access denied")
        step, said = test()
        assert (step, "did not accept the recipients (550)" in said) == ("send", True)
        assert "Relay access denied" in said
        step, _ = test(host="127.0.0.1")
        assert step == "tls"
    step, said = test()
    assert (step, "refused" in said) == ("connect", True)
    step, _ = test(host="nothing.invalid")
    assert step == "resolve"
    with mail_receiver(tmp_path, auth=False, starttls=False) as plain:
        step, said = failure(steps_of(told, by_mail(plain, username="", password="")))
        assert (step, "offers no STARTTLS" in said) == ("tls", True)


def test_one_recipient_that_is_refused_does_not_send_it_to_the_others_again(
    told: NotifiedConsole, tmp_path: Path
) -> None:
    with mail_receiver(tmp_path) as receiver:
        receiver.refuse = {"night@example.com": "550 No such user"}
        told.notifications.channels.save(ADMIN, by_mail(receiver))
        told.turn()
        told.badge(Badge.DOWN, "Refused.")
        told.turn(1)
        for _ in range(3):
            told.run_after(3600)
        assert len(receiver.got) == 1
        (delivery,) = told.notifications.deliveries()
        assert delivery.state is DeliveryState.SENT
        assert "refused the recipient night@example.com" in delivery.error


def test_a_server_that_is_down_for_hours_gets_one_message_after_the_other(told: NotifiedConsole) -> None:
    told.add()
    told.turn()
    told.receiver.answer = lambda _: (503, {"retry-after": "120"}, b"busy")
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    told.run_after(60)
    told.badge(Badge.HEALTHY)
    for _ in range(6):
        told.run_after(600)
    waiting = told.notifications.deliveries()
    assert [each.state for each in waiting] == [DeliveryState.WAITING] * 2
    assert [each.attempts > 0 for each in waiting] == [False, True]
    assert {got.headers["stowage-delivery"] for got in told.receiver.got} == {waiting[1].uid}
    told.receiver.answer = lambda _: (200, {}, b"ok")
    told.run_after(3600)
    told.run_after(60)
    assert [got.json["title"] for got in told.receiver.got[-2:]] == ["nas is down", "nas is up again"]
    assert {each.state for each in told.notifications.deliveries()} == {DeliveryState.SENT}


def test_a_message_is_given_up_after_a_day_and_a_refused_one_sooner(
    told: NotifiedConsole,
) -> None:
    told.add()
    told.add("gone", "/gone")
    told.turn()
    told.receiver.answer = lambda got: (
        404 if got.path == "/gone" else 502,
        {},
        b"Cannot POST " + got.path.encode(),
    )
    told.badge(Badge.DOWN, "Refused.")
    told.turn(1)
    for _ in range(14):
        told.run_after(7200)
    found = {each.channel: each for each in told.notifications.deliveries()}
    assert {each.state for each in found.values()} == {DeliveryState.FAILED}
    assert found["gone"].attempts == 5
    assert 10 < found["ops"].attempts < 16
    assert found["gone"].answer == "Cannot POST ***"
    assert "Copy the address" in found["gone"].remedy
    told.receiver.answer = lambda _: (200, {}, b"ok")
    again = told.notifications.send_again(ADMIN, found["ops"].id)
    told.run_after(0)
    assert told.receiver.got[-1].json["id"] == again.uid == found["ops"].uid


def test_an_answer_that_is_no_success_is_worded(told: NotifiedConsole) -> None:
    answers: list[tuple[int, dict[str, str], str]] = [
        (302, {"location": "http://169.254.169.254/"}, "a redirect, which is not followed"),
        (401, {}, "does not accept messages"),
        (429, {}, "too many messages"),
        (500, {}, "a problem of its own"),
        (418, {}, "did not accept"),
    ]
    secrets = {"url": Secret(told.receiver.url("/hook"))}
    for number, (status, headers, words) in enumerate(answers):
        told.receiver.answer = lambda _, s=status, h=headers: (s, h, b"x" * 200_000)  # type: ignore[misc]
        run = steps_of(told, ChannelDraft(f"ops-{number}", ChannelKind.WEBHOOK, {}, secrets))
        assert words in failure(run)[1]
        assert len(told.notifications.deliveries()[0].answer) <= 300
    assert len(told.receiver.got) == len(answers)


def test_a_web_page_is_no_answer_of_slack(told: NotifiedConsole) -> None:
    told.receiver.answer = lambda _: (200, {"content-type": "text/html; charset=utf-8"}, b"<h1>Sign in</h1>")
    secrets = {"url": Secret(told.receiver.url("/hook"))}
    assert "a web page" in failure(steps_of(told, ChannelDraft("ops", ChannelKind.SLACK, {}, secrets)))[1]


def test_secrets_follow_a_rotation_and_belong_to_their_server(told: NotifiedConsole, tmp_path: Path) -> None:
    services, channels = told.services, told.notifications.channels
    told.add()
    with mail_receiver(tmp_path) as receiver:
        mail = channels.save(ADMIN, by_mail(receiver)).channel
        before = services.keys.state().key_id
        services.keys.rotate(ADMIN)
        assert services.keys.state().key_id != before
        assert all(step.state != "failed" for step in told.notifications.tests.run(ADMIN, "mail"))
        assert all(step.state != "failed" for step in told.notifications.tests.run(ADMIN, "ops"))
        draft = by_mail(receiver, host="mail.example.com", password="")
        with pytest.raises(InvalidInput, match="Enter the password") as refused:
            channels.save(ADMIN, ChannelDraft(**{**vars_of(draft), "existing": "mail"}))  # type: ignore[arg-type]
        assert "another server" in refused.value.remedy
    options = {**mail.options, "host": "evil.example.com"}
    with services.database.write() as session:
        statement = text("UPDATE notification_channels SET options = :options WHERE name = 'mail'")
        session.execute(statement, {"options": json.dumps(options)})
    with pytest.raises(StowageError, match="nothing secret is sent"):
        channels.target(mail.id)
    with services.database.write() as session:
        statement = (
            "UPDATE notification_secrets SET sent_to = replace(sent_to, 'localhost', 'evil.example.com')"
        )
        session.connection().exec_driver_sql(statement)
    with pytest.raises(StowageError, match="moved or altered"):
        channels.target(mail.id)


def vars_of(draft: ChannelDraft) -> dict[str, object]:
    return {name: getattr(draft, name) for name in ChannelDraft.__dataclass_fields__}


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data",
        "http://[::ffff:169.254.169.254]/",
        "http://0xa9fea9fe/",
        "http://metadata.google.internal/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "https://user:pass@example.com/",
        "https://example.com/a b",
        "https://example.com/\r\nX: y",
        "https://exämple.com/",
        "https://example.com/#x",
        "https://example.com:99999/",
        "not an address",
    ],
)
def test_an_address_that_is_not_for_a_webhook_is_refused(url: str) -> None:
    draft = ChannelDraft("ops", ChannelKind.WEBHOOK, {}, {"url": Secret(url)})
    with pytest.raises(InvalidInput) as refused:
        resolve(draft, {})
    assert refused.value.subject == "url"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("to", "ops@example.com\r\nBcc: all@example.com"),
        ("to", "a@b@example.com"),
        ("to", ""),
        ("from", "Ops <ops@example.com>"),
        ("from", "ops@example.com\nBcc: all@example.com"),
        ("host", "169.254.169.254"),
        ("port", "0"),
        ("port", "25x"),
        ("security", "none"),
        ("username", "a\nb"),
    ],
)
def test_an_injected_header_and_other_wrong_mail_settings_are_refused(field: str, value: str) -> None:
    receiver = MailReceiver(authority="", port=25)
    with pytest.raises(InvalidInput) as refused:
        resolve(by_mail(receiver, **{field: value}), {})
    assert refused.value.subject == field


def test_only_who_may_configure_changes_channels(told: NotifiedConsole) -> None:
    told.add()
    for act in (
        lambda: told.notifications.channels.remove(OPERATOR, "ops"),
        lambda: told.notifications.channels.mute(OPERATOR, "ops", 1),
        lambda: list(told.notifications.tests.run(OPERATOR, "ops")),
        lambda: told.notifications.send_again(OPERATOR, 1),
    ):
        with pytest.raises(StowageError, match="may not change backends"):
            act()
