"""Links: who may open them, until when, and what counts as a use."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from argon2 import PasswordHasher

from dashboard.errors import InvalidInput, Kind, StowageError, TooMany
from dashboard.services.files.sharing import link_uses, links
from dashboard.services.files.sharing.link_rules import MAX_SECONDS, SignInRequired
from dashboard.services.files.sharing.link_uses import BROKEN_COPIES, Delivery, Recipient
from dashboard.services.files.sharing.links import LinkState, NewLink
from dashboard.services.people.throttle import LIMITS
from dashboard.services.permissions import Role
from dashboard.storage.errors import NotFound
from tests.services.composed import add_local
from tests.services.console import ADMIN, OPERATOR, PASSWORD, VIEWER, ServiceConsole, started
from tests.services.database_file import change_by_hand, everything_in

SIZE = 1000
SOMEBODY = Recipient("", "198.51.100.9")
NEWCOMER = replace(VIEWER, name="nina")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceConsole]:
    """With a file in ``local-disk``, and people of every role."""
    folder = tmp_path_factory.mktemp("links") / "instance"
    quick = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    with started(folder, hasher=quick) as console:
        console.services.setup.complete(console.services.setup.issue_code(), ADMIN.name, PASSWORD)
        (folder / "files" / "report.bin").write_bytes(b"x" * SIZE)
        for actor in (OPERATOR, VIEWER, NEWCOMER):
            console.services.accounts.add(ADMIN, actor.name, PASSWORD, actor.role)
        yield console


def link(console: ServiceConsole, uses: int | None = None, **more: str) -> NewLink:
    return console.services.links.create(VIEWER, "local-disk", "report.bin", seconds=60, uses=uses, **more)


def token(made: NewLink) -> str:
    return made.path.removeprefix("/d/")


def begin(console: ServiceConsole, made: NewLink, start: int = 0, end: int = SIZE) -> Delivery:
    file = console.services.links.open(token(made), SOMEBODY)
    return console.services.links.uses.begin(
        file.link_id, SOMEBODY, start=start, end=end, size=SIZE, content="etag"
    )


def send(
    console: ServiceConsole, made: NewLink, start: int = 0, end: int = SIZE, *, chunk: int = 100
) -> None:
    whole = end - start
    body = (b"x" * min(chunk, whole - done) for done in range(0, whole, chunk))
    assert sum(map(len, begin(console, made, start, end).through(body))) == whole


def break_after(console: ServiceConsole, made: NewLink, sent: int, start: int = 0) -> None:
    """A client that is gone after so many bytes."""
    stream = begin(console, made, start).through(b"x" for _ in range(start, SIZE))
    for _ in range(sent + 1):
        next(stream)
    stream.close()  # type: ignore[attr-defined]


def uses(console: ServiceConsole, made: NewLink) -> int:
    return console.services.links.get(ADMIN, made.info.id).uses


@contextmanager
def refused(kind: Kind) -> Iterator[pytest.ExceptionInfo[StowageError]]:
    with pytest.raises(StowageError) as found:
        yield found
    assert found.value.kind is kind


def test_a_link_opens_its_file_and_only_a_hash_is_stored(shared: ServiceConsole) -> None:
    made = link(shared)
    file = shared.services.links.open(token(made), SOMEBODY)
    assert (file.backend, file.key, file.is_limited) == ("local-disk", "report.bin", False)
    assert len(token(made)) == 22
    for engine in (shared.database.main, shared.database.work):
        assert token(made) not in everything_in(engine)
    assert "report.bin" in everything_in(shared.database.main)


def test_creating_and_revoking_is_audited_and_so_is_the_first_use(shared: ServiceConsole) -> None:
    made = link(shared, uses=3, network="198.51.100.0/24")
    send(shared, made)
    send(shared, made)
    shared.services.links.revoke(VIEWER, made.info.id)
    shared.services.links.revoke(VIEWER, made.info.id)
    rows = [row for row in shared.services.audit.rows(action="link") if row.subject == f"link {made.info.id}"]
    assert [row.action for row in rows] == ["link.revoke", "link.first_use", "link.create"]
    assert rows[2].detail == {
        "backend": "local-disk",
        "key": "report.bin",
        "seconds": "60",
        "uses": "3",
        "network": "198.51.100.0/24",
    }
    assert rows[1].address == SOMEBODY.address


@pytest.mark.parametrize("wrong", ["", "x", "A" * 22, "A" * 5000, "é" * 22, "\udcff", "../../etc/passwd"])
def test_an_unknown_link_is_not_found(shared: ServiceConsole, wrong: str) -> None:
    with refused(Kind.NOT_FOUND):
        shared.services.links.open(wrong, SOMEBODY)


def test_guessing_is_throttled_where_it_comes_from(shared: ServiceConsole) -> None:
    made = link(shared)
    for guess in range(LIMITS["link"].free_attempts):
        with refused(Kind.NOT_FOUND):
            shared.services.links.open(f"{guess:022}", Recipient("", "203.0.113.5"))
    with pytest.raises(TooMany):
        shared.services.links.open(token(made), Recipient("", "203.0.113.5"))
    assert shared.services.links.open(token(made), SOMEBODY)


def test_a_revoked_or_expired_link_is_gone(shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    revoked, expired = link(shared), link(shared)
    assert shared.services.links.revoke(VIEWER, revoked.info.id).state is LinkState.REVOKED
    with refused(Kind.GONE):
        shared.services.links.open(token(revoked), SOMEBODY)
    now = time.time()
    monkeypatch.setattr(links.time, "time", lambda: now + 61)
    with refused(Kind.GONE):
        shared.services.links.open(token(expired), SOMEBODY)
    assert shared.services.links.get(ADMIN, expired.info.id).state is LinkState.EXPIRED


def test_a_link_for_one_person_asks_for_the_sign_in_and_refuses_others(shared: ServiceConsole) -> None:
    made = link(shared, user="Olga")
    with pytest.raises(SignInRequired):
        shared.services.links.open(token(made), SOMEBODY)
    with refused(Kind.FORBIDDEN):
        shared.services.links.open(token(made), Recipient("ada"))
    assert shared.services.links.open(token(made), Recipient("olga"))


@pytest.mark.parametrize(
    ("network", "address", "allowed"),
    [
        ("198.51.100.9", "198.51.100.9", True),
        ("198.51.100.9", "198.51.100.8", False),
        ("198.51.100.77/24", "198.51.100.9", True),
        ("198.51.100.0/24", "::ffff:198.51.100.9", True),
        ("198.51.100.0/24", "2001:db8::1", False),
        ("2001:db8::/32", "2001:db8::1%eth0", True),
        ("2001:db8::/32", "198.51.100.9", False),
        ("198.51.100.9", "", False),
        ("198.51.100.9", "unix:", False),
    ],
)
def test_a_link_for_a_network_refuses_other_addresses(
    shared: ServiceConsole, network: str, address: str, allowed: bool
) -> None:
    made = link(shared, network=network)
    if allowed:
        assert shared.services.links.open(token(made), Recipient("", address))
    else:
        with refused(Kind.FORBIDDEN):
            shared.services.links.open(token(made), Recipient("", address))


def test_a_link_does_not_outlive_the_rights_of_its_creator(
    shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = link(shared)
    shared.services.accounts.set_disabled(ADMIN, VIEWER.name, True)
    with refused(Kind.FORBIDDEN):
        shared.services.links.open(token(made), SOMEBODY)
    shared.services.accounts.set_disabled(ADMIN, VIEWER.name, False)
    assert shared.services.links.open(token(made), SOMEBODY)
    change_by_hand(shared.database.main, f"DELETE FROM users WHERE username = '{VIEWER.name}'")
    with refused(Kind.FORBIDDEN):
        shared.services.links.open(token(made), SOMEBODY)
    # Somebody new of the same name has not shared it.
    shared.services.accounts.add(ADMIN, VIEWER.name, PASSWORD, Role.VIEWER)
    with refused(Kind.FORBIDDEN):
        shared.services.links.open(token(made), SOMEBODY)
    assert shared.services.links.list(VIEWER) == ()


def test_a_role_that_may_not_read_files_shares_none(
    shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.services import permissions
    from dashboard.services.files.sharing import link_rules

    made = link(shared)
    granted = {**permissions.GRANTS, Role.VIEWER: frozenset({permissions.Permission.VIEW})}
    monkeypatch.setattr(permissions, "GRANTS", granted)
    monkeypatch.setattr(link_rules, "GRANTS", granted)
    with refused(Kind.FORBIDDEN):
        shared.services.links.open(token(made), SOMEBODY)
    with refused(Kind.FORBIDDEN):
        link(shared)


def test_without_its_backend_a_link_is_gone(shared: ServiceConsole, tmp_path: Path) -> None:
    (add_local(shared.services, "removed", tmp_path / "removed") / "a").write_bytes(b"1")
    made = shared.services.links.create(ADMIN, "removed", "a", seconds=60)
    shared.services.backends.remove(ADMIN, "removed")
    with refused(Kind.GONE):
        shared.services.links.open(token(made), SOMEBODY)
    assert shared.services.links.get(ADMIN, made.info.id).backend == ""


def test_a_link_follows_its_file_to_another_backend(shared: ServiceConsole, tmp_path: Path) -> None:
    add_local(shared.services, "other", tmp_path / "other")
    here, there = (shared.services.backends.get(name).id for name in ("local-disk", "other"))
    change_by_hand(
        shared.database.work,
        "INSERT INTO files (backend_id, key, size, created_at, updated_at)"
        f" VALUES ({here}, 'report.bin', 9, 0, 0)",
    )
    made = link(shared)
    change_by_hand(shared.database.work, f"UPDATE files SET backend_id = {there}, key = 'moved/report.bin'")
    file = shared.services.links.open(token(made), SOMEBODY)
    assert (file.backend, file.key) == ("other", "moved/report.bin")
    change_by_hand(shared.database.work, "DELETE FROM files")
    assert shared.services.links.open(token(made), SOMEBODY).backend == "local-disk"


def test_people_see_and_revoke_their_own_links_and_administrators_all(shared: ServiceConsole) -> None:
    service = shared.services.links
    theirs = service.create(OPERATOR, "local-disk", "report.bin", seconds=60).info.id
    mine = service.create(NEWCOMER, "local-disk", "report.bin", seconds=60).info.id
    assert [each.id for each in service.list(NEWCOMER)] == [mine]
    assert [each.id for each in service.list(ADMIN, limit=2)] == [mine, theirs]
    assert [each.id for each in service.list(ADMIN, before_id=mine, limit=1)] == [theirs]
    with refused(Kind.NOT_FOUND):
        service.revoke(NEWCOMER, theirs)
    with refused(Kind.NOT_FOUND):
        service.get(NEWCOMER, theirs)
    service.revoke(ADMIN, mine)
    assert service.list(NEWCOMER, only_open=True) == ()


def test_the_command_lines_links_need_no_account(shared: ServiceConsole) -> None:
    root = replace(ADMIN, name="somebody-of-the-system", via="cli")
    made = shared.services.links.create(root, "local-disk", "report.bin", seconds=60)
    assert shared.services.links.open(token(made), SOMEBODY)
    with refused(Kind.FORBIDDEN):
        shared.services.links.create(replace(root, via="web"), "local-disk", "report.bin", seconds=60)


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"seconds": 0}, "seconds"),
        ({"seconds": MAX_SECONDS + 1}, "seconds"),
        ({"uses": 0}, "uses"),
        ({"uses": 10**9}, "uses"),
        ({"network": "here"}, "network"),
        ({"network": "10.0.0.0/99"}, "network"),
        ({"user": "no such name!"}, "user"),
    ],
)
def test_limits_that_make_no_sense_are_refused(
    shared: ServiceConsole, options: dict[str, str], field: str
) -> None:
    with pytest.raises(InvalidInput) as found:
        shared.services.links.create(VIEWER, "local-disk", "report.bin", **{"seconds": 60, **options})  # type: ignore[arg-type]
    assert found.value.subject == field


def test_who_has_an_account_is_told_to_administrators_only(shared: ServiceConsole) -> None:
    assert link(shared, user="nobody-has-this-name")
    with pytest.raises(InvalidInput):
        shared.services.links.create(ADMIN, "local-disk", "report.bin", seconds=60, user="nobody")


def test_there_is_no_link_to_what_does_not_exist(shared: ServiceConsole) -> None:
    with pytest.raises(NotFound):
        shared.services.links.create(VIEWER, "local-disk", "nothing", seconds=60)
    with refused(Kind.NOT_FOUND):
        shared.services.links.create(VIEWER, "nowhere", "report.bin", seconds=60)


def test_nobody_has_too_many_open_links(shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(links, "MAX_LINKS", 2)

    def create() -> NewLink:
        return shared.services.links.create(NEWCOMER, "local-disk", "report.bin", seconds=60)

    first, _ = create(), create()
    with refused(Kind.CONFLICT):
        create()
    shared.services.links.revoke(NEWCOMER, first.info.id)
    assert create()


# What counts as a use


def test_each_complete_download_is_a_use(shared: ServiceConsole) -> None:
    made = link(shared, uses=2)
    send(shared, made)
    assert uses(shared, made) == 1
    send(shared, made)
    with refused(Kind.GONE):
        begin(shared, made)
    found = shared.services.links.get(ADMIN, made.info.id)
    assert (found.state, found.last_address) == (LinkState.USED_UP, SOMEBODY.address)


def test_a_broken_download_and_a_scanner_are_no_use(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    send(shared, made, 0, 64)
    break_after(shared, made, 0)
    break_after(shared, made, 600)
    break_after(shared, made, 700)
    assert uses(shared, made) == 0
    send(shared, made)
    assert uses(shared, made) == 1


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_a_download_in_parts_is_one_use(shared: ServiceConsole, order: tuple[int, ...]) -> None:
    made = link(shared, uses=1)
    for part in order:
        assert uses(shared, made) == 0
        send(shared, made, part * 250, part * 250 + 250)
    assert uses(shared, made) == 1


def test_a_download_resumed_elsewhere_is_one_use(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    break_after(shared, made, 400)
    send(shared, made, 400)
    assert uses(shared, made) == 1


def test_all_but_the_last_byte_again_and_again_ends_too(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    for _ in range(BROKEN_COPIES + 1):
        send(shared, made, 0, SIZE - 1)
    with refused(Kind.GONE):
        begin(shared, made)


def test_downloads_at_the_same_time_never_exceed_the_uses(shared: ServiceConsole) -> None:
    made = link(shared, uses=3)
    barrier, admitted, denied = threading.Barrier(12), list[Delivery](), list[StowageError]()

    def download() -> None:
        barrier.wait()
        try:
            admitted.append(begin(shared, made))
        except StowageError as error:
            denied.append(error)

    threads = [threading.Thread(target=download) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(admitted) == 3
    assert {error.kind for error in denied} == {Kind.THROTTLED}
    # One breaks: its use is free again, for one.
    admitted[0].advance(10)
    admitted[0].close()
    again = begin(shared, made)
    with refused(Kind.THROTTLED):
        begin(shared, made)
    for each in (*admitted[1:], again):
        each.advance(SIZE)
        each.close(complete=True)
    assert uses(shared, made) == 3


def test_parts_may_be_downloaded_at_the_same_time(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    parts = [begin(shared, made, start, start + 250) for start in range(0, SIZE, 250)]
    with refused(Kind.THROTTLED):
        begin(shared, made)
    for each in parts:
        each.advance(250)
        each.close(complete=True)
    assert uses(shared, made) == 1


def test_revoking_cuts_off_what_is_under_way(shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link_uses, "REPORT_SECONDS", 0.0)
    for limit in (1, None):
        made = link(shared, uses=limit)
        stream = begin(shared, made).through(b"x" for _ in range(SIZE))
        next(stream)
        shared.services.links.revoke(ADMIN, made.info.id)
        with refused(Kind.GONE):
            for _ in range(3):
                next(stream)


def test_what_a_killed_process_had_sent_is_counted(
    shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = link(shared, uses=1)
    begin(shared, made).confirm()
    with refused(Kind.THROTTLED):
        begin(shared, made)
    now = time.time()
    monkeypatch.setattr(link_uses.time, "time", lambda: now + link_uses.LEASE_SECONDS + 1)
    monkeypatch.setattr(link_uses, "is_open", lambda *_: True)
    with refused(Kind.GONE):
        shared.services.links.uses.begin(made.info.id, SOMEBODY, start=0, end=SIZE, size=SIZE, content="etag")


def test_a_killed_process_that_sent_little_gives_its_use_back(
    shared: ServiceConsole, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = link(shared, uses=1)
    killed = begin(shared, made)
    killed.advance(10)
    killed.report()
    now = time.time()
    monkeypatch.setattr(link_uses.time, "time", lambda: now + link_uses.LEASE_SECONDS + 1)
    monkeypatch.setattr(link_uses, "is_open", lambda *_: True)
    late = shared.services.links.uses.begin(
        made.info.id, SOMEBODY, start=0, end=SIZE, size=SIZE, content="etag"
    )
    late.advance(SIZE)
    late.close(complete=True)
    assert uses(shared, made) == 1


def test_parts_of_different_contents_make_no_copy(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    send(shared, made, 0, 900)
    file = shared.services.links.open(token(made), SOMEBODY)
    changed = shared.services.links.uses.begin(
        file.link_id, SOMEBODY, start=900, end=SIZE, size=SIZE, content="another etag"
    )
    changed.advance(100)
    changed.close(complete=True)
    assert uses(shared, made) == 0


def test_an_empty_file_can_be_used_once(shared: ServiceConsole) -> None:
    made = link(shared, uses=1)
    whole = shared.services.links.uses.begin(made.info.id, SOMEBODY, start=0, end=0, size=0, content="etag")
    assert list(whole.through(())) == []
    assert uses(shared, made) == 1
    with refused(Kind.GONE):
        shared.services.links.open(token(made), SOMEBODY)


def test_unlimited_links_count_too(shared: ServiceConsole) -> None:
    made = link(shared)
    both = [begin(shared, made), begin(shared, made)]
    for each in both:
        each.advance(SIZE)
        each.close(complete=True)
        each.close()
    assert uses(shared, made) == 2
