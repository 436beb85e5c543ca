"""How a bucket of Google's is set up: may browsers upload, and what does the bucket delete by itself?

CORS: https://cloud.google.com/storage/docs/cross-origin. Lifecycle:
https://cloud.google.com/storage/docs/lifecycle. Both are members of the bucket's description; one is sent
back with our rule added and the others as they came, on condition that nobody changed the bucket meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from dashboard.errors import Kind
from dashboard.storage.drivers.gcs.client import Client
from dashboard.storage.drivers.gcs.errors import ERRORS, Scene
from dashboard.storage.drivers.gcs.place import Place
from dashboard.storage.errors import StorageError
from dashboard.storage.inspection.findings import (
    CORS,
    DAYS,
    SETTINGS_SECONDS,
    UNFINISHED,
    CorsRule,
    blocked_headers,
    cors_finding,
    expiry_finding,
    overlaps,
    unavailable_cors,
    unavailable_unfinished,
    unfinished_finding,
    unknown_finding_error,
)
from dashboard.storage.inspection.powers import Finding

_ABORT = "AbortIncompleteMultipartUpload"
_HEADERS = ("content-type", "x-goog-content-length-range")
"""What our signed uploads send."""
_STAY = (
    "Uploads in parts that other programs broke off stay in the bucket, unseen and paid for: no rule drops "
    "them. Those of this backend Google drops by itself after a week."
)
_TRIES = 3

Rules = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What a bucket is set to, as Google words it; ``state`` changes whenever anything of it does."""

    state: str
    cors: Rules
    lifecycle: Rules


class ChecksGcsSettings:
    """``ChecksSettings`` for a driver that has these parts."""

    _place: Place
    _client: Client

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``. Uploads in parts are those of Google's XML interface, which this driver
        does not use and others do."""
        scene = self._client.scene("settings")
        try:
            held = self._settings(scene)
        except StorageError as error:
            return unavailable_cors(error), unavailable_unfinished(error)
        with ERRORS.reading(scene):
            dropped = any(self._drops_unfinished(rule) for rule in held.lifecycle)
            return (
                cors_finding(origin, _refused(held.cors, origin)),
                *(found for rule in held.lifecycle for found in self._expiry(rule)),
                unfinished_finding(dropped=dropped, sentence="" if dropped else _STAY),
            )

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``. Raises kind ``changed`` where others change the bucket all the time."""
        if name == CORS:
            self._change(lambda held: self._with_cors(held, origin))
        elif name == UNFINISHED:
            self._change(self._with_lifecycle)
        else:
            raise unknown_finding_error(name)

    def _with_cors(self, held: Settings, origin: str) -> dict[str, Any]:
        """The members to change; none where all is well."""
        found = _refused(held.cors, origin)
        if found == ():
            return {}
        ours = {
            "origin": [origin],
            "method": ["GET", "HEAD", "PUT"] if found is None else ["PUT"],
            "responseHeader": ["Content-Type", "ETag", "x-goog-content-length-range"],
            "maxAgeSeconds": 3600,
        }
        # The first rule for a site and a method decides; where one refuses our headers, ours goes before it.
        decides = (_cors_rule(rule).is_for(origin, "PUT", patterns=False) for rule in held.cors)
        at = next((number for number, it_does in enumerate(decides) if it_does), len(held.cors))
        return {"cors": [*held.cors[:at], ours, *held.cors[at:]]}

    def _with_lifecycle(self, held: Settings) -> dict[str, Any]:
        if any(self._drops_unfinished(rule) for rule in held.lifecycle):
            return {}
        ours: dict[str, Any] = {"action": {"type": _ABORT}, "condition": {"age": DAYS}}
        if self._place.prefix:
            ours["condition"]["matchesPrefix"] = [self._place.prefix]
        return {"lifecycle": {"rule": [*held.lifecycle, ours]}}

    def _drops_unfinished(self, rule: Mapping[str, Any]) -> bool:
        """Whether a rule drops uploads to anywhere in this place."""
        condition = rule["condition"]
        covers = any(self._place.prefix.startswith(prefix) for prefix in _prefixes(rule))
        return rule["action"]["type"] == _ABORT and covers and not condition.get("matchesSuffix")

    def _expiry(self, rule: Mapping[str, Any]) -> list[Finding]:
        """What a rule deletes of this place, if anything that is the present state of an object."""
        condition = rule["condition"]
        if rule["action"]["type"] != "Delete" or _OLDER & set(condition) or condition.get("isLive") is False:
            return []
        some = "that meet further conditions" if set(condition) - _WHOLE else ""
        return [
            expiry_finding(prefix, _when(condition), some=some)
            for prefix in _prefixes(rule)
            if overlaps(prefix, self._place.prefix)
        ]

    # ---- both

    def _settings(self, scene: Scene) -> Settings:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/get"""
        target = self._bucket({"fields": "metageneration,cors,lifecycle"})
        answer = self._client.send("GET", target, scene, attempts=1, idle=SETTINGS_SECONDS)
        said = self._client.document(answer, scene)
        with ERRORS.reading(scene):
            rules = (said.get("cors") or [], (said.get("lifecycle") or {}).get("rule") or [])
            return Settings(str(said["metageneration"]), *(list(map(dict, each)) for each in rules))

    def _change(self, wanted: Callable[[Settings], dict[str, Any]]) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/patch"""
        for attempt in range(1, _TRIES + 1):
            scene = self._client.scene("settings")
            held = self._settings(scene)
            with ERRORS.reading(scene):
                members = wanted(held)
            if not members:
                return
            target = self._bucket({"ifMetagenerationMatch": held.state, "fields": "metageneration"})
            body = json.dumps(members).encode()
            headers = {"content-type": "application/json; charset=utf-8"}
            try:
                self._client.send(
                    "PATCH", target, self._client.scene("change settings"), headers=headers, body=body
                )
            except StorageError as error:
                # Perhaps by ourselves, with a request whose answer was lost.
                if error.kind is not Kind.CHANGED or attempt == _TRIES:
                    raise
            else:
                return

    def _bucket(self, query: Mapping[str, str]) -> str:
        return f"/storage/v1/b/{quote(self._place.bucket, safe='')}?{urlencode(query)}"


_OLDER = frozenset({"numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore"})
"""Conditions that only older generations meet."""
_WHOLE = frozenset({"age", "createdBefore", "matchesPrefix", "isLive"})
"""Conditions that say when, or that are told otherwise."""


def _refused(rules: Rules, origin: str) -> tuple[str, ...] | None:
    return blocked_headers([_cors_rule(rule) for rule in rules], origin, _HEADERS)


def _cors_rule(rule: Mapping[str, Any]) -> CorsRule:
    members = ("origin", "method", "responseHeader")
    origins, methods, headers = (tuple(map(str, rule.get(name) or ())) for name in members)
    return CorsRule(origins, methods, tuple(each.lower() for each in headers))


def _prefixes(rule: Mapping[str, Any]) -> list[str]:
    """Where a rule holds: under each of these."""
    return [str(each) for each in rule["condition"].get("matchesPrefix") or ("",)]


def _when(condition: Mapping[str, Any]) -> str:
    if "age" in condition:
        return f"{int(condition['age'])} days after they were written"
    if "createdBefore" in condition:
        return f"if they were written before {str(condition['createdBefore'])[:10]}"
    return ""
