"""The library awaited: the same calls, a free event loop, and cancelled changes that say what they did."""

from __future__ import annotations

import asyncio
import inspect
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dashboard.storage import AsyncStorage, Attributes, Storage
from dashboard.storage.driver import SMALL, Writing
from dashboard.storage.errors import Exists, NotFound, Unsupported
from dashboard.storage.library.aio import async_threads
from dashboard.storage.library.aio.async_operations import AsyncOperations
from dashboard.storage.library.aio.async_storage import AsyncBackend
from dashboard.storage.library.aio.async_threads import Outcome, outcome_of
from dashboard.storage.library.operations import Operations


def run(
    work: Callable[[Any], Awaitable[Any]], folder: Path, threads: int = 4, name: str | None = None
) -> Any:
    """Do something with a local backend and one in memory, or with the one that is named."""

    async def main() -> Any:
        async with AsyncStorage(threads=threads) as storage:
            storage.configure("media", "local", root=str(folder))
            storage.configure("scratch", "memory")
            return await work(storage if name is None else storage.backend(name))

    return asyncio.run(main(), debug=True)


@contextmanager
def held(monkeypatch: pytest.MonkeyPatch, name: str) -> Iterator[tuple[threading.Event, threading.Event]]:
    """Every call of this name waits in its thread: (it has begun, let it go on)."""
    begun, go_on = threading.Event(), threading.Event()
    original = getattr(Operations, name)

    def wait(self: Operations, *arguments: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(120)
        return original(self, *arguments, **options)

    monkeypatch.setattr(Operations, name, wait)
    try:
        yield begun, go_on
    finally:
        go_on.set()


async def until(event: threading.Event) -> None:
    assert await asyncio.to_thread(event.wait, 20)


def test_every_call_of_a_backend_can_be_awaited() -> None:
    def calls(kind: type) -> set[str]:
        return {name for name, _ in inspect.getmembers(kind, callable) if not name.startswith("_")}

    assert calls(Operations) - calls(AsyncOperations) == set()
    for name in calls(Operations) - {"write_stream"}:
        mine, theirs = (inspect.signature(getattr(kind, name)) for kind in (AsyncOperations, Operations))
        assert list(mine.parameters) == list(theirs.parameters), name
        for parameter in mine.parameters:
            defaults = mine.parameters[parameter].default, theirs.parameters[parameter].default
            assert defaults[0] == defaults[1], (name, parameter)


def test_objects_are_stored_read_listed_and_deleted(tmp_path: Path) -> None:
    async def work(storage: AsyncStorage) -> None:
        receipt = await storage.put("a/text.txt", "Zürich")
        assert receipt.size == 7
        assert await storage.get("a/text.txt") == "Zürich".encode()
        assert await storage.get_text("a/text.txt") == "Zürich"
        assert (await storage.stat("a/text.txt")).size == (await storage.metadata("a/text.txt")).size == 7
        assert await storage.read_range("a/text.txt", 0, 1) == b"Z"
        assert await storage.exists("a/text.txt")
        await storage.copy("a/text.txt", "a/copy.txt")
        await storage.move("a/copy.txt", "b/moved.txt")
        await storage.copy_to("b/moved.txt", storage.backend("scratch"), "there.txt")
        assert await storage.disk("scratch").get("there.txt") == "Zürich".encode()
        assert sorted([entry.key async for entry in storage.list()]) == ["a/text.txt", "b/moved.txt"]
        assert [entry.key async for entry in storage.files("a")] == ["a/text.txt"]
        assert [name async for name in storage.directories()] == ["a", "b"]
        assert await storage.delete_many(["a/text.txt", "nothing"]) == {}
        assert await storage.delete_directory("b") == 1
        await storage.delete("nothing")
        assert [entry async for entry in storage.list()] == []
        with pytest.raises(NotFound):
            await storage.get("a/text.txt")
        with pytest.raises(Unsupported):
            await storage.temporary_url("a")

    run(work, tmp_path)


def test_streams_go_both_ways(tmp_path: Path) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for number in range(10):
            await asyncio.sleep(0)
            yield bytes([number]) * 100_000

    async def work(storage: AsyncStorage) -> None:
        await storage.put("streamed.txt", pieces())
        whole = await storage.get("streamed.txt")
        async with storage.write_stream("copy", attributes=Attributes(content_type="a/b")) as writing:
            async with storage.read_stream("streamed.txt") as reading:
                assert reading.info.size == 1_000_000
                async for chunk in reading:
                    await writing.write(chunk)
            assert not await storage.exists("copy")
            assert (await writing.commit()).size == 1_000_000
        assert await storage.get("copy") == whole
        async with storage.read_stream("copy") as reading:
            assert await reading.read(5) == whole[:5]
            assert await reading.read() == whole[5:]
        async with storage.write_stream("abandoned") as writing:
            await writing.write(b"never seen")
        assert not await storage.exists("abandoned")
        with pytest.raises(Exists):
            await storage.put("copy", pieces(), create_only=True)

    run(work, tmp_path)


def test_an_async_iterable_that_fails_stores_nothing(tmp_path: Path) -> None:
    async def failing() -> AsyncIterator[bytes]:
        yield b"x"
        raise OSError("the client is gone")

    async def work(storage: AsyncStorage) -> None:
        with pytest.raises(OSError, match="gone"):
            await storage.put("half", failing())
        assert not await storage.exists("half")

    run(work, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_listing_is_fetched_as_far_as_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    yielded = 0

    def endless(self: Operations, prefix: str = "") -> Iterator[int]:
        nonlocal yielded
        try:
            while True:
                yielded += 1
                yield yielded
        finally:
            closed.set()

    closed = threading.Event()
    monkeypatch.setattr(Operations, "list", endless)

    async def work(storage: AsyncBackend) -> None:
        listing = storage.list()
        first: list[Any] = []
        async for entry in listing:
            first.append(entry)
            if len(first) == 300:
                break
        await listing.aclose()  # type: ignore[attr-defined]
        assert first == list(range(1, 301))

    run(work, tmp_path, name="media")
    assert yielded == 512
    assert closed.is_set()


def test_the_event_loop_goes_on_and_threads_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, most, lock, full, go_on = 0, 0, threading.Lock(), threading.Event(), threading.Event()

    def slow(self: Operations, key: str) -> bool:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            if running == 3:
                full.set()
        assert go_on.wait(120)
        with lock:
            running -= 1
        return True

    monkeypatch.setattr(Operations, "exists", slow)

    async def work(storage: AsyncBackend) -> None:
        tasks = [asyncio.create_task(storage.exists("a")) for _ in range(20)]
        while not full.is_set():
            await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*tasks) == [True] * 20

    run(work, tmp_path, threads=3, name="media")
    assert most == 3


def test_a_change_that_never_began_was_not_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work(storage: AsyncBackend) -> None:
        with held(monkeypatch, "exists") as (begun, go_on):
            busy = asyncio.create_task(storage.exists("a"))
            await until(begun)
            waiting = asyncio.create_task(storage.put("waiting", b"x"))
            await asyncio.sleep(0)
            waiting.cancel()
            with pytest.raises(asyncio.CancelledError) as found:
                await waiting
            assert outcome_of(found.value) is Outcome.NOT_DONE
            go_on.set()
            await busy
            assert not await storage.exists("waiting")

    run(work, tmp_path, threads=1, name="media")


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_a_cancelled_put_says_that_it_was_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    async def work(storage: AsyncBackend) -> None:
        with held(monkeypatch, "put") as (begun, go_on):
            task = asyncio.create_task(storage.put("late", b"x"))
            await until(begun)
            if how == "cancel":
                task.cancel()
                await asyncio.sleep(0)
                go_on.set()
                with pytest.raises(asyncio.CancelledError) as cancelled:
                    await task
                assert outcome_of(cancelled.value) is Outcome.DONE
            else:
                asyncio.get_running_loop().call_later(0.05, go_on.set)
                with pytest.raises(TimeoutError) as late:
                    async with asyncio.timeout(0):
                        await storage.put("late", b"x")
                assert outcome_of(late.value) is Outcome.DONE
                await task
            assert await storage.exists("late")

    run(work, tmp_path, name="media")


def test_a_put_that_is_cancelled_in_the_middle_stores_nothing(tmp_path: Path) -> None:
    reached, go_on = threading.Event(), threading.Event()

    def content() -> Iterator[bytes]:
        yield b"first"
        reached.set()
        assert go_on.wait(120)
        yield b"last"

    async def work(storage: AsyncStorage) -> None:
        task = asyncio.create_task(storage.put("half", content()))
        await until(reached)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError) as found:
            await task
        assert outcome_of(found.value) is Outcome.NOT_DONE
        assert not await storage.exists("half")

    run(work, tmp_path)


