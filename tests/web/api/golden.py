"""An outline of the API's document, which a person has reviewed: what old clients rely on.

``python -m tests.web.api.golden`` writes it again, after a change that they survive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from dashboard.web.api import account, backends, migrations
from dashboard.web.api.control import (
    activity,
    backend_changes,
    backend_tests,
    familiar,
    migration_control,
    people,
    providers,
    schedule_control,
    settings_file,
    usage_figures,
)
from dashboard.web.api.document import openapi

FILE = Path(__file__).with_name("outline.txt")
MODULES = (
    account,
    backends,
    backend_changes,
    backend_tests,
    providers,
    settings_file,
    migrations,
    migration_control,
    activity,
    usage_figures,
    schedule_control,
    people,
    familiar,
)


def outline() -> str:
    """A line for each operation, and one for each field of an object."""
    document = openapi([module.resource for module in MODULES])
    lines = [*_operations(document["paths"]), *_objects(document["components"]["schemas"])]
    return "\n".join(lines) + "\n"


def _operations(paths: Mapping[str, Any]) -> Iterator[str]:
    for path, methods in paths.items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}"
            for parameter in operation.get("parameters", ()):
                need = " required" if parameter["required"] else ""
                yield f"    {parameter['in']} {parameter['name']}: {_type(parameter['schema'])}{need}"
            if "requestBody" in operation:
                yield f"    body {_content(operation['requestBody'])}"
            answers = operation["responses"].items()
            yield from (f"    {status} {_content(each)}" for status, each in answers if status < "400")
            yield "    " + " ".join(status for status, _ in answers if status >= "400")


def _objects(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in schemas.items():
        yield name
        for field, each in schema["properties"].items():
            need = " required" if field in schema.get("required", ()) else ""
            yield f"    {field}: {_type(each)}{need}"


def _content(holder: Mapping[str, Any]) -> str:
    found = [
        _type(content.get("schema", {})) if kind == "application/json" else kind
        for kind, content in holder.get("content", {}).items()
    ]
    return ", ".join(found) or "nothing"


def _type(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"].rpartition("/")[2])
    if "anyOf" in schema:
        return " or ".join(_type(arm) for arm in schema["anyOf"])
    if "enum" in schema:
        return "|".join(schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"[{_type(schema.get('items') or schema['prefixItems'][0])}]"
    if kind == "object" and "additionalProperties" in schema:
        return f"{{{_type(schema['additionalProperties'])}}}"
    secret = "secret " if schema.get("writeOnly") else ""
    return secret + (kind if isinstance(kind, str) else " or ".join(kind))


if __name__ == "__main__":
    FILE.write_text(outline(), "utf-8")
