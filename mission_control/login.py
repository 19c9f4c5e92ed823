"""How people come in: nobody signs up by themselves, an admin makes accounts or the one-time link makes the first."""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from django.http import HttpRequest

from mission_control import callers, log
from mission_control.actors import system

MOST_OF_A_NAME = 80


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: Any) -> bool:
        return False

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Records login.failed with the name that was tried and the address it came from; never the password."""
        super().authentication_failed(request, **credentials)
        headers = {name.lower(): value for name, value in request.headers.items()}
        remote = callers.remote_of(request.META.get("REMOTE_ADDR", ""), headers)
        _record_failure(str(credentials.get("username") or credentials.get("email") or ""), remote)


@log.verb
def _record_failure(name: str, remote: str) -> None:
    shown = "".join(character for character in name if character.isprintable())[:MOST_OF_A_NAME]
    log.record(
        "login.failed", system("login"), level="warning", title=shown, message=f"From {remote}" if remote else "",
        data={"name": shown, "address": remote},
    )  # fmt: skip
