"""Charts: right for ordinary figures, and well-formed for every other kind."""

from __future__ import annotations

import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from flask import Flask, render_template_string
from hypothesis import given
from hypothesis import strategies as st
from markupsafe import Markup

from dashboard.web import charts, formatting
from dashboard.web.chart_scales import BYTES, MILLISECONDS, OBJECTS, RATE, Unit, scale_of, time_marks
from dashboard.web.charts import MAX_POINTS, Series, Small
from dashboard.web.language import translating

HOSTILE = [
    [], [5], [0], [0, 0, 0], [7, 7, 7], [None], [None, None], [None, 3, None], [1, None, 2], [-5, 3],
    [math.nan, 2], [math.inf, 1], [-math.inf, 1], [10**400, 1], [1e308, 1e308], [1e-12, 2e-12],
    [2**63, 0], list(range(5000)),
]  # fmt: skip
FIGURES = st.lists(st.none() | st.floats() | st.integers(), max_size=600)
NUMBERS = re.compile(r'\b(?:x|y|width|height|d)="([^"]*)"')


def numbers(shapes: Markup) -> list[float]:
    """Every coordinate of some shapes. Raises for what is no XML or no number."""
    ElementTree.fromstring(f"<svg>{shapes}</svg>")
    return [float(n) for text in NUMBERS.findall(shapes) for n in re.split(r"[MLHZhv%\s]+", text) if n]


def all_charts(values: list[float | None]) -> list[Markup]:
    times = [1e9 + 60.0 * i for i in range(len(values))]
    series = Series("stored", values)
    small: list[Small | None] = [
        charts.spark(values, "size"),
        charts.shares([("a", v) for v in values], BYTES)[0],
    ]
    drawn = [
        charts.line([series], times, BYTES),
        charts.line([series, Series("other", values[:3], 9)], times, MILLISECONDS, pauses=[(1e9, 2e9)]),
        charts.stacked([series, Series("b", values[::-1])], times, OBJECTS),
        charts.columns(series, [str(i) for i in range(len(values))], OBJECTS),
    ]
    return [c.shapes + c.lines for c in drawn] + [s.shapes for s in small if s]


@pytest.mark.parametrize("values", HOSTILE, ids=lambda v: str(v)[:30])
def test_whatever_the_figures_are_every_shape_lies_in_the_plot(values: list[float | None]) -> None:
    for shapes in all_charts(values):
        assert all(-0.01 <= n <= 100.01 for n in numbers(shapes))


@given(FIGURES)
def test_no_figures_break_a_chart(values: list[float | None]) -> None:
    for shapes in all_charts(values):
        assert all(-0.01 <= n <= 100.01 for n in numbers(shapes))


@given(st.floats(0, 1e300), st.sampled_from([BYTES, OBJECTS, MILLISECONDS, RATE]))
def test_an_axis_reaches_its_largest_value_with_three_to_five_lines(largest: float, unit: Unit) -> None:
    scale = scale_of(largest, unit)
    assert scale.top >= largest * (1 - 1e-9)
    assert 3 <= len(scale.marks) <= 5
    assert scale.marks[0] == "0"


@pytest.mark.parametrize(
    ("largest", "unit", "marks"),
    [
        (1.36e12, BYTES, ("0", "0.5", "1", "1.5 TB")),
        (190, MILLISECONDS, ("0", "50", "100", "150", "200 ms")),
        (240_000, OBJECTS, ("0", "100k", "200k", "300k")),
        (3, OBJECTS, ("0", "1", "2", "3")),
        (1, OBJECTS, ("0", "1", "2")),
        (0, BYTES, ("0", "1", "2 B")),
    ],
)
def test_an_axis_has_round_numbers(largest: float, unit: Unit, marks: tuple[str, ...]) -> None:
    assert scale_of(largest, unit).marks == marks


def test_a_gap_breaks_the_line_and_a_lone_point_stays_visible() -> None:
    drawn = charts.line([Series("ms", [1, 2, None, 3, None, 4, 4])], list(range(7)), MILLISECONDS)
    assert drawn.shapes.count('class="ln"') == 3
    assert re.search(r'd="M50 [0-9.]+h\.01"', drawn.shapes)


def test_points_lie_where_their_time_does() -> None:
    drawn = charts.line([Series("ms", [1, 1])], [75.0, 100.0], MILLISECONDS, begin=0.0, end=100.0)
    assert 'd="M75 ' in drawn.shapes


