"""Figures as people read them, and text that tries to look like something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.storage.naming import content_disposition
from dashboard.web.formatting import ago, eta, key, milliseconds, number, percent, plural, size, span, visible


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"), (0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (4_100_000, "4.1 MB"),
        (9_949_999, "9.9 MB"),
        (9_960_000, "10 MB"), (412e9, "412 GB"), (999_499, "999 kB"), (999_500, "1.0 MB"), (2e15, "2.0 PB"),
    ],
)  # fmt: skip
def test_sizes_are_decimal(value: float | None, shown: str) -> None:
    assert size(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(None, "–"), (0.2, "<1 s"), (59.4, "59 s"), (60, "1 min"), (725, "12 min 5 s"), (12_000, "3 h 20 min"),
     (187_200, "2 d 4 h")],
)  # fmt: skip
def test_durations_have_two_units(seconds: float | None, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), ((1200, 1560), "20–26 min"), ((50, 130), "50 s – 2 min"), ((0, 0.4), "1 s"),
     ((7200, 7300), "2 h")],
)  # fmt: skip
def test_what_is_left_is_a_range(value: tuple[float, float] | None, shown: str) -> None:
    assert eta(value) == shown


def test_percent_never_rounds_up_to_a_lie() -> None:
    assert percent(99.97) == "99.9 %"
    assert percent(100) == "100.0 %"


def test_small_words() -> None:
    assert number(131_922) == "131,922"
    assert plural(1, "object") == "1 object"
    assert plural(1204, "object") == "1,204 objects"
    assert milliseconds(0.4) == "<1 ms"
    assert milliseconds(84.2) == "84 ms"
    assert str(ago(None)) == "never"
    assert '<time datetime="2026-11-21T00:00:00+00:00"' in ago(1795219200, now=1795219320)
    assert ">2 min ago</time>" in ago(1795219200, now=1795219320)


def test_a_key_cannot_reorder_hide_or_break_what_stands_around_it() -> None:
    assert visible("a\u202egpj.exe") == "a\\u202egpj.exe"
    assert visible("line\nbreak\x7f") == "line\\x0abreak\\x7f"
    assert visible("zero\u200bwidth") == "zero\\u200bwidth"
    assert visible(" both ends ") == "\\x20both ends\\x20"
    assert visible("half \ud800 pair") == "half \\ud800 pair"
    assert visible("größe/файл 🎉") == "größe/файл 🎉"


def test_a_long_key_is_shortened_in_the_middle_and_whole_in_the_title() -> None:
    text = "folder/" + "x" * 300 + "/end.jpg"
    shown = str(key(text))
    assert shown.startswith('<bdi class="key" title="folder/')
    assert shown.endswith("/end.jpg</bdi>")
    assert "…" in shown
    assert "title" not in key("short.jpg")


@given(st.text(max_size=400))
def test_any_key_makes_one_safe_element(text: str) -> None:
    shown = str(key(text))
    inner = shown.removeprefix('<bdi class="key"').removesuffix("</bdi>").partition(">")[2]
    assert "<" not in inner
    assert "\n" not in shown


@given(st.text(max_size=400))
def test_any_name_makes_one_line_of_ascii(name: str) -> None:
    header = content_disposition(name)
    assert header.isascii()
    assert header.isprintable()
    assert header.startswith('attachment; filename="')
    assert header.count('"') == 2


def test_a_name_keeps_its_letters_for_browsers_that_can() -> None:
    assert (
        content_disposition("Größe.csv")
        == "attachment; filename=\"Gr__e.csv\"; filename*=UTF-8''Gr%C3%B6%C3%9Fe.csv"
    )
    assert content_disposition("../../etc/passwd") == 'attachment; filename="_.._etc_passwd"'
    assert content_disposition("a\r\nSet-Cookie: b") == 'attachment; filename="a__Set-Cookie: b"'
