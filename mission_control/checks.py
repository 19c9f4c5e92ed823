"""System checks: combinations of settings that must not run are refused in one clear line each."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.db import connection

from mission_control.outbound import outgoing

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")
SQLITE_AT_LEAST = (3, 37)


@register(Tags.security)
def check_settings(**_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    on_loopback = settings.HOST in LOOPBACK
    if settings.OPEN_MODE and not on_loopback:
        found.append(
            Error(
                f"MISSION_CONTROL_OPEN=1 lets anyone who reaches {settings.HOST} act without a key.",
                hint="Unset it, or bind to HOST=127.0.0.1.",
                id="mission_control.E001",
            )
        )
    if settings.OPEN_MODE and settings.TRUST_PROXY:
        found.append(
            Error(
                "MISSION_CONTROL_OPEN=1 and TRUST_PROXY=1 together would open the door to everyone behind the proxy.",
                hint="Unset one of them.",
                id="mission_control.E002",
            )
        )
    if settings.DEBUG and not on_loopback:
        found.append(
            Error(
                f"DEBUG=1 on {settings.HOST} shows internals to whoever asks.",
                hint="Unset DEBUG, or bind to HOST=127.0.0.1.",
                id="mission_control.E003",
            )
        )
    if len(settings.SECRET_KEY) < 32:
        found.append(Error("SECRET_KEY is shorter than 32 characters.", id="mission_control.E004"))
    if len(settings.LOG_KEY) < 32:
        found.append(Error("LOG_KEY is shorter than 32 characters.", id="mission_control.E011"))
    if settings.LOG_KEY == settings.SECRET_KEY:
        found.append(
            Error("LOG_KEY must not be the same as SECRET_KEY: who has one would hold both.", id="mission_control.E005")
        )
    if "*" in settings.ALLOWED_HOSTS and not settings.DEBUG:
        found.append(
            Error("ALLOWED_HOSTS must name the hosts, not '*'.", hint="Set PUBLIC_URL.", id="mission_control.E006")
        )
    if settings.PUBLIC_URL and not settings.PUBLIC_URL.startswith(("http://", "https://")):
        found.append(Error("PUBLIC_URL must begin with http:// or https://.", id="mission_control.E007"))
    try:
        outgoing.allowed()
    except ValueError as error:
        found.append(
            Error(
                f"OUTGOING_ALLOWED: {error}", hint="For example nas.lan:8080,[fd00::7]:443.", id="mission_control.E012"
            )
        )
    if settings.EMAIL_URL and not settings.EMAIL_BACKEND.endswith(".smtp.EmailBackend") and not settings.DEBUG:
        found.append(
            Error(
                "EMAIL_URL must name a mail server: what it names prints or drops every message.",
                hint="For example smtp+tls://user:password@mail.example.org:587.",
                id="mission_control.E013",
            )
        )
    if settings.EMAIL_URL and "@" not in settings.MAIL_FROM:
        found.append(
            Error(
                "EMAIL_URL is set, but MAIL_FROM does not say from whom e-mail comes.",
                hint="For example MAIL_FROM='Mission Control <control@example.org>'.",
                id="mission_control.E014",
            )
        )
    if not on_loopback and not settings.PUBLIC_URL:
        found.append(
            Warning(
                f"The server listens on {settings.HOST}, but PUBLIC_URL does not say under which address it is reached.",
                hint="Set PUBLIC_URL, for example https://control.example.org.",
                id="mission_control.W001",
            )
        )
    if settings.PUBLIC_URL.startswith("http://") and not any(f"//{host}" in settings.PUBLIC_URL for host in LOOPBACK):
        found.append(
            Warning("PUBLIC_URL is plain http: keys and passwords travel readable.", id="mission_control.W002")
        )
    if settings.IS_SQLITE and settings.REDIS_URL:
        found.append(
            Warning(
                "REDIS_URL is set, but an SQLite file serves one machine only.",
                hint="For several hosts set DATABASE_URL to PostgreSQL.",
                id="mission_control.W003",
            )
        )
    return found


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    if connection.vendor == "sqlite":
        options = settings.DATABASES["default"].get("OPTIONS", {})
        found: list[CheckMessage] = []
        if options.get("transaction_mode") != "IMMEDIATE":
            found.append(
                Error("SQLite must run with transaction_mode IMMEDIATE, or claims race.", id="mission_control.E008")
            )
        import sqlite3

        if sqlite3.sqlite_version_info < SQLITE_AT_LEAST:
            found.append(Error("SQLite 3.37 or newer is needed.", id="mission_control.E009"))
        return found
    if connection.vendor != "postgresql":
        return [Error("DATABASE_URL must name SQLite or PostgreSQL.", id="mission_control.E010")]
    return []
