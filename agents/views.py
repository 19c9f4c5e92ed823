"""Pages and parts of agents: the fleet, one agent with its keys, the claim of a registered one, the first connection."""

from __future__ import annotations

from typing import Any

from django.db.models import F
from django.http import HttpResponse
from django.shortcuts import redirect, render

from agents import enrolment, forms, keys, roster
from agents.faces import face_at_work
from agents.models import Agent, AgentKey, EnrolmentToken
from mission_control import log, onboarding, strict_json
from mission_control.figures import compact
from mission_control.models import Webhook
from mission_control.onboarding_views import address_of
from mission_control.views import PageRequest, is_part, page
from ventures import ledger
from ventures.ledger import Spent

SESSIONS = 30
TOKENS = 50
MOST_KEYS, OVER_KEYS = 300, 30
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
        "without_work": roster.tokens_without_work(shown),
        "today": ledger.today().get(shown.slug, Spent()),
        "joined": list(shown.ventures.order_by("name")[:50]),
        "hook": Webhook.objects.filter(agent=shown.slug).first(),
        "sessions": [
            (session, compact(session.tokens))
            for session in shown.sessions.select_related("task").order_by("-id")[:SESSIONS]
        ],
        **_keys(request, shown),
    }


def _keys(request: PageRequest, shown: Agent) -> dict[str, Any]:
    return {
        "agent": shown,
        "keys": shown.keys.all()[:50],
        "scopes": _scopes(request),
        "overlaps": forms.OVERLAPS.items(),
        "moment": log.now(),
    }


def _scopes(request: PageRequest) -> list[tuple[str, str]]:
    """What somebody may give away, in words."""
    return [(scope, words) for scope, words in SCOPE_WORDS.items() if scope != "admin" or request.actor.can("admin")]


# ── keys ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@page("POST", needs="operate")
def create_key(request: PageRequest, slug: str) -> HttpResponse:
    """The keys with the new one's secret, which is shown this once."""
    shown = roster.by_slug(slug)
    key, secret = keys.create(
        request.actor, shown, **forms.key(request.POST), overlap_hours=forms.overlap(request.POST)
    )
    return _once(request, "agents/_keys.html", {**_keys(request, shown), "made": key, "secret": secret})


@page("POST", needs="operate")
def revoke_key(request: PageRequest, slug: str, prefix: str) -> HttpResponse:
    shown = roster.by_slug(slug)
    keys.revoke(request.actor, shown, prefix)
    return render(request, "agents/_keys.html", _keys(request, shown))


@page(needs="operate")
def all_keys(request: PageRequest) -> HttpResponse:
    """Of every agent: live ones first, those that were used last on top."""
    template = "agents/_all_keys.html" if is_part(request) else "agents/all_keys.html"
    return render(request, template, _all_keys())


@page("POST", needs="operate")
def revoke_one(request: PageRequest, slug: str, prefix: str) -> HttpResponse:
    """From the list of all."""
    keys.revoke(request.actor, roster.by_slug(slug), prefix)
    return render(request, "agents/_all_keys.html", _all_keys())


def _all_keys() -> dict[str, Any]:
    found = AgentKey.objects.select_related("agent")
    live = found.filter(keys.LIVE).order_by(F("last_used_at").desc(nulls_last=True), "-id")[: MOST_KEYS + 1]
    over = found.exclude(keys.LIVE).order_by("-id")[:OVER_KEYS]
    return {"live": live[:MOST_KEYS], "over": over, "is_cut": len(live) > MOST_KEYS, "most": MOST_KEYS}


# ── connect ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@page("GET", "HEAD", "POST", needs="operate")
def connect(request: PageRequest) -> HttpResponse:
    """Name an agent and get one line to paste: the agent with a key, shown this once."""
    address = address_of(request)
    told: dict[str, Any] = {"address": address, "snippet": onboarding.agents_md(address)}
    if request.method != "POST":
        told["hash"] = onboarding.digest(onboarding.page("skill.md", address))
        return render(request, "agents/connect.html", {**told, **_enrolments(request)})
    made, key, secret = _connected(request)
    told.update(agent=made, key=key, secret=secret, lines=pasted_lines(address, secret, made.slug))
    return _once(request, "agents/connect.html", told)


def pasted_lines(address: str, secret: str, slug: str) -> list[tuple[str, str, str]]:
    """`(kind of agent, the line, what happens then)`. All but that of the command line hold the key: it is shown once."""
    claim = f"{address}/api/v1/tasks/claim"
    settings = {"type": "http", "url": f"{address}/mcp", "headers": {"Authorization": f"Bearer {secret}"}}
    return [
        (
            "Shell",
            f"curl -sX POST {claim} -H 'Authorization: Bearer {secret}' -H 'Content-Type: application/json'"
            " -d '{\"wait\": 60}'",
            "It waits up to a minute and answers with the next task, its lease and what to send back.",
        ),
        (
            "Command line",
            f"curl -fsS {address}/mctl -o mctl && python3 mctl login {address}",
            "It asks for the key, which is the one below. Then: python3 mctl next --wait 60, progress, deliver, complete.",
        ),
        (
            "OpenClaw",
            f"Read {address}/skill.md and follow it. Your key is {secret}.",
            "Send it to the agent as a message. It keeps the key and waits for work as heartbeat.md says.",
        ),
        (
            "Claude Code",
            f"claude mcp add --transport http mission-control {address}/mcp --header 'Authorization: Bearer {secret}'",
            "Then say: take the next task from mission-control.",
        ),
        (
            "Codex",
            f"export MISSION_CONTROL_KEY={secret}; codex mcp add mission-control --url {address}/mcp"
            " --bearer-token-env-var MISSION_CONTROL_KEY",
            "Keep the variable in the environment of the agent.",
        ),
        (
            "Gemini CLI",
            f"gemini mcp add --scope user --transport http mission-control {address}/mcp"
            f" --header 'Authorization: Bearer {secret}'",
            "Then say: take the next task from mission-control.",
        ),
        (
            "Any MCP client",
            strict_json.write({"mcpServers": {"mission-control": settings}}).decode(),
            "Put it into the client's file of servers.",
        ),
        (
            "Runner",
            f"export MISSION_CONTROL_URL={address} MISSION_CONTROL_KEY={secret}; curl -fsS {address}/mctl -o ~/mctl;"
            f" python3 ~/mctl work --agent {slug} --preset claude",
            "In a repository: each task starts Claude Code on a branch of its own. Other presets: codex, gemini, openclaw.",
        ),
    ]


@log.verb
def _connected(request: PageRequest) -> tuple[Agent, AgentKey, str]:
    made = roster.create(request.actor, name=forms.name(request.POST))
    return made, *keys.create(request.actor, made, label="first key")


@page("POST", needs="operate")
def enrolments(request: PageRequest) -> HttpResponse:
    """The enrolment tokens with the new one's line, which is shown this once."""
    token, secret = enrolment.create(request.actor, **forms.enrolment(request.POST))
    line = f"export MISSION_CONTROL_TOKEN={secret}; curl -fsS {address_of(request)}/skill.md"
    return _once(
        request, "agents/_enrolments.html", {**_enrolments(request), "made": token, "secret": secret, "line": line}
    )


@page("POST", needs="operate")
def revoke_enrolment(request: PageRequest, prefix: str) -> HttpResponse:
    enrolment.revoke(request.actor, prefix)
    return render(request, "agents/_enrolments.html", _enrolments(request))


def _enrolments(request: PageRequest) -> dict[str, Any]:
    return {"tokens": EnrolmentToken.objects.all()[:TOKENS], "scopes": _scopes(request), "moment": log.now()}


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
