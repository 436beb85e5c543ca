"""Why an object failed or was left alone, in sentences that name no key so that equals group together."""

from __future__ import annotations

import re

from dashboard.errors import Kind, StowageError
from dashboard.migration.ledger import Failure

SAME = Failure("", "The same content is at the destination already.")
SAME_SIZE = Failure(
    "", "An object of the same size, and no older, is at the destination already. Contents were not compared."
)
NOT_NEWER = Failure("", "The destination's object is as new or newer.")
TAKEN = Failure(
    Kind.CONFLICT.value,
    "There is an object with this name at the destination already.",
    "Choose another way to treat existing objects, or remove the one at the destination.",
)
AGE_UNKNOWN = Failure(
    Kind.CONFLICT.value,
    "There is an object with this name at the destination, and which of the two is newer is not known.",
    "Choose “overwrite”, “skip if same” or “keep both” for these objects.",
)
IMPOSSIBLE_SIZE = Failure(
    Kind.DAMAGED.value,
    "The source lists it with a size that no object can have.",
    "Look at it with the source's own tools.",
)
NO_FREE_NAME = Failure(
    Kind.CONFLICT.value,
    "No free name was found beside the object at the destination.",
    "Remove some of the earlier copies there.",
)
VANISHED = Failure(
    Kind.NOT_FOUND.value,
    "It vanished from the source after it was listed.",
    "If it should be there, restore it and retry.",
)
CHANGED = Failure(
    Kind.CHANGED.value,
    "It kept changing while it was being copied.",
    "Retry when nothing writes to it.",
)
MISSING = Failure(
    Kind.DAMAGED.value,
    "It was copied, but is missing from the destination's final listing.",
    "Look for a rule or a program that removes objects there, then retry.",
)
ONE_NAME = Failure(
    Kind.INVALID_KEY.value,
    "The destination takes this name and another one for the same: it does not tell capital and small "
    "letters, or two spellings of a letter, apart.",
    "Rename one of the two, or choose a destination that tells them apart, and retry.",
)
GONE = Failure(
    Kind.DAMAGED.value,
    "It was at the destination when it was skipped, but is missing from the final listing.",
    "Look for a rule or a program that removes objects there, then retry.",
)
UNLISTED = Failure(
    Kind.INVALID_KEY.value,
    "The destination answers to this name, but does not list it: it keeps the object under another name, or "
    "hides it.",
    "Rename it at the source, or choose a destination that keeps such names, and retry.",
)
DIFFERS = Failure(
    Kind.DAMAGED.value,
    "It was copied, but what lies at the destination now is not what was written.",
    "Look for a program that writes there too, then retry.",
)
READ_BACK_DIFFERS = Failure(
    Kind.DAMAGED.value,
    "Read back from the destination, it is not what was sent.",
    "Retry; if it happens again, check the destination's disks and network.",
)
UNEXPECTED = Failure(
    Kind.INTERNAL.value,
    "Something went wrong in Stowage or in the storage client it uses.",
    "Retry; the log names the fault.",
)
EDITED = Failure(
    Kind.CONFLICT.value,
    "The object at the destination is not the one that the plan was made for: it came or changed since.",
    "Look at it there. Retry to replace it.",
)
KEPT_CHANGED = Failure(
    Kind.CHANGED.value,
    "Copied and verified, but not deleted: it changed at the source since then.",
    "Migrate it again.",
)
KEPT_DIFFERS = Failure(
    Kind.CHANGED.value,
    "Copied and verified, but not deleted: read once more, source and destination are not the same.",
    "Look at both, then migrate it again.",
)

_DIGITS = re.compile(r"\d[\d,.]*")


def explain(error: StowageError, *keys: str) -> Failure:
    """The failure a driver's error stands for. ``keys`` are taken out of the sentence."""
    reason = error.reason
    for key in filter(None, keys):
        for phrase, plain in (("an object “{}”", "such an object"), ("no object “{}”", "no such object")):
            reason = reason.replace(phrase.format(key), plain)
        reason = reason.replace(f"“{key}”", "the object")
    if error.kind is Kind.DAMAGED:
        reason = _DIGITS.sub("…", reason)
    # A name in another encoding must not make the sentence unprintable.
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return Failure(error.kind.value, reason[:1].upper() + reason[1:], error.remedy)


def not_deleted(error: StowageError, key: str) -> Failure:
    """Why a verified object stayed at the source."""
    why = explain(error, key)
    return Failure(why.kind, f"Copied and verified, but not deleted at the source: {why.reason}", why.remedy)


def unreadable_folder(error: StowageError, folder: str) -> Failure:
    """Why nothing is known of what is in a folder of the source."""
    why = explain(error, error.subject, folder, folder.rstrip("/"))
    told = why.reason.replace("The object ", "It ", 1)
    remedy = f"{why.remedy} Or leave it out with an exclude pattern such as “folder/**”.".strip()
    return Failure(why.kind, f"This folder could not be read, so nothing in it was copied. {told}", remedy)
