"""Finds the sentences that the code makes for people: string constants, f-strings and joined strings.

A message's id is the sentence as it is written, with a named placeholder where a value goes. Conditional
parts with constant branches make one message for each branch, so that whole sentences are translated and not
pieces of them. What a piece of text is for is decided by where it stands in the syntax tree.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from io import BytesIO
from itertools import product
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.pofile import write_po

from dashboard.web.language.patterns import parse
from dashboard.web.language.sentences import path_of, sentences_of
from tests.web.language.context import (
    ERRORS,
    ERRORS_ONLY,
    LABELS,
    LOGS,
    NAMES_AN_OPERATION,
    NOT_FOR_PAGES,
    NOT_SENTENCES,
    NOT_SHOWN,
    NOT_TEXT,
    PROGRAMMERS_ERRORS,
    RECOGNIZED,
    SHOWN_ENUMERATIONS,
    WORDS,
)
from tests.web.language.messages import TRANSLATED, without_varying_lines

HEADER = "# Sentences that Python makes. {name} is a value, {count:,} a number. Words: those of messages.po."
PACKAGE = Path(__file__).parents[3] / "dashboard"
MAX_VARIANTS = 24


@dataclass
class Message:
    """One message: its id, and the files that make it."""

    id: str
    files: set[str] = field(default_factory=set)


Piece = tuple[str, str]
"""A text, or a placeholder: its name and its format."""
_TEXT = ""


class _File:
    def __init__(self, path: Path, name: str) -> None:
        self.name = name
        self.tree = ast.parse(path.read_text(encoding="utf-8"))
        self.parents: dict[ast.AST, ast.AST] = {}
        self.nodes: list[ast.AST] = []
        waiting: list[ast.AST] = [self.tree]
        while waiting:
            node = waiting.pop()
            self.nodes.append(node)
            children = list(ast.iter_child_nodes(node))
            self.parents.update(dict.fromkeys(children, node))
            waiting += reversed(children)
        self.locals: dict[ast.AST, dict[str, list[ast.expr]]] = {}
        self.inlined: set[ast.AST] = set()
        for node in self.nodes:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ):
                    self.locals.setdefault(self.scope(node), {}).setdefault(name, []).append(value)
                case ast.AugAssign(target=ast.Name(id=name)) | ast.For(target=ast.Name(id=name)):
                    # What is changed step by step is no text that could be followed.
                    self.locals.setdefault(self.scope(node), {}).setdefault(name, []).extend([node, node])  # type: ignore[list-item]

        self.functions = {node.name: node for node in self.tree.body if isinstance(node, ast.FunctionDef)}

    def _returned(self, node: ast.AST) -> tuple[ast.expr, ast.FunctionDef] | None:
        """What a function of this file returns, if it is called here and does so in one place."""
        match node:
            case ast.Call(func=ast.Name(id=name)) if name in self.functions:
                function = self.functions[name]
                returns = [each for each in ast.walk(function) if isinstance(each, ast.Return)]
                if len(returns) == 1 and (value := returns[0].value) is not None and self._is_words(value):
                    return value, function
        return None

    def _is_words(self, node: ast.AST) -> bool:
        """Whether this is text in which something is said: no part of a sentence with a kind of its own."""
        match node:
            case ast.Call(func=ast.Name(id="plural" | "counted")):
                return self._is_text(node)
            case ast.Call():
                return False
            case ast.Tuple(elts=elements):
                return not elements or any(self._is_text(each) for each in elements)
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_words(body) or self._is_words(orelse)
        return self._is_text(node)

    def scope(self, node: ast.AST) -> ast.AST:
        while node in self.parents:
            node = self.parents[node]
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                return node
        return self.tree

    def _function(self, node: ast.AST) -> str:
        return getattr(self.scope(node), "name", "")

    def sentences(self) -> Iterator[str]:
        yield from _states(self.tree)
        roots = []
        for node in self.nodes:
            if not self._is_text(node) or self._is_text(self.parents.get(node)) or self._excluded(node):
                continue
            if not self.name.startswith(ERRORS_ONLY) or self._in_error(node):
                roots.append(node)
        found = [(root, list(self._renderings(root, self.scope(root)))) for root in roots]
        for root, renderings in found:
            if root in self.inlined:
                continue
            for pieces in renderings[:MAX_VARIANTS]:
                yield from _messages(pieces, self.name)

    def _in_error(self, node: ast.AST) -> bool:
        while not isinstance(node, ast.stmt):
            node = self.parents[node]
            match node:
                case ast.Call(func=ast.Name(id=name)) if name in ERRORS:
                    return True
        return False

    def _is_text(self, node: ast.AST | None) -> bool:
        match node:
            case ast.Constant(value=str()) | ast.JoinedStr():
                return True
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                return self._is_text(left) or self._is_text(right)
            case ast.IfExp(body=body, orelse=orelse):
                return self._is_text(body) or self._is_text(orelse)
            case ast.FormattedValue() | ast.Starred():
                return True
            case ast.Call(func=ast.Name(id="plural" | "counted"), args=[_, ast.Constant(), *_]):
                return True
            case ast.Call(func=ast.Name(id="telling")):
                return True
            case ast.Call(func=ast.Name(id="Part")):
                return isinstance(self.parents.get(node), ast.Call) and self._is_text(self.parents.get(node))
        return False

    def _excluded(self, node: ast.AST) -> bool:
        child = node
        while (parent := self.parents.get(child)) is not None:
            match parent:
                case ast.Expr():
                    return child is node or not isinstance(child, ast.Call | ast.Await | ast.Yield)
                case ast.Raise(exc=ast.Call(func=ast.Name(id=name))) if name in PROGRAMMERS_ERRORS:
                    return True
                case ast.Call(func=ast.Attribute(value=ast.Name(id="log"), attr=name)) if name in LOGS:
                    return True
                case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)) if child is node and (
                    name in NOT_TEXT or name in PROGRAMMERS_ERRORS
                ):
                    return True
                case ast.Attribute() if child is node:
                    return True
                case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name), args=[first, *_]) if (
                    first is child is node and (name in NAMES_AN_OPERATION or name.startswith("_require"))
                ):
                    return True
                case ast.Compare() | ast.Subscript() | ast.Match() | ast.MatchValue() | ast.Assert():
                    return True
                case ast.Dict(keys=keys) if child in keys and not (
                    # Choices are keyed by what they are called.
                    self.name.startswith("web/admin/") and " " in getattr(child, "value", "")
                ):
                    return True
                case ast.Dict(keys=keys, values=values) if child in values and _is_header(
                    keys[values.index(child)]
                ):
                    return True
                case ast.Assign(targets=[ast.Subscript(slice=key)]) if _is_header(key):
                    return True
                case ast.Assign(targets=[ast.Name(id="__all__")]):
                    return True
                case ast.keyword(arg=name) if name in NOT_SHOWN:
                    return True
                case ast.FunctionDef(decorator_list=decorators) if child in decorators:
                    return True
                case ast.AnnAssign(annotation=annotation) if annotation is child:
                    return True
                case ast.arg():
                    return True
                case ast.stmt():
                    # What programs read is in English.
                    function = self._function(parent)
                    return "csv" in function or function == "__str__"
            child = parent
        return False

    def _renderings(self, node: ast.AST, scope: ast.AST, depth: int = 0) -> Iterator[list[Piece]]:
        match node:
            case ast.Constant(value=str() as text):
                yield [(_TEXT, text)]
            case ast.JoinedStr(values=values):
                yield from self._joined(values, scope, depth)
            case ast.BinOp(op=ast.Add(), left=left, right=right):
                yield from self._joined([left, right], scope, depth)
            case ast.Call(func=ast.Name(id="telling"), args=args, keywords=keywords):
                whole = any(each.arg == "whole" for each in keywords)
                for pieces in self._joined(args, scope, depth):
                    yield pieces if whole else [("actor", ""), (_TEXT, " "), *pieces]
            case ast.Starred(value=value) if self._returned(value) or self._is_words(value):
                yield from self._renderings(value, scope, depth)
            case ast.Tuple(elts=elements):
                yield from self._joined(elements, scope, depth)
            case ast.Call() if depth < 3 and (found := self._returned(node)):
                self.inlined.add(found[0])
                yield from self._renderings(*found, depth + 1)
            case ast.Call(
                func=ast.Name(id="plural" | "counted" as name), args=[_, ast.Constant(value=str(one)), *more]
            ):
                sign = "," if name == "counted" else ""
                yield [("count", sign), (_TEXT, f" {one}")]
                many = more[0].value if more and isinstance(more[0], ast.Constant) else f"{one}s"
                yield [("count", sign), (_TEXT, f" {many}")]
            case ast.Call(func=ast.Name(id="Part"), args=[text, *_]):
                yield from self._renderings(text, scope, depth)
            case ast.IfExp(body=body, orelse=orelse):
                yield from self._renderings(body, scope, depth)
                yield from self._renderings(orelse, scope, depth)
            case ast.FormattedValue(value=value, format_spec=spec):
                form = ast.unparse(spec)[2:-1] if spec else ""
                if form or not self._inlinable(value, scope, depth):
                    yield [(_name(value), _kept_format(form))]
                else:
                    yield from self._renderings(value, scope, depth)
            case ast.Name(id=name) if depth < 3 and self._inlinable(node, scope, depth):
                value = self._value_of(name, scope)
                assert value is not None
                self.inlined.add(value)
                yield from self._renderings(value, scope, depth + 1)
            case _:
                yield [(_name(node), "")]

    def _joined(self, nodes: list[ast.expr], scope: ast.AST, depth: int) -> Iterator[list[Piece]]:
        options = [list(self._renderings(node, scope, depth)) for node in nodes]
        for chosen in product(*options):
            yield [piece for pieces in chosen for piece in pieces]

    def _value_of(self, name: str, scope: ast.AST) -> ast.expr | None:
        values = self.locals.get(scope, {}).get(name, []) or (
            self.locals.get(self.tree, {}).get(name, []) if name.isupper() else []
        )
        return values[0] if len(values) == 1 else None

    def _inlinable(self, node: ast.AST, scope: ast.AST, depth: int) -> bool:
        if isinstance(node, ast.Name):
            value = self._value_of(node.id, scope)
            return value is not None and depth < 3 and self._is_words(value)
        return self._is_text(node) or (depth < 3 and self._returned(node) is not None)


def _is_header(key: ast.expr | None) -> bool:
    """Whether a key of a dictionary is the name of an HTTP header."""
    return (
        isinstance(key, ast.Constant)
        and isinstance(key.value, str)
        and bool(re.fullmatch(r"[A-Z][a-z]+(-[A-Z][a-zA-Z]+)+", key.value))
    )


def _states(tree: ast.Module) -> Iterator[str]:
    """The values of the enumerations that pages show, as they show them: “in flight” and “In flight”."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef) and node.name in SHOWN_ENUMERATIONS:
            for each in node.body:
                match each:
                    case ast.Assign(value=ast.Constant(value=str() as value)) if value.strip("_-"):
                        spaced = value.replace("_", " ").replace("-", " ")
                        yield from (spaced, spaced.capitalize())


