"""The local driver: what killed programs leave, and what deleting takes along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboard.storage.drivers.local.driver import LocalDriver
from dashboard.storage.errors import (
    StorageError,
)
from tests.storage.drivers.local.disk import TMP, keys_of


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def test_what_a_killed_program_left_is_swept_by_key_and_time(driver: LocalDriver, root: Path) -> None:
    driver.put("kept", b"x")
    script = (
        "import sys, time\n"
        "from dashboard.storage.drivers.local.driver import LocalDriver\n"
        "driver = LocalDriver(sys.argv[1])\n"
        "open_ones = [driver.write(key) for key in ('a', 'b/c', 'other')]\n"
        "for each in open_ones: each.write(b'half')\n"
        "print('ready', flush=True); time.sleep(60)\n"
    )
    began = time.time()
    with subprocess.Popen(
        [sys.executable, "-c", script, str(root)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        child.send_signal(signal.SIGKILL)
    assert len(os.listdir(root / TMP)) == 3
    assert keys_of(driver) == ["kept"]
    assert driver.sweep(["a", "b/c", "kept", "a//b"], since=time.time() + 1) == 0
    assert driver.sweep(["a", "b/c", "kept", "a//b"], since=began) == 2
    assert driver.sweep(["a", "b/c"], since=began) == 0
    assert len(os.listdir(root / TMP)) == 1
    assert driver.sweep(["other"], since=began) == 1
    assert not (root / TMP).exists()


def test_a_write_swept_from_under_its_writer_fails_and_can_be_tried_again(driver: LocalDriver) -> None:
    with driver.write("a") as writing:
        writing.write(b"x")
        assert driver.sweep(["a"], since=0) == 1
        with pytest.raises(StorageError) as caught:
            writing.commit()
    assert caught.value.retryable
    assert keys_of(driver) == []


def test_the_folder_of_unfinished_writes_goes_when_the_driver_closes(driver: LocalDriver, root: Path) -> None:
    driver.put("a", b"x")
    driver.close()
    assert os.listdir(root) == ["a"]


def test_two_programs_may_tidy_while_the_other_writes(root: Path) -> None:
    ours, theirs = LocalDriver(str(root)), LocalDriver(str(root))
    done = threading.Event()

    def tidy() -> None:
        # Far more often than any program does, and yet not between any two of our calls.
        while not done.wait(0.001):
            theirs.close()

    thread = threading.Thread(target=tidy)
    thread.start()
    try:
        for number in range(150):
            ours.put(f"{number}", b"x")
    finally:
        done.set()
        thread.join()
    assert len(keys_of(ours)) == 150


def test_deleting_and_writing_in_one_folder_at_once_loses_nothing(driver: LocalDriver) -> None:
    """Every delete takes the emptied folder away, every write needs it."""

    def work(number: int) -> None:
        for turn in range(25):
            driver.put(f"x/y/{number}-{turn}", b"1")
            driver.delete(f"x/y/{number}-{turn}")
        driver.put(f"x/y/{number}", b"last")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert keys_of(driver) == [f"x/y/{n}" for n in range(8)]


def test_deleting_keeps_the_root_and_folders_in_use(driver: LocalDriver, root: Path) -> None:
    driver.put("a/b/c/d", b"x")
    driver.put("a/other", b"x")
    (root / "a" / "b" / "link").symlink_to("nowhere")
    driver.delete("a/b/c/d")
    assert (root / "a" / "b").exists()
    assert not (root / "a" / "b" / "c").exists()
    driver.delete("a/other")
    (root / "a" / "b" / "link").unlink()
    driver.put("a/b/c", b"x")
    driver.delete("a/b/c")
    driver.close()
    assert os.listdir(root) == []
