"""The page of the people who may sign in: invite them, their roles, and taking their way in. Not: one's own account."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator
from django.conf import settings
from django.contrib import messages
from django.contrib.auth.forms import SetPasswordForm
from django.contrib.auth.hashers import make_password
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache

from mission_control import log
from mission_control.accounts import invitations, people, required_step
from mission_control.errors import Invalid
from mission_control.forms import InviteForm
from mission_control.models import Invitation, User
from mission_control.views import PageRequest, page

ROLES = {role for role, _ in User.ROLES}
ROLE_WORDS = {
    "viewer": "looks at everything",
    "operator": "steers the work",
    "admin": "also people, keys and settings",
}
STEPS = {Authenticator.Type.WEBAUTHN: "Passkey", Authenticator.Type.TOTP: "Authenticator app"}


@dataclass
class Member:
    """One person in the list. `steps` are what they show beside or instead of a password; nobody changes their own role.

    `link_until` is how long a link of theirs is good, None when they have none.
    """

    user: User
    steps: list[str]
    link_until: datetime | None
    is_me: bool

    @property
    def letter(self) -> str:
        return self.user.get_username()[:1].upper()

    @property
    def has_come(self) -> bool:
        return self.user.has_usable_password() or bool(self.steps)


@page(needs="admin")
def users(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/people.html", _listed(request))


@page(needs="admin")
def list_part(request: PageRequest) -> HttpResponse:
    return _list(request)


@page("POST", needs="admin")
def invite(request: PageRequest) -> HttpResponse:
    """The people with the new one's link, which is shown this once."""
    form = InviteForm(request.POST)
    if not form.is_valid():
        raise Invalid({name: str(errors[0]) for name, errors in form.errors.items()})
    person = form.save(commit=False)
    return _with_link(request, person, invitations.invite(request.actor, person))


@page("POST", needs="admin")
def renew_link(request: PageRequest, number: int) -> HttpResponse:
    """The same for somebody whose link ended, or who lost their password."""
    person = _person(number)
    return _with_link(request, person, invitations.renew(request.actor, person))


@page("POST", needs="admin")
def change_role(request: PageRequest, number: int) -> HttpResponse:
    role = request.POST.get("role", "")
    if role not in ROLES:
        raise Invalid({"role": "One of viewer, operator, admin."})
    people.change(request.actor, _person(number), {"role": role})
    return _list(request)


@page("POST", needs="admin")
def deactivate(request: PageRequest, number: int) -> HttpResponse:
    """Their sessions and open sockets end within seconds."""
    people.change(request.actor, _person(number), {"is_active": False})
    return _list(request)


@page("POST", needs="admin")
def reactivate(request: PageRequest, number: int) -> HttpResponse:
    people.change(request.actor, _person(number), {"is_active": True})
    return _list(request)


@page("POST", needs="admin")
def remove_second_step(request: PageRequest, number: int) -> HttpResponse:
    people.remove_second_step(request.actor, _person(number))
    return _list(request)


@page("POST", needs="admin")
def require_second_step(request: PageRequest) -> HttpResponse:
    """Of everybody, with `required=1`; who has none is asked to add it at the next click."""
    required_step.change(request.actor, request.POST.get("required") == "1")
    return redirect("/settings/users")


@never_cache
def welcome(request: HttpRequest, token: str) -> HttpResponse:
    """The page behind a one-time link: it sets the password and goes on to the login, which may want a second step."""
    person = invitations.person_of(token)
    form: SetPasswordForm[User] = SetPasswordForm(person, request.POST or None)
    if request.method == "POST" and form.is_valid():
        invitations.accept(token, make_password(form.cleaned_data["new_password1"]))
        messages.success(request, f"Your password is set, {person.get_username()}. Sign in with it.")
        return redirect(settings.LOGIN_URL)
    return render(request, "mission_control/welcome.html", {"form": form, "person": person})


def _person(number: int) -> User:
    return get_object_or_404(User, pk=number)


def _list(request: PageRequest) -> HttpResponse:
    return render(request, "mission_control/_people.html", _listed(request))


def _with_link(request: PageRequest, person: User, path: str) -> HttpResponse:
    """An answer with a secret in it: nobody keeps a copy on the way."""
    here = settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")
    context = {**_listed(request), "made_for": person, "link": here + path, "days": invitations.DAYS}
    response = render(request, "mission_control/_invite.html", context)
    response["Cache-Control"] = "no-store"
    return response


def _listed(request: PageRequest) -> dict[str, object]:
    """Who may sign in first, each by name."""
    steps: dict[int, list[str]] = {}
    for number, kind in Authenticator.objects.filter(type__in=STEPS).values_list("user_id", "type").distinct():
        steps.setdefault(number, []).append(STEPS[kind])
    links = dict(Invitation.objects.filter(expires_at__gt=log.now()).values_list("user_id", "expires_at"))
    return {
        "members": [
            Member(user, sorted(steps.get(user.pk, [])), links.get(user.pk), user.pk == request.user.pk)
            for user in User.objects.order_by("-is_active", "username")
        ],
        "step_required": required_step.is_required(),
        "roles": [(role, label, ROLE_WORDS[role]) for role, label in User.ROLES],
    }