def _name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name.strip("_").lower() or "value"
        case ast.Call(func=ast.Name(id="len"), args=[value]):
            return _name(value)
        case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[value]):
            return _name(value)
        case ast.Call(func=ast.Name(id=name), args=[value, *_]) if name in ("str", "sorted", "repr", "list"):
            return _name(value)
        case ast.Call(func=ast.Attribute(value=value, attr=name)) if name in (
            "strip",
            "lower",
            "removesuffix",
        ):
            return _name(value)
        case ast.Call(func=function):
            return _name(function)
        case ast.Subscript(value=value) | ast.Starred(value=value):
            return _name(value)
        case ast.BinOp(left=left):
            return _name(left)
        case ast.GeneratorExp(elt=element) | ast.ListComp(elt=element):
            return _name(element)
    return "value"


def _kept_format(form: str) -> str:
    return "," if form.startswith(",") else ""


def _messages(pieces: list[Piece], file: str) -> Iterator[str]:
    text, names = "", {}
    for name, value in pieces:
        if name == _TEXT:
            # Templates that are filled in later have their placeholders already.
            text += value if _TEMPLATE.search(value) else value.replace("{", "{{").replace("}", "}}")
        else:
            used = sum(1 for each in names if each.rstrip("0123456789") == name)
            unique = f"{name}{used + 1}" if used else name
            names[unique] = value
            text += f"{{{unique}:{value}}}" if value else f"{{{unique}}}"
    # A reason with its remedy is one text of several sentences.
    text = re.sub(r"(\{\w+\}) \{remedy\}$", r"\1", text.strip())
    if "\n" in text and not file.endswith("type.py"):
        # A table or a program; types have lines of help.
        return
    yield from (line for line in text.split("\n") if is_for_people(line, file))


