"""Why an object failed, was skipped or was kept, in sentences that name no key, so that equal ones group."""

from __future__ import annotations

import re

from dashboard.errors import Kind, StowageError
from dashboard.migration.ledger import Reason

SAME = Reason("", "The destination already has the same content.")
SAME_SIZE = Reason(
    "", "The destination already has an object of the same size, and no older. Contents were not compared."
)
NOT_NEWER = Reason("", "The destination's object is as new or newer.")
ALREADY_EXISTS = Reason(
    Kind.CONFLICT.value,
    "An object with this name already exists at the destination.",
    "Choose another way to treat existing objects, or remove the one at the destination.",
)
AGE_UNKNOWN = Reason(
    Kind.CONFLICT.value,
    "There is an object with this name at the destination, and which of the two is newer is not known.",
    "Choose “Replace always”, “Skip identical” or “Keep both” for these objects.",
)
IMPOSSIBLE_SIZE = Reason(
    Kind.DAMAGED.value,
    "The source lists it with a size that no object can have.",
    "Check it with the source's own tools.",
)
NO_FREE_NAME = Reason(
    Kind.CONFLICT.value,
    "No free name was found next to the object at the destination.",
    "Remove some of the earlier copies there.",
)
VANISHED = Reason(
    Kind.NOT_FOUND.value,
    "It vanished from the source after it was listed.",
    "If it should be there, restore it and retry.",
)
CHANGED = Reason(
    Kind.CHANGED.value,
    "It kept changing while it was being copied.",
    "Retry when nothing writes to it.",
)
MISSING = Reason(
    Kind.DAMAGED.value,
    "It was copied, but is missing from the destination's final listing.",
    "Look for a rule or a program that removes objects there, then retry.",
)
NAME_COLLISION = Reason(
    Kind.INVALID_KEY.value,
    "The destination treats this name and another one as the same: it does not distinguish uppercase and "
    "lowercase letters, or two spellings of a letter.",
    "Rename one of the two, or choose a destination that distinguishes them, and retry.",
)
DISAPPEARED = Reason(
    Kind.DAMAGED.value,
    "It was at the destination when it was skipped, but is missing from the final listing.",
    "Look for a rule or a program that removes objects there, then retry.",
)
UNLISTED = Reason(
    Kind.INVALID_KEY.value,
    "The destination accepts this name, but does not list it: it keeps the object under another name, or "
    "hides it.",
    "Rename it at the source, or choose a destination that keeps such names, and retry.",
)
DIFFERS = Reason(
    Kind.DAMAGED.value,
    "It was copied, but the object at the destination now is not the one that was written.",
    "Look for a program that writes there too, then retry.",
)
READ_BACK_DIFFERS = Reason(
    Kind.DAMAGED.value,
    "Read back from the destination, it is not what was sent.",
    "Retry; if it happens again, check the destination's disks and network.",
)
UNEXPECTED = Reason(
    Kind.INTERNAL.value,
    "Something went wrong in Stowage or in the storage client it uses.",
    "Retry; the log has the details.",
)
DESTINATION_CHANGED = Reason(
    Kind.CONFLICT.value,
    "The object at the destination was created or changed after the plan was made.",
    "Check it there. Retry to replace it.",
)
KEPT_CHANGED = Reason(
    Kind.CHANGED.value,
    "Copied and verified, but not deleted: it changed at the source since then.",
    "Migrate it again.",
)
KEPT_DIFFERS = Reason(
    Kind.CHANGED.value,
    "Copied and verified, but not deleted: read once more, source and destination are not the same.",
    "Check both, then migrate it again.",
)

_DIGITS = re.compile(r"\d[\d,.]*")


def reason_for(error: StowageError, *keys: str) -> Reason:
    """Return the reason for a driver's error. ``keys`` are removed from the sentence."""
    reason = error.reason
    for key in filter(None, keys):
        for phrase, plain in (("an object “{}”", "such an object"), ("no object “{}”", "no such object")):
            reason = reason.replace(phrase.format(key), plain)
        reason = reason.replace(f"“{key}”", "the object")
    if error.kind is Kind.DAMAGED:
        reason = _DIGITS.sub("…", reason)
    # A name in another encoding must not make the sentence unprintable.
    reason = reason.encode("utf-8", "backslashreplace").decode()
    return Reason(error.kind.value, reason[:1].upper() + reason[1:], error.remedy)


def kept_reason(error: StowageError, key: str) -> Reason:
    """Return why a verified object was kept at the source."""
    reason = reason_for(error, key)
    return Reason(
        reason.kind, f"Copied and verified, but not deleted at the source: {reason.sentence}", reason.remedy
    )


def unreadable_folder_reason(error: StowageError, folder: str) -> Reason:
    """Return why the contents of a folder of the source are unknown."""
    reason = reason_for(error, error.subject, folder, folder.rstrip("/"))
    sentence = reason.sentence.replace("The object ", "It ", 1)
    remedy = f"{reason.remedy} Or leave it out with an exclude pattern such as “folder/**”.".strip()
    return Reason(
        reason.kind, f"This folder could not be read, so nothing in it was copied. {sentence}", remedy
    )
