"""`create_agent SLUG`: makes an agent, or a further key for one that is there, and prints only the key."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import BaseCommand, CommandError
from django.core.validators import validate_slug
from django.db import OperationalError, ProgrammingError

from agents import keys, roster
from agents.models import Agent
from mission_control import log
from mission_control.actors import SCOPES, system
from mission_control.errors import Refused


class Command(BaseCommand):
    help = "Make an agent, or a further key for one that is there. Prints only the key, which is shown this one time."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("slug", help="its name in addresses and in the log, for example ada")
        parser.add_argument("--name", help="as people read it; the slug with a capital letter by default")
        parser.add_argument(
            "--scopes", default="work", metavar="A,B", help=f"what the key may do, of {','.join(SCOPES)} (work)"
        )
        parser.add_argument("--capabilities", metavar="A,B", help="what it can do, for example python,sql")
        parser.add_argument("--role", help="for example Developer")
        parser.add_argument("--provider", help="for example claude-code")
        parser.add_argument("--model", help="the model it runs on")
        parser.add_argument("--max-concurrent", type=int, metavar="N", help="the most tasks it may hold at once")
        parser.add_argument("--lead", action="store_true", default=None, help="it may triage, assign and judge")
        parser.add_argument("--label", default="create_agent", help="a name for the key")

    def handle(self, *args: Any, **options: Any) -> None:
        slug = options["slug"]
        scopes = _words(options["scopes"])
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise CommandError(
                f"Unknown scope {', '.join(unknown) or '(none)'}. Use some of: {', '.join(SCOPES)}.", returncode=2
            )
        if options["max_concurrent"] is not None and options["max_concurrent"] < 1:
            raise CommandError("An agent holds at least one task at once.", returncode=2)
        fields = {name: options[name] for name in ("name", "role", "provider", "model", "max_concurrent")}
        fields |= {"is_lead": options["lead"], "capabilities": _capabilities(options["capabilities"])}
        fields = {name: value for name, value in fields.items() if value is not None}
        try:
            agent, secret = _made(slug, fields, scopes, options["label"])
        except Refused as refusal:
            raise CommandError(refusal.sentence, returncode=2) from None
        except (OperationalError, ProgrammingError) as error:
            raise CommandError(f"The database is not ready: {error}. Start the server once, it sets it up.") from None
        self.stderr.write(f"{agent.slug}: a key with the scopes {', '.join(scopes)}. It is not shown again.")
        self.stdout.write(secret)


@log.verb
def _made(slug: str, fields: dict[str, Any], scopes: list[str], label: str) -> tuple[Agent, str]:
    """Agent and key in one unit: a key that is refused leaves no agent behind."""
    actor = system("create_agent")
    agent = Agent.objects.filter(slug=slug).first()
    if agent is None:
        agent = roster.create(actor, slug=_checked(slug), **{"name": slug.replace("-", " ").capitalize(), **fields})
    elif fields:
        agent = roster.change(actor, agent, fields)
    _, secret = keys.create(actor, agent, scopes=scopes, label=label)
    return agent, secret


def _checked(slug: str) -> str:
    try:
        validate_slug(slug)
    except ValidationError:
        raise CommandError("A slug is made of letters, numbers, hyphens and underscores.", returncode=2) from None
    if len(slug) > 60 or slug != slug.lower():
        raise CommandError("A slug has up to 60 lower-case letters.", returncode=2)
    return slug


def _capabilities(text: str | None) -> list[str] | None:
    return None if text is None else sorted({word.lower() for word in _words(text)})


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
