"""Sentences that name no key, so that equal reasons group."""

from __future__ import annotations

import pytest

from dashboard.errors import Kind
from dashboard.migration.reasons import reason_for
from dashboard.storage.errors import Damaged, Exists, InvalidKey, NotFound, StorageError


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (NotFound("a"), "There is no such object."),
        (Exists("a"), "There is already such an object."),
        (InvalidKey("a", "A disk cannot hold “a” exactly."), "A disk cannot hold the object exactly."),
        (Damaged("a", "“a” ended after 5 of 1,000 bytes."), "The object ended after … of … bytes."),
        (StorageError(Kind.DENIED, "This is a refusal of a key."), "This is a refusal of a key."),
        (StorageError(Kind.DENIED, "No: \udcff."), "No: \\udcff."),
    ],
)
def test_a_reason_names_no_key(error: StorageError, sentence: str) -> None:
    assert reason_for(error, "a", "").sentence == sentence
