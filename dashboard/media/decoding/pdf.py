"""Pages of PDF documents, with PDFium (extra ``pdf``). Runs in a child of the sandbox."""

from __future__ import annotations

from typing import Any

from dashboard.media.decoding.frames import TaskError, Values
from dashboard.media.decoding.images import derive
from dashboard.media.decoding.images import load_decoders as load_images
from dashboard.media.recipes import Recipe

_library: list[Any] = []
_PASSWORD_NEEDED = 4
_MAX_SIDE = 1600
"""Pixels of the rendered page, of which thumbnails are made."""


def load_decoders() -> None:
    """Import PDFium, if it is installed. Idempotent."""
    load_images()
    if not _library:
        try:
            import pypdfium2
        except ImportError:
            return
        _library.append(pypdfium2)


def examine(arguments: Values, content: bytes | bytearray) -> tuple[Values, list[bytes]]:
    """Return the number of pages and what each recipe makes of the first one.

    Raises ``TaskError``: ``unsupported`` without PDFium, ``encrypted`` if it needs a password, ``broken``.
    """
    if not _library:
        raise TaskError("unsupported")
    pdfium = _library[0]
    try:
        document = pdfium.PdfDocument(bytes(content))
    except pdfium.PdfiumError as error:
        kind = "encrypted" if getattr(error, "err_code", None) == _PASSWORD_NEEDED else "broken"
        raise TaskError(kind) from error
    facts: Values = {"pages": len(document)}
    recipes = [Recipe.from_dict(each) for each in arguments["recipes"]]
    if not recipes or not len(document):
        return facts, []
    try:
        page = document[0]
        width, height = page.get_size()
        scale = min(_MAX_SIDE / max(width, height, 1.0), 4.0)
        image = page.render(scale=scale, may_draw_forms=False).to_pil().convert("RGB")
    except pdfium.PdfiumError as error:
        raise TaskError("broken") from error
    facts["derived"], results = derive(image, recipes, "pdf")
    return facts, results
