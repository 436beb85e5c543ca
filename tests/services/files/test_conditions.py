"""Conditional and range requests, row by row from RFC 9110."""

from __future__ import annotations

import random

import pytest

from dashboard.services.files.conditions import (
    Conditions,
    Decision,
    EntityTag,
    Outcome,
    decide,
    parse_date,
)

STRONG, WEAK = EntityTag("abc"), EntityTag("abc", weak=True)
MODIFIED = 784111777.4
"""Sun, 06 Nov 1994 08:49:37 GMT and a fraction, which HTTP dates do not have."""
DATE, BEFORE, AFTER = (f"Sun, 06 Nov 1994 08:49:{second} GMT" for second in (37, 36, 38))
SIZE = 1000


def outcome(tag: EntityTag | None = STRONG, method: str = "GET", **headers: str) -> Decision:
    return decide(Conditions(method, **headers), tag, MODIFIED, SIZE)


WHOLE = Decision(Outcome.COMPLETE, 0, SIZE)
SAME = Decision(Outcome.NOT_MODIFIED)
FAILED = Decision(Outcome.PRECONDITION_FAILED)
BEYOND = Decision(Outcome.BEYOND_THE_END)


def part(start: int, length: int) -> Decision:
    return Decision(Outcome.PART, start, length)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("bytes=0-0", part(0, 1)),
        ("bytes=0-", part(0, 1000)),
        ("BYTES=10-19", part(10, 10)),
        ("bytes=990-2000", part(990, 10)),
        ("bytes=0-" + "9" * 5000, part(0, 1000)),
        ("bytes=-1", part(999, 1)),
        ("bytes=-5000", part(0, 1000)),
        ("bytes=000-009", part(0, 10)),
        # Empty elements of a list are ignored (5.6.1.2).
        ("bytes=, 5-6 ,", part(5, 2)),
        ("bytes=1000-", BEYOND),
        ("bytes=" + "9" * 5000 + "-", BEYOND),
        ("bytes=-0", BEYOND),
        # Malformed, in another unit or more than one: ignored (14.2).
        ("bytes=5-4", WHOLE),
        ("bytes=" + "9" * 30 + "-" + "8" * 30, WHOLE),
        ("bytes=0-1,3-4", WHOLE),
        ("bytes=-", WHOLE),
        ("bytes=--1", WHOLE),
        ("bytes=a-b", WHOLE),
        ("bytes=١-٢", WHOLE),
        ("bytes 0-1", WHOLE),
        ("bytes=", WHOLE),
        ("", WHOLE),
        ("lines=0-1", WHOLE),
        ("bytes=0-1" + "," * 9000, WHOLE),
    ],
)
def test_a_range(value: str, expected: Decision) -> None:
    assert outcome(range=value) == expected


def test_ranges_of_an_empty_file() -> None:
    def of_nothing(value: str) -> Decision:
        return decide(Conditions(range=value), STRONG, None, 0)

    assert of_nothing("bytes=0-") == of_nothing("bytes=0-0") == BEYOND
    assert of_nothing("bytes=-1") == Decision(Outcome.COMPLETE, 0, 0)


def test_head_has_no_ranges() -> None:
    assert outcome(method="HEAD", range="bytes=0-1") == WHOLE
    assert outcome(method="HEAD", if_none_match='"abc"') == SAME


@pytest.mark.parametrize(
    ("tag", "value", "expected"),
    [
        (STRONG, '"abc"', part(0, 2)),
        (STRONG, ' "abc" ', part(0, 2)),
        (STRONG, '"other"', WHOLE),
        (STRONG, 'W/"abc"', WHOLE),
        (WEAK, 'W/"abc"', WHOLE),
        (WEAK, '"abc"', WHOLE),
        (None, '"abc"', WHOLE),
        (STRONG, '"abc", "abc"', WHOLE),
        (STRONG, "*", WHOLE),
        (STRONG, "abc", WHOLE),
        (STRONG, DATE, WHOLE),
    ],
)
def test_if_range(tag: EntityTag | None, value: str, expected: Decision) -> None:
    assert outcome(tag, range="bytes=0-1", if_range=value) == expected


@pytest.mark.parametrize(
    ("tag", "value", "matches_weakly", "matches_strongly"),
    [
        (STRONG, '"abc"', True, True),
        (STRONG, 'W/"abc"', True, False),
        (WEAK, '"abc"', True, False),
        (WEAK, 'W/"abc"', True, False),
        (STRONG, '"x" , ,W/"y","abc"', True, True),
        (STRONG, '"a,bc", "abc"', True, True),
        (STRONG, '"x", "y"', False, False),
        (STRONG, "*", True, True),
        (None, "*", True, True),
        (None, '"abc"', False, False),
        (STRONG, "abc", False, False),
        (STRONG, '"abc', False, False),
        (STRONG, '"abc"x', False, False),
        (STRONG, '"x"' + ' ,"x"' * 3000 + ', "abc"', False, False),
        (STRONG, "", False, False),
    ],
)
def test_lists_of_entity_tags(
    tag: EntityTag | None, value: str, matches_weakly: bool, matches_strongly: bool
) -> None:
    assert outcome(tag, if_none_match=value) == (SAME if matches_weakly else WHOLE)
    assert outcome(tag, if_match=value) == (WHOLE if matches_strongly else FAILED)


def test_dates() -> None:
    assert outcome(if_modified_since=DATE) == outcome(if_modified_since=AFTER) == SAME
    assert outcome(if_modified_since=BEFORE) == outcome(if_modified_since="yesterday") == WHOLE
    assert outcome(if_unmodified_since=BEFORE) == FAILED
    assert outcome(if_unmodified_since=DATE) == outcome(if_unmodified_since="yesterday") == WHOLE


def test_the_order_in_which_conditions_are_evaluated() -> None:
    assert outcome(if_match='"abc"', if_unmodified_since=BEFORE) == WHOLE
    assert outcome(if_none_match='"x"', if_modified_since=DATE) == WHOLE
    assert outcome(if_match='"x"', if_none_match='"abc"') == FAILED
    assert outcome(if_none_match='"abc"', range="bytes=0-1") == SAME
    assert outcome(if_match='"abc"', range="bytes=2000-") == BEYOND


@pytest.mark.parametrize(
    "text",
    ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"],
)
def test_a_date_in_any_of_its_forms(text: str) -> None:
    assert parse_date(text) == 784111777


@pytest.mark.parametrize(
    "text",
    ["", "0", "Sun, 06 Nov 1994 08:49:37", "Sun, 99 Nov 1994 08:49:37 GMT", "Sun, 31 Feb 1994 08:49:37 GMT"],
)
def test_what_is_no_date(text: str) -> None:
    assert parse_date(text) is None


def test_nothing_in_a_header_raises() -> None:
    chance = random.Random(43)
    pieces = ["bytes", "=", "-", ",", " ", "0", "9" * 30, '"', "W/", "*", "abc", "\x80", "Sun, ", "GMT", "\t"]
    for _ in range(3000):
        value = "".join(chance.choices(pieces, k=chance.randrange(8)))
        names = ("if_match", "if_none_match", "if_modified_since", "if_unmodified_since", "range", "if_range")
        found = outcome(**{name: value for name in names if chance.random() < 0.5})
        if found.outcome is Outcome.PART:
            assert 0 <= found.start < found.start + found.length <= SIZE
