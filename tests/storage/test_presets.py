"""Presets: each provider's own words, and a pattern that ends in the right endpoint."""

from __future__ import annotations

import pytest

from dashboard.errors import InvalidInput
from dashboard.storage.registry import DRIVERS, PRESETS, check_options, find_preset, guarding, options_of
from dashboard.storage.types import Secret

KEYS = {"access_key_id": "AK", "bucket": "my-bucket"}
SECRETS = {"secret_access_key": Secret("s3cr3t")}


@pytest.mark.parametrize(
    ("preset", "options", "endpoint", "region", "path_style"),
    [
        ("aws", {"region": "eu-central-1"}, "https://s3.eu-central-1.amazonaws.com", "eu-central-1", "false"),
        ("b2", {"region": "us-west-004"}, "https://s3.us-west-004.backblazeb2.com", "us-west-004", "true"),
        ("r2", {"account_id": "0a1b"}, "https://0a1b.r2.cloudflarestorage.com", "auto", "true"),
        (
            "r2",
            {"account_id": "0a1b", "jurisdiction": ".eu"},
            "https://0a1b.eu.r2.cloudflarestorage.com",
            "auto",
            "true",
        ),
        ("spaces", {"region": "nyc3"}, "https://nyc3.digitaloceanspaces.com", "nyc3", "false"),
        (
            "hetzner",
            {"region": "fsn1"},
            "https://fsn1.your-objectstorage.com",
            "fsn1",
            "true",
        ),
        ("scaleway", {"region": "nl-ams"}, "https://s3.nl-ams.scw.cloud", "nl-ams", "true"),
        ("gcs_interop", {}, "https://storage.googleapis.com", "auto", "true"),
        ("wasabi", {}, "https://s3.us-east-1.wasabisys.com", "us-east-1", "true"),
        (
            "supabase",
            {"project": "abcd", "region": "eu-west-2"},
            "https://abcd.storage.supabase.co/storage/v1/s3",
            "eu-west-2",
            "true",
        ),
        ("minio", {"endpoint": "http://127.0.0.1:9000"}, "http://127.0.0.1:9000", "us-east-1", "true"),
        ("s3", {"endpoint": "https://S3.Example.com/"}, "https://s3.example.com", "us-east-1", "true"),
    ],
)
def test_each_provider_leads_to_its_endpoint(
    preset: str, options: dict[str, str], endpoint: str, region: str, path_style: str
) -> None:
    checked = check_options(preset, {**KEYS, **options}, SECRETS)
    assert (checked["endpoint"], checked["region"], checked["path_style"]) == (endpoint, region, path_style)
    assert checked["tls_verify"] == "true"
    # What is stored can be edited and handed in again.
    assert check_options(preset, checked, SECRETS) == checked


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_names_only_options_its_driver_has(name: str) -> None:
    preset = find_preset(name)
    known = {o.name for o in (*preset.extra, *DRIVERS[preset.driver].options)}
    for words in (preset.defaults, preset.labels, preset.hints, preset.placeholders, preset.hidden):
        assert set(words) <= known
    assert preset.help
    assert preset.help_url.startswith("https://") or preset.help_url == ""


def test_the_form_uses_the_providers_words() -> None:
    labels = {o.name: o.label for o in options_of(find_preset("b2"))}
    assert labels["access_key_id"] == "keyID"
    assert labels["secret_access_key"] == "applicationKey"
    assert "endpoint" not in labels


def test_what_decides_where_the_secret_goes_is_guarded() -> None:
    assert {"endpoint", "region", "account_id", "jurisdiction", "tls_verify", "ca_certificate"} <= guarding(
        find_preset("r2")
    )
    assert "bucket" not in guarding(find_preset("r2"))


def test_changing_the_region_moves_the_endpoint_with_it() -> None:
    stored = check_options("aws", {**KEYS, "region": "eu-central-1"}, SECRETS)
    edited = check_options("aws", {**stored, "region": "eu-west-1"}, SECRETS)
    assert edited["endpoint"] == "https://s3.eu-west-1.amazonaws.com"


def test_a_decided_option_that_was_typed_is_refused_and_not_ignored() -> None:
    with pytest.raises(InvalidInput, match="decided by the provider") as caught:
        check_options("aws", {**KEYS, "endpoint": "https://elsewhere.example"}, SECRETS)
    assert caught.value.subject == "endpoint"


@pytest.mark.parametrize("value", ["evil.example/x", "a b", "a@b", "x#", "{region}", "é"])
def test_a_placeholder_cannot_bend_the_endpoint(value: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_options("r2", {**KEYS, "account_id": value}, SECRETS)
    assert caught.value.subject == "account_id"


def test_an_unknown_preset_is_named_with_what_there_is() -> None:
    with pytest.raises(InvalidInput, match="no kind of backend") as caught:
        find_preset("gopher")
    assert "minio" in caught.value.remedy
