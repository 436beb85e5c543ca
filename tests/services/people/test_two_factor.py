"""Two-factor sign-in, and sessions that are seen and ended."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.people import two_factor
from dashboard.services.people.accounts import Accounts
from dashboard.services.people.sign_in_sessions import describe_device
from dashboard.services.people.two_factor import CodeRequired
from dashboard.services.permissions import Actor, Role
from dashboard.vault.one_time_codes import STEP_SECONDS, code_at
from tests.services.console import PASSWORD, ServiceConsole, started
from tests.services.database_file import everything_in

ANN = Actor("ann", Role.ADMIN, "web", "192.0.2.1")
BOB = Actor("bob", Role.VIEWER, "web", "192.0.2.2")


class CodeClock:
    """The time that the codes are checked at."""

    def __init__(self) -> None:
        self.now = float(int(time.time()) // STEP_SECONDS * STEP_SECONDS)

    def time(self) -> float:
        return self.now

    def code(self, secret: str) -> str:
        """The next code that was not used yet."""
        self.now += STEP_SECONDS
        return code_at(secret, int(self.now // STEP_SECONDS))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> CodeClock:
    clock = CodeClock()
    monkeypatch.setattr(two_factor, "time", clock)
    return clock


@pytest.fixture
def console(tmp_path: Path) -> Iterator[ServiceConsole]:
    cheap = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with started(tmp_path / "instance", hasher=cheap) as console:
        console.services.setup.complete(None, "ann", PASSWORD, actor=Actor("ann", Role.ADMIN, "cli"))
        console.services.accounts.add(ANN, "bob", PASSWORD, Role.VIEWER)
        yield console


@pytest.fixture
def accounts(console: ServiceConsole) -> Accounts:
    return console.services.accounts


def enrol(accounts: Accounts, clock: CodeClock, who: Actor = BOB) -> tuple[str, tuple[str, ...]]:
    secret = accounts.two_factor.begin(who).secret.reveal()
    return secret, accounts.two_factor.confirm(who, clock.code(secret))


def challenge(accounts: Accounts) -> str:
    with pytest.raises(CodeRequired) as caught:
        accounts.sign_in("bob", PASSWORD, "192.0.2.9", "Firefox on Linux")
    return caught.value.challenge


def test_it_is_off_until_an_app_has_proven_that_it_has_the_secret(
    accounts: Accounts, clock: CodeClock
) -> None:
    secret = accounts.two_factor.begin(BOB).secret.reveal()
    assert not accounts.two_factor.state(BOB).enabled
    assert accounts.sign_in("bob", PASSWORD, "")
    with pytest.raises(InvalidInput):
        accounts.two_factor.confirm(BOB, "000000")
    pending = accounts.two_factor.pending(BOB)
    assert pending is not None
    assert pending.secret.reveal() == secret
    assert len(accounts.two_factor.confirm(BOB, clock.code(secret))) == 10
    assert accounts.two_factor.pending(BOB) is None
    assert accounts.two_factor.state(BOB).left == 10
    with pytest.raises(StowageError, match="on already"):
        accounts.two_factor.begin(BOB)
    with pytest.raises(StowageError, match="nothing to confirm"):
        accounts.two_factor.confirm(BOB, clock.code(secret))


def test_a_password_alone_starts_no_session_and_a_code_works_once(
    accounts: Accounts, clock: CodeClock
) -> None:
    secret, _ = enrol(accounts, clock)
    first = challenge(accounts)
    assert accounts.sessions.list(BOB) == ()
    code = clock.code(secret)
    token = accounts.enter_code(first, code, "192.0.2.9")
    assert accounts.resume(token) is not None
    (session,) = accounts.sessions.list(BOB, token)
    assert (session.device, session.current) == ("Firefox on Linux", True)
    # Neither the code nor the challenge again.
    with pytest.raises(InvalidInput):
        accounts.enter_code(challenge(accounts), code, "")
    with pytest.raises(StowageError) as caught:
        accounts.enter_code(first, clock.code(secret), "")
    assert caught.value.kind is Kind.GONE


def test_a_recovery_code_works_once(accounts: Accounts, clock: CodeClock) -> None:
    _, codes = enrol(accounts, clock)
    assert accounts.enter_code(challenge(accounts), codes[3].upper().replace("-", " "), "")
    assert accounts.two_factor.state(BOB).left == 9
    with pytest.raises(InvalidInput):
        accounts.enter_code(challenge(accounts), codes[3], "")
    renewed = accounts.two_factor.renew_codes(BOB)
    with pytest.raises(InvalidInput):
        accounts.enter_code(challenge(accounts), codes[4], "")
    assert accounts.enter_code(challenge(accounts), renewed[0], "")


def test_guesses_end_the_sign_in_and_are_throttled(
    console: ServiceConsole, accounts: Accounts, clock: CodeClock
) -> None:
    enrol(accounts, clock)
    begun = challenge(accounts)
    kinds = []
    for _ in range(7):
        with pytest.raises(StowageError) as caught:
            accounts.enter_code(begun, "000000", "")
        kinds.append(caught.value.kind)
    assert kinds == [Kind.INVALID] * 5 + [Kind.GONE] * 2
    refused = [row.outcome for row in console.services.audit.rows(action="sign_in")]
    assert refused[:5] == ["refused"] * 5
    again = challenge(accounts)
    for _ in range(6):
        with pytest.raises(StowageError) as caught:
            accounts.enter_code(again, "000000", "")
    assert caught.value.kind in (Kind.THROTTLED, Kind.GONE)
    with pytest.raises(StowageError):
        accounts.enter_code("no such challenge", "000000", "")


def test_a_challenge_ends_with_time_a_new_password_and_a_disabled_account(
    accounts: Accounts, clock: CodeClock
) -> None:
    secret, _ = enrol(accounts, clock)
    old = challenge(accounts)
    clock.now += 301
    with pytest.raises(StowageError, match="expired"):
        accounts.enter_code(old, clock.code(secret), "")
    begun = challenge(accounts)
    accounts.set_password(ANN, "bob", PASSWORD)
    with pytest.raises(StowageError, match="expired"):
        accounts.enter_code(begun, clock.code(secret), "")
    begun = challenge(accounts)
    accounts.set_disabled(ANN, "bob", True)
    with pytest.raises(StowageError, match="expired"):
        accounts.enter_code(begun, clock.code(secret), "")


def test_an_admin_resets_somebodys_and_nobody_else_does(
    console: ServiceConsole, accounts: Accounts, clock: CodeClock
) -> None:
    enrol(accounts, clock)
    assert accounts.two_factor.users(ANN) == {"bob"}
    with pytest.raises(StowageError) as caught:
        accounts.two_factor.reset(BOB, "ann")
    assert caught.value.kind is Kind.FORBIDDEN
    accounts.two_factor.reset(ANN, "bob")
    assert accounts.sign_in("bob", PASSWORD, "")
    with pytest.raises(StowageError, match="has no two-factor"):
        accounts.two_factor.reset(ANN, "bob")
    actions = [row.action for row in console.services.audit.rows(action="two_factor")]
    assert actions == ["two_factor.reset", "two_factor.enable"]
    enrol(accounts, clock)
    accounts.two_factor.disable(BOB)
    accounts.two_factor.disable(BOB)
    assert not accounts.two_factor.state(BOB).enabled


def test_secrets_are_sealed_rotate_and_a_sealed_console_takes_recovery_codes(
    console: ServiceConsole, accounts: Accounts, clock: CodeClock
) -> None:
    secret, codes = enrol(accounts, clock)
    keys = console.services.keys
    keys.rotate(ANN)
    assert accounts.enter_code(challenge(accounts), clock.code(secret), "")
    dump = everything_in(console.database.main)
    assert "bob" in dump
    assert secret not in dump
    assert codes[0] not in dump
    assert codes[0].replace("-", "") not in dump
    console.settings.key_file.unlink()
    with pytest.raises(StowageError) as caught:
        accounts.enter_code(challenge(accounts), clock.code(secret), "")
    assert caught.value.kind is Kind.SEALED
    assert accounts.enter_code(challenge(accounts), codes[0], "")


def test_sessions_are_seen_and_ended(console: ServiceConsole, accounts: Accounts) -> None:
    mine = accounts.sign_in("ann", PASSWORD, "192.0.2.1", "Chrome on macOS")
    other = accounts.sign_in("ann", PASSWORD, "192.0.2.3", "Safari on iPhone")
    bobs = accounts.sign_in("bob", PASSWORD, "192.0.2.2", "Firefox on Linux")
    assert {each.username for each in accounts.sessions.list(ANN, mine)} == {"ann", "bob"}
    (own,) = accounts.sessions.list(BOB, bobs)
    assert (own.device, own.address, own.current) == ("Firefox on Linux", "192.0.2.2", True)
    anns = next(each for each in accounts.sessions.list(ANN, mine) if each.device == "Safari on iPhone")
    with pytest.raises(StowageError) as caught:
        accounts.sessions.end(BOB, anns.id)
    assert caught.value.kind is Kind.NOT_FOUND
    assert accounts.sessions.end(ANN, own.id) == "bob"
    assert accounts.resume(bobs) is None
    assert accounts.sessions.end_others(ANN, mine) == 1
    assert accounts.resume(other) is None
    assert accounts.resume(mine) is not None
    assert accounts.sessions.end_others(ANN, mine) == 0
    for id in (0, -1, 2**70):
        with pytest.raises(StowageError):
            accounts.sessions.end(ANN, id)
    assert [row.subject for row in console.services.audit.rows(action="session.end")] == ["ann", "bob"]


@pytest.mark.parametrize(
    ("agent", "device"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox on Linux"),
        (
            "Mozilla/5.0 (Windows NT 10.0) (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126",
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Version/17.5 Safari/604.1",
            "Safari on iPhone",
        ),
        ("Mozilla/5.0 (Linux; Android 14) Chrome/126.0 Mobile Safari/537.36", "Chrome on Android"),
        ("curl/8.0", "Unknown browser"),
        ("<script>" * 200, "Unknown browser"),
    ],
)
def test_a_browser_is_called_what_people_call_it(agent: str, device: str) -> None:
    assert describe_device(agent) == device
