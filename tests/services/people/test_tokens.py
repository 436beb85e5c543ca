"""API tokens: stored as a hash, never more than their user, dead at once when they are to be."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import event, select, update

from dashboard.errors import InvalidInput, Kind, StowageError, TooMany
from dashboard.models.sharing import ApiToken
from dashboard.services.people import tokens as tokens_module
from dashboard.services.people.token_buckets import MAX_NAMES, TokenBuckets
from dashboard.services.people.tokens import DEFAULT_SECONDS, KEPT_SECONDS, Tokens
from dashboard.services.permissions import GRANTS, TOKEN_SCOPES, Actor, Permission, Role
from tests.services.console import ADMIN, PASSWORD, ServiceConsole

HOME = "192.0.2.10"
ADA = Actor("ada", Role.ADMIN, "web", HOME)
OLGA = Actor("olga", Role.OPERATOR, "web", HOME)


@pytest.fixture
def tokens(console: ServiceConsole) -> Tokens:
    console.services.accounts.add(ADMIN, "olga", PASSWORD, Role.OPERATOR)
    return console.services.tokens


def holder_scopes(tokens: Tokens, text: str) -> frozenset[Permission] | None:
    holder = tokens.authenticate(text, HOME)
    return holder.scopes if holder else None


def test_a_token_is_shown_once_and_stored_nowhere(tokens: Tokens, console: ServiceConsole) -> None:
    made = tokens.create(ADA, " nightly backup ", ["view", "read_files"])
    text = made.secret.reveal()
    assert text.startswith("stw_")
    assert len(text) == 47
    assert (made.info.name, made.info.ending) == ("nightly backup", text[-4:])
    assert made.info.expires_at == pytest.approx(time.time() + DEFAULT_SECONDS, abs=5)
    holder = tokens.authenticate(text, HOME)
    assert holder is not None
    assert holder.user.username == "ada"
    assert holder.scopes == {Permission.VIEW, Permission.READ_FILES}
    assert text not in repr(made)
    for path in console.settings.instance.glob("*.db*"):
        assert text[4:].encode() not in path.read_bytes()
    row = console.services.audit.rows(action="token.create")[0]
    assert (row.subject, row.detail["user"], row.detail["scopes"]) == (
        "nightly backup",
        "ada",
        "read_files, view",
    )


@pytest.mark.parametrize("wrong", ["", "stw_", "stw_" + "A" * 43, "x" * 5000, "stw_\ud800", "Bearer"])
def test_what_is_no_token_stands_for_nobody(tokens: Tokens, wrong: str) -> None:
    tokens.create(ADA, "one", ["view"])
    assert tokens.authenticate(wrong, HOME) is None


def test_a_token_does_no_more_than_its_user_may_now(tokens: Tokens, console: ServiceConsole) -> None:
    with pytest.raises(InvalidInput, match="The role operator does not include: configure, users"):
        tokens.create(OLGA, "more", ["view", "configure", "users"])
    text = tokens.create(OLGA, "ci", ["view", "migrate", "audit"]).secret.reveal()
    assert holder_scopes(tokens, text) == {Permission.VIEW, Permission.MIGRATE, Permission.AUDIT}
    console.services.accounts.set_role(ADMIN, "olga", Role.VIEWER)
    assert holder_scopes(tokens, text) == {Permission.VIEW}
    console.services.accounts.set_role(ADMIN, "olga", Role.ADMIN)
    assert holder_scopes(tokens, text) == {Permission.VIEW, Permission.MIGRATE, Permission.AUDIT}


@pytest.mark.parametrize("scope", ["own_account", "keys", "nonsense", ""])
def test_some_things_no_token_may_do(tokens: Tokens, scope: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        tokens.create(ADA, "one", ["view", scope])
    assert refused.value.subject == "scopes"
    assert "own_account" not in refused.value.remedy


def test_a_scope_in_the_database_that_no_token_may_have_grants_nothing(
    tokens: Tokens, console: ServiceConsole
) -> None:
    text = tokens.create(ADA, "one", ["view"]).secret.reveal()
    with console.services.database.write() as session:
        session.execute(update(ApiToken).values(scopes=["view", "own_account", "keys", "of-a-later-version"]))
    assert holder_scopes(tokens, text) == {Permission.VIEW}


def test_expired_revoked_and_disabled_are_dead_at_once(tokens: Tokens, console: ServiceConsole) -> None:
    expiring, revoked, disabled = (
        tokens.create(OLGA, name, ["view"], seconds=60).secret.reveal() for name in "abc"
    )
    forever = tokens.create(OLGA, "d", ["view"], seconds=None)
    assert forever.info.expires_at is None
    assert all(tokens.authenticate(text, HOME) for text in (expiring, revoked, disabled))
    with console.services.database.write() as session:
        session.execute(update(ApiToken).where(ApiToken.name == "a").values(expires_at=time.time()))
    assert tokens.authenticate(expiring, HOME) is None
    numbers = {token.name: token.id for token in tokens.list(OLGA)}
    assert tokens.revoke(OLGA, numbers["b"]).state == "revoked"
    assert tokens.revoke(OLGA, numbers["b"]).state == "revoked"
    assert tokens.authenticate(revoked, HOME) is None
    assert len(console.services.audit.rows(action="token.revoke")) == 1
    console.services.accounts.set_disabled(ADMIN, "olga", True)
    assert tokens.authenticate(disabled, HOME) is None
    assert tokens.authenticate(forever.secret.reveal(), HOME) is None
    console.services.accounts.set_disabled(ADMIN, "olga", False)
    assert tokens.authenticate(disabled, HOME)


def test_everybody_sees_and_revokes_their_own_and_an_administrator_all(tokens: Tokens) -> None:
    mine, theirs = tokens.create(ADA, "a", ["view"]).info, tokens.create(OLGA, "o", ["view"]).info
    assert [token.name for token in tokens.list(OLGA)] == ["o"]
    assert [token.name for token in tokens.list(ADA)] == ["a"]
    assert [token.username for token in tokens.list(ADA, everybody=True)] == ["olga", "ada"]
    with pytest.raises(StowageError) as refused:
        tokens.list(OLGA, everybody=True)
    assert refused.value.kind is Kind.FORBIDDEN
    for number in (mine.id, 999, 2**70):
        with pytest.raises(StowageError) as unknown:
            tokens.revoke(OLGA, number)
        assert unknown.value.kind is Kind.NOT_FOUND
    assert tokens.revoke(ADA, theirs.id).revoked_at
    with pytest.raises(StowageError) as others:
        tokens.create(OLGA, "x", ["view"], username="ada")
    assert others.value.kind is Kind.FORBIDDEN
    assert tokens.create(ADA, "x", ["view"], username="olga").info.username == "olga"


def test_a_token_makes_no_token_and_revokes_none(tokens: Tokens) -> None:
    made = tokens.create(ADA, "all", sorted(TOKEN_SCOPES))
    holder = tokens.authenticate(made.secret.reveal(), HOME)
    assert holder is not None
    program = Actor("ada", Role.ADMIN, "api", scopes=holder.scopes, token=holder.label)
    for change in (lambda: tokens.create(program, "b", ["view"]), lambda: tokens.revoke(program, 1)):
        with pytest.raises(StowageError) as refused:
            change()
        assert refused.value.kind is Kind.FORBIDDEN


def test_names_lifetimes_and_numbers_are_bounded(
    tokens: Tokens, monkeypatch: pytest.MonkeyPatch, console: ServiceConsole
) -> None:
    for name in ("", "  ", "x" * 64, "two\nlines"):
        with pytest.raises(InvalidInput, match="1 to 63 characters"):
            tokens.create(ADA, name, ["view"])
    for seconds in (0, -1, 59, 1e12, float("inf"), float("nan")):
        with pytest.raises(InvalidInput, match="a minute to ten years"):
            tokens.create(ADA, "long", ["view"], seconds=seconds)
    first = tokens.create(ADA, "same", ["view"]).info
    with pytest.raises(InvalidInput, match="already a token “same”"):
        tokens.create(ADA, "same", ["view"])
    tokens.revoke(ADA, first.id)
    tokens.create(ADA, "same", ["view"])
    monkeypatch.setattr(tokens_module, "MAX_TOKENS", 1)
    with pytest.raises(StowageError, match="has 1 tokens already"):
        tokens.create(ADA, "another", ["view"])
    with console.services.database.write() as session:
        session.execute(update(ApiToken).values(revoked_at=time.time() - KEPT_SECONDS - 1))
    tokens.create(ADA, "another", ["view"])
    assert [token.name for token in tokens.list(ADA)] == ["another"]


def test_the_last_use_is_written_once_a_minute(tokens: Tokens, console: ServiceConsole) -> None:
    text = tokens.create(ADA, "one", ["view"]).secret.reveal()
    written: list[str] = []
    engine = console.services.database._main_writer
    event.listen(engine, "before_cursor_execute", lambda c, cur, sql, *more: written.append(sql))
    for _ in range(5):
        assert tokens.authenticate(text, HOME)
    assert sum(sql.startswith("UPDATE api_tokens") for sql in written) == 1
    token = tokens.list(ADA)[0]
    assert token.last_used_at == pytest.approx(time.time(), abs=5)
    assert token.last_address == HOME


def test_guesses_are_throttled_and_lock_nobody_out_who_has_a_token(tokens: Tokens) -> None:
    text = tokens.create(ADA, "one", ["view"]).secret.reveal()
    other = tokens.create(ADA, "two", ["view"]).secret.reveal()
    assert tokens.authenticate(text, HOME)
    for number in range(20):
        assert tokens.authenticate(f"stw_{number:043}", HOME) is None
    with pytest.raises(TooMany) as refused:
        tokens.authenticate("stw_" + "z" * 43, HOME)
    assert 0 < refused.value.retry_after <= 5
    assert tokens.authenticate(text, HOME), "it worked from there before"
    with pytest.raises(TooMany):
        tokens.authenticate(other, HOME)
    assert tokens.authenticate(other, "198.51.100.1")


def test_a_token_sends_so_many_requests_and_no_more(console: ServiceConsole) -> None:
    tokens = Tokens(console.services.database, console.services.audit, requests_per_minute=60)
    holder = tokens.authenticate(tokens.create(ADA, "one", ["view"]).secret.reveal(), HOME)
    other = tokens.authenticate(tokens.create(ADA, "two", ["view"]).secret.reveal(), HOME)
    assert holder is not None
    assert other is not None
    for _ in range(10):
        tokens.count_request(holder)
    with pytest.raises(TooMany) as refused:
        tokens.count_request(holder)
    assert 0 < refused.value.retry_after <= 1
    tokens.count_request(other)


def test_buckets_fill_with_time_and_are_bounded() -> None:
    now = [0.0]
    buckets = TokenBuckets(per_second=2, burst=4, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    now[0] = 0.5
    assert (buckets.wait("a"), buckets.take("a"), buckets.take("a")) == (0, 0, 0.5)
    now[0] = 1000
    assert [buckets.take("a") for _ in range(5)] == [0, 0, 0, 0, 0.5]
    for number in range(MAX_NAMES):
        buckets.take(str(number))
    assert len(buckets._buckets) == MAX_NAMES
    assert buckets.take("a") == 0


def test_removing_a_user_removes_the_tokens(tokens: Tokens, console: ServiceConsole) -> None:
    text = tokens.create(OLGA, "one", ["view"]).secret.reveal()
    from dashboard.models.console import User

    with console.services.database.write() as session:
        session.delete(session.scalar(select(User).where(User.username == "olga")))
    assert tokens.authenticate(text, HOME) is None


def test_every_role_can_make_a_token_with_a_scope() -> None:
    for role in Role:
        assert GRANTS[role] & TOKEN_SCOPES
