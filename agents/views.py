"""Pages and parts of agents: the fleet, one agent with its keys, the claim of a registered one, the first connection."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpResponse
from django.shortcuts import redirect, render

from agents import forms, keys, roster
from agents.faces import face_at_work
from agents.models import Agent, AgentKey
from mission_control import log
from mission_control.figures import compact
from mission_control.views import PageRequest, page

SESSIONS = 30
SCOPE_WORDS = {
    "work": "claim tasks and report on them",
    "orchestrate": "create, sort and assign tasks, register sub-agents",
    "admin": "everything an operator may, and keys",
}


@page()
def agents(request: PageRequest) -> HttpResponse:
    return render(request, "agents/agents.html")


@page()
def fleet(request: PageRequest) -> HttpResponse:
    return render(request, "agents/_fleet.html")


@page()
def agent(request: PageRequest, slug: str) -> HttpResponse:
    return render(request, "agents/agent.html", _about(request, roster.by_slug(slug)))


@page()
def agent_part(request: PageRequest, slug: str) -> HttpResponse:
    return render(request, "agents/_agent.html", _about(request, roster.by_slug(slug)))


def _about(request: PageRequest, shown: Agent) -> dict[str, Any]:
    held = list(shown.held_tasks.select_related("venture").order_by("-session_locked_at"))
    return {
        "agent": shown,
        "face": face_at_work(shown, held, log.now()),
        "held": held,
        "tokens": compact(shown.tokens_used),
        "sessions": [
            (session, compact(session.tokens))
            for session in shown.sessions.select_related("task").order_by("-id")[:SESSIONS]
        ],
        **_keys(request, shown),
    }


def _keys(request: PageRequest, shown: Agent) -> dict[str, Any]:
    scopes = [(scope, words) for scope, words in SCOPE_WORDS.items() if scope != "admin" or request.actor.can("admin")]
    return {"agent": shown, "keys": shown.keys.all()[:50], "scopes": scopes, "moment": log.now()}


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@page("POST", needs="operate")
def create_key(request: PageRequest, slug: str) -> HttpResponse:
    """The keys with the new one's secret, which is shown this once."""
    shown = roster.by_slug(slug)
    key, secret = keys.create(request.actor, shown, **forms.key(request.POST))
    return _once(request, "agents/_keys.html", {**_keys(request, shown), "made": key, "secret": secret})


@page("POST", needs="operate")
def revoke_key(request: PageRequest, slug: str, prefix: str) -> HttpResponse:
    shown = roster.by_slug(slug)
    keys.revoke(request.actor, shown, prefix)
    return render(request, "agents/_keys.html", _keys(request, shown))


# ── connect ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@page("GET", "HEAD", "POST", needs="operate")
def connect(request: PageRequest) -> HttpResponse:
    """Name an agent and get one line to paste: the agent with a key, shown this once."""
    if request.method != "POST":
        return render(request, "agents/connect.html")
    made, key, secret = _connected(request)
    return _once(
        request, "agents/connect.html", {"agent": made, "key": key, "secret": secret, "address": _address(request)}
    )


@log.verb
def _connected(request: PageRequest) -> tuple[Agent, AgentKey, str]:
    made = roster.create(request.actor, name=forms.name(request.POST))
    return made, *keys.create(request.actor, made, label="first key")


def _address(request: PageRequest) -> str:
    return settings.PUBLIC_URL or request.build_absolute_uri("/").rstrip("/")


def _once(request: PageRequest, template: str, context: dict[str, Any]) -> HttpResponse:
    """An answer with a secret in it: nobody keeps a copy on the way."""
    response = render(request, template, context)
    response["Cache-Control"] = "no-store"
    return response


# ── claim ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@page("GET", "HEAD", "POST", needs="operate")
def claim(request: PageRequest, token: str) -> HttpResponse:
    """A person takes responsibility for an agent that registered itself."""
    if request.method == "POST":
        return redirect(f"/agents/{roster.claim(request.actor, token).slug}")
    return render(request, "agents/claim.html", {"agent": roster.pending_by_token(token)})
