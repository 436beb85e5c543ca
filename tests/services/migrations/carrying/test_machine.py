"""What the machine has for carriers, read from what Linux writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.services.migrations.carrying import machine
from dashboard.services.migrations.carrying.machine import Headroom, cores, idle_seconds, memory

GIB = 2**30


@pytest.fixture(autouse=True)
def _window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "WINDOW_SECONDS", 1.0)


class Linux:
    """A /proc and a /sys/fs/cgroup with what a test says."""

    def __init__(self, folder: Path) -> None:
        self.proc, self.groups = folder / "proc", folder / "cgroup"
        (self.proc / "self").mkdir(parents=True)
        self.groups.mkdir()

    def member_of(self, group: str) -> None:
        (self.proc / "self" / "cgroup").write_text(f"4:memory:/other\n0::{group}\n")

    def limit(self, group: str, name: str, text: str) -> None:
        folder = self.groups / group.strip("/")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text + "\n")

    def cores(self) -> int:
        return cores(self.proc, self.groups)

    def memory(self) -> int:
        return memory(self.proc, self.groups)


@pytest.fixture
def linux(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Linux:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))
    return Linux(tmp_path)


def test_without_groups_it_is_the_machine_that_counts(linux: Linux) -> None:
    assert linux.cores() == 16
    assert linux.memory() == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@pytest.mark.parametrize(
    ("quota", "found"),
    [
        ("max 100000", 16),
        ("200000 100000", 2),
        ("150000 100000", 2),
        ("50000 100000", 1),
        ("6400000 100000", 16),
    ],
)
def test_a_container_has_the_cores_that_it_was_given(linux: Linux, quota: str, found: int) -> None:
    linux.member_of("/")
    linux.limit("/", "cpu.max", quota)
    assert linux.cores() == found


def test_the_narrowest_of_all_groups_above_counts(linux: Linux) -> None:
    linux.member_of("/system.slice/stowage.service")
    linux.limit("/system.slice", "cpu.max", "300000 100000")
    linux.limit("/system.slice/stowage.service", "cpu.max", "max 100000")
    linux.limit("/system.slice", "memory.max", str(GIB))
    linux.limit("/system.slice/stowage.service", "memory.max", str(GIB // 2))
    assert (linux.cores(), linux.memory()) == (3, GIB // 2)


@pytest.mark.parametrize("text", ["", "max", "many 100000", "200000 0", "-1 100000"])
def test_what_cannot_be_read_is_no_limit(linux: Linux, text: str) -> None:
    linux.member_of("/")
    linux.limit("/", "cpu.max", text)
    linux.limit("/", "memory.max", "max")
    assert linux.cores() == 16
    assert linux.memory() > 0


def test_a_group_outside_of_what_is_mounted_is_not_looked_for(linux: Linux) -> None:
    linux.member_of("/../../elsewhere")
    linux.limit("/", "cpu.max", "100000 100000")
    assert linux.cores() == 16


def test_idle_time_is_read_from_the_kernels_own_line(tmp_path: Path) -> None:
    ticks = os.sysconf("SC_CLK_TCK")
    (tmp_path / "stat").write_text(
        f"cpu  9 9 9 {7 * ticks} {3 * ticks} 9 9 0 0 0\ncpu0 1 1 1 1 1 1 1 0 0 0\n"
    )
    assert idle_seconds(tmp_path) == 10.0
    (tmp_path / "stat").write_text("cpu 1\n")
    assert idle_seconds(tmp_path) is None
    assert idle_seconds(tmp_path / "missing") is None


class Watched:
    """A machine whose process used ``own`` cores and left ``idle`` cores, a quarter of a second at a time."""

    def __init__(self) -> None:
        self.now = self.cpu = self.left = 0.0
        self.headroom = Headroom(lambda: self.cpu, lambda: self.left)

    def pass_time(self, seconds: float, *, own: float, idle: float) -> Iterator[bool]:
        for _ in range(int(seconds * 4)):
            self.now, self.cpu, self.left = self.now + 0.25, self.cpu + own / 4, self.left + idle / 4
            yield self.headroom.is_there(self.now)


@pytest.mark.parametrize(
    ("own", "idle", "helps"), [(1.0, 1.0, True), (0.5, 1.4, False), (1.0, 0.3, False), (0.75, 0.5, True)]
)
def test_another_process_helps_one_that_needs_its_core_where_one_is_idle(
    own: float, idle: float, helps: bool
) -> None:
    assert [*Watched().pass_time(3, own=own, idle=idle)][-1] is helps


def test_it_is_watched_for_a_while_first_and_again_after_a_start() -> None:
    watched = Watched()
    assert [*watched.pass_time(2, own=1, idle=1)] == [False] * 4 + [True] * 4
    watched.headroom.restart()
    assert [*watched.pass_time(2, own=1, idle=1)] == [False] * 4 + [True] * 4


def test_only_the_last_second_counts() -> None:
    watched = Watched()
    assert not any(watched.pass_time(20, own=0.1, idle=1.9))
    assert [*watched.pass_time(1.5, own=1, idle=1)][-1]
    assert not [*watched.pass_time(1.5, own=1, idle=0)][-1]


def test_where_the_system_does_not_say_what_is_idle_nothing_is_started() -> None:
    headroom = Headroom(lambda: 0.0, lambda: None)
    assert not any(headroom.is_there(float(now)) for now in range(10))


def test_this_machine_says_it() -> None:
    assert (idle_seconds() or 0) > 0
    assert cores() >= 1
    assert memory() > 0
