"""What was sent, compared with counting every byte."""

from __future__ import annotations

import random

import pytest

from dashboard.services.files.sharing.coverage import MAX_PARTS, Coverage


@pytest.mark.parametrize("seed", range(30))
def test_copies_are_the_least_times_any_byte_was_sent(seed: int) -> None:
    noise, size = random.Random(seed), 40
    coverage, times = Coverage(), [0] * size
    for _ in range(60):
        start, end = sorted((noise.randint(0, size), noise.randint(0, size)))
        coverage = coverage.add(start, end)
        for position in range(start, end):
            times[position] += 1
        assert coverage.copies(size) == min(times)
        assert coverage.total() == sum(times)
        assert Coverage.from_stored(coverage.stored()) == coverage
        if noise.random() < 0.2:
            copies = coverage.copies(size)
            coverage, times = coverage.without(copies), [each - copies for each in times]
            assert coverage.total() == sum(times)


def test_crumbs_are_merged_and_never_count_for_less() -> None:
    noise, size = random.Random(1), 10_000
    coverage, sent = Coverage(), set[int]()
    for _ in range(500):
        start = noise.randrange(size - 1)
        coverage = coverage.add(start, start + 1)
        sent.add(start)
        assert len(coverage.parts) <= MAX_PARTS
    claimed = {position for start, end, _ in coverage.parts for position in range(start, end)}
    assert sent <= claimed


def test_the_end_alone_is_no_copy() -> None:
    assert Coverage().add(50, 100).copies(100) == 0
    assert Coverage().add(0, 99).copies(100) == 0
    assert Coverage().add(0, 40).add(60, 100).copies(100) == 0
    assert Coverage().add(0, 60).add(40, 100).copies(100) == 1
