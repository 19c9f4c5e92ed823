"""Settings that must not run together are refused, each in one clear line."""

import pytest
from django.core.management.base import CommandError
from django.test import override_settings

from mission_control import starting
from mission_control.checks import check_database, check_settings

FINE = {
    "HOST": "127.0.0.1", "OPEN_MODE": False, "TRUST_PROXY": False, "DEBUG": False, "SECRET_KEY": "s" * 50,
    "LOG_KEY": "l" * 50, "ALLOWED_HOSTS": ["localhost"], "PUBLIC_URL": "", "IS_SQLITE": True, "REDIS_URL": "",
}  # fmt: skip

SMTP = "django.core.mail.backends.smtp.EmailBackend"


def ids(**settings):
    with override_settings(**{**FINE, **settings}):
        return [message.id for message in check_settings()]


def test_the_defaults_are_fine():
    assert ids() == []


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"OPEN_MODE": True}, []),
        ({"OPEN_MODE": True, "HOST": "0.0.0.0", "PUBLIC_URL": "https://a.example"}, ["mission_control.E001"]),
        ({"OPEN_MODE": True, "TRUST_PROXY": True}, ["mission_control.E002"]),
        ({"DEBUG": True}, []),
        ({"DEBUG": True, "HOST": "10.0.0.5", "PUBLIC_URL": "https://a.example"}, ["mission_control.E003"]),
        ({"SECRET_KEY": "short"}, ["mission_control.E004"]),
        ({"LOG_KEY": "s" * 50}, ["mission_control.E005"]),
        ({"LOG_KEY": "short"}, ["mission_control.E011"]),
        ({"ALLOWED_HOSTS": ["*"]}, ["mission_control.E006"]),
        ({"PUBLIC_URL": "control.example.org"}, ["mission_control.E007"]),
        ({"HOST": "0.0.0.0"}, ["mission_control.W001"]),
        ({"PUBLIC_URL": "http://control.example.org"}, ["mission_control.W002"]),
        ({"PUBLIC_URL": "http://localhost:8000"}, []),
        ({"REDIS_URL": "redis://localhost"}, ["mission_control.W003"]),
        ({"TRUST_PROXY": True}, []),
        ({"OUTGOING_ALLOWED": ["nas.lan:8080", "[fd00::7]:443", "10.0.0.9:80"]}, []),
        ({"OUTGOING_ALLOWED": ["nas.lan"]}, ["mission_control.E012"]),
        ({"EMAIL_URL": "smtp://m", "EMAIL_BACKEND": SMTP, "MAIL_FROM": "control@example.org"}, []),
        ({"EMAIL_URL": "smtp://m", "EMAIL_BACKEND": SMTP, "MAIL_FROM": ""}, ["mission_control.E014"]),
        (
            {
                "EMAIL_URL": "consolemail://",
                "EMAIL_BACKEND": "django.core.mail.backends.console.EmailBackend",
                "MAIL_FROM": "a@b",
            },
            ["mission_control.E013"],
        ),
        ({"OUTGOING_ALLOWED": ["http://nas.lan:80"]}, ["mission_control.E012"]),
        ({"OUTGOING_ALLOWED": ["nas.lan:99999"]}, ["mission_control.E012"]),
    ],
)
def test_what_must_not_run_together(settings, expected):
    assert ids(**settings) == expected


def test_sqlite_without_immediate_transactions_is_refused(settings, monkeypatch):
    if not settings.IS_SQLITE:
        assert check_database() == []
        return
    assert check_database() == []
    monkeypatch.setitem(settings.DATABASES["default"]["OPTIONS"], "transaction_mode", "DEFERRED")
    assert [message.id for message in check_database()] == ["mission_control.E008"]


@pytest.mark.django_db  # the model checks ask the database what it can do
def test_the_server_says_each_in_one_line_and_does_not_start():
    with override_settings(**{**FINE, "OPEN_MODE": True, "HOST": "0.0.0.0", "SECRET_KEY": "short"}):
        with pytest.raises(CommandError) as refused:
            starting.check_settings()
    lines = str(refused.value).splitlines()
    assert len(lines) == 2
    assert any("MISSION_CONTROL_OPEN=1 lets anyone who reaches 0.0.0.0 act without a key." in line for line in lines)
    assert all(line.endswith((".E001)", ".E004)")) for line in lines)