def test_many_points_keep_the_highest_and_the_last() -> None:
    values: list[float | None] = [10.0] * 10_000
    values[4321], values[-1] = 90.0, 20.0
    drawn = charts.line([Series("ms", values)], [float(i) for i in range(10_000)], MILLISECONDS)
    figures = [cells[0] for _, cells in drawn.table.rows]
    assert len(figures) <= MAX_POINTS
    assert "90 ms" in figures
    assert figures[0] == "20 ms"


def test_layers_lie_on_each_other_and_more_than_six_are_summed() -> None:
    series = [Series(f"b{i}", [1.0, 1.0], i + 1) for i in range(9)]
    drawn = charts.stacked(series, [0.0, 1.0], OBJECTS)
    assert [name for _, name in drawn.legend] == ["b0", "b1", "b2", "b3", "b4", "4 others"]
    assert drawn.table.rows[0][1] == ("1", "1", "1", "1", "1", "4")


def test_layers_of_one_moment_are_as_wide_as_the_chart() -> None:
    drawn = charts.stacked([Series("a", [1.0, 2.0, 2.0])], [86_390.0, 86_395.0, 86_400.0], OBJECTS, begin=0.0)
    path = re.search(r'd="M([^"]+)Z"', drawn.shapes)
    assert path is not None
    assert [number.split()[0] for number in re.findall(r"[\d.]+ [\d.]+", path[1])] == ["0", "100", "100", "0"]


def test_noise_stays_flat_in_a_sparkline() -> None:
    drawn = charts.spark([1000, 1001, 1000], "size")
    assert drawn is not None
    line = re.search(r'class="ln thin" d="M([^"]+)"', drawn.shapes)
    assert line is not None
    ys = [float(n) for n in line[1].split()[1::2]]
    assert max(ys) - min(ys) < 1
    assert charts.spark([5], "size") is None


def test_a_strip_says_by_height_what_it_says_by_colour() -> None:
    drawn = charts.strip(["up", "slow", "down", "none", "<script>"], "Reachable")
    assert re.findall(r'height="(\d+)"', drawn.shapes) == ["100", "66", "100", "14", "14"]
    assert "script" not in drawn.shapes


def test_times_are_hours_within_two_days_and_dates_beyond() -> None:
    assert [m.text for m in time_marks(0, 86_400)] == ["00:00", "06:00", "12:00", "18:00", "now"]
    assert [m.text for m in time_marks(0, 40 * 86_400, now="today")][::2] == ["1 Jan", "21 Jan", "today"]
    assert [m.text for m in time_marks(5, 5)] == ["now"]


@pytest.fixture
def app() -> Flask:
    app = Flask("dashboard", root_path=str(Path(__file__).parents[2]))
    formatting.install(app)
    translating.install(app)
    return app


def test_names_are_escaped_wherever_they_are_shown(app: Flask) -> None:
    name = '"><script>alert(1)</script>'
    template = (
        '{% import "parts/charts.html" as charts with context %}{{ charts.chart(a) }}{{ charts.chart(b) }}'
        "{{ charts.bars(c) }}{{ charts.shares(d, e) }}{{ charts.strip(f) }}{{ charts.spark(g) }}"
    )
    bar, parts = charts.shares([(name, 1.0)], BYTES)
    with app.app_context():
        page = render_template_string(
            template,
            a=charts.line([Series(name, [1, 2]), Series("b", [1])], [0.0, 1.0], BYTES),
            b=charts.columns(Series(name, [1]), [name], OBJECTS),
            c=charts.bars([(name, 1.0)], BYTES),
            d=bar,
            e=parts,
            f=charts.strip(["up"], name),
            g=charts.spark([1, 2], name),
        )
    assert "<script" not in page
    assert " style=" not in page
    ElementTree.fromstring(f"<div>{page.replace(' data-local>', '>')}</div>")


def test_a_chart_says_its_figures_in_a_sentence_and_in_a_table() -> None:
    drawn = charts.line([Series("Stored", [1e9, None, 2e9])], [0.0, 60.0, 120.0], BYTES)
    assert drawn.label == "Stored: from 1.0 GB to 2.0 GB, at least 1.0 GB, at most 2.0 GB"
    assert [cells for _, cells in drawn.table.rows] == [("2.0 GB",), ("–",), ("1.0 GB",)]
    empty = charts.line([Series("Stored", [])], [], BYTES)
    assert empty.label == "Stored: no figures yet"
    assert empty.y == ("0", "1", "2 B")
