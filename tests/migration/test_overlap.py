"""One place under two addresses, or one inside the other: found by looking, before anything is written."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path

import pytest

from dashboard.migration.overlap import Overlap, OverlapSearch
from dashboard.migration.run import MigrationJob, RunResult, run
from dashboard.migration.types import Control, OnConflict, Outcome, Spec, State
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.inspection.listing import MARKER_CONTENT, MARKER_PREFIX, new_marker_name
from dashboard.storage.types import Entry
from tests.migration.failing_driver import FailingDriver
from tests.migration.ledgers import MemoryLedgers
from tests.migration.scenario import Scenario, contents, leftovers, some_objects
from tests.servers.drivers import ftp_on, new_folder, s3_on, sftp_on, webdav_at
from tests.servers.faults import FaultProxy
from tests.servers.foreign import rclone
from tests.servers.foreign.server import ForeignServer
from tests.servers.ftp import FtpServer
from tests.servers.seaweedfs import SeaweedFS
from tests.servers.sftp import READER, SftpServer
from tests.servers.webdav import WebDAV

At = Callable[[str], Driver]
"""A driver for a folder below a shared one."""

MOVE = Spec(workers=4, delete_source=True, on_conflict=OnConflict.OVERWRITE)


def migrated(
    source: Driver, destination: Driver, spec: Spec = MOVE, paths: tuple[str, str] = ("", "")
) -> tuple[RunResult, MemoryLedgers]:
    ledgers = MemoryLedgers()
    job = MigrationJob(7, spec, lambda: True, "source", paths)
    result = run(job, source, destination, ledgers.open(), lambda: Control.RUN, on_state=lambda *state: None)
    return result, ledgers


def on_disk(folder: Path) -> At:
    return lambda below: LocalDriver(str(folder / below))


def filled(folder: Path) -> None:
    """Objects at two levels, so that each of the nested places would replace some of the other."""
    for key, content in some_objects(20).items():
        for below in ("", "sub/", "sub/sub/"):
            path = folder / (below + key)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(below.encode() + content)


@pytest.fixture(params=["local", "sftp", "ftp", "webdav"])
def seen_twice(request: pytest.FixtureRequest) -> tuple[Path, At]:
    """A folder on this disk, and the same folder through a server."""
    if request.param == "local":
        folder: Path = request.getfixturevalue("tmp_path") / "files"
        folder.mkdir()
        folder.with_name("alias").symlink_to(folder)
        return folder, on_disk(folder.with_name("alias"))
    if request.param == "webdav":
        web: WebDAV = request.getfixturevalue("webdav_server")
        name = web.new_folder()
        return web.files / name, lambda below: webdav_at(web.endpoint, f"{name}/{below}".rstrip("/"))
    if request.param == "sftp":
        ssh: SftpServer = request.getfixturevalue("sftp_server")
        name = new_folder(ssh.root)
        return ssh.root / name, lambda below: sftp_on(ssh, f"{name}/{below}".rstrip("/"))
    old: FtpServer = request.getfixturevalue("ftp_server")
    name = new_folder(old.root)
    return old.root / name, lambda below: ftp_on(old, f"{name}/{below}".rstrip("/"))


@pytest.mark.parametrize(
    ("source", "destination", "says"),
    [
        ("", "", "the same place"),
        ("", "sub", "destination lies inside the source, in “sub/”"),
        ("", "sub/sub", "destination lies inside the source, in “sub/sub/”"),
        ("sub", "", "source lies inside the destination, in “sub/”"),
        ("sub/sub", "", "source lies inside the destination, in “sub/sub/”"),
    ],
)
def test_overlapping_places_are_refused_and_nothing_is_touched(
    seen_twice: tuple[Path, At], source: str, destination: str, says: str
) -> None:
    folder, served = seen_twice
    filled(folder)
    before = contents(folder)
    for here, there in ((on_disk(folder), served), (served, on_disk(folder))):
        one, two = here(source), there(destination)
        result, _ = migrated(one, two)
        assert (result.state, says in result.message) == (State.FAILED, True), result
        assert result.remedy
        assert contents(folder) == before
        one.close()
        two.close()


def test_places_beside_each_other_are_migrated(seen_twice: tuple[Path, At]) -> None:
    folder, served = seen_twice
    filled(folder)
    (folder / "beside").mkdir()
    wanted = contents(folder / "sub")
    place = served("beside")
    result, ledgers = migrated(LocalDriver(str(folder / "sub")), place)
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN), ledgers.failures()
    assert contents(folder / "beside") == wanted
    assert contents(folder / "sub") == {}
    place.close()


def test_one_bucket_through_two_endpoints_is_found_with_and_without_a_prefix(
    seaweedfs: SeaweedFS, fault_proxy: FaultProxy
) -> None:
    bucket = seaweedfs.new_bucket()
    front = s3_on(seaweedfs, bucket, "")
    keys = ["a", "z", "sub/a", "sub/deep/a", "sub/z"]
    for key in keys:
        front.put(key, key.encode())
    for prefix, says in (("", "same place"), ("sub/", "in “sub/”"), ("sub/deep/", "in “sub/deep/”")):
        side = s3_on(seaweedfs, bucket, prefix, endpoint=fault_proxy.endpoint)
        for source, destination in ((front, side), (side, front)):
            result, _ = migrated(source, destination)
            assert (result.state, says in result.message) == (State.FAILED, True), result
        side.close()
    assert [entry.key for entry in front.list()] == sorted(keys)
    front.close()


def test_what_the_addresses_hint_at_is_found_before_anything_is_listed(tmp_path: Path) -> None:
    filled(tmp_path)
    outer, inner = (
        FailingDriver(LocalDriver(str(tmp_path))),
        FailingDriver(LocalDriver(str(tmp_path / "sub"))),
    )
    paths = str(tmp_path).strip("/"), f"{tmp_path}/sub".strip("/")
    # Where the source is the inner one, the first objects of both are looked at.
    for one, two, hints, lists in ((outer, inner, paths, []), (inner, outer, paths[::-1], [""])):
        one.log.clear()
        two.log.clear()
        result, _ = migrated(one, two, paths=hints)
        assert "in “sub/”" in result.message
        assert one.keys_of("list") == two.keys_of("list") == lists


@pytest.mark.parametrize("ordered", [True, False])
@pytest.mark.parametrize("prefix", ["", "sub/", "su"])
def test_only_what_is_read_and_written_counts(tmp_path: Path, prefix: str, ordered: bool) -> None:
    filled(tmp_path)
    before = contents(tmp_path)
    outer = FailingDriver(LocalDriver(str(tmp_path)), ordered=ordered)
    inner = FailingDriver(LocalDriver(str(tmp_path / "sub")), ordered=ordered)
    spec = Spec(workers=4, prefix=prefix, on_conflict=OnConflict.OVERWRITE)
    for source, destination in ((outer, inner), (inner, outer)):
        assert migrated(source, destination, spec)[0].state is State.FAILED
        assert contents(tmp_path) == before
    # Below another prefix the two have nothing in common.
    for source, destination in ((outer, inner), (inner, outer)):
        result, _ = migrated(source, destination, Spec(workers=4, prefix="f1/"))
        assert result.state is State.FINISHED


def test_a_source_that_nobody_may_write_to_is_found_inside_the_destination(sftp_server: SftpServer) -> None:
    name = new_folder(sftp_server.root)
    folder = sftp_server.root / name
    filled(folder)
    before = contents(folder)
    source = sftp_on(sftp_server, f"{name}/sub", user=READER)
    result, _ = migrated(source, LocalDriver(str(folder)), Spec(workers=4))
    assert "source lies inside the destination" in result.message
    assert contents(folder) == before
    source.close()


def test_an_earlier_copy_inside_the_destination_is_no_overlap(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    filled(here)
    filled(there / "copy of last year")
    wanted = contents(here)
    result, _ = migrated(LocalDriver(str(here)), LocalDriver(str(there)), Spec(workers=4))
    assert (result.state, result.outcome) == (State.FINISHED, Outcome.CLEAN)
    assert {key: digest for key, digest in contents(there).items() if "last year" not in key} == wanted


def test_nothing_is_written_before_the_whole_source_was_listed(scenario: Scenario) -> None:
    scenario.fill(some_objects(40))

    def none_copied_yet(entries: Iterator[Entry]) -> Iterator[Entry]:
        yield from entries
        assert scenario.destination.keys_of("put", "write", "delete") == []

    scenario.source.listing = none_copied_yet
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dashboard.migration.plan.BATCH", 4)
        scenario.assert_clean(scenario.run())


def test_markers_of_others_are_never_copied_and_go_when_they_are_old(scenario: Scenario) -> None:
    now = time.time()
    mine, fresh, old = (
        new_marker_name(1, now - 5),
        new_marker_name(2, now - 5),
        new_marker_name(3, now - 4000),
    )
    scenario.fill({"a": b"1", f"f/{fresh}": MARKER_CONTENT})
    scenario.fill(
        {mine: MARKER_CONTENT, fresh: MARKER_CONTENT, old: MARKER_CONTENT, f"f/{old}": MARKER_CONTENT},
        there=True,
    )
    assert scenario.run().outcome is Outcome.CLEAN
    assert set(scenario.rows()) == {"a"}
    assert set(contents(scenario.there)) == {"a", fresh}
    assert set(contents(scenario.here)) == {"a", f"f/{fresh}"}


def test_a_marker_that_somebody_removes_is_written_again(scenario: Scenario) -> None:
    scenario.fill(some_objects(10))
    removed: list[Path] = []

    def remove_once(entries: Iterator[Entry]) -> Iterator[Entry]:
        yield from entries
        if not removed:
            removed.extend(scenario.there.glob(MARKER_PREFIX + "*"))
            removed[0].unlink()

    scenario.destination.listing = remove_once
    scenario.assert_clean(scenario.run())
    assert len(removed) == 1
    assert len(scenario.destination.keys_of("list")) >= 3


def test_a_stopped_or_failing_plan_leaves_no_marker(scenario: Scenario) -> None:
    scenario.fill(some_objects(10))

    def stop(entries: Iterator[Entry]) -> Iterator[Entry]:
        scenario.control = Control.PAUSE
        assert scenario.control_seen.wait(120)
        yield from entries

    scenario.source.listing = stop
    assert scenario.run().state is State.PAUSED
    assert (contents(scenario.there), leftovers(scenario.there)) == ({}, [])
    scenario.control = Control.RUN
    scenario.source.listing = lambda entries: entries
    scenario.assert_clean(scenario.run())


def test_a_dry_run_writes_no_marker_and_leaves_others_out() -> None:
    here, there = MemoryDriver(), FailingDriver(MemoryDriver())
    here.put("a", b"1")
    here.put(new_marker_name(3, time.time()), MARKER_CONTENT)
    result, ledgers = migrated(here, there, Spec(dry_run=True))
    assert (result.state, [row.key for row in ledgers.rows()]) == (State.FINISHED, ["a"])
    assert list(there.inner.list()) == []


def test_the_ways_to_a_place_are_the_ends_of_its_path() -> None:
    kept: list[Sequence[str]] = []
    for prefix, path in product(("", "b/"), ("a/b/c",)):
        search = OverlapSearch(MemoryDriver(), MemoryDriver(), prefix, migration_id=1, save=kept.append)
        ways = ["c/", "b/c/", "a/b/c/"] if not prefix else ["b/c/"]
        assert list(search._candidate_folders(path)) == ways


def test_the_same_memory_is_one_place() -> None:
    place = MemoryDriver()
    kept: list[Sequence[str]] = []
    search = OverlapSearch(place, place, "", migration_id=1, save=kept.append)
    with pytest.raises(Overlap, match="same place"):
        search.begin()
    (written,) = kept[0]
    assert [entry.key for entry in place.list()] == [written]
    search.close()
    assert (list(place.list()), kept[-1]) == ([], [])


def test_what_a_killed_search_left_is_removed_by_the_next_run(scenario: Scenario) -> None:
    ledger = scenario.ledgers.open()
    ledger.begin()
    old = new_marker_name(1, time.time() - 90)
    ledger.save_markers([old])
    scenario.fill({old: MARKER_CONTENT}, there=True)
    scenario.fill({"a": b"1"})
    scenario.approved = False
    scenario.run()
    assert contents(scenario.there) == {}
    assert list(scenario.ledgers.open().markers()) == []


@pytest.mark.parametrize("server", [rclone.OverS3, rclone.OverSFTP])
@pytest.mark.parametrize(
    ("source", "destination", "says"),
    [
        ("served:", "disk:", "the same place"),
        ("disk:", "served:", "the same place"),
        ("served:", "disk:sub", "destination lies inside"),
        ("disk:", "served:sub", "destination lies inside"),
        ("served:sub", "disk:", "source lies inside"),
        ("disk:sub", "served:", "source lies inside"),
    ],
)
def test_a_server_that_remembers_its_listings_hides_no_overlap(
    server: type[ForeignServer], source: str, destination: str, says: str
) -> None:
    if why_not := server.why_not():
        pytest.skip(why_not)
    with server() as served:
        name = served.new_folder()
        folder = served.files / name
        filled(folder)
        before = contents(folder)

        def place(told: str) -> Driver:
            kind, _, below = told.partition(":")
            if kind == "disk":
                return LocalDriver(str(folder / below))
            if served.driver_name == "s3":
                return served.driver(name, prefix=below)
            return served.driver(f"{name}/{below}".rstrip("/"))

        # ``rclone serve`` shows what others write only minutes after it has listed a folder.
        assert len(list(place("served:").list())) == len(before)
        result, _ = migrated(place(source), place(destination))
        assert (result.state, says in result.message) == (State.FAILED, True), result
        assert contents(folder) == before
