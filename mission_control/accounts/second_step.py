"""The second step of a login and passkeys: allauth's checks, a line in the log for each that fails, and how secrets are kept."""

from __future__ import annotations

import base64
import secrets
from typing import Any

from allauth.core import context
from allauth.mfa.adapter import DefaultMFAAdapter
from allauth.mfa.base.forms import AuthenticateForm, ReauthenticateForm
from allauth.mfa.models import Authenticator
from allauth.mfa.webauthn.forms import (
    AddWebAuthnForm,
    AuthenticateWebAuthnForm,
    LoginWebAuthnForm,
    ReauthenticateWebAuthnForm,
)
from django import forms

from mission_control.accounts import login
from mission_control.outbound import signatures


class SecondStepAdapter(DefaultMFAAdapter):
    """The secrets of authenticator apps and recovery codes are kept encrypted: see signatures.py."""

    def encrypt(self, text: str) -> str:
        return base64.b64encode(signatures.sealed(text)).decode()

    def decrypt(self, encrypted_text: str) -> str:
        """Where SECRET_KEY is another one by now, a secret that no code fits: an admin takes the step away."""
        try:
            return signatures.opened(base64.b64decode(encrypted_text))
        except ValueError:
            return base64.b32encode(secrets.token_bytes(20)).decode()


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
