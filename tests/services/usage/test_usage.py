"""What the Usage page shows is summed up from the catalogue; duplicates are deleted if they still are."""

from __future__ import annotations

import csv
import os
import random
import time
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import delete, event

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.models.console import Setting
from dashboard.models.usage import duplicates, summaries
from dashboard.services.catalogue.catalogue import FileFacts
from dashboard.services.files.changing.outcomes import FileRef
from dashboard.services.requests.request_counts import RequestTotals
from dashboard.services.usage import summing_up
from dashboard.services.usage.duplicate_files import Keep
from dashboard.services.usage.prices import ESTIMATES, SETTING, Price, PriceTable, cost_of
from dashboard.services.usage.usage_values import BackendUsage, DuplicateGroup, Usage
from tests.services.backends.test_backends import local
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole

SAME = "a" * 64
DAY = 86_400


@pytest.fixture
def root(console: ServiceConsole, tmp_path: Path) -> Path:
    root = tmp_path / "media"
    root.mkdir()
    console.services.backends.add(ADMIN, local("media", root))
    return root


def store(console: ServiceConsole, root: Path, key: str, text: str = "same", sha256: str = SAME) -> None:
    """A file on disk and its row, as an upload leaves them."""
    path = root / key
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    backend = console.services.backends.get("media")
    info = console.services.backends.driver("media").stat(key)
    console.services.catalogue.record(
        [FileFacts(backend.id, key, info.size, info.modified, info.etag or "", sha256=sha256)]
    )


def summed(console: ServiceConsole) -> Usage:
    assert console.services.usage.summing_up.run()
    return console.services.usage.reports.usage()


def group(console: ServiceConsole) -> DuplicateGroup:
    (found,) = summed(console).duplicates
    return found


def names(root: Path) -> set[str]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file())
    return {path.as_posix() for path in found if not path.parts[0].startswith(".")}


def test_nothing_is_known_at_first(console: ServiceConsole) -> None:
    found = console.services.usage.reports.usage()
    assert (found.kinds, found.largest, found.duplicates, found.bytes) == ((), (), (), 0)


def test_the_catalogue_is_summed_up(console: ServiceConsole, root: Path) -> None:
    backend, now = console.services.backends.get("media"), time.time()
    console.services.catalogue.record(
        [
            FileFacts(backend.id, "a.jpg", 500, now - 5 * DAY, "1", sha256="1" * 64),
            FileFacts(backend.id, "b.jpg", 5_000, now - 80 * DAY, "2", sha256="2" * 64),
            FileFacts(backend.id, "c.mp4", 5 * 10**8, now - 4_000 * DAY, "3"),
            FileFacts(backend.id, "odd-\udcff", 1_000, None, "4"),
        ]
    )
    found = summed(console)
    assert [(each.name, each.files, each.bytes) for each in found.kinds] == [
        *(("video", 1, 5 * 10**8), ("image", 2, 5_500), ("other", 1, 1_000)),
    ]
    assert {each.name: each.files for each in found.sizes if each.files} == {"1k": 2, "10k": 1, "more": 1}
    ages = {each.name: each.files for each in found.ages if each.files}
    assert ages == {"30 d": 1, "90 d": 1, "older": 1, "unknown": 1}
    assert [file.key for file in found.largest] == ["c.mp4", "b.jpg", "odd-\udcff", "a.jpg"]
    assert [file.key for file in found.oldest] == ["c.mp4", "b.jpg", "a.jpg"]
    assert found.without_checksum == 2


