"""The page of one's own account: how one signs in, and signing out everywhere. The steps themselves are allauth's."""

from __future__ import annotations

from allauth.mfa.models import Authenticator
from django.contrib import messages
from django.contrib.auth import update_session_auth_hash
from django.http import HttpResponse
from django.shortcuts import redirect, render

from mission_control.accounts import people, required_step
from mission_control.views import PageRequest, page


@page()
def account(request: PageRequest) -> HttpResponse:
    found: dict[str, list[Authenticator]] = {kind: [] for kind in Authenticator.Type.values}
    for row in Authenticator.objects.filter(user_id=request.user.pk).order_by("created_at"):
        found[row.type].append(row)
    codes = found[Authenticator.Type.RECOVERY_CODES]
    context = {
        "passkeys": found[Authenticator.Type.WEBAUTHN],
        "app": next(iter(found[Authenticator.Type.TOTP]), None),
        "codes_left": len(codes[0].wrap().get_unused_codes()) if codes else 0,
    }
    return render(request, "mission_control/account.html", context)


@page()
def add_second_step(request: PageRequest) -> HttpResponse:
    """What a person without a second step sees instead of everything else where one is required."""
    assert request.actor.user
    if not required_step.missing({request.actor.user.pk}):
        return redirect("/")
    return render(request, "mission_control/add_second_step.html")


@page("POST")
def sign_out_everywhere(request: PageRequest) -> HttpResponse:
    """Every session but this one ends."""
    assert request.actor.user
    user = people.sign_out_everywhere(request.actor.user)
    update_session_auth_hash(request, user)
    messages.success(request, "All other sessions were ended.")
    return redirect("/account")
