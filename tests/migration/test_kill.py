"""kill -9 at any moment, again and again: in the end everything is there once, and the ledger is right."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from dashboard.migration.grouping.publishing import GROUP
from dashboard.migration.types import ObjectState
from tests.migration.killed_run import LISTED, ROWS
from tests.migration.ledgers import SqlLedgers, assert_exact
from tests.migration.scenario import contents, leftovers
from tests.servers.processes import wait_until

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 6
IN_FLIGHT = WORKERS + GROUP
"""What one kill may undo: what the workers are at, and what was written and has no name yet."""


def _start(
    folder: Path, delete_source: bool, carriers: int = 1, listing: bool = False
) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "tests.migration.killed_run",
        str(folder),
        str(WORKERS),
        str(delete_source),
        str(carriers),
        str(listing),
    ]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "running"
    return process


def _children(process: subprocess.Popen[str]) -> list[int]:
    found: list[int] = []
    for path in Path(f"/proc/{process.pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def _fill(folder: Path, dice: random.Random, objects: int, large: int) -> None:
    here, there = folder / "here", folder / "there"
    for n in range(objects + large):
        size = dice.randrange(9, 20) << 20 if n >= objects else dice.randrange(4000)
        path = here / f"folder {n % 9}" / f"{'large' if n >= objects else 'small'} {n:05d}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dice.randbytes(size))
    there.mkdir()
    # One object is there already and differs by its content only.
    differs = sorted(here.rglob("small*"))[objects // 2]
    twin = there / differs.relative_to(here)
    twin.parent.mkdir(parents=True)
    twin.write_bytes(bytes(differs.stat().st_size))


def _torture(folder: Path, *, kills: int, objects: int, large: int, delete_source: bool, seed: int) -> None:
    dice = random.Random(seed)
    _fill(folder, dice, objects, large)
    wanted = contents(folder / "here")
    span = 0.004 * objects / WORKERS / kills * 2.2
    for _ in range(kills):
        process = _start(folder, delete_source)
        time.sleep(dice.uniform(0, span))
        process.kill()
        process.communicate()
    _finish(folder, wanted, kills, delete_source=delete_source)


def _torture_while_listing(folder: Path, *, kills: int, objects: int, large: int, carriers: int) -> None:
    """Kill while it lists: at any moment, and when something was copied since the last time."""
    dice = random.Random(7)
    _fill(folder, dice, objects, large)
    wanted = contents(folder / "here")
    copied = 0
    for number in range(kills):
        (folder / LISTED).write_text(str(2 * ROWS + (number + 1) * (objects - 3 * ROWS) // kills))
        process = _start(folder, False, carriers, listing=True)
        if number % 2:
            wait_until(partial(_has_copied, folder, copied), seconds=300, what="more objects copied")
        time.sleep(dice.uniform(0, 0.4))
        process.kill()
        process.communicate()
        ledgers = SqlLedgers(folder)
        counters = ledgers.counters()
        ledgers.close()
        assert not counters.listing_final
        assert counters.copied >= copied
        copied = counters.copied
    assert copied
    (folder / LISTED).write_text(str(len(wanted)))
    _finish(folder, wanted, kills, carriers=carriers, listing=True)


def _has_copied(folder: Path, more_than: int) -> bool:
    ledgers = SqlLedgers(folder)
    found = ledgers.counters().copied
    ledgers.close()
    return found > more_than


def _finish(
    folder: Path,
    wanted: dict[str, str],
    killed: int,
    *,
    delete_source: bool = False,
    carriers: int = 1,
    listing: bool = False,
) -> None:
    last = _start(folder, delete_source, carriers, listing)
    said, _ = last.communicate(timeout=200)
    assert said.strip() == "finished clean"
    assert contents(folder / "there") == wanted
    assert contents(folder / "here") == ({} if delete_source else wanted)
    assert leftovers(folder / "there") == []
    _check_ledger(folder, wanted, delete_source)
    puts = (folder / "puts.log").read_text().splitlines()
    # Only what was being written when it was killed may be written again.
    assert set(puts) == set(wanted)
    # Only what was in flight when it was killed may be written again.
    assert len(puts) <= len(wanted) + killed * IN_FLIGHT


def _check_ledger(folder: Path, wanted: dict[str, str], delete_source: bool) -> None:
    ledgers = SqlLedgers(folder)
    rows = ledgers.rows()
    assert {row.key for row in rows} == set(wanted)
    assert {row.state for row in rows} == {ObjectState.VERIFIED}
    assert all(row.deleted is delete_source for row in rows)
    assert_exact(ledgers)
    assert ledgers.counters().listing_final
    ledgers.close()


@pytest.mark.parametrize("delete_source", [False, True])
def test_five_kills_lose_repeat_and_leave_nothing(tmp_path: Path, delete_source: bool) -> None:
    _torture(tmp_path, kills=5, objects=400, large=2, delete_source=delete_source, seed=42)


def test_five_kills_while_listing_lose_repeat_and_leave_nothing(tmp_path: Path) -> None:
    _torture_while_listing(tmp_path, kills=5, objects=400, large=2, carriers=1)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("carriers", [1, 3])
def test_thirty_kills_while_listing_lose_repeat_and_leave_nothing(tmp_path: Path, carriers: int) -> None:
    _torture_while_listing(tmp_path, kills=30, objects=3000, large=6, carriers=carriers)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("delete_source", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_kills_lose_repeat_and_leave_nothing(tmp_path: Path, delete_source: bool, seed: int) -> None:
    _torture(tmp_path, kills=30, objects=3000, large=6, delete_source=delete_source, seed=seed)


@pytest.mark.torture
@pytest.mark.timeout(1800)
@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks for child processes in /proc")
@pytest.mark.parametrize("delete_source", [False, True])
def test_kills_of_carriers_and_of_their_runs_lose_repeat_and_leave_nothing(
    tmp_path: Path, delete_source: bool
) -> None:
    dice = random.Random(5)
    _fill(tmp_path, dice, 9000, 6)
    wanted = contents(tmp_path / "here")
    log = tmp_path / "puts.log"
    kills: Counter[str] = Counter()
    for turn in range(12):
        process = _start(tmp_path, delete_source, carriers=3)
        for _ in range(dice.randrange(1, 4)):
            time.sleep(dice.uniform(0.1, 4.0))
            if process.poll() is None and (children := _children(process)):
                # Suspended ones are found by their lease, or die with their run.
                number = signal.SIGSTOP if turn % 4 == 3 else signal.SIGKILL
                with suppress(ProcessLookupError):
                    os.kill(dice.choice(children), number)
                    kills[number.name] += 1
        if process.poll() is None:
            kills["run"] += 1
        process.kill()
        process.communicate()
    last = _start(tmp_path, delete_source, carriers=3)
    while last.poll() is None and kills["suspended at the end"] < 1:
        time.sleep(0.5)
        for child in _children(last)[:1]:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGSTOP)
                kills["suspended at the end"] += 1
    said, _ = last.communicate(timeout=600)
    print(dict(kills))
    assert said.strip() == "finished clean"
    assert contents(tmp_path / "there") == wanted
    assert contents(tmp_path / "here") == ({} if delete_source else wanted)
    assert leftovers(tmp_path / "there") == []
    _check_ledger(tmp_path, wanted, delete_source)
    puts = log.read_text().splitlines()
    assert set(puts) == set(wanted)
    assert len(puts) <= len(wanted) + kills.total() * IN_FLIGHT


class Rewriter:
    """Rewrites sources in place, keeps their size, and sets their time back, as some databases do.

    ``written`` has every content a file ever had whole; ``acknowledged`` the last one whose writer saw
    afterwards that the file still had its name. A rewrite of a file deleted under it is no loss: the writer
    can tell.
    """

    def __init__(self, folder: Path, dice: random.Random) -> None:
        self._paths = sorted(path for path in folder.rglob("*") if path.is_file())
        self._folder = folder
        self._dice = dice
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop)
        self.acknowledged = contents(folder)
        self.written = {key: {digest} for key, digest in self.acknowledged.items()}
        self.rewrites = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _loop(self) -> None:
        while not self._stop.wait(0.001):
            with suppress(FileNotFoundError):
                self._rewrite(self._dice.choice(self._paths))

    def _rewrite(self, path: Path) -> None:
        key = str(path.relative_to(self._folder))
        with path.open("r+b", buffering=0) as file:
            before = os.fstat(file.fileno())
            content, old = self._dice.randbytes(before.st_size), file.read()
            half = len(content) // 2
            file.seek(0)
            # Between two writes the file has a content too, and a copy of that is what it should be.
            between, digest = (
                hashlib.sha256(each).hexdigest() for each in (content[:half] + old[half:], content)
            )
            self.written[key] |= {between, digest}
            file.write(content[:half])
            self._stop.wait(self._dice.choice([0, 0, 0.003]))
            file.write(content[half:])
            os.utime(file.fileno(), ns=(before.st_atime_ns, before.st_mtime_ns))
            if os.fstat(file.fileno()).st_nlink:
                self.acknowledged[key] = digest
                self.rewrites += 1


def _move_what_changes(folder: Path, *, kills: int, objects: int, large: int, seed: int) -> Counter[str]:
    """Move a folder whose files are rewritten meanwhile, under kills; what became of it all."""
    dice = random.Random(seed)
    folder.mkdir(exist_ok=True)
    _fill(folder, dice, objects, large)
    here, there = folder / "here", folder / "there"
    span = 0.004 * objects / WORKERS / kills * 2.2
    with Rewriter(here, random.Random(seed + 1)) as rewriter:
        for _ in range(kills):
            process = _start(folder, delete_source=True)
            time.sleep(dice.uniform(0, span))
            process.kill()
            process.communicate()
        last = _start(folder, delete_source=True)
        said, _ = last.communicate(timeout=200)
        assert said.startswith("finished")
    kept, moved = contents(here), contents(there)
    # The newest content of every file is here, or there and nowhere else.
    lost = [key for key, digest in rewriter.acknowledged.items() if kept.get(key, moved.get(key)) != digest]
    assert not lost
    ledgers = SqlLedgers(folder)
    rows = {row.key: row for row in ledgers.rows()}
    deleted = {key for key, row in rows.items() if row.deleted}
    proven = {key for key, row in rows.items() if row.state is ObjectState.VERIFIED}
    # In the middle of one large write a file may be anything; its source is still there then.
    whole = {key for key in proven if key in deleted or "small" in key}
    mixtures = [key for key in whole if moved[key] not in rewriter.written[key]]
    assert not mixtures
    assert deleted.isdisjoint(kept)
    assert_exact(ledgers)
    assert leftovers(there) == []
    ledgers.close()
    return Counter(
        objects=len(rows),
        rewrites=rewriter.rewrites,
        kills=kills,
        deleted=len(deleted),
        kept=len(kept),
        failed=sum(row.state is ObjectState.FAILED for row in rows.values()),
        lost=len(lost),
        mixtures=len(mixtures),
    )


def test_eight_kills_lose_no_rewrite_of_a_source_that_is_moved(tmp_path: Path) -> None:
    found = _move_what_changes(tmp_path, kills=8, objects=200, large=1, seed=7)
    assert found["deleted"] > 60
    assert found["rewrites"] > 100


@pytest.mark.torture
@pytest.mark.timeout(3600)
def test_three_hundred_kills_lose_no_rewrite_of_a_source_that_is_moved(tmp_path: Path) -> None:
    total: Counter[str] = Counter()
    for turn in range(10):
        # Not "+=", which leaves out what is 0.
        total.update(
            _move_what_changes(tmp_path / str(turn), kills=30, objects=1000, large=3, seed=100 + turn)
        )
    print(", ".join(f"{count} {name}" for name, count in total.items()))
    assert total["kills"] == 300
    assert total["deleted"] > 0.5 * total["objects"]
