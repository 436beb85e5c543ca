"""Comparing a backend with the active one before a switch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dashboard.errors import InvalidInput, Kind, StowageError
from dashboard.services.backends.values import Draft
from dashboard.services.services import Services
from dashboard.services.switching.activation import Comparison, Switch
from tests.servers.hostile.dialects import S3Dialect
from tests.servers.hostile.http import HostileHttpServer, ScriptedResponse
from tests.servers.processes import wait_until
from tests.servers.s3 import KeyPair
from tests.servers.seaweedfs import SeaweedFS
from tests.services.composed import add_local, add_s3, composed, fill, running
from tests.services.console import ADMIN, OPERATOR, VIEWER

# SeaweedFS lists folders where their names stand, not where their keys would: "a/" after "a.b".
NAMES = [f"{folder}/{n}" for folder in ("a", "a.b", "a-b", "c") for n in range(30)]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A console whose active backend is “old”; “new” is empty."""
    with composed(tmp_path / "instance") as services:
        add_local(services, "old", tmp_path / "old")
        add_local(services, "new", tmp_path / "new")
        services.activation.activate(ADMIN, "old")
        yield services


def compared(services: Services, name: str) -> Comparison:
    services.activation.compare(ADMIN, name)

    def done() -> bool:
        known = services.activation.comparison(name)
        return known is not None and not known.running

    with running(services):
        wait_until(done, seconds=60, what="comparison done")
    known = services.activation.comparison(name)
    assert known
    return known


def test_what_is_missing_is_said_before_the_switch(services: Services, tmp_path: Path) -> None:
    fill(tmp_path / "old", dict.fromkeys(NAMES, 10))
    fill(tmp_path / "new", dict.fromkeys(NAMES[:90], 10) | {NAMES[3]: 11, "another": 5})
    began = services.activation.compare(ADMIN, "new")
    assert began.running
    known = compared(services, "new")
    assert (known.total, known.present, known.missing, known.differing) == (120, 89, 30, 1)
    assert known.sentence == "89 of 120 objects are there; 30 are missing and 1 differs in size."
    assert known.first_missing == tuple(sorted(NAMES[90:])[:20])
    assert known.first_differing == (NAMES[3],)
    assert not known.complete
    assert known.at


def test_a_backend_that_lists_in_an_order_of_its_own_is_compared_too(
    services: Services, seaweedfs: SeaweedFS, tmp_path: Path
) -> None:
    fill(tmp_path / "old", dict.fromkeys(NAMES, 10))
    bucket = seaweedfs.new_bucket()
    add_s3(services, "cloud", seaweedfs.endpoint, bucket, seaweedfs.admin)
    for name in NAMES[:100]:
        services.backends.driver("cloud").put(name, b"x" * 10)
    known = compared(services, "cloud")
    assert (known.total, known.present, known.missing, known.differing) == (120, 100, 20, 0)
    with services.database.work_read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM migration_listing").scalar_one() == 0
        assert connection.exec_driver_sql("SELECT count(*) FROM migration_counters").scalar_one() == 0


@pytest.mark.parametrize(
    ("there", "sentence"),
    [
        (len(NAMES), "All 120 objects are there."),
        (0, "0 of 120 objects are there; 120 are missing."),
    ],
)
def test_the_sentence_fits_what_was_found(
    services: Services, tmp_path: Path, there: int, sentence: str
) -> None:
    fill(tmp_path / "old", dict.fromkeys(NAMES, 10))
    fill(tmp_path / "new", dict.fromkeys(NAMES[:there], 10))
    assert compared(services, "new").sentence == sentence


def test_an_empty_active_backend_misses_nothing(services: Services) -> None:
    known = compared(services, "new")
    assert known.complete
    assert known.sentence == "“old” holds no objects, so nothing can be missing."


def test_a_comparison_that_fails_says_why_and_can_be_repeated(services: Services, tmp_path: Path) -> None:
    (tmp_path / "new").rmdir()
    known = compared(services, "new")
    assert (known.running, known.at) == (False, None)
    assert known.message.startswith("Could not check for missing files: ")
    assert known.sentence == known.message
    (tmp_path / "new").mkdir()
    assert compared(services, "new").complete


@pytest.mark.parametrize("active", [True, False])
def test_what_breaks_off_while_it_is_listed_was_not_compared(
    services: Services, tmp_path: Path, active: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.storage.net.retries.backoff", lambda attempt: None)
    dialect = S3Dialect()
    listed = {f"{number:03}": 1 for number in range(50)}
    first = dialect.page(list(listed), "more follows")
    fill(tmp_path / "new", listed)
    with HostileHttpServer(
        lambda request: first if not dialect.token(request) else ScriptedResponse(body=b"<html/>")
    ) as liar:
        add_s3(services, "liar", liar.endpoint, "bucket", KeyPair("liar", "KEY", "secret"))
        if active:
            services.activation.activate(ADMIN, "liar", Switch(override="liar"))
        known = compared(services, "new" if active else "liar")
    assert (known.running, known.at, known.complete) == (False, None, False)
    assert "did not list everything" in known.sentence


def test_a_fresh_comparison_is_shown_again_until_something_changes(
    services: Services, tmp_path: Path
) -> None:
    compared(services, "new")
    assert not services.activation.compare(ADMIN, "new").running
    (tmp_path / "elsewhere").mkdir()
    services.backends.edit(
        ADMIN, Draft("new", "local", {"root": str(tmp_path / "elsewhere")}, {}, existing="new")
    )
    assert services.activation.compare(ADMIN, "new").running


def test_only_administrators_switch_and_viewers_do_not_compare(services: Services) -> None:
    for actor in (OPERATOR, VIEWER):
        with pytest.raises(StowageError) as refusal:
            services.activation.activate(actor, "new")
        assert refusal.value.kind is Kind.FORBIDDEN
    with pytest.raises(StowageError):
        services.activation.compare(VIEWER, "new")
    assert services.activation.compare(OPERATOR, "new").running


def test_comparing_the_active_backend_with_itself_makes_no_sense(services: Services) -> None:
    with pytest.raises(InvalidInput, match="active backend already"):
        services.activation.compare(ADMIN, "old")
    with pytest.raises(StowageError) as refusal:
        services.activation.activate(ADMIN, "nowhere")
    assert refusal.value.kind is Kind.NOT_FOUND
