"""`manage.py simulate`: a seeded fleet works on a running server over its HTTP API, with failures, crashes and zombies."""

from __future__ import annotations

import contextlib
import signal
import time
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from agents import keys, roster
from agents.models import Agent, AgentKey
from mission_control.actors import system
from mission_control.errors import NotThere, Refused
from tasks.demo import fleet_simulator, fleet_stories
from tasks.demo.fleet_client import Client, History
from tasks.demo.fleet_simulator import Plan

LABEL = "simulation"


class Command(BaseCommand):
    help = "Let a simulated fleet work on a running server."

    def add_arguments(self, parser: ArgumentParser) -> None:
        plan = Plan(url="")
        parser.add_argument("--agents", type=int, default=plan.agents, metavar="N", help=f"default {plan.agents}")
        parser.add_argument(
            "--tasks", type=int, metavar="M", help=f"to create, default {plan.tasks}; none with --forever"
        )
        parser.add_argument(
            "--seed", type=int, default=plan.seed, metavar="S", help="the same seed draws the same fates"
        )
        parser.add_argument(
            "--url", default=f"http://{settings.HOST}:{settings.PORT}", help="of the server; %(default)s"
        )
        parser.add_argument("--key", default="", help="with the scope admin; without one, it is made in this database")
        parser.add_argument("--history", metavar="FILE", help="append every request and answer as JSON lines")
        parser.add_argument(
            "--speed", type=float, default=plan.speed, help="times real time; 0: nobody waits; default 1"
        )
        parser.add_argument(
            "--lease-seconds", type=int, default=plan.lease_seconds, help=f"default {plan.lease_seconds}"
        )
        parser.add_argument("--seconds", type=float, help="end after so long, whatever is left")
        parser.add_argument("--forever", action="store_true", help="go on, and keep the queue filled")
        parser.add_argument("--with-parent", action="store_true", help="end when the process that started it is gone")
        parser.add_argument("--wait", type=float, default=30.0, metavar="SECONDS", help="for the server to answer; 30")
        parser.add_argument("--no-steering", action="store_true", help="nobody accepts, answers or retries")
        parser.add_argument("--tag", help="on every created task; default: one for this run, none with --forever")
        parser.add_argument("--marks", action="store_true", help="mark every message, so that its effect can be found")
        for name in ("failures", "blocks", "releases", "crashes", "zombies", "cuts", "reviews"):
            share = getattr(plan, name)
            parser.add_argument(f"--{name}", type=_share, default=share, metavar="0..1", help=f"default {share}")

    def handle(self, *_: Any, **options: Any) -> None:
        if not 1 <= options["agents"] <= 1000:
            raise CommandError("Between 1 and 1000 agents.", returncode=2)
        plan = Plan(
            steering=not options["no_steering"],
            tasks=options["tasks"] if options["tasks"] is not None else 0 if options["forever"] else Plan.tasks,
            tag=options["tag"] if options["tag"] is not None else "" if options["forever"] else _tag(options["seed"]),
            **{
                name: options[name]
                for name in (
                    "url", "agents", "seed", "speed", "lease_seconds", "seconds", "forever", "marks", "with_parent",
                    "failures", "blocks", "releases", "crashes", "zombies", "cuts", "reviews",
                )
            },
        )  # fmt: skip
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: give back what is held, then go
        history = History(options["history"])
        key, made = (options["key"], None) if options["key"] else _own_key()
        try:
            _wait_for(plan.url, key, options["wait"])
            fleet = fleet_simulator.run(plan, key, history, self.stdout.write)
        except fleet_simulator.CannotStart as error:
            raise CommandError(str(error)) from None
        except KeyboardInterrupt:
            raise CommandError("Stopped before it began.", returncode=130) from None
        finally:
            history.close()
            if made:
                keys.revoke(system("simulation"), made.agent, made.prefix)
        if not plan.with_parent:
            self.stdout.write(fleet_simulator.summary(fleet))
        if fleet.wrong:
            raise CommandError(f"{len(fleet.wrong)} answers were wrong.")


def _share(text: str) -> float:
    with contextlib.suppress(ValueError):
        if 0 <= float(text) <= 1:
            return float(text)
    raise ArgumentTypeError("give a share between 0 and 1")


def _tag(seed: int) -> str:
    return f"run-{seed}-{int(time.time()):x}"


def _own_key() -> tuple[str, AgentKey]:
    """An admin key of the simulation's director, made beside the database."""
    actor = system("simulation")
    slug, role = fleet_stories.DIRECTOR
    try:
        agent = roster.by_slug(slug)
    except NotThere:
        agent = roster.create(actor, name=slug.title(), slug=slug, role=role, is_lead=True, provider="custom")
    _revoke_left_over(agent)
    made, secret = keys.create(actor, agent, scopes=["admin"], label=LABEL)
    return secret, made


def _revoke_left_over(agent: Agent) -> None:
    """Keys of runs that were killed before they could take them back."""
    for key in AgentKey.objects.filter(agent=agent, label=LABEL, revoked_at=None):
        try:
            keys.revoke(system("simulation"), agent, key.prefix)
        except Refused:
            continue


def _wait_for(url: str, key: str, seconds: float) -> None:
    end = time.monotonic() + seconds
    try:
        client = Client(url, key, "simulation", History(None), may_go_on=lambda: time.monotonic() < end)
    except ValueError as error:
        raise CommandError(str(error), returncode=2) from None
    try:
        answer = client.call("look", "GET", "/api/v1/agents/me")
    except Exception:
        raise CommandError(f"No server answers at {url}. Start one with: manage.py serve") from None
    finally:
        client.close()
    if answer.status in (401, 403):
        raise CommandError(f"The server refuses this key: {answer.body}")