def test_an_async_iterable_that_is_cancelled_stores_nothing(tmp_path: Path) -> None:
    async def work(storage: AsyncStorage) -> None:
        reached = asyncio.Event()

        async def content() -> AsyncIterator[bytes]:
            yield b"first"
            reached.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(storage.put("half", content()))
        await reached.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as found:
            await task
        assert outcome_of(found.value) is Outcome.NOT_DONE
        assert not await storage.exists("half")

    run(work, tmp_path)


def test_a_cancelled_commit_says_that_it_was_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begun, go_on = threading.Event(), threading.Event()

    class SlowCommit:
        def __init__(self, writing: Writing) -> None:
            self._writing = writing

        def __getattr__(self, name: str) -> Any:
            return getattr(self._writing, name)

        def __enter__(self) -> SlowCommit:
            self._writing.__enter__()
            return self

        def __exit__(self, *error: Any) -> None:
            self._writing.__exit__(*error)

        def commit(self) -> Any:
            begun.set()
            assert go_on.wait(120)
            return self._writing.commit()

    original = Operations.write_stream
    monkeypatch.setattr(
        Operations, "write_stream", lambda *given, **options: SlowCommit(original(*given, **options))
    )

    async def work(storage: AsyncBackend) -> None:
        async def write() -> None:
            async with storage.write_stream("committed") as writing:
                await writing.write("text")
                await writing.commit()

        task = asyncio.create_task(write())
        await until(begun)
        task.cancel()
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError) as found:
            await task
        assert outcome_of(found.value) is Outcome.DONE
        assert await storage.get("committed") == b"text"

    run(work, tmp_path, name="media")


