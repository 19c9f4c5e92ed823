"""How people come in: nobody signs up by themselves, an admin makes accounts or the one-time link makes the first.

Each act on the way in and on what opens it is one line in the log; what the second step checks is in second_step.py.
"""

from __future__ import annotations

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter
from allauth.account.internal.flows.login import get_authentication_records
from django.http import HttpRequest, HttpResponse

from mission_control import callers, log
from mission_control.accounts import people
from mission_control.actors import person, system
from mission_control.models import User

MOST_OF_A_NAME = 80
# The notice that allauth would mail about a change → what the log says of it.
CHANGES = {
    "account/email/password_changed": ("password", "Password set"),
    "mfa/email/totp_activated": ("authenticator_added", "Authenticator app added"),
    "mfa/email/totp_deactivated": ("authenticator_removed", "Authenticator app removed"),
    "mfa/email/webauthn_added": ("passkey_added", "Passkey added"),
    "mfa/email/webauthn_removed": ("passkey_removed", "Passkey removed"),
    "mfa/email/recovery_codes_generated": ("recovery_codes", "New recovery codes made"),
}


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: Any) -> bool:
        return False

    def authentication_failed(self, request: HttpRequest, **credentials: Any) -> None:
        """Records login.failed with the name that was tried and the address it came from; never the password."""
        super().authentication_failed(request, **credentials)
        name = str(credentials.get("username") or credentials.get("email") or "")
        record_failure(name, address_of(request), "password")

    def post_login(self, request: HttpRequest, user: Any, **options: Any) -> HttpResponse:
        """Records login.succeeded with the address and what was shown at the door: password, totp, webauthn …"""
        steps = [
            str(record.get("type") or record.get("method")) for record in get_authentication_records(request, user)
        ]
        _record_success(user, address_of(request), steps)
        return super().post_login(request, user, **options)

    def send_notification_mail(
        self, template_prefix: str, user: Any, context: dict[str, Any] | None = None, email: str | None = None
    ) -> None:
        """Records the change instead of mailing it: user.changed, by the person."""
        if template_prefix in CHANGES:
            change, message = CHANGES[template_prefix]
            people.way_in_changed(person(user), user, change, message)


def address_of(request: HttpRequest) -> str:
    """Where a request comes from, through the proxy if that is trusted; "" when it is not known."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return callers.remote_of(request.META.get("REMOTE_ADDR", ""), headers)


@log.verb
def record_failure(name: str, address: str, how: str) -> None:
    """Records login.failed. `how` is what was wrong: password, code or passkey; `name` is "" when nobody was named."""
    shown = "".join(character for character in name if character.isprintable())[:MOST_OF_A_NAME]
    log.record(
        "login.failed", system("login"), level="warning", title=shown, message=f"From {address}" if address else "",
        data={"name": shown, "address": address, "how": how},
    )  # fmt: skip


@log.verb
def _record_success(user: User, address: str, steps: list[str]) -> None:
    log.record(
        "login.succeeded", person(user), title=user.get_username(), message=f"From {address}" if address else "",
        data={"address": address, "steps": steps},
    )  # fmt: skip
