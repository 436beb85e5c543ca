"""What the failed writes of a run that came to its end left behind: unfinished uploads, temporary files.

Some are known to nobody: where the answer to the beginning of an upload was lost, the server has one whose id
never arrived. So the destination is asked, once, what is unfinished there.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import islice

from dashboard.migration.overlap import SKEW
from dashboard.storage.driver import Driver
from dashboard.storage.place_powers import KeepsUnfinished, UnfinishedUpload

MOST = 10_000
"""Unfinished uploads that are looked at."""
BATCH = 500

Ours = Callable[[Sequence[str]], Collection[str]]
"""Those of some keys that we write in parts."""


def clear_leftovers(
    destination: Driver, prefix: str, troubled: Sequence[str], ours: Ours, *, since: float
) -> int:
    """Remove what writes to keys of ours, begun at or after ``since`` (epoch seconds), left behind, while
    none of ours is under way; returns how many. ``troubled``: keys whose writes failed at least once, for
    destinations that cannot be asked for all that is unfinished."""
    if isinstance(destination, KeepsUnfinished):
        found = islice(destination.unfinished(prefix), MOST)
        recent = [each for each in found if each.begun >= since - SKEW]
        return len(abort_known(destination, recent, ours))
    return destination.sweep(troubled, since=since - SKEW) if troubled else 0


def abort_known(
    place: KeepsUnfinished, uploads: Iterable[UnfinishedUpload], ours: Ours
) -> frozenset[UnfinishedUpload]:
    """Abort those whose keys are ours to write; returns them."""
    rest, aborted = iter(uploads), set[UnfinishedUpload]()
    while batch := list(islice(rest, BATCH)):
        written = ours([each.key for each in batch])
        for upload in batch:
            if upload.key in written:
                place.abort(upload)
                aborted.add(upload)
    return frozenset(aborted)
