"""Figures and hostile text as a terminal gets them."""

from __future__ import annotations

import time

import pytest

from dashboard.cli import formatting
from dashboard.services.json_values import plain
from dashboard.services.text import printable, without_controls
from dashboard.storage.types import Secret


@pytest.mark.parametrize(
    ("count", "text"),
    [
        *((None, ""), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (999_499, "999 kB")),
        *((999_500, "1.0 MB"), (4_100_000, "4.1 MB"), (412e9, "412 GB"), (5e21, "5000 EB")),
    ],
)
def test_sizes(count: float | None, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (725, "12 min 5 s"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [(1200, 1560, "20 to 26 min"), (50, 120, "50 s to 2 min"), (5, 5.2, "5 s"), (0, 0, "1 s")],
)
def test_ranges_are_coarse(low: float, high: float, text: str) -> None:
    assert formatting.between(low, high) == text


def test_moments() -> None:
    assert formatting.ago(None) == "never"
    assert formatting.ago(time.time() - 3) == "just now"
    assert formatting.ago(time.time() - 600) == "10 min ago"
    assert formatting.date(0.0) == "1970-01-01 00:00:00 UTC"
    assert formatting.date(None) == ""


def test_counts() -> None:
    assert formatting.count_of(1) == "1 object"
    assert formatting.count_of(1204) == "1,204 objects"
    assert formatting.count_of(None) == ""


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "a\rb", "\x07", "a\nb", "a\u2028b", "a\u202eb", "\x9b31m", "\udcff"]
)
def test_nothing_printed_can_steer_a_terminal(text: str) -> None:
    safe = printable(text)
    assert safe.isprintable()
    safe.encode("utf-8")


def test_ordinary_text_stays_as_it_is() -> None:
    assert printable("Über “uns” 日本") == "Über “uns” 日本"


def test_a_line_of_a_file_stays_one_line() -> None:
    assert without_controls("a\r\nb\x1b\u2028c") == r"a\r\nb\x1b\u2028c"
    assert without_controls("\udcff") == r"\udcff"
    assert without_controls("Über\xa0👩\u200d👧 日本") == "Über\xa0👩\u200d👧 日本"


def test_a_secret_in_an_answer_is_a_mistake() -> None:
    with pytest.raises(TypeError):
        plain({"secret": Secret("x")})
