"""The form of the first admin."""

from __future__ import annotations

from django.contrib.auth.forms import BaseUserCreationForm

from mission_control.models import User


class FirstAdminForm(BaseUserCreationForm):
    """Name and password, checked by Django's rules; saving is left to first_run.make_admin."""

    class Meta:
        model = User
        fields = ("username",)