_TEMPLATE = re.compile(r"\{[a-z_]+\}")
_WORD = re.compile(r"[A-Za-z][a-z’'-]+")
_PROSE = re.compile(r"(?:^|[\s“(])[A-Za-z][a-z’']*,?\s+(?:[“(]?[a-zA-Z{])")
_CODE = re.compile(
    r"^[\w./:-]+$|[<>]\w|\w=|::|\\[wdsn]|[*+?]\)|^[A-Z_ ]+$|"
    r"^\s*(?:SELECT|INSERT|UPDATE|DELETE|PRAGMA|CREATE|ALTER|DROP|BEGIN|WITH) |"
    r"^[a-z-]+/[a-z-]+|;\s*\w+=|\r|Content-Type|^DAV:|^[\w ]+\.(?:id|key)$"
)


def is_for_people(text: str, file: str = "") -> bool:
    """Whether a text has words for people, rather than code."""
    if " " not in text and file.startswith("storage/drivers/") and not file.endswith(LABELS):
        # The name of an element of XML, or of an attribute.
        return False
    literal = re.sub(r"\{[^{}]*\}", "{}", text)
    words = _WORD.findall(literal)
    if literal == "“{}”: {}":
        return True
    if not words or not any(len(word) > 2 for word in words):
        return False
    if text in NOT_SENTENCES or text in RECOGNIZED or "%" in literal.replace("{} %", ""):
        return False
    if text.startswith(("-----", "bytes ", "OPTS ", "# ", "{folder}{slash}")):
        return False
    if " " not in text:
        return bool(re.fullmatch(r"[A-Z][a-z]+(?:-[a-z]+)*[.…:]?", text))
    if re.search(r"</?[a-z]|-src |no-cache|no-store", literal):
        return False
    return not _CODE.search(literal) or bool(re.search(r"[a-z]{2,} [a-z]{2,}.*[a-z]\.", literal))