def test_files_are_read_again_only_after_one_has_changed(
    console: ServiceConsole, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summing, backend = console.services.usage.summing_up, console.services.backends.get("media")
    for key in ("a", "b"):
        store(console, root, key)
    first = summed(console)
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(console.services.database.work, "before_cursor_execute", note)
    assert summing.run()
    assert summing.backend(backend.id)
    assert not [each for each in statements if "FROM files " in each.replace("\n", " ")]
    store(console, root, "c")
    assert summed(console).duplicates[0].copies == 3
    console.services.catalogue.record([FileFacts(backend.id, "c", 4, 1.0, "", sha256="b" * 64)])
    assert summing.backend(backend.id)
    assert console.services.usage.reports.usage().duplicates[0].copies == 2
    assert [each for each in statements if "FROM files " in each.replace("\n", " ")]
    later = time.time() + 2 * DAY
    monkeypatch.setattr(time, "time", lambda: later)
    again = summed(console).backends
    assert max(each.at or 0.0 for each in again) > max(each.at or 0.0 for each in first.backends) + DAY
    event.remove(console.services.database.work, "before_cursor_execute", note)


def test_all_backends_together_are_summed_up_as_each_by_itself(
    console: ServiceConsole, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, now = random.Random(11), time.time()
    (tmp_path / "other").mkdir()
    other = console.services.backends.add(ADMIN, local("other", tmp_path / "other"))
    ids = [console.services.backends.get("media").id, other.id]
    console.services.catalogue.record(
        [
            FileFacts(
                rng.choice(ids),
                f"{number}.{rng.choice(('jpg', 'txt', 'x'))}",
                rng.choice((0, 10, 2_000, 10**7)),
                rng.choice((None, now - rng.random() * 900 * DAY)),
                "",
                sha256=rng.choice(("", "", *(c * 64 for c in "abc"))),
                md5=rng.choice(("", "d" * 32, "e" * 32)),
            )
            for number in range(400)
        ]
    )
    monkeypatch.setattr(summing_up, "PAGE", 37)
    monkeypatch.setattr(time, "time", lambda: now)
    together = summed(console)
    with console.services.database.work_write() as connection:
        for table in (summaries, duplicates):
            connection.execute(delete(table))
    for name in ("local-disk", "media", "other"):
        assert console.services.usage.summing_up.backend(console.services.backends.get(name).id)
    apart = console.services.usage.reports.usage()
    assert together.duplicate_groups > 10
    without_ids = [
        replace(usage, duplicates=tuple(replace(each, id=0) for each in usage.duplicates))
        for usage in (together, apart)
    ]
    assert without_ids[0] == without_ids[1]


def test_a_removed_backend_leaves_no_figures(console: ServiceConsole, root: Path) -> None:
    for key in ("a", "b"):
        store(console, root, key)
    assert summed(console).duplicates
    console.services.backends.remove(ADMIN, "media")
    found = summed(console)
    assert (found.duplicates, found.kinds) == ((), ())


def test_only_the_same_content_of_one_backend_is_a_duplicate(
    console: ServiceConsole, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = console.services.backends.add(ADMIN, local("other", tmp_path / "other"))
    for key in ("a", "b", "c"):
        store(console, root, key)
    store(console, root, "different", "else", "b" * 64)
    store(console, root, "empty-1", "", "c" * 64)
    store(console, root, "empty-2", "", "c" * 64)
    store(console, root, "unknown-1", sha256="")
    store(console, root, "unknown-2", sha256="")
    console.services.catalogue.record([FileFacts(other.id, "a", 4, time.time(), "", sha256=SAME)])
    found = summed(console)
    (duplicate,) = found.duplicates
    assert (duplicate.backend, duplicate.copies, duplicate.wasted, duplicate.key) == ("media", 3, 8, "a")
    assert (found.duplicate_groups, found.duplicate_bytes) == (1, 8)


@pytest.mark.parametrize(("keep", "left"), [("oldest", "b/old"), ("newest", "new"), ("shortest", "c")])
def test_one_is_kept_by_a_rule(console: ServiceConsole, root: Path, keep: str, left: str) -> None:
    for key, age in (("b/old", 300), ("c", 200), ("new", 100)):
        (root / key).parent.mkdir(exist_ok=True)
        (root / key).write_text("same")
        os.utime(root / key, (time.time() - age,) * 2)
        info = console.services.backends.driver("media").stat(key)
        backend = console.services.backends.get("media")
        console.services.catalogue.record(
            [FileFacts(backend.id, key, 4, info.modified, info.etag or "", sha256=SAME)]
        )
    duplicates = console.services.usage.duplicates
    found = group(console)
    undoable = duplicates.can_undo(ADMIN, found)
    kept, deleted = duplicates.delete(ADMIN, found.id, Keep(keep), confirmed=None if undoable else 2)
    assert kept.key == left
    assert all(outcome.done for outcome in deleted.outcomes)
    assert names(root) == {left}
    assert console.services.usage.reports.duplicate(found.id) is None
    if deleted.undo_id:
        console.services.deletions.undo(ADMIN, deleted.undo_id)
        assert names(root) == {"b/old", "c", "new"}


def test_one_is_kept_by_its_number(console: ServiceConsole, root: Path) -> None:
    for key in ("a", "b"):
        store(console, root, key)
    found = group(console)
    chosen = console.services.usage.duplicates.files(found)[1]
    with pytest.raises(InvalidInput):
        console.services.usage.duplicates.delete(ADMIN, found.id, 10**9, confirmed=1)
    console.services.usage.duplicates.delete(ADMIN, found.id, chosen.id, confirmed=1)
    assert names(root) == {chosen.key}


@pytest.mark.parametrize("changed", ["a", "b"])
@pytest.mark.parametrize("how", ["written", "deleted"])
def test_nothing_is_deleted_if_one_is_not_what_it_was(
    console: ServiceConsole, root: Path, changed: str, how: str
) -> None:
    # The same size and another content: only the time tells.
    for key in ("a", "b"):
        store(console, root, key)
    found = group(console)
    if how == "written":
        (root / changed).write_text("ELSE")
        os.utime(root / changed, (1, 1))
    else:
        (root / changed).unlink()
    before = names(root)
    with pytest.raises(StowageError) as caught:
        console.services.usage.duplicates.delete(ADMIN, found.id, Keep.SHORTEST, confirmed=1)
    assert caught.value.kind in (Kind.CONFLICT, Kind.NOT_FOUND)
    assert names(root) == before


def test_the_last_one_is_never_deleted(console: ServiceConsole, root: Path) -> None:
    for key in ("a", "b"):
        store(console, root, key)
    found = group(console)
    console.services.deletions.delete(ADMIN, "media", [FileRef("b")], confirmed=1)
    with pytest.raises(StowageError, match="only one"):
        console.services.usage.duplicates.delete(ADMIN, found.id, Keep.OLDEST, confirmed=1)
    assert names(root) == {"a"}


def test_a_viewer_deletes_nothing(console: ServiceConsole, root: Path) -> None:
    for key in ("a", "b"):
        store(console, root, key)
    with pytest.raises(StowageError) as caught:
        console.services.usage.duplicates.delete(VIEWER, group(console).id, Keep.OLDEST, confirmed=1)
    assert caught.value.kind is Kind.FORBIDDEN
    assert names(root) == {"a", "b"}


def test_reading_costs_the_same_however_many_files_there_are(console: ServiceConsole, root: Path) -> None:
    store(console, root, "a")
    summed(console)
    statements: list[str] = []
    event.listen(console.database.work, "before_cursor_execute", lambda *given: statements.append(given[2]))
    console.services.usage.reports.usage()
    assert not [text for text in statements if " files" in text]
    assert len(statements) < 12


def test_the_csv_is_safe_in_a_spreadsheet(console: ServiceConsole, root: Path) -> None:
    store(console, root, "=1+1.txt")
    summed(console)
    rows = list(csv.reader(console.services.usage.reports.csv_lines(PriceTable())))
    assert {len(row) for row in rows} == {6}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@"))]


# ---- prices


def used(preset: str, size: int) -> BackendUsage:
    return BackendUsage(1, "x", preset, 1, size, 0.0)


def test_a_month_costs_storage_and_downloads() -> None:
    table = PriceTable("$", 50.0, {"aws": Price(0.02, 0.10), "b2": Price(0.005, 0.01)})
    found = cost_of(used("aws", 10**12), table)
    assert found.storage == pytest.approx(20.0)
    assert found.download == pytest.approx(50.0)
    assert [name for name, _ in found.elsewhere] == ["b2"]
    assert found.elsewhere[0][1] == pytest.approx(10.0)
    assert not found.cheapest
    assert cost_of(used("b2", 10**12), table).cheapest
    assert cost_of(used("local", 10**12), table).total is None


def test_requests_and_counted_downloads_cost_too() -> None:
    table = PriceTable("$", 0.0, {"aws": Price(0.02, 0.10, 0.005, 0.004, 0.0004), "b2": Price(0.02)})
    traffic = RequestTotals(reads=10**6, writes=10**5, lists=10**4, deletes=10**9, bytes_read=10**10)
    found = cost_of(replace(used("aws", 10**9), traffic=traffic), table)
    assert found.download == pytest.approx(10 * 0.10)
    assert found.requests == pytest.approx(0.4 + 0.5 + 0.04)
    assert found.total == pytest.approx(0.02 + 1.0 + 0.94)
    # The others, for the same requests.
    assert found.elsewhere == (("b2", pytest.approx(0.02)),)


def test_prices_from_before_there_were_requests_are_read(console: ServiceConsole) -> None:
    with console.database.write() as session:
        text = '{"currency": "EUR", "downloads": 5, "prices": {"b2": [0.007, 0.01]}}'
        session.merge(Setting(key=SETTING, value=text))
    assert console.services.usage.prices.table().prices == {"b2": Price(0.007, 0.01)}


def test_prices_are_changed_recorded_and_put_back(console: ServiceConsole) -> None:
    prices = console.services.usage.prices
    assert prices.table().estimated
    changed = {"b2": Price(0.007, 0.0), "local": Price(0.01), "aws": None}
    prices.save(ADMIN, currency="EUR", downloads=5, prices=changed)
    table = prices.table()
    assert (table.currency, table.downloads, table.estimated) == ("EUR", 5, False)
    assert (table.prices["b2"], table.prices["local"]) == (Price(0.007, 0.0), Price(0.01, 0.0))
    assert "aws" not in table.prices
    row = console.services.audit.rows(limit=1)[0]
    assert (row.action, row.detail["before.currency"], row.detail["currency"]) == ("prices.save", "$", "EUR")
    prices.restore(ADMIN)
    assert dict(prices.table().prices) == dict(ESTIMATES)


@pytest.mark.parametrize("value", [-0.1, float("nan"), float("inf"), 1e9])
def test_prices_are_checked(console: ServiceConsole, value: float) -> None:
    with pytest.raises(InvalidInput):
        console.services.usage.prices.save(ADMIN, currency="$", downloads=1, prices={"b2": Price(value)})
    with pytest.raises(InvalidInput):
        console.services.usage.prices.save(ADMIN, currency="$", downloads=value, prices={})


def test_only_administrators_change_prices(console: ServiceConsole) -> None:
    with pytest.raises(StowageError):
        console.services.usage.prices.save(OPERATOR, currency="$", downloads=1, prices={})
