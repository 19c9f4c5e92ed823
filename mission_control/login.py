"""How people come in: nobody signs up by themselves, an admin makes accounts or the one-time link makes the first."""

from typing import Any

from allauth.account.adapter import DefaultAccountAdapter


class AccountAdapter(DefaultAccountAdapter):
    def is_open_for_signup(self, request: Any) -> bool:
        return False
