"""Searching the catalogue: every filter, every order, pages that miss nothing, and hostile input."""

from __future__ import annotations

import base64
import json
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.catalogue import search
from dashboard.services.catalogue.catalogue import Catalogue, File, FileFacts
from dashboard.services.catalogue.filters import FileFilters, Sort, parse_filters
from dashboard.services.services import Services
from tests.services.composed import add_local
from tests.services.console import ADMIN, VIEWER, ServiceConsole

SHA = "a1" * 32
MD5 = "b2" * 16
COUNT = 110
FOLDERS = ["a", "e\\x", "b/ü", "c%_", "d-\udcff"]


def make_files(count: int, seed: int = 1) -> list[FileFacts]:
    """Files at two backends, some of them with equal sizes and times, or none."""
    dice = random.Random(seed)
    return [
        FileFacts(
            dice.choice([1, 2]),
            f"{dice.choice(FOLDERS)}/{number}.{dice.choice(['jpg', 'txt', 'bin'])}",
            dice.randrange(50),
            modified=dice.choice([None, float(dice.randrange(20)), dice.random()]),
            owner=dice.choice(["", "ada"]),
            content_type=dice.choice(["", "image/png"]),
        )
        for number in range(count)
    ]


@pytest.fixture
def services(console: ServiceConsole, tmp_path: Path) -> Services:
    add_local(console.services, "second", tmp_path / "second")
    return console.services


@pytest.fixture
def catalogue(services: Services, monkeypatch: pytest.MonkeyPatch) -> Catalogue:
    # Many steps and pages without many rows.
    monkeypatch.setattr(search, "STEP_ROWS", 7)
    services.catalogue.record(make_files(COUNT))
    return services.catalogue


def pages_of(catalogue: Catalogue, filters: FileFilters, *, limit: int = 9, **order: Any) -> list[File]:
    """All files that match, page by page."""
    found, cursor = list[File](), ""
    while True:
        page = catalogue.search(filters, cursor=cursor, limit=limit, **order)
        assert len(page.files) <= limit
        found += page.files
        if not page.cursor:
            return found
        assert page.cursor != cursor
        cursor = page.cursor


MATCHES: dict[str, tuple[FileFilters, Callable[[File], bool]]] = {
    "everything": (FileFilters(), lambda file: True),
    "backend": (FileFilters(backend="second"), lambda file: file.backend == "second"),
    "name": (FileFilters(name="1.JP"), lambda file: "1.jp" in file.key),
    "name of another alphabet": (FileFilters(name="/ü/"), lambda file: "/ü/" in file.key),
    "wildcards are letters": (FileFilters(name="%_"), lambda file: "%_" in file.key),
    "folder": (FileFilters(folder="c%_/"), lambda file: file.key.startswith("c%_/")),
    "folder is exact": (FileFilters(folder="C%"), lambda file: False),
    "folder that is no pattern": (FileFilters(folder="[a]*"), lambda file: False),
    "odd": (FileFilters(name="D-\udcff/"), lambda file: "d-\udcff/" in file.key),
    "odd folder": (FileFilters(folder="d-\udcff"), lambda file: file.key.startswith("d-\udcff")),
    "backslash": (FileFilters(name="\\"), lambda file: "\\" in file.key),
    "kind": (FileFilters(kind="text"), lambda file: file.kind == "text"),
    "type": (FileFilters(content_type="image/"), lambda file: file.content_type == "image/png"),
    "sizes": (FileFilters(min_size=5, max_size=20), lambda file: 5 <= file.size <= 20),
    "times": (
        FileFilters(modified_after=2.0, modified_before=9.0),
        lambda file: file.modified is not None and 2.0 <= file.modified < 9.0,
    ),
    "owner": (FileFilters(owner="ada"), lambda file: file.owner == "ada"),
    "several": (
        FileFilters(backend="second", name=".bin", min_size=25),
        lambda file: file.backend == "second" and ".bin" in file.key and file.size >= 25,
    ),
}


@pytest.mark.parametrize("sort", Sort)
@pytest.mark.parametrize("descending", [False, True])
def test_pages_hold_everything_that_matches_once_and_in_order(
    catalogue: Catalogue, sort: Sort, descending: bool
) -> None:
    everything = catalogue.get_many(range(1, COUNT + 1)).values()
    for name, (filters, matches) in MATCHES.items():
        found = pages_of(catalogue, filters, sort=sort, descending=descending)
        assert len({file.id for file in found}) == len(found), name
        assert {file.id for file in found} == {file.id for file in everything if matches(file)}, name
        assert in_order(found, sort, descending), name
        assert catalogue.totals(filters) == (len(found), sum(file.size for file in found)), name


