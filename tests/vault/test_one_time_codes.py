"""One-time codes: the values of RFC 6238, drift, and no code twice."""

from __future__ import annotations

import base64

import pytest

from dashboard.vault.one_time_codes import (
    code_at,
    matching_step,
    new_recovery_codes,
    new_secret,
    provisioning_uri,
    recovery_digest,
)

RFC_SECRET = base64.b32encode(b"12345678901234567890").decode()


@pytest.mark.parametrize(
    ("at", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
    ],
)
def test_the_values_of_rfc_6238_appendix_b(at: int, code: str) -> None:
    assert code_at(RFC_SECRET, at // 30) == code
    assert matching_step(RFC_SECRET, f" {code[:3]} {code[3:]} ", now=at, after=0) == at // 30


def test_a_clock_may_be_wrong_by_one_step_and_no_code_counts_twice() -> None:
    now, step = 3_000.0, 100
    for drift in (-1, 0, 1):
        assert matching_step(RFC_SECRET, code_at(RFC_SECRET, step + drift), now=now, after=0) == step + drift
    for drift in (-2, 2):
        assert matching_step(RFC_SECRET, code_at(RFC_SECRET, step + drift), now=now, after=0) is None
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, step), now=now, after=step) is None
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, step - 1), now=now, after=step) is None
    assert matching_step(RFC_SECRET, code_at(RFC_SECRET, step + 1), now=now, after=step) == step + 1


@pytest.mark.parametrize("code", ["", "1", "1234567", "abcdef", "１２３４５６", "\ud800", "\0" * 6])
def test_anything_else_is_no_code(code: str) -> None:
    assert matching_step(RFC_SECRET, code, now=59, after=0) is None


def test_secrets_and_recovery_codes_are_random_and_typed_as_people_type() -> None:
    assert len(base64.b32decode(new_secret())) == 20
    assert new_secret() != new_secret()
    codes = new_recovery_codes()
    assert len(set(codes)) == 10
    assert {len(code) for code in codes} == {19}
    assert recovery_digest(codes[0]) == recovery_digest(f"  {codes[0].replace('-', ' ').upper()} ")
    assert recovery_digest(codes[0]) != recovery_digest(codes[1])


def test_the_address_for_apps_is_escaped() -> None:
    uri = provisioning_uri("ABC", "ann&b", "Stowage")
    assert uri == "otpauth://totp/Stowage:ann%26b?secret=ABC&issuer=Stowage"
