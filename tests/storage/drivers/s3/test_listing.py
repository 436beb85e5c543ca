"""S3 listings fetch the next page before this one is parsed, and still follow the pages' own markers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import pytest

from dashboard.storage.drivers.s3.client import Response
from dashboard.storage.drivers.s3.driver import S3Driver
from dashboard.storage.drivers.s3.errors import ErrorContext
from dashboard.storage.drivers.s3.listing import entries, incomplete_uploads
from dashboard.storage.errors import Damaged, StorageError
from dashboard.storage.types import Secret

CONTEXT = ErrorContext("list", "", "bucket", "127.0.0.1", "us-east-1")


class ScriptedPages:
    """A client with scripted pages, because no test server writes its tokens in these ways."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages
        self.requests: list[str] = []

    def send(
        self, method: str, context: ErrorContext, *, query: Mapping[str, str], key: str = ""
    ) -> Response:
        token = query.get("continuation-token", "")
        self.requests.append(token)
        assert ("start-after" in query) == (not token)
        return Response(200, {}, self._pages[token].encode())


def page(key: str, after: str = "", *, truncated: bool = True) -> str:
    more = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{after}"
    row = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
    return f"<ListBucketResult>{more}{row}</ListBucketResult>"


def token(text: str) -> str:
    return f"<NextContinuationToken>{escape(text)}</NextContinuationToken>"


def listed(pages: Any) -> list[str]:
    return [entry.key for entry in entries(pages, CONTEXT, "", start_after="0")]


def test_pages_follow_each_other() -> None:
    pages = ScriptedPages(
        {"": page("a", token("t+/=1")), "t+/=1": page("b", token("2")), "2": page("c", truncated=False)}
    )

    assert listed(pages) == ["a", "b", "c"]
    assert pages.requests == ["", "t+/=1", "2"]


@pytest.mark.parametrize("odd", ["a&b", "<a>", "é", "two words"])
def test_a_token_only_a_parser_can_read_is_sent_as_it_is(odd: str) -> None:
    pages = ScriptedPages({"": page("a", token(odd)), odd: page("b", truncated=False)})

    assert listed(pages) == ["a", "b"]
    assert pages.requests == ["", odd]


def test_a_token_in_a_comment_leads_nowhere() -> None:
    comment = f"<!-- {token('lure')} -->"
    pages = ScriptedPages(
        {"": page("a", comment + token("1")), "1": page("b", truncated=False), "lure": "not XML"}
    )

    assert listed(pages) == ["a", "b"]
    assert pages.requests == ["", "lure", "1"]


def test_the_last_page_may_name_a_token() -> None:
    pages = ScriptedPages({"": page("a", token("1"), truncated=False)})

    assert listed(pages) == ["a"]
    assert pages.requests == [""]


def test_a_page_that_leads_to_itself_is_an_error() -> None:
    pages = ScriptedPages({"": page("a", token("1")), "1": page("b", token("1"))})

    with pytest.raises(StorageError):
        listed(pages)


class Answers:
    """A client that gives the same response to every request but the first."""

    def __init__(self, first: str, then: str) -> None:
        self._first, self._then = first, then
        self.requests = 0

    def send(
        self, method: str, context: ErrorContext, *, query: Mapping[str, str], key: str = ""
    ) -> Response:
        self.requests += 1
        return Response(200, {}, (self._then if query.keys() & MARKS else self._first).encode())


MARKS = {"continuation-token", "key-marker"}
MORE = "<IsTruncated>true</IsTruncated>"
LISTINGS: Mapping[str, tuple[str, str, str]] = {
    "objects": (
        "ListBucketResult",
        "<Contents><Key>a</Key><Size>1</Size></Contents>",
        "<NextContinuationToken>1</NextContinuationToken>",
    ),
    "uploads": (
        "ListMultipartUploadsResult",
        "<Upload><Key>a</Key><UploadId>1</UploadId></Upload>",
        "<NextKeyMarker>a</NextKeyMarker><NextUploadIdMarker>1</NextUploadIdMarker>",
    ),
    "versions": (
        "ListVersionsResult",
        "<Version><Key>a</Key><VersionId>1</VersionId><Size>1</Size></Version>",
        "<NextKeyMarker>a</NextKeyMarker><NextVersionIdMarker>1</NextVersionIdMarker>",
    ),
}
THEN = {
    "another document": "<html/>",
    "an error": "<Error><Code>InternalError</Code></Error>",
    "half a page": "<{root}><IsTruncated>false</IsTruncated>",
    "no word": "<{root}>{row}</{root}>",
    "a damaged word": "<{root}><IsTruncated>tru</IsTruncated></{root}>",
    "no marker": "<{root}>" + MORE + "{row}</{root}>",
    "the same marker": "<{root}>" + MORE + "{row}{marker}</{root}>",
}


def everything(kind: str, client: Any) -> list[Any]:
    if kind == "objects":
        return list(entries(client, CONTEXT, ""))
    if kind == "uploads":
        return list(incomplete_uploads(client, CONTEXT, ""))
    options = {"endpoint": "http://127.0.0.1:9", "bucket": "bucket", "access_key_id": "KEY"}
    driver = S3Driver.from_options(options, {"secret_access_key": Secret("secret")})
    client.context = lambda operation: CONTEXT
    driver._client = client
    return list(driver.versions())


@pytest.mark.parametrize("kind", LISTINGS)
@pytest.mark.parametrize("then", THEN)
def test_a_listing_is_all_there_is_only_where_the_server_says_so(
    kind: str, then: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dashboard.storage.net.retries.backoff", lambda attempt: None)
    root, row, marker = LISTINGS[kind]
    client = Answers(
        f"<{root}>{MORE}{row}{marker}</{root}>", THEN[then].format(root=root, row=row, marker=marker)
    )
    with pytest.raises(StorageError, match="did not list everything"):
        everything(kind, client)
    assert client.requests in ((2, 3) if then == "the same marker" else (5, 6))

    done = f"<{root}><IsTruncated>false</IsTruncated></{root}>"
    assert len(everything(kind, Answers(f"<{root}>{MORE}{row}{marker}</{root}>", done))) == 1


@pytest.mark.parametrize("broken", ["half a page", "half an answer", "half the first answer"])
def test_a_page_that_broke_off_once_is_asked_for_again(broken: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dashboard.storage.net.retries.backoff", lambda attempt: None)

    class Flaky(ScriptedPages):
        broke = False

        def send(
            self, method: str, context: ErrorContext, *, query: Mapping[str, str], key: str = ""
        ) -> Response:
            answer = super().send(method, context, query=query)
            if self.broke or bool(query.get("continuation-token")) == (broken == "half the first answer"):
                return answer
            self.broke = True
            if broken == "half a page":
                return Response(200, {}, answer.body[:-20])
            raise Damaged("", "The answer ended too early.")

    pages = Flaky({"": page("a", token("1")), "1": page("b", truncated=False)})
    assert listed(pages) == ["a", "b"]
    assert pages.requests == (["", "", "1"] if broken == "half the first answer" else ["", "1", "1"])
