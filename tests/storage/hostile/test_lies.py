"""No driver believes a hostile server, and none holds much memory meanwhile: every driver, every lie."""

from __future__ import annotations

import pytest

from tests.storage.hostile import lies
from tests.storage.hostile.files import FILE_SUBJECTS, HONEST
from tests.storage.hostile.lies import CLEAN, LIES, MOST_MEMORY, SUBJECTS, Subject, in_a_hurry, kept, tell


@pytest.mark.parametrize("subject", SUBJECTS, ids=lambda subject: subject.name)
def test_no_lie_is_believed_and_none_fills_the_memory(subject: Subject) -> None:
    with in_a_hurry():
        outcomes = {lie: tell(subject, lie) for lie in LIES}

    assert {lie: each.said for lie, each in outcomes.items() if each.word == CLEAN} == {}
    assert {lie: each.peak for lie, each in outcomes.items() if each.peak > MOST_MEMORY} == {}
    page = kept()
    assert {lie: each.word for lie, each in outcomes.items()} == {
        lie: page.get((subject.name, lie)) for lie in LIES
    }, "docs/hostile-servers.md is not current: run make hostile"


@pytest.mark.parametrize("subject", FILE_SUBJECTS, ids=lambda subject: subject.name)
@pytest.mark.parametrize("asked", ["sign-in", "listing", "look", "reading", "write"])
def test_the_truth_is_believed(subject: Subject, asked: str) -> None:
    outcome = tell(subject, f"{asked}: {HONEST}")
    assert (outcome.word, outcome.said) == (CLEAN, "")


def test_the_page_has_every_driver_and_every_lie_and_no_other() -> None:
    assert set(kept()) == {(subject.name, lie) for subject in lies.SUBJECTS for lie in lies.LIES}
