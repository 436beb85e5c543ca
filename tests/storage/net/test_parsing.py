"""What servers say is bounded and checked before it is believed."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Callable

import pytest

from dashboard.storage.net import parsing
from dashboard.storage.net.parsing import (
    MAX_DOCUMENT_BYTES,
    MalformedResponse,
    PaginationGuard,
    WrongProtocol,
    join_chunks,
    parse_entry,
    parse_json_object,
    parse_size,
    parse_xml,
)
from dashboard.storage.types import Entry

MIB = 1024 * 1024


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


JUST_LET_THROUGH: dict[str, Callable[[], bytes]] = {
    "elements with attributes": lambda: b"<r>" + b'<a b="c"/>' * 99_000 + b"</r>",
    "attributes of one element": lambda: b"<r " + b" ".join(b'a%d="xyz"' % n for n in range(99_000)) + b"/>",
    "namespaces": lambda: (
        b'<r xmlns:n="%b">%b</r>' % (b"u" * 90, b"".join(b"<n:a%d/>" % n for n in range(99_000)))
    ),
    "text": lambda: b"<r>" + b"x" * (MAX_DOCUMENT_BYTES - 7) + b"</r>",
    "lists": lambda: b'{"a":[' + b",".join([b"[]"] * 245_000) + b"]}",
    "fields": lambda: b"{" + b",".join(b'"%05d":1' % n for n in range(160_000)) + b"}",
    "numbers": lambda: b'{"a":[' + b",".join(b"%d.5" % n for n in range(490_000)) + b"]}",
    "wide text": lambda: json.dumps({"a": "\U0001f600" + "x" * (MIB * 5)}, ensure_ascii=False).encode(),
}


@pytest.mark.parametrize("make", JUST_LET_THROUGH.values(), ids=JUST_LET_THROUGH)
def test_what_is_let_through_stays_small_in_memory(make: Callable[[], bytes]) -> None:
    body = make()
    assert len(body) <= MAX_DOCUMENT_BYTES
    assert peak(lambda: (parse_xml if body[:1] == b"<" else parse_json_object)(body)) < 56 * MIB


REFUSED: dict[str, Callable[[], bytes]] = {
    "too many elements": lambda: b"<r>" + b"<a/>" * 100_001 + b"</r>",
    "too many attributes": lambda: b"<r " + b" ".join(b"a%d='x'" % n for n in range(100_001)) + b"/>",
    "a long namespace": lambda: b'<r xmlns:n = "' + b"u" * 400 + b'"><n:a/></r>',
    "a long namespace of its own": lambda: b"<r><b xmlns='" + b"u" * 400 + b"'><a/></b></r>",
    "too many bytes": lambda: b"<r>" + b"x" * MAX_DOCUMENT_BYTES + b"</r>",
    "a document type": lambda: b"<!DOCTYPE r [<!ENTITY a 'b'>]><r>&a;</r>",
    "too many lists": lambda: b'{"a":[' + b"[]," * 300_000 + b"1]}",
    "too much JSON": lambda: b'{"a":"' + b"x" * MAX_DOCUMENT_BYTES + b'"}',
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED)
def test_what_would_fill_the_memory_is_not_even_parsed(make: Callable[[], bytes]) -> None:
    body = make()
    with pytest.raises(MalformedResponse) as caught:
        (parse_xml if body[:1] == b"<" else parse_json_object)(body)
    assert not isinstance(caught.value, WrongProtocol)


# The last three take an unlucky search longer than anybody waits.
FOREIGN = {
    "nothing": b"",
    "a web page": b"<html><p></html>",
    "a list": b"[]",
    "half an object": b'{"a":',
    "depth": b"[" * 100_000,
    "UTF-16": b"\xff\xfe<\0r\0",
    "prefixes": b"<r " + b"xmlns:" * 200_000 + b"/>",
    "a prefix": b"<r xmlns:" + b"xmlns" * 200_000 + b"/>",
    "spaces": b"<r " + (b"xmlns" + b" " * 5000) * 200 + b"/>",
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_what_is_of_another_kind_is_told_apart(body: bytes) -> None:
    for read in (parse_xml, parse_json_object):
        with pytest.raises(WrongProtocol):
            read(body)


def test_a_page_of_the_longest_names_is_read() -> None:
    row = "<Contents><Key>%s</Key><LastModified>2026-11-21T09:30:05.000Z</LastModified>"
    row += "<ETag>&quot;%s&quot;</ETag><ChecksumAlgorithm>CRC64NVME</ChecksumAlgorithm><Size>1</Size>"
    row += "<Owner><ID>%s</ID></Owner></Contents>"
    name, tag = "%3D" * 1024, "d" * 32
    assert len(parse_xml(f"<R>{(row % (name, tag, tag * 2)) * 1000}</R>".encode())) == 1000
    names = [{"name": "=" * 1024, "size": "1", "updated": "2026", "generation": "1" * 16}] * 1000
    assert len(parse_json_object(json.dumps({"items": names}).encode())["items"]) == 1000


@pytest.mark.parametrize("value", ["0", "17", 17, str(2**62)])
def test_sizes(value: object) -> None:
    assert parse_size(value) == int(str(value))


@pytest.mark.parametrize(
    "value", ["-1", -1, "", None, True, 1.5, "1.0", "1e3", " 1", "٣", str(2**63), 2**70, [1]]
)
def test_what_is_no_size(value: object) -> None:
    with pytest.raises(MalformedResponse):
        parse_size(value)


@pytest.mark.parametrize(
    ("key", "size", "etag"),
    [("", 1, "e"), (None, 1, "e"), ("x" * 5000, 1, "e"), ("a", -1, "e"), ("a", 1, "e" * 2000)],
)
def test_rows_that_no_server_can_mean(key: object, size: object, etag: object) -> None:
    with pytest.raises(MalformedResponse):
        parse_entry(key, size, None, etag)
    assert parse_entry("a", "1", 2.0, "") == Entry("a", 1, 2.0, None)


def taken(*pages: tuple[list[str], str]) -> None:
    seen = PaginationGuard()
    for keys, token in pages:
        seen.check_page(keys, token)


@pytest.mark.parametrize(
    "pages",
    [
        [(["a", "b"], "1"), (["c"], "")],
        [(["a"], "1"), ([], "2"), (["b"], "")],
        # As AWS orders, and as servers do that keep folders: a/x before a-b.
        [(["a-b"], "1"), (["a/x"], "2"), (["a0"], "")],
        [(["a/x"], "1"), (["a-b"], "2"), (["a0"], "")],
        # By time of modification, as some do: there never was an order to keep.
        [(["z", "c"], "1"), (["x", "a"], "2"), (["b", "y"], "")],
    ],
)
def test_listings_as_servers_really_make_them(pages: list[tuple[list[str], str]]) -> None:
    taken(*pages)


def test_one_key_may_be_on_several_pages_where_something_else_tells_its_rows_apart() -> None:
    seen = PaginationGuard()
    seen.check_page(["a", "a"], "1", first="a 3")
    seen.check_page(["a"], "", first="a 1")


@pytest.mark.parametrize(
    "pages",
    [
        [(["b", "c"], "1"), (["a"], "")],
        [(["a/y"], "1"), (["a/x"], "")],
        [(["a"], "1"), (["b"], "1")],
        [(["a"], "1"), (["b"], "2"), (["c"], "3"), (["d"], "1")],
        [(["z", "a"], "1"), (["c", "b"], "2"), (["z", "a"], "3")],
        [([], str(number)) for number in range(2000)],
    ],
)
def test_listings_that_lead_nowhere(pages: list[tuple[list[str], str]]) -> None:
    with pytest.raises(MalformedResponse):
        taken(*pages)


def test_a_circle_is_noticed_behind_more_tokens_than_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parsing, "_MAX_TOKENS", 50)
    seen, asked = PaginationGuard(), 0

    def until_refused() -> None:
        nonlocal asked
        for asked in range(10_000):
            seen.check_page([f"{asked:08}"], str(asked if asked < 300 else 300 + asked % 70))

    with pytest.raises(MalformedResponse, match="circle"):
        until_refused()
    assert asked < 1000


def test_small_pieces_take_no_more_memory_than_large_ones() -> None:
    whole = bytes(MIB)
    assert join_chunks(iter([])) == b""
    assert join_chunks([whole]) is whole
    assert join_chunks([b"ab", b"c", b"de"]) == b"abcde"
    assert peak(lambda: join_chunks(whole[at : at + 2] for at in range(0, MIB, 2))) < 4 * MIB
