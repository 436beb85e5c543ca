"""What a place does with names is learnt by looking, and said of each key before it is written."""

from __future__ import annotations

import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dashboard.errors import Kind
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import ContainerMissing, InvalidKey, StorageError
from dashboard.storage.inspection.listing import MARKER_PREFIX
from dashboard.storage.inspection.name_rules import NameRules, probe_name_rules
from dashboard.storage.net.at_once import MAX_CALLS
from dashboard.storage.probe import probe
from dashboard.storage.types import Entry, ObjectInfo, Written
from tests.servers.drivers import s3_on
from tests.servers.foreign import rclone
from tests.servers.seaweedfs import SeaweedFS


class Changing(MemoryDriver):
    """Keeps objects under another name than it was given, and answers to both."""

    def __init__(self, changed: Callable[[str], str], *, hidden: Callable[[str], bool]) -> None:
        super().__init__()
        self.changed = changed
        self.hides = hidden
        self.failing: Callable[[str], bool] = lambda key: False

    def put(self, key: str, data: bytes, **more: Any) -> Written:
        if self.failing(key):
            raise StorageError(Kind.UNREACHABLE, "The server broke off.")
        return super().put(self.changed(key), data, **more)

    def stat(self, key: str) -> ObjectInfo:
        return super().stat(self.changed(key))

    def delete(self, key: str) -> None:
        super().delete(self.changed(key))

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        listing = super().list(prefix, start_after=start_after)
        return (entry for entry in listing if not self.hides(entry.key.rpartition("/")[2]))


def same(name: str) -> str:
    return name


def nothing(name: str) -> bool:
    return False


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.storage.inspection.name_rules.LISTING_LAG_SECONDS", 0.0)


def composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def decomposed(name: str) -> str:
    return unicodedata.normalize("NFD", name)


@pytest.mark.parametrize(
    ("changed", "hidden", "rules"),
    [
        (same, nothing, NameRules()),
        (str.lower, nothing, NameRules(ignores_case=True)),
        (composed, nothing, NameRules(ignores_normalization=True, altered=("decomposed",))),
        (decomposed, nothing, NameRules(ignores_normalization=True, altered=("composed",))),
        (lambda k: k.replace("\x01", "_"), nothing, NameRules(altered=("control",))),
        (lambda k: k.replace("\\", "/"), nothing, NameRules(altered=("backslash",))),
        (lambda k: k.replace(":", "_").replace("?", "_"), nothing, NameRules(altered=("windows",))),
        (lambda k: k.rstrip(". "), nothing, NameRules(altered=("last-dot", "last-space"))),
        (same, lambda name: name.startswith("."), NameRules(altered=("first-dot",))),
    ],
)  # fmt: skip
def test_each_way_with_names_is_learnt_and_nothing_is_left(
    changed: Callable[[str], str], hidden: Callable[[str], bool], rules: NameRules
) -> None:
    place = Changing(changed, hidden=hidden)
    assert probe_name_rules(place) == rules
    place.hides = nothing
    assert list(place.list()) == []
    assert NameRules.from_json(rules.to_json()) == rules
    assert bool(rules.findings()) == (rules != NameRules())


class Behind(Changing):
    """Its first listings show only some of what was written before the last name."""

    def __init__(self, changed: Callable[[str], str], *, behind: int) -> None:
        super().__init__(changed, hidden=nothing)
        self.behind = behind
        self.listings = 0

    def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
        self.listings += 1
        entries = list(super().list(prefix, start_after=start_after))
        earlier = [entry for entry in entries if not entry.key.endswith("/last")]
        return iter(earlier[:3] if self.listings <= self.behind else entries)


@pytest.mark.parametrize(
    ("changed", "behind", "listings", "rules"),
    [
        (lambda k: k.replace("\\", "/"), 0, 1, NameRules(altered=("backslash",))),
        (same, 1, 2, NameRules()),
        (lambda k: k.replace("\\", "/"), 1, 2, NameRules(altered=("backslash",))),
    ],
)
def test_only_a_listing_that_is_behind_is_waited_for(
    changed: Callable[[str], str], behind: int, listings: int, rules: NameRules
) -> None:
    place = Behind(changed, behind=behind)
    assert probe_name_rules(place) == rules
    assert place.listings == listings


