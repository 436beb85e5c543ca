"""Collects what templates, scripts and the web package say into the catalogs: ``make translations``.

New texts arrive with an empty translation, which a test refuses; texts that are gone are removed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

from babel.messages.catalog import Catalog
from babel.messages.extract import extract
from babel.messages.pofile import write_po

from dashboard.settings import LANGUAGES
from dashboard.web.language.catalogs import FOLDER, SOURCE, read_catalog

ROOT = Path(__file__).resolve().parents[3]
KEYWORDS = {
    "_": None, "gettext": None, "ngettext": (1, 2), "pgettext": ((1, "c"), 2), "npgettext": ((1, "c"), 2, 3),
}  # fmt: skip
PLACES: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("templates", "jinja2.ext:babel_extract", {"trimmed": "true", "silent": "false"}),
    ("static", "javascript", {}),
    ("dashboard/web", "python", {}),
)
SUFFIXES = {"templates": (".html", ".txt"), "static": (".js",), "dashboard/web": (".py",)}
TRANSLATED = tuple(language for language in LANGUAGES if language != SOURCE)


def path_of(language: str) -> Path:
    return FOLDER / language / "LC_MESSAGES" / "messages.po"


def extracted() -> Catalog:
    """What there is to translate, each with the files that say it."""
    found = Catalog(fuzzy=False)
    for folder, method, options in PLACES:
        for name, message, context in _texts(folder, method, options):
            found.add(message, locations=[(f"{folder}/{name}", 0)], context=context)
    return found


def _texts(folder: str, method: str, options: dict[str, str]) -> Iterator[tuple[str, Any, str | None]]:
    for path in sorted((ROOT / folder).rglob("*")):
        name = path.relative_to(ROOT / folder).as_posix()
        if not name.endswith(SUFFIXES[folder]) or name.startswith("vendor/"):
            continue
        content = path.read_bytes()
        # Most modules say nothing, and taking them apart takes long.
        if b"gettext(" in content or folder == "templates":
            found = extract(method, BytesIO(content), keywords=KEYWORDS, options=options)
            for _, message, _, context in found:
                yield name, message, context


def collected(language: str) -> bytes:
    """The catalog as it would be written now."""
    path = path_of(language)
    before = read_catalog(path, language)
    after = Catalog(locale=language, fuzzy=False, header_comment=before.header_comment)
    for message in extracted():
        if not message.id:
            continue
        known = before.get(message.id, message.context)
        files = sorted({name for name, _ in message.locations})
        after.add(
            message.id,
            known.string if known else None,
            locations=[(name, None) for name in files],
            context=message.context,
        )
    written = BytesIO()
    write_po(written, after, width=110, omit_header=False, include_lineno=False)
    return without_varying_lines(written.getvalue())


def without_varying_lines(catalog: bytes) -> bytes:
    """A catalog as it is written, without what changes although no text did."""
    varying = (
        '"POT-Creation-Date', '"PO-Revision-Date', '"Generated-By', '"Project-Id-Version', '"Last-Translator',
        '"Language-Team', '"Report-Msgid-Bugs-To',
    )  # fmt: skip
    lines = catalog.decode().splitlines(keepends=True)
    return "".join(line for line in lines if not line.startswith(varying)).encode()


def main() -> int:
    for language in TRANSLATED:
        content = collected(language)
        path_of(language).write_bytes(content)
        missing = [m.id for m in read_catalog(path_of(language), language) if m.id and not _whole(m.string)]
        sys.stdout.write(f"{language}: {len(missing)} texts without a translation\n")
        for text in missing:
            sys.stdout.write(f"  {text!r}\n")
    return 0


def _whole(string: str | tuple[str, ...] | list[str]) -> bool:
    return bool(string) if isinstance(string, str) else all(string)


if __name__ == "__main__":
    sys.exit(main())