def test_who_does_not_wait_for_the_answer_is_told_that_it_is_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(storage: AsyncBackend) -> None:
        with held(monkeypatch, "delete") as (begun, _):
            twice = asyncio.create_task(storage.delete("a"))
            await until(begun)
            twice.cancel()
            await asyncio.sleep(0)
            twice.cancel()
            with pytest.raises(asyncio.CancelledError) as found:
                await twice
            assert outcome_of(found.value) is Outcome.UNKNOWN
        monkeypatch.setattr(async_threads, "CANCEL_SECONDS", 0.01)
        with held(monkeypatch, "move") as (begun, _):
            once = asyncio.create_task(storage.move("a", "b"))
            await until(begun)
            once.cancel()
            with pytest.raises(asyncio.CancelledError) as late:
                await once
            assert outcome_of(late.value) is Outcome.UNKNOWN

    run(work, tmp_path, name="media")


def test_an_error_after_the_cancellation_says_nothing_about_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work(storage: AsyncBackend) -> None:
        with held(monkeypatch, "copy") as (begun, go_on):
            task = asyncio.create_task(storage.copy("nothing", "there"))
            await until(begun)
            task.cancel()
            await asyncio.sleep(0)
            go_on.set()
            with pytest.raises(asyncio.CancelledError) as found:
                await task
            assert outcome_of(found.value) is Outcome.UNKNOWN

    run(work, tmp_path, name="media")


def test_a_read_that_is_cancelled_while_it_opens_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dashboard.storage.library.contents import OpenRead

    closed = threading.Event()
    original = OpenRead.__exit__

    def close(self: OpenRead, *error: Any) -> None:
        original(self, *error)
        closed.set()

    monkeypatch.setattr(OpenRead, "__exit__", close)

    async def work(storage: AsyncBackend) -> None:
        await storage.put("a", b"x")
        with held(monkeypatch, "read_stream") as (begun, go_on):

            async def read() -> None:
                async with storage.read_stream("a"):
                    raise AssertionError("it was cancelled before")

            task = asyncio.create_task(read())
            await until(begun)
            task.cancel()
            with pytest.raises(asyncio.CancelledError) as found:
                await task
            assert outcome_of(found.value) is None
            go_on.set()
            await until(closed)

    run(work, tmp_path, name="media")


def test_large_content_is_handed_over_in_parts(tmp_path: Path) -> None:
    async def work(storage: AsyncStorage) -> None:
        content = bytes(SMALL) + b"end"
        assert (await storage.put("large", bytearray(content))).size == len(content)
        assert await storage.read_range("large", SMALL, 10) == b"end"

    run(work, tmp_path)


def test_a_download_is_an_asgi_application(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def work(storage: AsyncStorage) -> None:
        await storage.put("a.txt", b"content")
        response = await storage.download_response("a.txt")
        await response({"method": "GET"}, None, send)
        with pytest.raises(NotFound):
            await storage.download_response("b.txt")

    run(work, tmp_path)
    assert sent[0]["status"] == 200
    assert b"".join(message["body"] for message in sent[1:]) == b"content"


def test_an_existing_storage_is_used_and_closed_with_it(tmp_path: Path) -> None:
    closed: list[bool] = []
    storage = Storage(on_close=lambda: closed.append(True))
    storage.configure("media", "local", root=str(tmp_path))

    async def main() -> None:
        both = AsyncStorage(storage)
        await both.put("a", b"x")
        assert storage.get("a") == b"x"
        with both.fake() as fake:
            await both.put("b", b"y")
            fake.assert_exists("b")
        assert not await both.exists("b")
        assert both.names() == ("media",)
        await both.close()
        await both.close()

    asyncio.run(main())
    assert closed == [True]


def test_programs_without_an_event_loop_load_none() -> None:
    check = "import sys; from dashboard.storage import Storage; sys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0