class Stumbling(Changing):
    """Fails all calls of a kind as often as the probe makes them beside others, perhaps after storing."""

    def __init__(self, changed: Callable[[str], str], verb: str, *, stored: bool) -> None:
        super().__init__(changed, hidden=nothing)
        self.stored = stored
        self.verb = verb
        self.calls: Counter[tuple[str, str]] = Counter()

    def stumble(self, verb: str, key: str) -> None:
        name = key.rpartition("/")[2]
        self.calls[verb, name] += 1
        # Each call is made a second time at once if its error is worth it.
        if verb == self.verb and name not in ("plain", "last") and self.calls[verb, name] <= 2:
            raise StorageError(Kind.UNREACHABLE, "The server broke off.", retryable=True)

    def put(self, key: str, data: bytes, **more: Any) -> Written:
        written = super().put(key, data, **more) if self.stored else None
        self.stumble("put", key)
        return written or super().put(key, data, **more)

    def stat(self, key: str) -> ObjectInfo:
        self.stumble("stat", key)
        return super().stat(key)


@pytest.mark.parametrize("verb", ["put", "stat"])
@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize(
    ("changed", "rules"),
    [
        (same, NameRules()),
        (str.lower, NameRules(ignores_case=True)),
        (composed, NameRules(ignores_normalization=True, altered=("decomposed",))),
        (lambda k: k.replace("\x01", "_").replace("\\", "_"), NameRules(altered=("control", "backslash"))),
    ],
)
def test_what_fails_beside_others_is_tried_alone(
    changed: Callable[[str], str], rules: NameRules, stored: bool, verb: str
) -> None:
    place = Stumbling(changed, verb, stored=stored)
    assert probe_name_rules(place) == rules
    assert list(place.list()) == []


def test_the_names_are_written_and_removed_several_at_once() -> None:
    class Slow(MemoryDriver):
        """Ends none of the first eight calls of a kind before all eight have begun."""

        def __init__(self) -> None:
            super().__init__()
            self.together = {verb: threading.Barrier(MAX_CALLS) for verb in ("put", "delete")}
            self.lock = threading.Lock()
            self.begun: Counter[str] = Counter()

        def begin(self, verb: str, key: str) -> None:
            if key.endswith(("/plain", "/last")):
                return
            with self.lock:
                self.begun[verb] += 1
                first = self.begun[verb] <= MAX_CALLS
            if first:
                self.together[verb].wait(60)

        def put(self, key: str, data: bytes, **more: Any) -> Written:
            self.begin("put", key)
            return super().put(key, data, **more)

        def delete(self, key: str) -> None:
            self.begin("delete", key)
            super().delete(key)

    place = Slow()
    assert probe_name_rules(place) == NameRules()
    assert list(place.list()) == []
    assert place.begun == {"put": 12, "delete": 12}


def test_a_place_that_accepts_one_connection_gets_one_call_at_a_time() -> None:
    class Single(MemoryDriver):
        lock = threading.Lock()

        def max_connections(self) -> int:
            return 1

        def put(self, key: str, data: bytes, **more: Any) -> Written:
            assert self.lock.acquire(blocking=False)
            with ExitStack() as ends:
                ends.callback(self.lock.release)
                return super().put(key, data, **more)

        def delete(self, key: str) -> None:
            assert self.lock.acquire(blocking=False)
            with ExitStack() as ends:
                ends.callback(self.lock.release)
                super().delete(key)

    place = Single()
    assert probe_name_rules(place) == NameRules()
    assert list(place.list()) == []


@pytest.mark.parametrize("where", ["case", "CASE", "dot.", "last"])
def test_nothing_is_left_behind_however_it_ends(where: str) -> None:
    """An error of the container, and one that nobody foresaw, while other names are being written."""

    class Ending(MemoryDriver):
        def __init__(self, error: BaseException) -> None:
            super().__init__()
            self.error = error

        def put(self, key: str, data: bytes, **more: Any) -> Written:
            written = super().put(key, data, **more)
            if key.endswith("/" + where):
                raise self.error
            return written

    gone = ContainerMissing("box", "It was deleted.", operation="put", remedy="")
    for error in (gone, RuntimeError("unforeseen"), KeyboardInterrupt()):
        place = Ending(error)
        with pytest.raises(type(error)):
            probe_name_rules(place)
        assert list(place.list()) == []


