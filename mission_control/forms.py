"""The forms of people: the first admin, and who is invited."""

from __future__ import annotations

from django import forms
from django.contrib.auth.forms import BaseUserCreationForm

from mission_control.models import User


class FirstAdminForm(BaseUserCreationForm):
    """Name and password, checked by Django's rules; saving is left to first_run.make_admin."""

    class Meta:
        model = User
        fields = ("username",)


class InviteForm(forms.ModelForm):
    """Name and role of somebody new; saving is left to invitations.invite."""

    class Meta:
        model = User
        fields = ("username", "role")
