"""The verbs on saved views of the board: keep, delete. What is shared is everybody's business and stands in the log.

Not: what a view shows (board.py).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from django.db.models import Q

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere
from tasks.view_models import SavedView

PATH = re.compile(r"/|/ventures/[-a-zA-Z0-9_]{1,60}/board")
WORDS = ("q", "venture", "assignee", "priority", "tag", "state", "deadline", "cancelled", "view", "group", "sort")
NAME, QUERY, MOST = 80, 1000, 100


def of(actor: Actor) -> Any:
    """The person's own and those that are shared, by name."""
    return SavedView.objects.filter(Q(owner=actor.user) | Q(shared=True)).select_related("owner")


@log.verb
def keep(actor: Actor, name: str, address: str, *, shared: bool = False) -> SavedView:
    """Keep an address of the board under a name; the person's own view of that name becomes this one.

    Only operators share. Records view.saved when it is, or was, shared.
    """
    if shared and not actor.can("operate"):
        raise NotAllowed("Only an operator shares a view with all.", code="operators_only")
    if not 1 <= len(name) <= NAME:
        raise Invalid({"name": f"Give it a name of at most {NAME} characters."})
    parts = urlsplit(address)
    query = urlencode([(word, text) for word, text in parse_qsl(parts.query) if word in WORDS])
    if parts.netloc or not PATH.fullmatch(parts.path) or len(query) > QUERY:
        raise Invalid({"address": "This is not a view of the board."})
    mine = SavedView.objects.select_for_update().filter(owner=actor.user)
    before = next((view for view in mine if view.name == name), None)
    if before is None and len(mine) >= MOST:
        raise Invalid({"name": f"At most {MOST} views. Delete one first."})
    view, _ = SavedView.objects.update_or_create(
        owner=actor.user, name=name, defaults={"path": parts.path, "query": query, "shared": shared}
    )
    if shared or (before and before.shared):
        log.record("view.saved", actor, title=name, data={"address": view.url, "shared": shared})
    return view


@log.verb
def delete(actor: Actor, pk: int) -> None:
    """Their own; an operator also what others share. Records view.deleted when it was shared."""
    view = of(actor).filter(pk=pk).first()
    if view is None:
        raise NotThere("There is no such view.")
    if view.owner != actor.user and not actor.can("operate"):
        raise NotAllowed("Only its owner or an operator deletes it.")
    if view.shared:
        log.record("view.deleted", actor, title=view.name, data={"address": view.url})
    view.delete()