@pytest.fixture(scope="module", params=[rclone.OverWebDAV, rclone.OverSFTP, rclone.OverFTP, rclone.OverS3])
def folding(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """``rclone serve``, told to take capital and small letters for one."""
    if why_not := request.param.why_not():
        pytest.skip(why_not)
    with request.param("--vfs-case-insensitive") as server:
        driver = server.driver()
        yield driver
        driver.close()


def test_a_real_server_that_folds_names_is_seen_through(folding: Driver) -> None:
    rules = probe_name_rules(folding)
    assert rules.ignores_normalization
    # Its S3 looks names up exactly.
    assert rules.ignores_case or folding.name == "s3"
    assert list(folding.list()) == []


def test_seaweedfs_is_seen_to_change_a_backslash(seaweedfs: SeaweedFS, shared_bucket: str) -> None:
    place = s3_on(seaweedfs, shared_bucket, "names/")
    assert "backslash" in probe_name_rules(place).altered
    assert list(place.list()) == []
    place.close()


def test_a_server_that_breaks_off_for_an_odd_name_refuses_it_aloud(monkeypatch: pytest.MonkeyPatch) -> None:
    place = Changing(same, hidden=nothing)
    place.failing = lambda key: "\x01" in key
    assert probe_name_rules(place) == NameRules()
    place.failing = lambda key: MARKER_PREFIX in key
    with pytest.raises(StorageError, match="broke off"):
        probe_name_rules(place)


def test_a_listing_that_an_odd_name_breaks_is_a_reason_to_refuse_it() -> None:
    class Broken(MemoryDriver):
        def list(self, prefix: str = "", *, start_after: str = "") -> Iterator[Entry]:
            for entry in super().list(prefix, start_after=start_after):
                if "\x01" in entry.key:
                    raise StorageError(Kind.DAMAGED, "The listing is no XML.")
                yield entry

    place = Broken()
    assert probe_name_rules(place) == NameRules(altered=("control",))
    assert list(place.list()) == []


@pytest.mark.parametrize(
    ("one", "other", "rules"),
    [
        ("Photo.JPG", "photo.jpg", NameRules(ignores_case=True)),
        ("\u00c9t\u00e9", "\u00e9t\u00e9", NameRules(ignores_case=True)),
        ("\u017f", "S", NameRules(ignores_case=True)),
        ("\u00e9", "e\u0301", NameRules(ignores_normalization=True)),
        ("\u00c9", "e\u0301", NameRules(ignores_case=True, ignores_normalization=True)),
    ],
)
def test_names_that_are_one_have_one_folded_form(one: str, other: str, rules: NameRules) -> None:
    assert rules.normalize(one) == rules.normalize(other)
    assert NameRules().normalize(one) != NameRules().normalize(other)


def test_what_is_not_one_is_not_folded() -> None:
    rules = NameRules(ignores_case=True, ignores_normalization=True)
    names = ["stra\u00dfe", "strasse", "\ufb01n", "fin", "a_b", "a b"]
    assert len({rules.normalize(name) for name in names}) == len(names)


@pytest.mark.parametrize(
    ("sort", "refused", "kept"),
    [
        ("control", ["a\x01", "a/\x7fb/c", "x\n"], ["a b"]),
        ("backslash", ["a\\b"], ["a/b"]),
        ("windows", ["a:b", 'say "x"'], ["a.b"]),
        ("last-dot", ["a.", "a./b"], [".a", "a.b"]),
        ("last-space", ["a ", "a /b"], [" a", "a b"]),
        ("first-dot", [".a", "x/.git/config"], ["a.", "x/y.z"]),
        ("composed", ["\u00fc", "a/\u00e9"], ["u\u0308", "plain"]),
        ("decomposed", ["o\u0308"], ["\u00f6", "plain"]),
    ],
)
def test_a_key_that_would_not_be_kept_is_refused_with_a_reason(
    sort: str, refused: list[str], kept: list[str]
) -> None:
    rules = NameRules(altered=(sort,))
    for key in refused:
        with pytest.raises(InvalidKey, match="does not keep a name that has"):
            rules.check(key)
        NameRules().check(key)
    for key in kept:
        rules.check(key)


def test_where_nothing_can_be_deleted_little_is_written() -> None:
    class WriteOnly(MemoryDriver):
        def delete(self, key: str) -> None:
            raise StorageError(Kind.DENIED, "Nothing may be deleted.")

    place = WriteOnly()
    with pytest.raises(StorageError, match="deleted"):
        probe_name_rules(place)
    assert len(list(place.list())) == 1


def test_a_probe_tells_what_a_place_does_with_names_and_does_not_fail_for_it() -> None:
    told: list[NameRules] = []
    steps = {
        step.name: step for step in probe(Changing(str.lower, hidden=nothing), on_name_rules=told.append)
    }
    assert steps["names"].state == "passed"
    assert "differ only in case are the same" in steps["names"].message
    assert told == [NameRules(ignores_case=True)]
    exact = {step.name: step for step in probe(MemoryDriver())}
    assert exact["names"].message == "Every name is kept as it is."
