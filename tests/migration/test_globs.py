"""Globs on whole keys."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dashboard.errors import InvalidInput
from dashboard.migration.globs import compile_filter, compile_glob


@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("*.jpg", ["a.jpg", ".jpg"], ["x/a.jpg", "a.jpeg"]),
        ("**/*.jpg", ["a.jpg", "x/a.jpg", "x/y/a.jpg"], ["a.png"]),
        ("**.jpg", ["a.jpg", "x/a.jpg"], ["a.jpgx"]),
        ("a/**", ["a/b", "a/b/c", "a/"], ["a", "ab/c"]),
        ("a/**/b", ["a/b", "a/x/b", "a/x/y/b"], ["a/xb", "ab", "xa/b"]),
        ("**/b", ["b", "a/b", "a/x/b"], ["ab", "a/ab"]),
        ("a*b*c", ["abc", "axbyc"], ["a/b/c", "acb"]),
        ("ab*ba", ["abba", "abxba"], ["aba"]),
        ("?", ["a", "日"], ["", "/", "ab"]),
        ("[a-cx]1", ["a1", "c1", "x1"], ["d1", "-1"]),
        ("[!a-c]", ["d", "]"], ["a", "/"]),
        ("[]x]", ["]", "x"], ["["]),
        ("[a-]", ["a", "-"], ["b"]),
        ("\\*", ["*"], ["a", "\\*"]),
        ("**", ["", "a", "a/b\n"], []),
        ("**/", ["a/", "a/b/"], ["a"]),
        ("photos/2024", ["photos/2024"], ["photos/2024/a", "photos/202"]),
        ("a.b+(c)$", ["a.b+(c)$"], ["axb+(c)$"]),
    ],
)
def test_a_pattern_matches_whole_keys(pattern: str, yes: list[str], no: list[str]) -> None:
    glob = compile_glob(pattern)
    assert [key for key in yes if not glob.matches(key)] == []
    assert [key for key in no if glob.matches(key)] == []


@pytest.mark.parametrize(
    ("pattern", "sentence"),
    [
        ("", "empty"),
        ("[abc", "never closed"),
        ("[z-a]", "backward"),
        ("a\\", "backslash"),
        ("/a", "slash"),
        ("x" * 2000, "longer"),
        ("a\0", "NUL"),
    ],
)
def test_a_bad_pattern_is_refused_with_its_reason(pattern: str, sentence: str) -> None:
    with pytest.raises(InvalidInput, match=sentence) as caught:
        compile_filter([], [pattern])
    assert caught.value.subject == "exclude"


def test_too_many_patterns_are_refused() -> None:
    with pytest.raises(InvalidInput, match="more than"):
        compile_filter(["a"] * 101, [])


def test_include_chooses_and_exclude_takes_away() -> None:
    chosen = compile_filter(["a/**", "*.txt"], ["**/*.tmp"])
    keys = ["a/x", "a/x.tmp", "b.txt", "b.tmp", "c"]
    assert [key for key in keys if chosen.wants(key)] == ["a/x", "b.txt"]
    assert compile_filter([], []).wants("anything")


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.lists(st.sampled_from(["*", "**", "**/", "?", "a", "b", "/", "[ab]", "[!a]"]), min_size=1, max_size=7),
    st.text("ab/", max_size=8),
)
def test_matching_agrees_with_a_regular_expression(pieces: list[str], key: str) -> None:
    pattern = "".join(pieces)
    if pattern.startswith("/"):
        return
    assert compile_glob(pattern).matches(key) == bool(re.fullmatch(_as_regex(pattern), key))


def _as_regex(pattern: str) -> str:
    out, at = "", 0
    while at < len(pattern):
        if pattern[at] == "*":
            end = at
            while pattern[end : end + 1] == "*":
                end += 1
            folders = end - at > 1 and pattern[end : end + 1] == "/" and (at == 0 or pattern[at - 1] == "/")
            out += "(?:.*/)?" if folders else "[^/]*" if end - at == 1 else ".*"
            at = end + folders
        elif pattern[at] == "[":
            out += "[^a/]" if pattern[at + 1] == "!" else "[ab]"
            at = pattern.index("]", at) + 1
        else:
            out += "[^/]" if pattern[at] == "?" else re.escape(pattern[at])
            at += 1
    return out


@pytest.mark.parametrize("pattern", ["*a" * 400 + "*", "**a" * 300 + "?", "**/a/" * 150 + "?"])
def test_a_hostile_pattern_takes_no_exponential_time(pattern: str) -> None:
    # A backtracking matcher would outlast the test's time limit by ages.
    assert not compile_glob(pattern).matches("a/" * 200 + "b\n")
