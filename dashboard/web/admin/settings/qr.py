"""QR codes as SVG; the only file that imports segno."""

from __future__ import annotations

import segno
from markupsafe import Markup


def svg(text: str) -> Markup:
    """Return a QR code as an inline SVG with black modules on a white ground, in either theme. No script, no
    style attribute."""
    code = segno.make(text, error="m", micro=False)
    picture = code.svg_inline(
        scale=5, border=4, dark="#000", light="#fff", omitsize=True, svgclass="qr", lineclass=None
    )
    # Everything in it comes from segno: the text itself is only in the modules.
    return Markup(picture)  # noqa: S704
