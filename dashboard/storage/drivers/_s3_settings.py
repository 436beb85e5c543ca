"""How a bucket is set up: may browsers upload, and who tidies up behind uploads that broke off?

CORS: https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html. Lifecycle:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/intro-lifecycle-rules.html. A rule of ours is added to
those that are there; the others are sent back as they came.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from xml.etree import ElementTree

from dashboard.errors import InvalidInput, Kind
from dashboard.storage.drivers._s3_errors import NothingConfigured
from dashboard.storage.drivers._s3_http import SignedClient
from dashboard.storage.drivers._s3_labels import digest_header
from dashboard.storage.drivers._s3_listing import parsed
from dashboard.storage.drivers._s3_place import Place
from dashboard.storage.errors import PlaceMissing, StorageError
from dashboard.storage.place_powers import Finding

DAYS = 7
"""After which an unfinished upload is dropped by the rule we add."""
RULE = "stowage-drop-unfinished-uploads"
_WAIT = 15.0
"""Seconds a server may keep us waiting; somebody is looking at the page."""
_HOPELESS = frozenset({Kind.BAD_CREDENTIALS, Kind.UNREACHABLE, Kind.TIMEOUT, Kind.SEALED})


class ChecksS3Settings:
    """``ChecksSettings`` for a driver that has these parts."""

    _place: Place
    _client: SignedClient

    def findings(self, origin: str) -> tuple[Finding, ...]:
        """See ``ChecksSettings``: CORS for uploads from ``origin``, and what lifecycle rules do here."""
        return (*self._cors_findings(origin), *self._lifecycle_findings())

    def fix(self, name: str, origin: str) -> None:
        """See ``ChecksSettings``."""
        if name == "cors":
            self._allow(origin)
        elif name == "unfinished-uploads":
            self._drop_unfinished()
        else:
            raise InvalidInput("finding", f"There is nothing to fix by the name of “{name}”.")

    # ---- CORS

    def _cors_findings(self, origin: str) -> list[Finding]:
        try:
            rules = self._document("CORS", "cors", "CORSConfiguration")
        except StorageError as error:
            return [_unseen("cors", "Whether browsers may upload", error)]
        if any(_allows(rule, origin) for rule in rules.iterfind("CORSRule")):
            return [Finding("cors", f"Browsers may upload from {origin}.", good=True)]
        return [
            Finding(
                "cors",
                f"Browser uploads will fail: no CORS rule for {origin}.",
                f"Fixing adds a rule that lets pages of {origin} read and upload with signed addresses; the "
                "other rules stay.",
                fixable=True,
            )
        ]

    def _allow(self, origin: str) -> None:
        rules = self._document("CORS", "cors", "CORSConfiguration")
        if any(_allows(rule, origin) for rule in rules.iterfind("CORSRule")):
            return
        rule = ElementTree.SubElement(rules, "CORSRule")
        for tag, texts in (
            ("AllowedOrigin", (origin,)),
            ("AllowedMethod", ("GET", "HEAD", "PUT")),
            ("AllowedHeader", ("*",)),
            ("ExposeHeader", ("ETag",)),
            ("MaxAgeSeconds", ("3600",)),
        ):
            for text in texts:
                ElementTree.SubElement(rule, tag).text = text
        self._write("CORS", "cors", rules)

    # ---- lifecycle

    def _lifecycle_findings(self) -> list[Finding]:
        try:
            rules = self._document("lifecycle", "lifecycle", "LifecycleConfiguration")
        except StorageError as error:
            return [_unseen("unfinished-uploads", "Whether unfinished uploads are tidied away", error)]
        enabled = [rule for rule in rules.iterfind("Rule") if rule.findtext("Status") == "Enabled"]
        found = [Finding("expiry", sentence, _KEEP) for rule in enabled if (sentence := self._expiry(rule))]
        if any(self._drops_unfinished(rule) for rule in enabled):
            return [*found, Finding("unfinished-uploads", "Unfinished uploads are tidied away.", good=True)]
        return [
            *found,
            Finding(
                "unfinished-uploads",
                "Uploads that broke off stay in the bucket, unseen and paid for: no rule drops them.",
                f"Fixing adds a rule that drops them {DAYS} days after they began; the other rules stay.",
                fixable=True,
            ),
        ]

    def _drop_unfinished(self) -> None:
        rules = self._document("lifecycle", "lifecycle", "LifecycleConfiguration")
        for rule in rules.findall("Rule"):
            if rule.findtext("Status") == "Enabled" and self._drops_unfinished(rule):
                return
            if rule.findtext("ID") == RULE:
                rules.remove(rule)
        rule = ElementTree.SubElement(rules, "Rule")
        ElementTree.SubElement(rule, "ID").text = RULE
        ElementTree.SubElement(ElementTree.SubElement(rule, "Filter"), "Prefix").text = self._place.prefix
        ElementTree.SubElement(rule, "Status").text = "Enabled"
        abort = ElementTree.SubElement(rule, "AbortIncompleteMultipartUpload")
        ElementTree.SubElement(abort, "DaysAfterInitiation").text = str(DAYS)
        self._write("lifecycle", "lifecycle", rules)

    def _drops_unfinished(self, rule: ElementTree.Element) -> bool:
        covers = self._place.prefix.startswith(_prefix(rule)) and not _is_partial(rule)
        return covers and rule.find("AbortIncompleteMultipartUpload") is not None

    def _expiry(self, rule: ElementTree.Element) -> str:
        """What a rule deletes of this place; empty for rules that delete nothing of it."""
        prefix, own = _prefix(rule), self._place.prefix
        days, date = rule.findtext("Expiration/Days"), rule.findtext("Expiration/Date")
        if not (days or date) or not (prefix.startswith(own) or own.startswith(prefix)):
            return ""
        which = f"Objects under “{prefix}”" if prefix else "Objects"
        when = f"{days} days after they were written" if days else f"on {(date or '')[:10]}"
        some = " that have certain tags or sizes" if _is_partial(rule) else ""
        return f"{which}{some} are deleted by the bucket itself {when}."

    # ---- both

    def _document(self, what: str, query: str, empty: str) -> ElementTree.Element:
        scene = self._client.scene(f"look at {what}")
        try:
            answer = self._client.send("GET", scene, query={query: ""}, attempts=1, idle=_WAIT)
            return parsed(answer.body, scene)
        except NothingConfigured:
            return ElementTree.Element(empty)

    def _write(self, what: str, query: str, document: ElementTree.Element) -> None:
        body = ElementTree.tostring(document, encoding="utf-8")
        headers = {"content-type": "application/xml", **digest_header(body)}
        self._client.send(
            "PUT", self._client.scene(f"change {what}"), query={query: ""}, headers=headers, body=body
        )


_KEEP = "If they are to be kept, remove this lifecycle rule at the provider."


def _unseen(name: str, what: str, error: StorageError) -> Finding:
    """A look that was refused is itself worth saying; one that nobody answered is an error."""
    if isinstance(error, PlaceMissing) or error.kind in _HOPELESS:
        raise error
    return Finding(name, f"{what} could not be seen: {error.reason}", error.remedy)


def _allows(rule: ElementTree.Element, origin: str) -> bool:
    methods = {each.text for each in rule.iterfind("AllowedMethod")}
    origins = [each.text or "" for each in rule.iterfind("AllowedOrigin")]
    headers = {(each.text or "").lower() for each in rule.iterfind("AllowedHeader")}
    fits = any(fnmatchcase(origin, each.replace("[", "[[]").replace("?", "[?]")) for each in origins)
    # A signed upload sends its type at least.
    return "PUT" in methods and fits and bool(headers & {"*", "content-type"})


def _prefix(rule: ElementTree.Element) -> str:
    paths = ("Filter/Prefix", "Filter/And/Prefix", "Prefix")
    return next((text for path in paths if (text := rule.findtext(path))), "")


def _is_partial(rule: ElementTree.Element) -> bool:
    inner = [
        child.tag
        for each in (rule.find("Filter"), rule.find("Filter/And"))
        if each is not None
        for child in each
    ]
    return any(tag not in ("Prefix", "And") for tag in inner)
