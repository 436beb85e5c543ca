"""kill -9 at any moment, again and again: in the end everything is there once, and the ledger is right."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dashboard.migration.types import ObjectState
from tests.migration.ledgers import SqlBook, assert_exact
from tests.migration.rehearsal import contents, leftovers

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 6


def _start(folder: Path, delete_source: bool) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.migration.victim", str(folder), str(WORKERS), str(delete_source)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "running"
    return process


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
    killed = 0
    while killed < kills:
        process = _start(folder, delete_source)
        time.sleep(dice.uniform(0, span))
        process.kill()
        process.communicate()
        killed += 1
    last = _start(folder, delete_source)
    said, _ = last.communicate(timeout=200)
    assert said.strip() == "finished clean"
    assert contents(folder / "there") == wanted
    assert contents(folder / "here") == ({} if delete_source else wanted)
    assert leftovers(folder / "there") == []
    _check_ledger(folder, wanted, delete_source)
    puts = (folder / "puts.log").read_text().splitlines()
    # Only what was being written when it was killed may be written again.
    assert set(puts) == set(wanted)
    assert len(puts) <= len(wanted) + killed * WORKERS


def _check_ledger(folder: Path, wanted: dict[str, str], delete_source: bool) -> None:
    book = SqlBook(folder)
    rows = book.rows()
    assert {row.key for row in rows} == set(wanted)
    assert {row.state for row in rows} == {ObjectState.VERIFIED}
    assert all(row.deleted is delete_source for row in rows)
    assert_exact(book)
    assert book.counters().listing_final
    book.close()


@pytest.mark.parametrize("delete_source", [False, True])
def test_five_kills_lose_repeat_and_leave_nothing(tmp_path: Path, delete_source: bool) -> None:
    _torture(tmp_path, kills=5, objects=400, large=2, delete_source=delete_source, seed=42)


@pytest.mark.torture
@pytest.mark.timeout(900)
@pytest.mark.parametrize("delete_source", [False, True])
@pytest.mark.parametrize("seed", [1, 2])
def test_thirty_kills_lose_repeat_and_leave_nothing(tmp_path: Path, delete_source: bool, seed: int) -> None:
    _torture(tmp_path, kills=30, objects=3000, large=6, delete_source=delete_source, seed=seed)
