"""Signing in, staying in, being thrown out; and who stays administrator."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn

import pytest
from argon2 import PasswordHasher
from sqlalchemy import select, update

from dashboard.errors import InvalidInput, Kind, StowageError, TooMany
from dashboard.models.console import SignInAttempts, SignInSession, User
from dashboard.services.people import accounts as accounts_module
from dashboard.services.people import throttle
from dashboard.services.people.accounts import IDLE_SECONDS, LIFETIME_SECONDS, Accounts
from dashboard.services.people.passwords import (
    MAX_PARALLEL_HASHES,
    MAX_PER_ADDRESS,
    MAX_QUEUED,
    HashingQueue,
    Passwords,
)
from dashboard.services.permissions import Actor, Role
from dashboard.storage.types import Secret
from tests.servers.processes import wait_until
from tests.services.console import ADMIN, OPERATOR, PASSWORD, VIEWER, ServiceConsole, started

HOME = "192.0.2.10"


@pytest.fixture
def accounts(console: ServiceConsole) -> Accounts:
    return console.services.accounts


@pytest.fixture
def standing_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a hundred sign-ins take, the wait is still as long as it was when it began."""
    moment = time.time()
    monkeypatch.setattr(throttle, "time", SimpleNamespace(time=lambda: moment))


def refusal(accounts: Accounts, username: str, password: str, address: str = HOME) -> StowageError:
    with pytest.raises(StowageError) as caught:
        accounts.sign_in(username, password, address)
    return caught.value


def test_a_session_resumes_and_its_token_is_stored_nowhere(
    accounts: Accounts, console: ServiceConsole
) -> None:
    token = accounts.sign_in(" ADA ", PASSWORD, HOME)
    info = accounts.resume(token)
    assert info is not None
    assert (info.username, info.role) == ("ada", Role.ADMIN)
    assert info.last_sign_in == pytest.approx(time.time(), abs=5)
    assert accounts.resume(token + "x") is None
    assert accounts.resume("") is None
    for path in console.settings.instance.glob("stowage.db*"):
        assert token.encode() not in path.read_bytes()


def test_unknown_wrong_and_disabled_get_the_same_sentence(accounts: Accounts) -> None:
    accounts.add(ADMIN, "dis", PASSWORD, Role.VIEWER)
    accounts.set_disabled(ADMIN, "dis", True)
    sentences = {
        str(refusal(accounts, name, password, f"192.0.2.{n}").as_dict())
        for n, (name, password) in enumerate(
            [
                ("nobody", PASSWORD),
                ("ada", "wrong password"),
                ("dis", PASSWORD),
                ("", ""),
                ("ada", "x" * 5000),
            ]
        )
    }
    assert len(sentences) == 1


def test_hostile_names_and_passwords_are_only_wrong(accounts: Accounts) -> None:
    for n, hostile in enumerate(["\udcff", "a\0b", "' OR 1=1 --", "💣" * 500, "\u202eada"]):
        assert refusal(accounts, hostile, hostile, f"198.51.100.{n}").kind is Kind.FORBIDDEN


@pytest.mark.usefixtures("standing_clock")
def test_five_failures_make_one_wait_and_say_how_long_but_only_at_that_address(accounts: Accounts) -> None:
    for _ in range(5):
        assert refusal(accounts, "ada", "wrong password", "192.0.2.1").kind is Kind.FORBIDDEN
    error = refusal(accounts, "ada", PASSWORD, "192.0.2.1")
    assert error.kind is Kind.THROTTLED
    assert error.reason == "Too many sign-ins failed. Wait 30 seconds, then try again."
    assert isinstance(error, TooMany)
    assert error.retry_after == pytest.approx(30)
    accounts.sign_in("ada", PASSWORD, "192.0.2.99")
    accounts.set_password(ADMIN, "ada", "another good password")
    accounts.sign_in("ada", "another good password", "192.0.2.1")


@pytest.mark.usefixtures("standing_clock")
def test_guesses_from_everywhere_make_a_username_wait_but_not_where_its_owner_is(accounts: Accounts) -> None:
    token = accounts.sign_in("ada", PASSWORD, "2001:db8::7")
    for n in range(throttle.LIMITS["user"].free_attempts):
        assert refusal(accounts, "ada", "wrong password", f"198.51.100.{n}").kind is Kind.FORBIDDEN
    error = refusal(accounts, "ada", PASSWORD, "192.0.2.99")
    assert error.kind is Kind.THROTTLED
    assert "Wait 30 seconds" in error.reason
    accounts.sign_in("ada", PASSWORD, "2001:db8::8")
    me = Actor("ada", Role.ADMIN, "web", "2001:db8::7")
    assert accounts.resume(token)
    assert accounts.resume(accounts.change_own_password(me, PASSWORD, "another good password"))
    assert refusal(accounts, "ada", PASSWORD, "192.0.2.98").kind is Kind.FORBIDDEN, "the wait is over"


