"""The local driver: what a disk does that no other backend does."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dashboard.errors import Kind
from dashboard.storage.drivers import _local_listing
from dashboard.storage.drivers.local import LocalDriver
from dashboard.storage.errors import (
    Changed,
    Exists,
    InvalidKey,
    NotFound,
    PlaceMissing,
    StorageError,
    Unsupported,
)
from dashboard.storage.paths import key_bytes

TMP = ".stowage-tmp"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


@pytest.fixture
def driver(root: Path) -> Iterator[LocalDriver]:
    made = LocalDriver(str(root))
    yield made
    made.close()


def keys_of(driver: LocalDriver, prefix: str = "", after: str = "") -> list[str]:
    return [entry.key for entry in driver.list(prefix, start_after=after)]


def get(driver: LocalDriver, key: str) -> bytes:
    with driver.read(key) as reading:
        return reading.read_all()


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def refusals(driver: LocalDriver, key: str) -> list[Callable[[], object]]:
    return [lambda: driver.read(key), lambda: driver.stat(key), lambda: driver.put(key, b"x")]


# -- keys ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "empty"),
        ("a//b", "//"),
        ("/a", "begins"),
        ("a/", "ends"),
        ("..", "“..”"),
        ("a/../../b", "“..”"),
        ("a/./b", "“.”"),
        ("a\0b", "NUL"),
        ("é" * 128, "256 bytes"),
        (f"{TMP}/x", "unfinished"),
        (f"a/{TMP}/x", "unfinished"),
        ("\ud800", "surrogate"),
        ("\udcc3\udca9", "escaped"),
    ],
)
def test_a_key_the_disk_cannot_hold_is_named(driver: LocalDriver, key: str, says: str) -> None:
    with pytest.raises(InvalidKey, match=re.escape(says)) as caught:
        driver.check_key(key)
    assert caught.value.subject == key


def test_names_that_are_not_utf8_round_trip_as_the_same_bytes(driver: LocalDriver, root: Path) -> None:
    for raw in (b"caf\xe9", b"\xff\xfe", b"\xed\xa0\x80", b"ok-\xc3\xa9\xc3"):
        (Path(os.fsdecode(os.fsencode(root) + b"/" + raw))).write_bytes(raw)
    for key in keys_of(driver):
        assert get(driver, key) == key_bytes(key)
        driver.put("copy/" + key, b"x")
        assert os.path.exists(os.fsencode(root) + b"/copy/" + key_bytes(key))
        driver.delete(key)
    assert len(keys_of(driver)) == 4


def test_a_name_this_file_system_refuses_is_an_invalid_key(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EILSEQ, "no such letters here")

    monkeypatch.setattr(os, "rename", refuse)
    with pytest.raises(InvalidKey) as caught:
        driver.put("a", b"x")
    assert isinstance(caught.value.__cause__, OSError)


# -- never outside the root ---------------------------------------------------------------------------


def test_symbolic_links_are_no_objects(driver: LocalDriver, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (root / "folder").symlink_to(outside)
    (root / "file").symlink_to(outside / "secret")
    (root / "dangling").symlink_to(outside / "made-by-us")
    (root / "up").symlink_to("..")
    assert keys_of(driver) == []
    assert keys_of(driver, "folder/") == []
    for key in ("folder/secret", "file", "up/outside/secret", "dangling"):
        for call in (driver.read, driver.stat):
            with pytest.raises(NotFound):
                call(key)
        for create_only in (False, True):
            with pytest.raises(StorageError) as caught:
                driver.put(key, b"planted", create_only=create_only)
            assert caught.value.kind is Kind.CONFLICT
        driver.delete(key)
    assert sorted(p.name for p in outside.iterdir()) == ["secret"]
    assert (outside / "secret").read_text() == "secret"
    assert sorted(p.name for p in root.iterdir() if p.name != TMP) == ["dangling", "file", "folder", "up"]


def test_special_files_are_no_objects_and_do_not_block(driver: LocalDriver, root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert keys_of(driver) == []
    for call in (driver.read, driver.stat):
        with pytest.raises(NotFound):
            call("pipe")
    driver.delete("pipe")
    with pytest.raises(StorageError):
        driver.put("pipe", b"x")
    assert (root / "pipe").is_fifo()


def test_a_folder_swapped_for_a_link_under_way_leads_nowhere(
    driver: LocalDriver, root: Path, tmp_path: Path
) -> None:
    """A folder flips between itself and a link to the outside, thousands of times, under every call."""
    outside = tmp_path / "outside"
    (outside / "inner").mkdir(parents=True)
    (outside / "inner" / "x").write_text("outside")
    driver.put("a/inner/x", b"inside")
    stop = threading.Event()

    def flip() -> None:
        aside, link = root / "aside", root / "a-link"
        while not stop.is_set():
            os.rename(root / "a", aside)
            os.symlink(outside, link)
            put_in_place(link, root / "a")
            os.unlink(root / "a")
            put_in_place(aside, root / "a")

    def put_in_place(source: Path, target: Path) -> None:
        """A write may have made the folder anew in the gap; that one goes."""
        while True:
            try:
                os.rename(source, target)
            except OSError:
                shutil.rmtree(target, ignore_errors=True)
            else:
                return

    seen: set[bytes] = set()
    actions: list[Callable[[], object]] = [
        lambda: seen.add(get(driver, "a/inner/x")),
        lambda: driver.put("a/inner/y", b"inside"),
        lambda: driver.delete("a/inner/y"),
        lambda: seen.update(get(driver, key) for key in keys_of(driver, "a/")),
    ]
    thread = threading.Thread(target=flip)
    thread.start()
    try:
        deadline = time.monotonic() + 1.5
        while time.monotonic() < deadline:
            for action in actions:
                with contextlib.suppress(StorageError):
                    action()
    finally:
        stop.set()
        thread.join()
    assert seen == {b"inside"}
    assert sorted(str(p.relative_to(outside)) for p in outside.rglob("*")) == ["inner", "inner/x"]
    assert (outside / "inner" / "x").read_text() == "outside"


# -- writes -------------------------------------------------------------------------------------------


def test_a_file_and_a_folder_of_one_name_are_refused_in_words(driver: LocalDriver) -> None:
    driver.put("a", b"file")
    driver.put("b/c", b"in a folder")
    for key in ("a/b", "a/b/c", "b"):
        with pytest.raises(StorageError) as caught:
            driver.put(key, b"x")
        assert caught.value.kind is Kind.CONFLICT
        assert not isinstance(caught.value, Exists)
        assert not caught.value.retryable
        assert caught.value.remedy
    assert keys_of(driver) == ["a", "b/c"]


def test_bytes_are_synced_before_they_are_named_and_the_folder_after(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, str]] = []
    fsync, rename = os.fsync, os.rename

    def watched_fsync(fd: int) -> None:
        calls.append(("sync", os.readlink(f"/proc/self/fd/{fd}").removeprefix(str(root))))
        fsync(fd)

    def watched_rename(source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int) -> None:
        calls.append(("rename", os.fsdecode(target)))
        rename(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "rename", watched_rename)
    driver.put("one/two/x", b"1")
    kinds = [(what, re.sub(f"/{TMP}/.*", "/tmp", where)) for what, where in calls]
    assert kinds == [("sync", "/tmp"), ("sync", ""), ("sync", "/one"), ("rename", "x"), ("sync", "/one/two")]
    calls.clear()
    driver.put("one/two/y", b"1")
    assert [what for what, _ in calls] == ["sync", "rename", "sync"]


def test_a_folder_made_again_is_made_durable_again(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver.put("one/x", b"1")
    driver.delete("one/x")
    synced: list[str] = []
    fsync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (synced.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd))[1]
    )
    driver.put("one/x", b"1")
    assert len(synced) == 3


def test_a_stream_of_another_length_than_announced_is_not_stored(driver: LocalDriver) -> None:
    for content in (b"short", b"too long by far"):
        with driver.write("a", size=10) as writing:
            writing.write(content)
            with pytest.raises(StorageError, match="10 bytes") as caught:
                writing.commit()
        assert caught.value.kind is Kind.DAMAGED
    assert keys_of(driver) == []


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (errno.ENOSPC, Kind.FULL),
        (errno.EDQUOT, Kind.FULL),
        (errno.EFBIG, Kind.FULL),
        (errno.EROFS, Kind.DENIED),
        (errno.EACCES, Kind.DENIED),
        (errno.ESTALE, Kind.UNREACHABLE),
        (errno.EMFILE, Kind.THROTTLED),
        (errno.EIO, Kind.DAMAGED),
    ],
)
@pytest.mark.parametrize("call", ["write", "fsync", "rename"])
def test_a_failing_disk_is_told_in_words_and_leaves_nothing(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, code: int, kind: Kind, call: str
) -> None:
    driver.put("a", b"old")
    with monkeypatch.context() as patch:

        def fail(*args: object, **kwargs: object) -> int:
            raise OSError(code, os.strerror(code))

        patch.setattr(os, call, fail)
        with pytest.raises(StorageError) as caught:
            driver.put("a", b"new content")
    error = caught.value
    assert error.kind is kind
    assert error.remedy
    assert error.subject == "a"
    assert isinstance(error.__cause__, OSError)
    assert get(driver, "a") == b"old"
    assert os.listdir(root / TMP) == []


def test_a_really_full_disk_is_full(driver: LocalDriver) -> None:
    """The kernel's own limit on file size stands in for a disk that ends."""
    script = (
        "import resource, signal, sys\n"
        "from dashboard.storage.drivers.local import LocalDriver\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "try: LocalDriver(sys.argv[1]).put('big', bytes(200_000))\n"
        "except Exception as error: print(error.kind, error)\n"
    )
    out = subprocess.run(
        [sys.executable, "-c", script, driver._tree.root.decode()], capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith("full ")
    assert keys_of(driver) == []


@pytest.fixture
def as_nobody() -> Iterator[Path]:
    """A folder of one's own, and no rights beyond it: root, who may do everything, steps down."""
    with tempfile.TemporaryDirectory() as name:
        if os.geteuid() != 0:
            yield Path(name)
            return
        os.chown(name, 65534, 65534)
        os.seteuid(65534)
        try:
            yield Path(name)
        finally:
            os.seteuid(0)


def test_a_folder_without_permission_is_denied(as_nobody: Path) -> None:
    driver = LocalDriver(str(as_nobody))
    driver.put("a/b", b"x")
    (as_nobody / "a").chmod(0o000)
    calls = [lambda: get(driver, "a/b"), lambda: keys_of(driver), lambda: driver.put("a/c", b"")]
    for call in [*calls, lambda: driver.stat("a/b"), lambda: driver.delete("a/b")]:
        with pytest.raises(StorageError, match="may not") as caught:
            call()
        assert caught.value.kind is Kind.DENIED
    (as_nobody / "a").chmod(0o500)
    assert get(driver, "a/b") == b"x"
    for call in [lambda: driver.put("a/c", b""), lambda: driver.delete("a/b")]:
        with pytest.raises(StorageError, match="may not"):
            call()
    (as_nobody / "a").chmod(0o700)
    driver.close()


def test_a_missing_root_is_not_a_missing_object(tmp_path: Path) -> None:
    driver = LocalDriver(str(tmp_path / "gone" / "away"))
    for call in (
        lambda: driver.read("a"),
        lambda: driver.stat("a"),
        lambda: driver.put("a", b""),
        lambda: driver.delete("a"),
        lambda: keys_of(driver),
        lambda: keys_of(driver, "a/b//c"),
    ):
        with pytest.raises(PlaceMissing) as caught:
            call()
        assert caught.value.kind is Kind.NOT_FOUND
        assert "mount" in caught.value.remedy
    assert driver.bucket_exists() is False
    driver.create_bucket()
    driver.create_bucket()
    assert driver.bucket_exists()
    driver.put("a", b"x")
    driver.close()


def test_a_file_in_the_roots_place_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        driver = LocalDriver(str(path))
        with pytest.raises(StorageError, match="is a file or lies below one"):
            driver.create_bucket()
        with pytest.raises(PlaceMissing):
            keys_of(driver)


def test_a_disk_without_hard_links_says_that_it_cannot_create_only(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(Unsupported):
        driver.put("a", b"x", create_only=True)
    assert keys_of(driver) == []


@pytest.mark.parametrize("create_only", [False, True])
def test_a_folder_on_another_file_system_is_written_within_it(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch, create_only: bool
) -> None:
    """Mounting needs rights a test has not, so the kernel's EXDEV is played for the root's own folder."""
    rename, link = os.rename, os.link
    top = os.stat(root)

    def far(call: Callable[..., None]) -> Callable[..., None]:
        def crossing(
            source: bytes, target: bytes, *, src_dir_fd: int, dst_dir_fd: int, **more: object
        ) -> None:
            if os.path.samestat(os.stat("..", dir_fd=src_dir_fd), top):
                raise OSError(errno.EXDEV, "cross-device")
            call(source, target, src_dir_fd=src_dir_fd, dst_dir_fd=dst_dir_fd, **more)

        return crossing

    monkeypatch.setattr(os, "rename", far(rename))
    monkeypatch.setattr(os, "link", far(link))
    content = random.Random(3).randbytes(3_000_000)
    with driver.write("mount/x", create_only=create_only) as writing:
        writing.write(content)
        assert writing.commit().proven
    assert get(driver, "mount/x") == content
    assert keys_of(driver) == ["mount/x"]
    assert os.listdir(root / TMP) == os.listdir(root / "mount" / TMP) == []
    (root / "mount" / TMP / "stale").write_text("not ours")
    driver.sweep(["mount/y"], since=0)
    assert (root / "mount" / TMP / "stale").exists()


# -- leftovers ----------------------------------------------------------------------------------------


def test_what_a_killed_program_left_is_swept_by_key_and_time(driver: LocalDriver, root: Path) -> None:
    driver.put("kept", b"x")
    script = (
        "import sys, time\n"
        "from dashboard.storage.drivers.local import LocalDriver\n"
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
        while not done.is_set():
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


# -- reads --------------------------------------------------------------------------------------------


def test_a_file_that_changes_under_the_read_is_told(driver: LocalDriver, root: Path) -> None:
    size = 3 << 20

    def grow() -> None:
        with (root / "a").open("ab") as file:
            file.write(b"more")

    def cut() -> None:
        os.truncate(root / "a", 5)

    def rewrite() -> None:
        with (root / "a").open("r+b") as file:
            file.write(b"X" * size)
        os.utime(root / "a", ns=(1, 1))

    for change in (grow, cut, rewrite, lambda: driver.put("a", b"new"), lambda: driver.delete("a")):
        driver.put("a", b"x" * size)
        with driver.read("a") as reading:
            pieces = reading.chunks()
            next(pieces)
            change()
            with pytest.raises(Changed):
                list(pieces)


def test_content_types_come_from_the_name_and_from_nothing_else(driver: LocalDriver) -> None:
    for key, expected in {
        "a.html": "text/html",
        "a.JPG": "image/jpeg",
        "x/a.webp": "image/webp",
        "a.tar.gz": "application/gzip",
        "a": None,
        ".html": None,
        "data:text/html,x": None,
        "dir.html/a": None,
    }.items():
        driver.put(key, b"x")
        assert driver.stat(key).attributes.content_type == expected
        assert driver.stat(key).attributes.content_encoding is None


def test_no_descriptor_stays_open(driver: LocalDriver, root: Path) -> None:
    driver.put("a/b/c", b"x")
    before = open_descriptors()
    for _ in range(3):
        driver.put("a/b/c", b"x")
        get(driver, "a/b/c")
        keys_of(driver)
        for key in ("a/b/c/d", "a", "a/x", "..", "a/b"):
            for call in refusals(driver, key):
                try:
                    call()
                except StorageError:
                    continue
                driver.delete(key)
        with driver.write("a/z") as writing:
            writing.write(b"x")
        driver.read("a/b/c")
    assert open_descriptors() == before


# -- listing ------------------------------------------------------------------------------------------


def test_listing_agrees_with_sorted_keys_for_any_tree(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Random trees of awkward names, with runs so short that everything is spilled and merged."""
    monkeypatch.setattr(_local_listing, "RUN", 3)
    monkeypatch.setattr(_local_listing, "_BLOCK", 7)
    rng = random.Random(20261121)
    names = ["a", "a-", "a.", "a0", "A", "b", "\n", " ", "é", "\udcff", "😀", "\ufffd", "~", "ab", "aa"]
    keys: set[str] = set()
    folders: set[str] = set()
    while len(keys) < 250:
        parts = [rng.choice(names) for _ in range(rng.randint(1, 5))]
        above = {"/".join(parts[:i]) for i in range(1, len(parts))}
        key = "/".join(parts)
        if key in folders or above & keys:
            continue
        folders |= above
        keys.add(key)
        driver.put(key, b"x")
    ordered = sorted(keys, key=key_bytes)
    assert keys_of(driver) == ordered
    probes = [rng.choice(ordered) for _ in range(25)]
    cuts = [key[: rng.randint(0, len(key))] for key in probes]
    for prefix in ["", "a", "a/", *cuts]:
        for after in ["", rng.choice(ordered), rng.choice(cuts), rng.choice(cuts) + "/"]:
            expected = [k for k in ordered if k.startswith(prefix) and key_bytes(k) > key_bytes(after)]
            assert keys_of(driver, prefix, after) == expected


def test_listing_a_large_folder_keeps_memory_and_descriptors(
    driver: LocalDriver, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_local_listing, "RUN", 1000)
    monkeypatch.setattr(_local_listing, "_BLOCK", 8192)
    folder = root / "large"
    folder.mkdir()
    fd = os.open(folder, os.O_RDONLY)
    for number in range(20_000):
        os.close(os.open(f"object-with-a-longish-name-{number:07}", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
    os.close(fd)
    before = open_descriptors()
    tracemalloc.start()
    try:
        count, last, widest = 0, "", 0
        for entry in driver.list():
            assert entry.key > last
            last = entry.key
            count += 1
            if count % 5_000 == 0:
                widest = max(widest, open_descriptors())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert widest <= before + 1
    assert peak < 2 << 20
    assert open_descriptors() == before


def test_pruned_folders_are_not_even_opened(driver: LocalDriver, monkeypatch: pytest.MonkeyPatch) -> None:
    for key in ("a/x", "b/c/x", "b/d/x", "e/x"):
        driver.put(key, b"x")
    opened: list[bytes] = []
    rows = _local_listing._rows

    def watched(tree: object, path: bytes, *rest: object) -> object:
        opened.append(path)
        return rows(tree, path, *rest)

    monkeypatch.setattr(_local_listing, "_rows", watched)
    assert keys_of(driver, "b/d") == ["b/d/x"]
    assert opened == [b"b/", b"b/d/"]
    opened.clear()
    assert keys_of(driver, after="b/d") == ["b/d/x", "e/x"]
    assert opened == [b"", b"b/", b"b/d/", b"e/"]


def test_a_very_deep_tree_needs_two_descriptors(driver: LocalDriver) -> None:
    key = "/".join(["d"] * 300)
    driver.put(key, b"deep")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_descriptors() + 8, hard))
    try:
        assert keys_of(driver) == [key]
        assert get(driver, key) == b"deep"
        driver.delete(key)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert keys_of(driver) == []


def test_what_vanishes_while_it_is_listed_is_left_out(driver: LocalDriver, root: Path) -> None:
    for key in ("a/1", "b/1", "c/1"):
        driver.put(key, b"x")
    listing = driver.list()
    assert next(listing).key == "a/1"
    driver.delete("b/1")
    assert [entry.key for entry in listing] == ["c/1"]


def test_a_listing_that_is_dropped_midway_frees_everything(
    driver: LocalDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_local_listing, "RUN", 2)
    for number in range(10):
        driver.put(f"{number}", b"")
    before = open_descriptors()
    listing = driver.list()
    next(listing)
    assert open_descriptors() == before + 1
    listing.close()  # type: ignore[attr-defined]
    assert open_descriptors() == before
