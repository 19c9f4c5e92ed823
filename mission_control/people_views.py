"""The page of the people who may sign in: their roles, their way in, and taking it from them. Not: one's own account."""

from __future__ import annotations

from dataclasses import dataclass

from allauth.mfa.models import Authenticator
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, render

from mission_control import people
from mission_control.actors import ROLE_ABILITIES
from mission_control.errors import Invalid
from mission_control.models import User
from mission_control.views import PageRequest, page

ROLE_WORDS = {
    "viewer": "looks at everything",
    "operator": "steers the work",
    "admin": "also people, keys and settings",
}
STEPS = {Authenticator.Type.WEBAUTHN: "Passkey", Authenticator.Type.TOTP: "Authenticator app"}


@dataclass
class Member:
    """One person in the list. `steps` are what they show beside or instead of a password; nobody changes their own role."""

    user: User
    steps: list[str]
    is_me: bool

    @property
    def letter(self) -> str:
        return self.user.get_username()[:1].upper()


@page(needs="admin")
def users(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/people.html", _listed(request))


@page(needs="admin")
def list_part(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_people.html", _listed(request))


@page("POST", needs="admin")
def change_role(request: PageRequest, number: int) -> HttpResponse:
    role = request.POST.get("role", "")
    if role not in ROLE_ABILITIES:
        raise Invalid({"role": "One of viewer, operator, admin."})
    people.change(request.actor, get_object_or_404(User, pk=number), {"role": role})
    return render(request, "mission_control/_people.html", _listed(request))


@page("POST", needs="admin")
def deactivate(request: PageRequest, number: int) -> HttpResponse:
    """Their sessions and open sockets end within seconds."""
    people.change(request.actor, get_object_or_404(User, pk=number), {"is_active": False})
    return render(request, "mission_control/_people.html", _listed(request))


@page("POST", needs="admin")
def reactivate(request: PageRequest, number: int) -> HttpResponse:
    people.change(request.actor, get_object_or_404(User, pk=number), {"is_active": True})
    return render(request, "mission_control/_people.html", _listed(request))


def _listed(request: PageRequest) -> dict[str, object]:
    """Who may sign in first, each by name."""
    steps: dict[int, list[str]] = {}
    for number, kind in Authenticator.objects.filter(type__in=STEPS).values_list("user_id", "type").distinct():
        steps.setdefault(number, []).append(STEPS[kind])
    return {
        "members": [
            Member(user, sorted(steps.get(user.pk, [])), user.pk == request.user.pk)
            for user in User.objects.order_by("-is_active", "username")
        ],
        "roles": [(role, label, ROLE_WORDS[role]) for role, label in User.ROLES],
    }