def test_twenty_failures_make_an_address_wait_for_everybody(accounts: Accounts) -> None:
    for n in range(throttle.LIMITS["address"].free_attempts):
        refusal(accounts, f"user{n}", "wrong password", "2001:db8::1")
    assert refusal(accounts, "ada", PASSWORD, "2001:db8::ffff").kind is Kind.THROTTLED
    accounts.sign_in("ada", PASSWORD, "2001:db8:0:1::1")


def test_waits_double_up_to_a_quarter_of_an_hour_and_are_forgotten(console: ServiceConsole) -> None:
    now = 1_000_000.0
    waits: list[float] = []
    for _ in range(14):
        with console.database.write() as session:
            throttle.count_attempt(session, "ada", "", now=now)
            pair = select(SignInAttempts.blocked_until).where(SignInAttempts.scope == "pair")
            until = session.scalar(pair) or 0.0
        waits.append(max(0.0, until - now))
        now += waits[-1] + 1
    assert waits == [0, 0, 0, 0, 30, 60, 120, 240, 480, 900, 900, 900, 900, 900]
    now += throttle.FORGET + 1
    with console.database.write() as session:
        throttle.count_attempt(session, "ada", "", now=now)
        assert session.scalars(select(SignInAttempts.failures)).all() == [1, 1]


