"""What is fetched ahead for a zip, and what is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from dashboard.services.files.zips import zip_downloads
from dashboard.services.files.zips.zip_downloads import READ_AHEAD, _common_folder, _contents, _Item
from dashboard.storage.driver import Driver
from dashboard.storage.errors import NotFound


class CountingDriver:
    """Knows which objects are open at the same time."""

    def __init__(self, missing: str = "") -> None:
        self.opened: list[str] = []
        self.most = self._open = 0
        self._missing = missing
        self._lock = threading.Lock()

    def read(self, key: str, *, if_version: str | None = None) -> Any:
        with self._lock:
            self.opened.append(key)
            self._open += 1
            self.most = max(self.most, self._open)
        return self

    @property
    def info(self) -> SimpleNamespace:
        if self.opened[-1] == self._missing:
            raise NotFound(self._missing)
        return SimpleNamespace(size=4, etag=None)

    def chunks(self) -> Iterator[bytes]:
        yield b"four"

    def __enter__(self) -> CountingDriver:
        return self

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._open -= 1


class OneConnection(CountingDriver):
    def max_connections(self) -> int:
        return 1


def items(count: int) -> list[_Item]:
    return [_Item(f"{number:02}", 4, None, None) for number in range(count)]


def test_small_files_come_in_order_and_only_a_few_ahead() -> None:
    driver = CountingDriver()
    contents = _contents(cast(Driver, driver), items(20))
    first = b"".join(next(contents))
    assert first == b"four"
    assert len(driver.opened) <= READ_AHEAD + 1
    rest = [b"".join(content) for content in contents]
    assert rest == [b"four"] * 19
    assert sorted(driver.opened) == [item.key for item in items(20)]


def test_a_single_connection_is_never_needed_twice() -> None:
    driver = OneConnection()
    for content in _contents(cast(Driver, driver), items(10)):
        assert b"".join(content) == b"four"
    assert driver.most == 1
    assert driver.opened == [item.key for item in items(10)]


def test_a_large_file_is_not_fetched_before_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_downloads, "SMALL_FILE", 3)
    driver = CountingDriver()
    contents = _contents(cast(Driver, driver), items(3))
    first = next(contents)
    assert driver.opened == []
    assert b"".join(first) == b"four"
    assert driver.opened == ["00"]


def test_an_error_comes_when_it_is_the_files_turn() -> None:
    # One after the other, so that it is clear which object is missing.
    contents = _contents(cast(Driver, OneConnection("02")), items(5))
    found = [b"".join(next(contents)) for _ in range(2)]
    assert found == [b"four", b"four"]
    with pytest.raises(NotFound):
        b"".join(next(contents))


@pytest.mark.parametrize(
    ("paths", "folder"),
    [
        (["a.txt"], ""),
        (["a/b.txt"], "a/"),
        (["a/b.txt", "a/c.txt"], "a/"),
        (["a/b/c.txt", "a/d.txt"], "a/"),
        (["ab/c", "ac/c"], ""),
        (["a/b/"], "a/"),
        (["a/"], ""),
        ([""], ""),
        (["a/b/", "a/c.txt"], "a/"),
    ],
)
def test_names_begin_at_the_folder_that_is_common(paths: list[str], folder: str) -> None:
    assert _common_folder(paths) == folder
