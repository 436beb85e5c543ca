"""Static files with a content digest in their address, and the icon sprite."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from flask import Flask, url_for
from markupsafe import Markup


def install(app: Flask) -> None:
    """Add a content digest to every static URL, and the ``icon`` function to every template."""
    folder = Path(app.static_folder or "")
    versions = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in folder.rglob("*")
        if path.is_file()
    }

    @app.url_defaults
    def add_version(endpoint: str, values: dict[str, Any]) -> None:
        if endpoint == "static" and values.get("filename") in versions:
            values.setdefault("v", versions[values["filename"]])

    app.jinja_env.globals["icon"] = icon


def icon(name: str) -> Markup:
    """Return an icon of the sprite. It is hidden from screen readers: the text next to it says the same."""
    sprite = url_for("static", filename="icons.svg")
    return Markup(
        '<svg class="icon" aria-hidden="true" focusable="false"><use href="{}#{}"></use></svg>'
    ).format(sprite, name)
