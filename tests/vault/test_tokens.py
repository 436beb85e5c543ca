"""A sealed value opens in its own place, with its own key, and nowhere else."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.errors import InvalidInput
from dashboard.vault import tokens
from dashboard.vault.cipher import UnsealError
from dashboard.vault.keys import Key, Keyring, from_recovery, to_recovery
from dashboard.vault.tokens import Binding

KEY = Key(bytes(range(32)))
HERE = Binding("backend_secrets", "sealed", "1/secret_access_key")


def test_a_sealed_value_opens_again() -> None:
    assert tokens.unseal(KEY, tokens.seal(KEY, "sësame", HERE), HERE) == "sësame"


def test_the_text_names_version_and_key_and_never_repeats() -> None:
    first, second = (tokens.seal(KEY, "sesame", HERE) for _ in range(2))
    assert first.split(".")[:2] == ["v1", KEY.id]
    assert first != second
    assert tokens.key_id_of(first) == KEY.id


@pytest.mark.parametrize(
    "elsewhere",
    [
        Binding("backend_secrets", "sealed", "2/secret_access_key"),
        Binding("backend_secrets", "sealed", "1/session_token"),
        Binding("backend_secrets", "hint", "1/secret_access_key"),
        Binding("settings", "sealed", "1/secret_access_key"),
    ],
)
def test_a_value_moved_to_another_place_does_not_open(elsewhere: Binding) -> None:
    with pytest.raises(UnsealError):
        tokens.unseal(KEY, tokens.seal(KEY, "sesame", HERE), elsewhere)


def test_another_key_does_not_open_even_under_the_right_name() -> None:
    other = Key.new()
    parts = tokens.seal(other, "sesame", HERE).split(".")
    parts[1] = KEY.id
    with pytest.raises(UnsealError):
        tokens.unseal(KEY, ".".join(parts), HERE)


def test_no_character_can_be_changed() -> None:
    token = tokens.seal(KEY, "sesame", HERE)
    for at in range(len(token)):
        for other in ("A", "B", ".", "="):
            changed = token[:at] + other + token[at + 1 :]
            if changed == token:
                continue
            try:
                opened = tokens.unseal(KEY, changed, HERE)
            except UnsealError:
                continue
            # The unused low bits of a last base64 letter are the only slack.
            assert opened == "sesame"
            assert base64.urlsafe_b64decode(changed.split(".")[3] + "==")


@given(st.text())
def test_text_that_was_never_sealed_does_not_open(text: str) -> None:
    with pytest.raises(UnsealError):
        tokens.unseal(KEY, text, HERE)


@given(st.lists(st.text(), min_size=3, max_size=3), st.lists(st.text(), min_size=3, max_size=3))
def test_two_places_never_look_the_same(one: list[str], other: list[str]) -> None:
    same = Binding(*one).associated_data(KEY.id) == Binding(*other).associated_data(KEY.id)
    assert same == (one == other)


def test_a_recovery_key_is_read_back_however_it_was_typed() -> None:
    key = Key.new()
    text = to_recovery(key)
    assert [len(group) for group in text.split("-")] == [4] * 14
    assert from_recovery(text) == key
    assert from_recovery(f"  {text.lower().replace('-', ' ')}\n") == key
    assert from_recovery(text.replace("O", "0").replace("I", "1").replace("B", "8")) == key


def test_a_mistyped_recovery_key_is_refused_without_repeating_it() -> None:
    text = to_recovery(KEY)
    for at, letter in enumerate(text):
        if letter == "-":
            continue
        wrong = text[:at] + ("A" if letter != "A" else "C") + text[at + 1 :]
        with pytest.raises(InvalidInput) as caught:
            from_recovery(wrong)
        assert wrong not in f"{caught.value!r} {caught.value.as_dict()}"
    for nonsense in ("", "   ", "ä" * 56, text + "AAAA", text[:-1], "\0"):
        with pytest.raises(InvalidInput):
            from_recovery(nonsense)


def test_keys_do_not_print() -> None:
    ring = Keyring(KEY, (Key.new(),))
    shown = f"{KEY!r} {ring!r} {KEY}"
    assert "material" not in shown
    assert "\\x" not in shown
    assert ring.find(KEY.id) is KEY
    assert ring.find("nobody") is None