def test_guesses_made_at_once_are_all_counted(accounts: Accounts) -> None:
    kinds: list[Kind] = []
    threads = [
        threading.Thread(target=lambda n=n: kinds.append(refusal(accounts, "ada", f"guess number {n}").kind))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # Some are sent away because too many hash at once; of the others no more than five are looked at.
    assert 1 <= kinds.count(Kind.FORBIDDEN) <= 5
    assert kinds.count(Kind.FORBIDDEN) + kinds.count(Kind.THROTTLED) == 20


def test_a_right_password_clears_the_name_but_not_the_address(
    accounts: Accounts, console: ServiceConsole
) -> None:
    for _ in range(4):
        refusal(accounts, "ada", "wrong password")
    accounts.sign_in("ada", PASSWORD, HOME)
    with console.database.read() as session:
        failures = {row.scope: row.failures for row in session.scalars(select(SignInAttempts))}
    assert failures == {"pair": 0, "user": 4, "address": 4}


def test_signing_out_ends_every_session(accounts: Accounts) -> None:
    here, there = (accounts.sign_in("ada", PASSWORD, HOME) for _ in range(2))
    accounts.sign_out(here)
    assert accounts.resume(here) is None
    assert accounts.resume(there) is None
    accounts.sign_out(here)


def test_a_new_password_ends_every_session_and_the_old_one_stops_working(accounts: Accounts) -> None:
    token = accounts.sign_in("ada", PASSWORD, HOME)
    with pytest.raises(InvalidInput) as caught:
        accounts.change_own_password(ADMIN, "not my password", "another good password")
    assert caught.value.subject == "current"
    assert accounts.resume(token) is not None
    accounts.change_own_password(ADMIN, PASSWORD, "another good password")
    assert accounts.resume(token) is None
    assert refusal(accounts, "ada", PASSWORD).kind is Kind.FORBIDDEN
    accounts.sign_in("ada", "another good password", HOME)


def test_guessing_the_current_password_is_throttled(accounts: Accounts) -> None:
    for _ in range(5):
        with pytest.raises(InvalidInput):
            accounts.change_own_password(ADMIN, "not my password", "another good password")
    with pytest.raises(StowageError) as caught:
        accounts.change_own_password(ADMIN, PASSWORD, "another good password")
    assert caught.value.kind is Kind.THROTTLED


def test_a_stranger_keeps_nobody_from_changing_their_own_password(accounts: Accounts) -> None:
    for _ in range(6):
        refusal(accounts, "ada", "wrong password", ADMIN.address)
    token = accounts.change_own_password(ADMIN, PASSWORD, "another good password")
    assert accounts.resume(token), "the browser stays signed in, whatever happens at its address"


def test_a_crowd_that_signs_in_is_sent_away_and_leaves_room_for_others() -> None:
    queue, inside, leave = HashingQueue(), threading.Semaphore(0), threading.Event()

    def stay(address: str | None) -> None:
        with queue.slot(address):
            inside.release()
            assert leave.wait(120)

    crowd = [threading.Thread(target=stay, args=("192.0.2.1",)) for _ in range(MAX_PER_ADDRESS)]
    for each in crowd:
        each.start()
    for _ in range(MAX_PARALLEL_HASHES):
        assert inside.acquire(timeout=120)
    wait_until(lambda: queue._inside["192.0.2.1"] == MAX_PER_ADDRESS, seconds=60, what="crowd in the queue")
    with pytest.raises(TooMany, match="signing in at this moment"), queue.slot("192.0.2.1"):
        pytest.fail("a fifth from one address had a turn")
    others = [threading.Thread(target=stay, args=(f"192.0.2.{n}",)) for n in (2, 3)]
    own = [threading.Thread(target=stay, args=(None,)) for _ in range(2)]
    for each in [*others, *own]:
        each.start()
    wait_until(lambda: queue._inside.total() == MAX_QUEUED, seconds=60, what="full queue")
    for address in ("192.0.2.4", None):
        with pytest.raises(TooMany), queue.slot(address):
            pytest.fail("a full queue let somebody in")
    leave.set()
    for each in [*crowd, *others, *own]:
        each.join(120)
    with queue.slot("192.0.2.1"), queue.slot("192.0.2.1"):
        assert queue._inside.total() == 1


def test_who_is_sent_away_from_a_full_queue_has_not_failed(
    accounts: Accounts, console: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_address: str) -> NoReturn:
        raise TooMany("Too many people are signing in.", operation="sign in", remedy="", retry_after=2)

    with monkeypatch.context() as patched:
        patched.setattr(accounts._passwords, "slot", full)
        for _ in range(9):
            assert refusal(accounts, "ada", PASSWORD).kind is Kind.THROTTLED
    accounts.sign_in("ada", PASSWORD, HOME)


def test_disabling_takes_effect_at_once(accounts: Accounts) -> None:
    accounts.add(ADMIN, "olga", PASSWORD, Role.OPERATOR)
    token = accounts.sign_in("olga", PASSWORD, HOME)
    accounts.set_disabled(ADMIN, "olga", True)
    assert accounts.resume(token) is None
    accounts.set_disabled(ADMIN, "olga", False)
    assert accounts.resume(token) is None
    accounts.sign_in("olga", PASSWORD, HOME)


def test_a_new_role_takes_effect_at_once(accounts: Accounts) -> None:
    accounts.add(ADMIN, "olga", PASSWORD, Role.OPERATOR)
    token = accounts.sign_in("olga", PASSWORD, HOME)
    accounts.set_role(ADMIN, "olga", Role.VIEWER)
    info = accounts.resume(token)
    assert info is not None
    assert info.role is Role.VIEWER


@pytest.mark.parametrize("column", ["last_seen", "expires_at"])
def test_sessions_end_when_idle_or_old(accounts: Accounts, console: ServiceConsole, column: str) -> None:
    token = accounts.sign_in("ada", PASSWORD, HOME)
    past = time.time() - (IDLE_SECONDS + 1 if column == "last_seen" else 1)
    with console.database.write() as session:
        session.execute(update(SignInSession).values({column: past}))
    assert accounts.resume(token) is None
    fresh = accounts.sign_in("ada", PASSWORD, HOME)
    with console.database.read() as session:
        (row,) = session.scalars(select(SignInSession))
    assert row.expires_at == pytest.approx(time.time() + LIFETIME_SECONDS, abs=5)
    assert accounts.resume(fresh) is not None


def test_a_visit_is_noted_at_most_once_a_minute(accounts: Accounts, console: ServiceConsole) -> None:
    token = accounts.sign_in("ada", PASSWORD, HOME)

    def seen() -> float:
        with console.database.read() as session:
            return session.scalars(select(SignInSession.last_seen)).one()

    first = seen()
    accounts.resume(token)
    assert seen() == first
    with console.database.write() as session:
        session.execute(update(SignInSession).values(last_seen=first - accounts_module.LAST_SEEN_SECONDS))
    accounts.resume(token)
    assert seen() >= first


def test_the_last_enabled_administrator_stays_one(accounts: Accounts) -> None:
    accounts.add(ADMIN, "bob", PASSWORD, Role.ADMIN)
    accounts.set_disabled(ADMIN, "bob", True)
    for deed in (
        lambda: accounts.set_role(ADMIN, "ada", Role.VIEWER),
        lambda: accounts.set_disabled(ADMIN, "ada", True),
    ):
        with pytest.raises(StowageError) as caught:
            deed()
        assert caught.value.kind is Kind.CONFLICT
        assert "last administrator" in caught.value.reason
    accounts.set_disabled(ADMIN, "bob", False)
    accounts.set_role(ADMIN, "ada", Role.VIEWER)


def test_two_administrators_cannot_demote_each_other_at_once(accounts: Accounts) -> None:
    accounts.add(ADMIN, "bob", PASSWORD, Role.ADMIN)
    outcomes: list[str] = []

    def demote(name: str) -> None:
        try:
            accounts.set_role(ADMIN, name, Role.VIEWER)
            outcomes.append("done")
        except StowageError:
            outcomes.append("refused")

    threads = [threading.Thread(target=demote, args=(name,)) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["done", "refused"]


@pytest.mark.parametrize("actor", [OPERATOR, VIEWER])
def test_only_administrators_manage_people(accounts: Accounts, actor: Actor) -> None:
    for deed in (
        lambda: accounts.add(actor, "eve", PASSWORD, Role.ADMIN),
        lambda: accounts.set_password(actor, "ada", "another good password"),
        lambda: accounts.set_role(actor, "ada", Role.VIEWER),
        lambda: accounts.set_disabled(actor, "ada", True),
    ):
        with pytest.raises(StowageError) as caught:
            deed()
        assert caught.value.kind is Kind.FORBIDDEN


@pytest.mark.parametrize("name", ["", "a" * 65, "Ünal", "a b", "a/b", "a\nb", "ada\0"])
def test_unfit_usernames_are_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accounts.add(ADMIN, name, PASSWORD, Role.VIEWER)
    assert caught.value.subject == "username"


@pytest.mark.parametrize(
    "password",
    [
        "",
        "123456789",
        "1234567890",
        "Password123",
        "olga.maria",
        "a" * 1025,
        "aaaaaaaaaaaa",
        "line\nbreak here",
        "\udcffsurrogate pass",
    ],
)
def test_weak_passwords_are_refused_without_repeating_them(accounts: Accounts, password: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        accounts.add(ADMIN, "olga.maria", password, Role.VIEWER)
    assert caught.value.subject == "password"
    assert not password or password not in str(caught.value.as_dict())


def test_a_taken_name_is_refused(accounts: Accounts) -> None:
    with pytest.raises(InvalidInput, match="already a user"):
        accounts.add(ADMIN, "ADA", PASSWORD, Role.VIEWER)


def test_unknown_people_cannot_be_changed(accounts: Accounts) -> None:
    with pytest.raises(StowageError) as caught:
        accounts.set_role(ADMIN, "nobody", Role.VIEWER)
    assert caught.value.kind is Kind.NOT_FOUND


def test_hashes_follow_new_parameters_at_the_next_sign_in(console: ServiceConsole, instance: Path) -> None:
    stronger = PasswordHasher(time_cost=2, memory_cost=16, parallelism=1)
    with started(instance, hasher=stronger) as again:
        again.services.accounts.sign_in("ada", PASSWORD, HOME)
        with again.database.read() as session:
            stored = session.scalars(select(User.password_hash)).one()
    assert "t=2" in stored
    assert stored.startswith("$argon2id$")
    console.services.accounts.sign_in("ada", PASSWORD, HOME)


def test_hashes_cost_what_rfc_9106_recommends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.services.people.passwords.PasswordHasher", PasswordHasher)
    made = Passwords().hash(Secret(PASSWORD))
    assert made.startswith("$argon2id$v=19$m=65536,t=3,p=4$")


def test_accented_passwords_match_however_the_keyboard_composes_them() -> None:
    passwords = Passwords()
    assert passwords.verify(passwords.hash(Secret("cafe\u0301 au lait")), Secret("caf\u00e9 au lait"))


def test_every_change_of_people_is_in_the_audit_log(accounts: Accounts, console: ServiceConsole) -> None:
    accounts.add(ADMIN, "olga", PASSWORD, Role.OPERATOR)
    accounts.set_role(ADMIN, "olga", Role.VIEWER)
    accounts.set_password(ADMIN, "olga", "another good password")
    refusal(accounts, "hunter2 in the wrong field", "x")
    accounts.sign_out(accounts.sign_in("olga", "another good password", HOME))
    rows = console.services.audit.rows(limit=6)
    assert [row.action for row in rows] == [
        "sign_out",
        "sign_in",
        "sign_in",
        "user.password",
        "user.role",
        "user.add",
    ]
    assert dict(rows[4].detail) == {"before": "operator", "after": "viewer"}
    assert (rows[2].outcome, rows[2].subject) == ("refused", "(unknown)")
    assert (rows[0].actor, rows[0].address) == ("olga", HOME)
