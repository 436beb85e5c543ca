"""What every driver promises of keys and listings. The drivers are listed in ``table.py``."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from itertools import product

import pytest

from dashboard.storage.driver import Driver
from dashboard.storage.errors import InvalidKey, NotFound, StorageError, Unsupported
from dashboard.storage.paths import key_bytes
from tests.storage.contract.table import (
    CHANGES_CONTROLS,
    FOLDS_FORMS,
    LISTED_BY_FOLDER,
    LONGEST_NAME,
    LOST_BY_THE_TEST_SERVER,
    SORTED_BY_THE_TEST_SERVER,
)
from tests.storage.objects import content_of, get, keys_of, refusal, stream, unsupported

ODD_KEYS = [
    "a//b",
    "/lead",
    "trail/",
    "//",
    "/",
    " ",
    " lead",
    "trail ",
    "with space/in folder",
    "..",
    ".",
    "a/../b",
    "a/./b",
    "../escape",
    "/etc/passwd",
    "...",
    ".hidden",
    "tab\tkey",
    "new\nline",
    "return\rkey",
    "bell\x07",
    "delete\x7f",
    "nul\0key",
    "%2F",
    "a%2Fb",
    "%",
    "%zz",
    "100%",
    "+ # ? &",
    "a+b",
    "a?b=c&d",
    "a#b",
    "a=b;c,d:e@f!g$h'i(j)*k",
    'quote"d',
    "back\\slash",
    "<tag>&amp;",
    "caf\u00e9",
    "cafe\u0301",
    "\u65e5\u672c/\u8a9e",
    "\U0001f600/\U0001f9d1\u200d\U0001f680",
    "\u202eright-to-left",
    "\ufeffbom",
    "~tilde",
    "-rf",
    "x" * 255,
    "x" * 256,
    "/".join(["y" * 63] * 16),
    "z" * 1024,
    "\u00e9" * 127 + "/" + "\u00e9" * 127,
    "",
    "\ud800",
    ".stowage-tmp/x",
    "CON",
    "name.",
]


@pytest.mark.parametrize("key", ODD_KEYS, ids=ascii)
def test_every_key_is_held_exactly_or_refused(
    exact_driver: Driver, key: str, request: pytest.FixtureRequest
) -> None:
    driver = exact_driver
    if reason := LOST_BY_THE_TEST_SERVER.get((driver.name, key)):
        pytest.skip(reason)
    server = request.node.callspec.params["exact_driver"]
    if server in CHANGES_CONTROLS and not set(key).isdisjoint("\t\x07\x7f"):
        pytest.skip(CHANGES_CONTROLS[server])
    longest = max(len(name.encode("utf-8", "surrogatepass")) for name in key.split("/"))
    if key and server in LONGEST_NAME and (not key.strip("/") or longest > LONGEST_NAME[server]):
        with pytest.raises(StorageError):
            driver.put(key, b"x")
        return
    data = content_of(100, seed=len(key))
    if (refused := refusal(driver, key)) is not None:
        assert refused.subject == key
        assert refused.reason
        for call in (driver.read, driver.stat, driver.delete):
            with pytest.raises(InvalidKey):
                call(key)
        with pytest.raises(InvalidKey):
            driver.put(key, data)
        with pytest.raises(InvalidKey):
            stream(driver, key, data)
        assert keys_of(driver) == []
        return
    try:
        driver.put(key, data)
    except InvalidKey:
        # Found out only from the server's answer; still nothing may be left under another key.
        assert keys_of(driver) == []
        return
    assert keys_of(driver) == [key]
    assert keys_of(driver, key) == [key]
    assert get(driver, key) == data
    assert driver.stat(key).key == key
    stream(driver, key, b"two")
    assert keys_of(driver) == [key]
    assert get(driver, key) == b"two"
    driver.delete(key)
    assert keys_of(driver) == []
    with pytest.raises(NotFound):
        driver.stat(key)


@pytest.mark.parametrize("key", ["plain", "with space", "a%2Fb", "caf\u00e9", "+ # ? &", "\U0001f600"])
def test_ordinary_keys_are_not_refused(driver: Driver, key: str) -> None:
    driver.put(key, b"x")
    assert keys_of(driver) == [key]


def test_normalisation_forms_are_two_keys(driver: Driver, request: pytest.FixtureRequest) -> None:
    if reason := FOLDS_FORMS.get(request.node.callspec.params["driver"]):
        pytest.skip(reason)
    driver.put("caf\u00e9", b"composed")
    driver.put("cafe\u0301", b"decomposed")
    assert get(driver, "caf\u00e9") == b"composed"
    assert len(keys_of(driver)) == 2


TREE = [
    "a",
    "b-c",
    "b/1",
    "b/2/x",
    "b/2/y",
    "b0",
    "b/2-",
    "B",
    "z/\u00e9",
    "z/f",
    "\u00e9",
    "\ufffd",
    "\U0001f600",
]


def tree_for(driver: Driver) -> list[str]:
    """The keys, without one the test server sorts in its own way."""
    unsorted, _ = SORTED_BY_THE_TEST_SERVER.get(driver.name, ("", ""))
    return [key for key in TREE if key != unsorted]


def test_listings_come_in_byte_order(exact_driver: Driver) -> None:
    driver = exact_driver
    tree = tree_for(driver)
    for key in tree:
        driver.put(key, b"x")
    listed = keys_of(driver)
    assert sorted(listed) == sorted(tree)
    if driver.ordered:
        assert listed == sorted(tree, key=key_bytes)


PREFIXES = ["b", "b/", "b/2", "b/2/", "b/2/x", "b/2/x/", "z/", "\u00e9", "nothing", "b//", "/"]
KEYS_TO_GO_ON_AFTER = ["a", "b", "b/", "b/2", "b/2/", "b/2/x", "b/2/z", "b0", "b1", "\U0001f600", "b/1/"]


def test_a_prefix_is_plain_text_and_not_a_folder(exact_driver: Driver) -> None:
    driver = exact_driver
    for key in TREE:
        driver.put(key, b"x")
    expected = {prefix: {key for key in TREE if key.startswith(prefix)} for prefix in PREFIXES}
    assert {prefix: set(keys_of(driver, prefix)) for prefix in PREFIXES} == expected


def test_a_listing_goes_on_after_a_key(exact_driver: Driver) -> None:
    driver = exact_driver
    cases = list(product(["", "b/"], KEYS_TO_GO_ON_AFTER))
    if not driver.ordered:
        for case in cases[1:]:
            with pytest.raises(Unsupported):
                keys_of(driver, *case)
        unsupported(lambda: keys_of(driver, *cases[0]))
    tree = sorted(tree_for(driver), key=key_bytes)
    for key in tree:
        driver.put(key, b"x")
    expected = {
        (prefix, after): [key for key in tree if key.startswith(prefix) and key_bytes(key) > key_bytes(after)]
        for prefix, after in cases
    }
    assert {case: keys_of(driver, *case) for case in cases} == expected


def test_long_listings_come_whole_and_in_order(driver: Driver, request: pytest.FixtureRequest) -> None:
    """Over the 1,000 keys of one S3 page, and the 100 names that SFTP tells at once, without names that
    SeaweedFS sorts its own way."""
    paged = request.node.callspec.params["driver"] not in LISTED_BY_FOLDER
    expected = sorted(f"d{n % 7}/{n:05}" for n in range(1100 if paged else 840))
    if not paged:
        # As many names in a folder, in two of them.
        expected = [key for key in expected if key[1] in "35"]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda key: driver.put(key, b""), expected))
    assert keys_of(driver) == expected
    if driver.ordered:
        middle = expected.index(next(key for key in expected if key.startswith("d3/"))) + 100
        after = [key for key in expected[middle + 1 :] if key.startswith("d3/")]
        assert keys_of(driver, "d3/", expected[middle]) == after != []
