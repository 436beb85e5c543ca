"""What a scheduled copy keeps of copies that the server makes by itself."""

from __future__ import annotations

import pytest

from dashboard.services.migrations.keeping_replaced import KeepsReplaced
from dashboard.storage.driver import Driver
from dashboard.storage.drivers.memory import MemoryDriver
from dashboard.storage.errors import Exists
from dashboard.storage.object_powers import CopiesListed
from dashboard.storage.types import Entry, Written


class OneServer(MemoryDriver):
    """Copies what was listed."""

    def copy_listed(self, source: Driver, entry: Entry, to: str, *, create_only: bool = False) -> Written:
        """See ``CopiesListed``."""
        with source.read(entry.key) as reading:
            return self.put(to, reading.read_all(), create_only=create_only)


def test_only_what_is_replaced_is_kept() -> None:
    place, source = OneServer(), MemoryDriver()
    place.put("there", b"old")
    source.put("x", b"new")
    [entry] = source.list()
    keeping = KeepsReplaced(place, place, "kept/")
    assert isinstance(keeping, CopiesListed)
    with pytest.raises(Exists):
        keeping.copy_listed(source, entry, "there", create_only=True)
    assert [each.key for each in place.list()] == ["there"]
    keeping.copy_listed(source, entry, "there")
    assert [each.key for each in place.list()] == ["kept/there", "there"]
    with place.read("kept/there") as reading:
        assert reading.read_all() == b"old"