@cache
def extract(package: Path = PACKAGE) -> dict[str, Message]:
    """Every message by the shape of its id, in the order of the files."""
    found: dict[str, Message] = {}
    for path in sorted(package.rglob("*.py")):
        name = str(path.relative_to(package))
        if name.startswith(NOT_FOR_PAGES):
            continue
        for text in _File(path, name).sentences():
            shape = parse(text).shape
            found.setdefault(shape, Message(text)).files.add(name)
    for text in WORDS if package == PACKAGE else ():
        found.setdefault(parse(text).shape, Message(text))
    return found


def known(language: str) -> dict[str, str]:
    """The translations that there are, by their ids."""
    path = path_of(language)
    return dict(sentences_of(path, language)) if path.exists() else {}


def collected(language: str) -> bytes:
    """The catalog as it would be written now: with what is new, without what the code no longer says."""
    before = known(language)
    catalog = Catalog(locale=language, fuzzy=False, header_comment=HEADER)
    for message in extract().values():
        files = [(f"dashboard/{name}", None) for name in sorted(message.files)]
        flags = ("python-brace-format",) if "{" in message.id else ()
        catalog.add(message.id, before.get(message.id, ""), locations=files, flags=flags)
    written = BytesIO()
    write_po(written, catalog, width=110, include_lineno=False)
    return without_varying_lines(written.getvalue())


def main() -> int:
    for language in TRANSLATED:
        path_of(language).write_bytes(collected(language))
        missing = [message for message, text in known(language).items() if not text]
        sys.stdout.write(f"{language}: {len(missing)} sentences without a translation\n")
        for text in missing:
            sys.stdout.write(f"  {text!r}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
