"""Reads hand out as much as was announced, and close what they read from once."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dashboard.storage.drivers.common.reading import CheckedReading
from dashboard.storage.errors import Changed, Damaged
from dashboard.storage.types import ObjectInfo


def test_content_ends_at_its_size() -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield b"12345"

    arrived = []
    with pytest.raises(Damaged, match="more arrived"):
        arrived.extend(CheckedReading(ObjectInfo("a", 12), endless()).chunks())
    assert b"".join(arrived) == b"1234512345"
    assert CheckedReading(ObjectInfo("a", 5), iter([b"12", b"345"])).read_all() == b"12345"
    with pytest.raises(Damaged, match="has 5 bytes, but 4 arrived"):
        CheckedReading(ObjectInfo("a", 5), iter([b"12", b"34"])).read_all()
    with pytest.raises(Damaged, match="has 4 bytes, but more"):
        CheckedReading(ObjectInfo("a", 5), iter([b"12", b"345"]), expected_size=4).read_all()


def test_what_was_replaced_is_said_to_be_so_and_not_to_be_damaged() -> None:
    class Replaced(CheckedReading):
        def _check_unchanged(self) -> None:
            raise Changed(self.info.key)

    with pytest.raises(Changed):
        Replaced(ObjectInfo("a", 5), iter([b"12"])).read_all()


@pytest.mark.parametrize("broken", [False, True])
def test_it_is_closed_once(broken: bool) -> None:
    closed = []
    reading = CheckedReading(ObjectInfo("a", 1 + broken), iter([b"1"]), lambda: closed.append(1))
    try:
        with reading:
            reading.read_all()
    except Damaged:
        assert broken
    reading.close()
    assert closed == [1]
