"""What a child of the sandbox can do: a table of functions from values and bytes to values and bytes."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence

from dashboard.media.decoding.frames import TaskError, Values

Task = Callable[[Values, Sequence[bytearray], int | None], tuple[Values, list[bytes]]]
"""Takes arguments, byte strings, and a file that stays open; returns values and byte strings."""


def _image(arguments: Values, parts: Sequence[bytearray], _: int | None) -> tuple[Values, list[bytes]]:
    from dashboard.media.decoding.images import examine

    return examine(arguments, parts[0])


def _edit(arguments: Values, parts: Sequence[bytearray], _: int | None) -> tuple[Values, list[bytes]]:
    from dashboard.media.decoding.images import edit

    return edit(arguments, parts)


def _pdf(arguments: Values, parts: Sequence[bytearray], _: int | None) -> tuple[Values, list[bytes]]:
    from dashboard.media.decoding.pdf import examine

    return examine(arguments, parts[0])


def _video(arguments: Values, _: Sequence[bytearray], file: int | None) -> tuple[Values, list[bytes]]:
    from dashboard.media.decoding.video import examine

    if file is None:
        raise TaskError("broken")
    return examine(arguments, file)


def _markup(arguments: Values, parts: Sequence[bytearray], _: int | None) -> tuple[Values, list[bytes]]:
    from dashboard.media.decoding.markup import examine

    return examine(arguments, parts[0])


TASKS: Mapping[str, Task] = {"image": _image, "edit": _edit, "pdf": _pdf, "video": _video, "markup": _markup}
_MODULES = {"image": "images", "edit": "images", "pdf": "pdf", "video": "video", "markup": "markup"}


def load(task: str) -> None:
    """Import what a task needs, before a child is started that may import nothing. Loads it once."""
    importlib.import_module(f"dashboard.media.decoding.{_MODULES[task]}").load_decoders()


def preload() -> None:
    """Import what most children need. What videos need is left for the first one, because it is large."""
    for task in ("image", "pdf", "markup"):
        load(task)
