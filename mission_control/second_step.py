"""The forms of the second step of a login and of passkeys: allauth's checks, and a line in the log for each that fails."""

from __future__ import annotations

from typing import Any

from allauth.core import context
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms

from mission_control import login


def _failed(user: Any, how: str) -> None:
    login.record_failure(user.get_username() if user else "", login.address_of(context.request), how)


class CodeForm(AuthenticateForm):
    """A code of the authenticator app or a recovery code, after the password."""

    def clean_code(self) -> str:
        try:
            return super().clean_code()
        except forms.ValidationError:
            _failed(self.user, "code")
            raise


class CodeAgainForm(ReauthenticateForm):
    """The same, from somebody who is signed in and changes how they sign in."""

    def clean_code(self) -> str:
        try:
            return super().clean_code()
        except forms.ValidationError:
            _failed(self.user, "code")
            raise


class PasskeyForm(AuthenticateWebAuthnForm):
    """A passkey after the password."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()
        except forms.ValidationError:
            _failed(self.user, "passkey")
            raise


class PasskeyAgainForm(ReauthenticateWebAuthnForm):
    """A passkey from somebody who is signed in and changes how they sign in."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()
        except forms.ValidationError:
            _failed(self.user, "passkey")
            raise


class PasskeyAloneForm(LoginWebAuthnForm):
    """A passkey instead of name and password. Who it was is not known when it fails."""

    def clean_credential(self) -> Authenticator:
        try:
            return super().clean_credential()
        except forms.ValidationError:
            _failed(None, "passkey")
            raise


class NewPasskeyForm(AddWebAuthnForm):
    """Every key that is added is a passkey: the device checks the person, so it can stand alone."""

    def clean(self) -> dict[str, Any]:
        self.cleaned_data["passwordless"] = True
        return super().clean()
