"""One table says who may do what, and every service asks it."""

from __future__ import annotations

import inspect

import pytest

from dashboard.errors import Kind, StowageError
from dashboard.services.permissions import ACTION_PHRASES, GRANTS, Actor, Permission, Role
from dashboard.settings import Settings, SettingsError
from tests.services.console import ADMIN, OPERATOR, VIEWER, ServiceConsole


def test_the_table_is_as_documented() -> None:
    assert GRANTS[Role.ADMIN] == set(Permission)
    assert set(Permission) - GRANTS[Role.OPERATOR] == {
        Permission.CONFIGURE,
        Permission.USERS,
        Permission.KEYS,
        Permission.ENVIRONMENT,
    }
    viewing = {Permission.VIEW, Permission.READ_FILES, Permission.METRICS, Permission.OWN_ACCOUNT}
    assert viewing == GRANTS[Role.VIEWER]
    assert set(ACTION_PHRASES) == set(Permission)


@pytest.mark.parametrize("permission", Permission)
@pytest.mark.parametrize("actor", [ADMIN, OPERATOR, VIEWER])
def test_requiring_agrees_with_the_table(actor: Actor, permission: Permission) -> None:
    if permission in GRANTS[actor.role]:
        actor.require(permission)
        return
    with pytest.raises(StowageError) as caught:
        actor.require(permission)
    assert caught.value.kind is Kind.FORBIDDEN
    assert caught.value.remedy


def test_every_service_method_that_takes_an_actor_refuses_a_viewer(console: ServiceConsole) -> None:
    """Found by signature, so that a method added later is covered too."""
    services = console.services
    # A viewer may change their own password; records and inserts run inside other services' calls.
    exempt = {"change_own_password", "confirm_password", "record", "insert", "complete", "get_probe"}
    seen = 0
    for service in (services.accounts, services.backends, services.keys, services.probes):
        for name, method in inspect.getmembers(service, inspect.ismethod):
            signature = inspect.signature(method).parameters
            parameters = [each for each, one in signature.items() if one.kind is not one.KEYWORD_ONLY]
            required = [
                each for each, one in signature.items()
                if one.kind is one.KEYWORD_ONLY and one.default is one.empty
            ]  # fmt: skip
            if name.startswith("_") or name in exempt or parameters[:1] != ["actor"]:
                continue
            if service is services.probes and name == "get":
                continue  # shows an actor their own runs only
            with pytest.raises(StowageError) as caught:
                method(VIEWER, *["local-disk" for _ in parameters[1:]], **dict.fromkeys(required, True))
            assert caught.value.kind is Kind.FORBIDDEN, name
            seen += 1
    assert seen >= 13


def test_settings_come_from_the_environment_and_overrides_win(tmp_path: object) -> None:
    env = {"STOWAGE_PORT": "9000", "STOWAGE_SECURE_COOKIES": "yes", "STOWAGE_INSTANCE": "/srv/stowage"}
    settings = Settings.from_env(env, port=0)
    assert (settings.port, settings.secure_cookies) == (0, True)
    assert str(settings.key_file) == "/srv/stowage/stowage.key"
    assert str(settings.work_database) == "/srv/stowage/work.db"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("STOWAGE_PORT", "http"),
        ("STOWAGE_PORT", "70000"),
        ("STOWAGE_PORT", "-1"),
        ("STOWAGE_PORT", "²"),
        ("STOWAGE_SECURE_COOKIES", "maybe"),
        ("STOWAGE_LOG_LEVEL", "loud"),
        ("STOWAGE_MAX_WORKERS", "0"),
        ("STOWAGE_TRUSTED_PROXIES", "99"),
        ("STOWAGE_HOSTS", "https://stowage.example.com"),
        ("STOWAGE_HOSTS", "stowage.example.com:8080"),
        ("STOWAGE_HOSTS", "."),
        ("STOWAGE_HOSTS", "*"),
        ("STOWAGE_HOST", ""),
    ],
)
def test_a_setting_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=name):
        Settings.from_env({name: value, "STOWAGE_INSTANCE": "/srv/stowage"})
