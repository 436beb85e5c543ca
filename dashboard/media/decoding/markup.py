"""Whether an SVG drawing or another XML file would run or load anything in a browser. Runs in the sandbox."""

from __future__ import annotations

import re
from typing import Any
from xml.parsers import expat

from dashboard.media.decoding.frames import TaskError, Values

_ACTIVE_ELEMENTS = frozenset(
    (
        "script",
        "foreignobject",
        "iframe",
        "object",
        "embed",
        "handler",
        "listener",
        "audio",
        "video",
        "html",
        "body",
    )
)
_ADDRESSES = frozenset(("href", "src", "from", "to", "values", "by", "action", "formaction", "data"))
_HARMLESS = re.compile(r"\s*(#|data:image/(png|jpeg|gif|webp|avif);)", re.IGNORECASE)
_LOADS = re.compile(
    r"url\(\s*['\"]?\s*(?!#|data:image/)|@import|expression\(|javascript:|-moz-binding", re.IGNORECASE
)
_SPACES = re.compile(r"[\x00-\x20]+")


def load_decoders() -> None:
    """Load expat's tables before anything is forbidden. Idempotent."""
    expat.ParserCreate().Parse(b"<a/>", True)


def examine(_: Values, content: bytes | bytearray) -> tuple[Values, list[bytes]]:
    """Read a drawing to its end. Raises ``TaskError``: ``active`` if it holds scripts, handlers, entities of
    its own or addresses of other files; ``broken`` if it is not well-formed."""
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    in_style = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal in_style
        element = name.rpartition(" ")[2].lower()
        if element in _ACTIVE_ELEMENTS:
            raise TaskError("active", what=f"<{element}>")
        in_style += element == "style"
        for key, value in attributes.items():
            _check(key.rpartition(" ")[2].lower(), value)

    def end(name: str) -> None:
        nonlocal in_style
        in_style -= name.rpartition(" ")[2].lower() == "style"

    def text(data: str) -> None:
        styles.append(data if in_style else "")

    def refuse(what: str) -> Any:
        def handler(*_: Any) -> None:
            raise TaskError("active", what=what)

        return handler

    styles: list[str] = []
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, text
    parser.EntityDeclHandler = refuse("an entity of its own")
    parser.ExternalEntityRefHandler = refuse("an external entity")
    parser.ProcessingInstructionHandler = refuse("a processing instruction")
    try:
        parser.Parse(bytes(content), True)
    except expat.ExpatError as error:
        raise TaskError("broken") from error
    if _LOADS.search("".join(styles)):
        raise TaskError("active", what="a style that loads something")
    return {}, []


def _check(attribute: str, value: str) -> None:
    if attribute.startswith("on"):
        raise TaskError("active", what=f"the handler “{attribute[:40]}”")
    bare = _SPACES.sub("", value)
    if attribute in _ADDRESSES and re.match(r"[a-z][a-z0-9+.-]*:|//", bare, re.IGNORECASE):
        if not _HARMLESS.match(bare):
            raise TaskError("active", what=f"an address in “{attribute[:40]}”")
    elif attribute == "href" and not bare.startswith("#"):
        raise TaskError("active", what="an address in “href”")
    if _LOADS.search(value):
        raise TaskError("active", what=f"an address in “{attribute[:40]}”")