def in_order(found: list[File], sort: Sort, descending: bool) -> bool:
    """Whether files are in the order that was asked for."""
    if sort is Sort.SIZE:
        sizes = [file.size for file in found]
        return sizes == sorted(sizes, reverse=descending)
    if sort is Sort.MODIFIED:
        times = [file.modified for file in found]
        known = [at for at in times if at is not None]
        return times == sorted(known, reverse=descending) + [None] * (len(times) - len(known))
    # SQLite sorts keys that are no Unicode after all others.
    places = [(file.backend_id, file.key) for file in found if file.key.isprintable()]
    return places == sorted(places, reverse=descending)


def test_a_search_that_finds_little_returns_before_it_is_done(
    catalogue: Catalogue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "STEP_SECONDS", 0.0)
    first = catalogue.search(FileFilters(name="no such name"))
    assert (first.files, bool(first.cursor)) == ((), True)
    assert pages_of(catalogue, FileFilters(name="no such name")) == []
    assert len(pages_of(catalogue, FileFilters(), limit=1000)) == COUNT
    assert len(list(catalogue.search_all(FileFilters(kind="image"), sort=Sort.SIZE))) > 10


@pytest.mark.parametrize("sort", Sort)
def test_a_checksum_finds_its_files(catalogue: Catalogue, sort: Sort) -> None:
    known = [replace(each, sha256=SHA, md5=MD5) for each in make_files(COUNT)[:20]]
    catalogue.record(known)
    for checksum in (SHA, MD5):
        found = pages_of(catalogue, parse_filters({"checksum": checksum.upper()}), sort=sort)
        assert {(file.backend_id, file.key) for file in found} == {(e.backend_id, e.key) for e in known}
    assert pages_of(catalogue, FileFilters(checksum="0" * 64)) == []


def test_details_are_found_by_name_and_value(catalogue: Catalogue) -> None:
    catalogue.record([FileFacts(1, "x", 1, details={'od"d.$[0]': "yes", "pages": 3, "deep": {"a": 1}})])
    for metadata in ({'od"d.$[0]': "yes"}, {"pages": "3"}, {'od"d.$[0]': "yes", "pages": "3"}):
        assert [file.key for file in pages_of(catalogue, FileFilters(metadata=metadata))] == ["x"]
    for metadata in ({'od"d.$[0]': "no"}, {"a": "1"}, {"pages": "3", "none": ""}):
        assert pages_of(catalogue, FileFilters(metadata=metadata)) == []


def test_rows_that_come_and_go_between_pages_move_no_others(catalogue: Catalogue) -> None:
    page = catalogue.search(FileFilters(), limit=50)
    catalogue.remove(1, [file.key for file in page.files])
    catalogue.record([FileFacts(1, "0 before", 1)])
    rest = list(page.files)
    cursor = page.cursor
    while cursor:
        page = catalogue.search(FileFilters(), cursor=cursor, limit=50)
        rest += page.files
        cursor = page.cursor
    assert len({file.id for file in rest}) == len(rest) == COUNT


def test_files_of_a_removed_backend_are_not_found(catalogue: Catalogue) -> None:
    catalogue.record([FileFacts(77, f"{number}", 1) for number in range(30)])
    assert len(pages_of(catalogue, FileFilters())) == COUNT
    with pytest.raises(StowageError) as raised:
        catalogue.search(FileFilters(backend="nowhere"))
    assert raised.value.kind is Kind.NOT_FOUND
    with pytest.raises(StowageError):
        catalogue.totals(FileFilters(backend="nowhere"))


