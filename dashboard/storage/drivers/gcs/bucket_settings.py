"""CORS and lifecycle rules of a bucket.

CORS: https://cloud.google.com/storage/docs/cross-origin. Lifecycle:
https://cloud.google.com/storage/docs/lifecycle. Both are fields of the bucket's resource. A fix adds one rule
and keeps the others unchanged, on condition that nobody changed the bucket in between.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from dashboard.errors import Kind
from dashboard.storage.drivers.gcs.client import JSON, GcsClient
from dashboard.storage.drivers.gcs.config import GcsConfig
from dashboard.storage.drivers.gcs.errors import ERRORS, ErrorContext
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
    rule_position,
    unavailable_cors,
    unavailable_unfinished,
    unfinished_finding,
    unknown_finding_error,
)
from dashboard.storage.inspection.powers import Finding

_ABORT = "AbortIncompleteMultipartUpload"
_HEADERS = ("content-type", "x-goog-content-length-range")
"""Headers of our signed uploads."""
_NO_ABORT_RULE = (
    "Incomplete multipart uploads of other programs stay in the bucket, hidden and billed: no rule deletes "
    "them. Google deletes those of this backend after a week."
)
_ATTEMPTS = 3

Rules = list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class BucketSettings:
    """A bucket's rules in Google's form. ``state`` changes with every change of the bucket."""

    state: str
    cors: Rules
    lifecycle: Rules


class GcsBucketSettingsMixin:
    """``ChecksSettings`` for a driver that has these parts."""

    _config: GcsConfig
    _client: GcsClient

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``. Multipart uploads are a feature of Google's XML API, which other programs
        use and this driver does not."""
        context = self._client.context("settings")
        try:
            current = self._fetch_settings(context)
        except StorageError as error:
            return unavailable_cors(error), unavailable_unfinished(error)
        with ERRORS.translate_parse_errors(context):
            aborted = any(self._aborts_incomplete(rule) for rule in current.lifecycle)
            return (
                cors_finding(origin, _blocked_headers(current.cors, origin)),
                *(finding for rule in current.lifecycle for finding in self._expirations(rule)),
                unfinished_finding(dropped=aborted, sentence="" if aborted else _NO_ABORT_RULE),
            )

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``. Raises kind ``changed`` if others keep changing the bucket."""
        if name == CORS:
            self._patch(lambda current: self._with_cors(current, origin))
        elif name == UNFINISHED:
            self._patch(self._with_lifecycle)
        else:
            raise unknown_finding_error(name)

    def _with_cors(self, current: BucketSettings, origin: str) -> dict[str, Any]:
        """The fields to change; empty if no change is needed."""
        blocked = _blocked_headers(current.cors, origin)
        if blocked == ():
            return {}
        ours = {
            "origin": [origin],
            "method": ["GET", "HEAD", "PUT"] if blocked is None else ["PUT"],
            "responseHeader": ["Content-Type", "ETag", "x-goog-content-length-range"],
            "maxAgeSeconds": 3600,
        }
        position = rule_position([_cors_rule(rule) for rule in current.cors], origin)
        return {"cors": [*current.cors[:position], ours, *current.cors[position:]]}

    def _with_lifecycle(self, current: BucketSettings) -> dict[str, Any]:
        if any(self._aborts_incomplete(rule) for rule in current.lifecycle):
            return {}
        ours: dict[str, Any] = {"action": {"type": _ABORT}, "condition": {"age": DAYS}}
        if self._config.prefix:
            ours["condition"]["matchesPrefix"] = [self._config.prefix]
        return {"lifecycle": {"rule": [*current.lifecycle, ours]}}

    def _aborts_incomplete(self, rule: Mapping[str, Any]) -> bool:
        """Whether a rule aborts all incomplete uploads under our prefix."""
        condition = rule["condition"]
        covers = any(self._config.prefix.startswith(prefix) for prefix in _prefixes(rule))
        return rule["action"]["type"] == _ABORT and covers and not condition.get("matchesSuffix")

    def _expirations(self, rule: Mapping[str, Any]) -> list[Finding]:
        """The findings for a rule that deletes current objects under our prefix."""
        condition = rule["condition"]
        if (
            rule["action"]["type"] != "Delete"
            or _NONCURRENT_CONDITIONS & set(condition)
            or condition.get("isLive") is False
        ):
            return []
        some = "that meet further conditions" if set(condition) - _TIME_CONDITIONS else ""
        return [
            expiry_finding(prefix, _when(condition), some=some)
            for prefix in _prefixes(rule)
            if overlaps(prefix, self._config.prefix)
        ]

    # Requests

    def _fetch_settings(self, context: ErrorContext) -> BucketSettings:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/get"""
        target = self._client.bucket_target({"fields": "metageneration,cors,lifecycle"})
        response = self._client.send("GET", target, context, attempts=1, idle=SETTINGS_SECONDS)
        document = self._client.parse_document(response, context)
        with ERRORS.translate_parse_errors(context):
            rules = (document.get("cors") or [], (document.get("lifecycle") or {}).get("rule") or [])
            return BucketSettings(str(document["metageneration"]), *(list(map(dict, item)) for item in rules))

    def _patch(self, changes_to: Callable[[BucketSettings], dict[str, Any]]) -> None:
        """https://cloud.google.com/storage/docs/json_api/v1/buckets/patch"""
        for attempt in range(1, _ATTEMPTS + 1):
            context = self._client.context("settings")
            current = self._fetch_settings(context)
            with ERRORS.translate_parse_errors(context):
                members = changes_to(current)
            if not members:
                return
            target = self._client.bucket_target(
                {"ifMetagenerationMatch": current.state, "fields": "metageneration"}
            )
            body = json.dumps(members).encode()
            try:
                self._client.send(
                    "PATCH", target, self._client.context("change settings"), headers=JSON, body=body
                )
            except StorageError as error:
                # Perhaps our own request changed it, and only its response was lost.
                if error.kind is not Kind.CHANGED or attempt == _ATTEMPTS:
                    raise
            else:
                return


_NONCURRENT_CONDITIONS = frozenset({"numNewerVersions", "daysSinceNoncurrentTime", "noncurrentTimeBefore"})
"""Conditions that only older generations meet."""
_TIME_CONDITIONS = frozenset({"age", "createdBefore", "matchesPrefix", "isLive"})
"""Conditions about time, and those that the finding states anyway."""


def _blocked_headers(rules: Rules, origin: str) -> tuple[str, ...] | None:
    return blocked_headers([_cors_rule(rule) for rule in rules], origin, _HEADERS)


def _cors_rule(rule: Mapping[str, Any]) -> CorsRule:
    members = ("origin", "method", "responseHeader")
    origins, methods, headers = (tuple(map(str, rule.get(name) or ())) for name in members)
    return CorsRule(origins, methods, tuple(item.lower() for item in headers))


def _prefixes(rule: Mapping[str, Any]) -> list[str]:
    """The prefixes that a rule applies to."""
    return [str(item) for item in rule["condition"].get("matchesPrefix") or ("",)]


def _when(condition: Mapping[str, Any]) -> str:
    if "age" in condition:
        return f"{int(condition['age'])} days after they were written"
    if "createdBefore" in condition:
        return f"if they were written before {str(condition['createdBefore'])[:10]}"
    return ""
