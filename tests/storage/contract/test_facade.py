"""What application code gets from every driver through the facade: folders, addresses, visibility.

What a driver cannot do raises ``Unsupported`` with a reason, and that is checked; a skip here only says so.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import pytest
import urllib3

from dashboard.errors import InvalidInput
from dashboard.storage import Backend
from dashboard.storage.driver import SMALL, Driver, KeepsFolders, Links, SetsVisibility
from dashboard.storage.errors import NotFound, Unsupported
from dashboard.storage.powers import POWERS, require_power
from dashboard.storage.types import Attributes, Visibility
from tests.storage.objects import content_of, unsupported

TREE = ("top.txt", "a/one.txt", "a/two.txt", "a/deep/er/three.txt", "a-b/x", "b/y")


@pytest.fixture
def place(driver: Driver) -> Backend:
    return Backend("place", driver)


def test_a_power_is_there_or_its_absence_is_explained(
    driver: Driver, record_property: Callable[[str, object], None]
) -> None:
    for power in POWERS.values():
        if isinstance(driver, power.protocol):
            require_power(driver, power.name)
            record_property(power.name, "pass")
            continue
        with pytest.raises(Unsupported) as caught:
            require_power(driver, power.name)
        assert caught.value.reason.endswith(".")
        record_property(power.name, f"raises Unsupported: {caught.value.reason}")


def test_whatever_is_put_comes_back(place: Backend) -> None:
    large = content_of(SMALL + 100_000)
    place.put("text.txt", "Grüße")
    place.put("large.bin", large)
    place.put("file.bin", io.BytesIO(large))
    place.put("empty", io.BytesIO(b""))
    assert place.get("text.txt").decode() == "Grüße"
    assert place.get("large.bin") == place.get("file.bin") == large
    assert place.get("empty") == b""
    assert place.metadata("text.txt").attributes.content_type == "text/plain"
    place.put("page", "<p>", attributes=Attributes())
    assert place.get("page") == b"<p>"


def test_copy_and_move_within(place: Backend) -> None:
    data = content_of(1_200_000)
    place.put("from.bin", data)
    place.copy("from.bin", "copied/to.bin")
    assert place.get("copied/to.bin") == place.get("from.bin") == data
    place.move("from.bin", "moved.bin")
    assert not place.exists("from.bin")
    assert place.get("moved.bin") == data
    for call in (place.copy, place.move):
        with pytest.raises(NotFound):
            call("nothing", "else")


def test_files_and_directories(place: Backend) -> None:
    for key in TREE:
        place.put(key, b"x")
    assert [entry.key for entry in place.files()] == ["top.txt"]
    assert sorted(entry.key for entry in place.files("a")) == ["a/one.txt", "a/two.txt"]
    assert sorted(entry.key for entry in place.files("a/", recursive=True)) == sorted(TREE[1:4])
    assert sorted(place.directories()) == ["a", "a-b", "b"]
    assert list(place.directories("a/")) == ["a/deep"]
    assert sorted(place.directories(recursive=True)) == ["a", "a-b", "a/deep", "a/deep/er", "b"]
    assert list(place.files("nothing")) == list(place.directories("nothing")) == []


def test_a_directory_is_deleted_with_all_below_it_and_nothing_else(place: Backend) -> None:
    for key in TREE:
        place.put(key, b"x")
    assert place.delete_directory("a") == 3
    assert place.delete_directory("a/") == 0
    assert sorted(place.directories()) == ["a-b", "b"]
    assert sorted(entry.key for entry in place.list()) == ["a-b/x", "b/y", "top.txt"]
    for whole in ("", "/"):
        with pytest.raises(InvalidInput):
            place.delete_directory(whole)
    assert place.exists("top.txt")


def test_an_empty_directory_is_there(place: Backend) -> None:
    try:
        place.make_directory("new/empty")
    except Unsupported:
        assert not isinstance(place.driver, KeepsFolders)
        unsupported(lambda: place.make_directory("new/empty"))
    place.make_directory("new/empty/")
    assert list(place.directories("new")) == ["new/empty"]
    assert list(place.files("new", recursive=True)) == []
    place.put("new/empty/file", b"x")
    assert [entry.key for entry in place.files("new/empty")] == ["new/empty/file"]
    assert place.delete_directory("new") == 1
    assert list(place.directories()) == []


def test_the_lasting_address(place: Backend) -> None:
    place.put("a b/ü.txt", b"x")
    try:
        address = place.url("a b/ü.txt")
    except Unsupported:
        unsupported(lambda: place.url("a b/ü.txt"))
    assert isinstance(place.driver, Links)
    assert address.startswith(("https://", "http://"))
    assert address.endswith("a%20b/%C3%BC.txt")


def test_a_temporary_address_reads_this_object_and_nothing_else(place: Backend) -> None:
    place.put("a b/ü.txt", b"content")
    place.put("other", b"x")
    try:
        address = place.temporary_url("a b/ü.txt", seconds=60)
    except Unsupported:
        unsupported(lambda: place.temporary_url("a b/ü.txt", seconds=60))
    answer = urllib3.request("GET", address, retries=False)
    assert (answer.status, answer.data) == (200, b"content")
    for method in ("PUT", "DELETE", "POST"):
        assert urllib3.request(method, address, body=b"evil", retries=False).status >= 400
    path, _, query = address.partition("?")
    stranger = path.replace("a%20b/%C3%BC.txt", "other") + f"?{query}"
    assert urllib3.request("GET", stranger, retries=False).status >= 400
    assert place.get("a b/ü.txt") == b"content"


def test_an_object_is_public_or_private(place: Backend) -> None:
    place.put("a", b"x")
    try:
        place.set_visibility("a", Visibility.PUBLIC)
    except Unsupported:
        unsupported(lambda: place.set_visibility("a", Visibility.PUBLIC))
    assert isinstance(place.driver, SetsVisibility)
    assert place.visibility("a") is Visibility.PUBLIC
    place.set_visibility("a", Visibility.PRIVATE)
    assert place.visibility("a") is Visibility.PRIVATE
    for call in (place.visibility, lambda key: place.set_visibility(key, Visibility.PUBLIC)):
        with pytest.raises(NotFound):
            call("nothing")