def cursor_of(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode()


NEVER_GIVEN_OUT = [
    "x",
    "é",
    "=",
    cursor_of(),
    cursor_of(0, 1),
    cursor_of(0, "a", 1),
    cursor_of(0, 1, 1),
    cursor_of(0, 1, None),
    cursor_of(0, 10**30, "a"),
    cursor_of(0, True, "a"),
    cursor_of(0, float("nan"), "a"),
    cursor_of(9, 1, "a"),
    cursor_of(-1, 1, "a"),
    cursor_of("0", 1, "a"),
    cursor_of([], 1, "a"),
    base64.urlsafe_b64encode(b"{}").decode(),
    base64.urlsafe_b64encode(b"[" * 20_000).decode(),
]


def test_a_cursor_that_was_never_given_out_is_refused(catalogue: Catalogue) -> None:
    for cursor in NEVER_GIVEN_OUT:
        with pytest.raises(InvalidInput) as raised:
            catalogue.search(FileFilters(), cursor=cursor)
        assert raised.value.subject == "cursor"


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"colour": "red"}, "colour"),
        ({"name": 5}, "name"),
        ({"name": "x" * 1025}, "name"),
        ({"name": "a\0b"}, "name"),
        ({"owner": "\udcff"}, "owner"),
        ({"metadata": {"a": "\ud800"}}, "metadata"),
        ({"kind": "cats"}, "kind"),
        ({"kind": []}, "kind"),
        ({"checksum": "12"}, "checksum"),
        ({"min_size": "-1"}, "min_size"),
        ({"min_size": "1e3"}, "min_size"),
        ({"max_size": True}, "max_size"),
        ({"max_size": "٣"}, "max_size"),
        ({"modified_before": "yesterday"}, "modified_before"),
        ({"modified_after": "nan"}, "modified_after"),
        ({"modified_after": "1" * 10_000}, "modified_after"),
        ({"modified_after": 1e300}, "modified_after"),
        ({"max_age": -1}, "max_age"),
        ({"metadata": "a=b"}, "metadata"),
        ({"metadata": {"a": 1}}, "metadata"),
        ({"metadata": {str(number): "" for number in range(11)}}, "metadata"),
    ],
)
def test_filters_that_mean_nothing_are_refused_by_name(given: dict[str, object], field: str) -> None:
    with pytest.raises(InvalidInput) as raised:
        parse_filters(given)
    assert raised.value.subject == field


def test_filters_survive_being_written_down() -> None:
    given = {"name": "a", "kind": "image", "min_size": 1, "modified_after": 2.5, "metadata": {"a": "b"}}
    assert parse_filters(parse_filters(given).as_dict()) == parse_filters(given)
    assert parse_filters({"name": "", "min_size": None}) == FileFilters()
    assert parse_filters({"max_size": "9" * 19, "min_size": "0"}).max_size == 2**63 - 1
    assert FileFilters().as_dict() == {}


def test_an_age_counts_from_the_moment_of_the_search(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time()
    number = services.backends.get("local-disk").id
    services.catalogue.record(
        [FileFacts(number, name, 1, modified=now - days * 86_400) for name, days in (("new", 1), ("old", 9))]
    )
    week = FileFilters(backend="local-disk", max_age=7 * 86_400.0)
    before = FileFilters(backend="local-disk", min_age=7 * 86_400.0)
    assert [file.key for file in services.catalogue.search(week).files] == ["new"]
    assert [file.key for file in services.catalogue.search(before).files] == ["old"]
    monkeypatch.setattr("dashboard.services.catalogue.search.time.time", lambda: now + 30 * 86_400)
    assert services.catalogue.search(week).files == ()
    assert services.catalogue.totals(before)[0] == 2


def test_everybody_keeps_searches_of_their_own(services: Services) -> None:
    saved = services.saved_searches
    photos = FileFilters(kind="image", min_size=5)
    first = saved.save(ADMIN, " Photos ", photos, sort=Sort.SIZE, descending=True)
    again = saved.save(ADMIN, "Photos", replace(photos, min_size=6))
    assert (again.id, again.filters.min_size, again.sort) == (first.id, 6, Sort.NAME)
    other = saved.save(VIEWER, "Photos", photos)
    assert [each.name for each in saved.list(ADMIN)] == ["Photos"]
    assert first.as_dict()["filters"] == {"kind": "image", "min_size": 5}
    saved.remove(ADMIN, other.id)
    assert saved.list(VIEWER) == (other,)
    saved.remove(VIEWER, other.id)
    assert saved.list(VIEWER) == ()


@pytest.mark.parametrize("name", ["", "  ", "x" * 64, "a\nb"])
def test_a_search_needs_a_name_that_can_be_shown(services: Services, name: str) -> None:
    with pytest.raises(InvalidInput):
        services.saved_searches.save(ADMIN, name, FileFilters())


def test_searches_are_limited_in_number(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.services.catalogue.saved_searches.MAX_SAVED", 2)
    for name in ("a", "b", "b"):
        services.saved_searches.save(ADMIN, name, FileFilters())
    with pytest.raises(StowageError) as raised:
        services.saved_searches.save(ADMIN, "c", FileFilters())
    assert raised.value.kind is Kind.CONFLICT


def test_no_page_sorts_what_it_examines(catalogue: Catalogue, services: Services) -> None:
    sent = list[tuple[str, Any]]()

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if statement.startswith("SELECT"):
            sent.append((statement, parameters))

    engine = services.database.work
    event.listen(engine, "before_cursor_execute", note)
    try:
        for filters, _ in MATCHES.values():
            for sort in Sort if not filters.checksum else ():
                catalogue.search(filters, sort=sort, limit=9)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    with services.database.work_read() as connection:
        for statement, parameters in dict(sent).items():
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
            assert not any("TEMP B-TREE" in str(row[-1]) for row in plan), (statement, plan)
