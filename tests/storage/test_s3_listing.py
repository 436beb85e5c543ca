"""S3 listings ask for the next page before this one is read; what the pages say decides all the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import pytest

from dashboard.storage.drivers._s3_errors import Scene
from dashboard.storage.drivers._s3_http import Answer
from dashboard.storage.drivers._s3_listing import entries
from dashboard.storage.errors import StorageError

SCENE = Scene("list", "", "bucket", "127.0.0.1", "us-east-1")


class Pages:
    """Stands for the signed client: no server at hand writes its tokens in these ways."""

    def __init__(self, pages: Mapping[str, str]) -> None:
        self._pages = pages
        self.asked: list[str] = []

    def send(self, method: str, scene: Scene, *, query: Mapping[str, str]) -> Answer:
        token = query.get("continuation-token", "")
        self.asked.append(token)
        assert ("start-after" in query) == (not token)
        return Answer(200, {}, self._pages[token].encode())


def page(key: str, after: str = "", *, truncated: bool = True) -> str:
    more = f"<IsTruncated>{str(truncated).lower()}</IsTruncated>{after}"
    row = f"<Contents><Key>{key}</Key><Size>1</Size></Contents>"
    return f"<ListBucketResult>{more}{row}</ListBucketResult>"


def token(text: str) -> str:
    return f"<NextContinuationToken>{escape(text)}</NextContinuationToken>"


def listed(pages: Any) -> list[str]:
    return [entry.key for entry in entries(pages, SCENE, "", start_after="0")]


def test_pages_follow_each_other() -> None:
    pages = Pages(
        {"": page("a", token("t+/=1")), "t+/=1": page("b", token("2")), "2": page("c", truncated=False)}
    )

    assert listed(pages) == ["a", "b", "c"]
    assert pages.asked == ["", "t+/=1", "2"]


@pytest.mark.parametrize("odd", ["a&b", "<a>", "é", "two words"])
def test_a_token_only_a_parser_can_read_is_sent_as_it_is(odd: str) -> None:
    pages = Pages({"": page("a", token(odd)), odd: page("b", truncated=False)})

    assert listed(pages) == ["a", "b"]
    assert pages.asked == ["", odd]


def test_a_token_in_a_comment_leads_nowhere() -> None:
    comment = f"<!-- {token('lure')} -->"
    pages = Pages({"": page("a", comment + token("1")), "1": page("b", truncated=False), "lure": "not XML"})

    assert listed(pages) == ["a", "b"]
    assert pages.asked == ["", "lure", "1"]


def test_the_last_page_may_name_a_token() -> None:
    pages = Pages({"": page("a", token("1"), truncated=False)})

    assert listed(pages) == ["a"]
    assert pages.asked == [""]


def test_a_page_that_leads_to_itself_is_an_error() -> None:
    pages = Pages({"": page("a", token("1")), "1": page("b", token("1"))})

    with pytest.raises(StorageError):
        listed(pages)
