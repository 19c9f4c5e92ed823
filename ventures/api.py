"""The calls on ventures and their ledger. Not: rules (catalogue.py, ledger.py), who joined (agents)."""

from __future__ import annotations

from typing import Any

from mission_control.actors import Actor
from mission_control.endpoints import STEER, Call, endpoint
from mission_control.errors import Invalid, NotThere
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Param, Query, line, one_of, ordering, several
from ventures import catalogue, ledger
from ventures import serializers as shape
from ventures.models import LedgerEntry, Venture

STATUSES = tuple(status for status, _ in Venture.STATUSES)


@endpoint(
    "GET", gives=shape.VentureOut, name="ventures", paged=True,
    query=Query(
        Param("status", several(one_of(*STATUSES)), "Statuses, with commas."),
        Param("q", line(120), "Part of the name."),
        ordering("name", "created_at"), LIMIT, CURSOR,
    ),
)  # fmt: skip
def list_ventures(call: Call) -> Page:
    """List the ventures that the caller sees, by name."""
    ventures, query = Venture.objects.visible_to(call.actor), call.query
    if query.get("status"):
        ventures = ventures.filter(status__in=query["status"])
    if query.get("q"):
        ventures = ventures.filter(name__icontains=query["q"])
    return page(ventures, query, orders={"name": "name", "created_at": None}, default="name", bare=call.bare)


@endpoint("POST", needs=STEER, takes=shape.VentureIn, gives=shape.VentureOut, name="venture", status=201)
def create_venture(call: Call) -> Venture:
    """Create a venture."""
    fields = _columns(call.given)
    return catalogue.create(call.actor, name=fields.pop("name"), slug=fields.pop("id", ""), **fields)


@endpoint("GET", gives=shape.VentureOut, name="venture")
def read_venture(call: Call, slug: str) -> Venture:
    """Read one venture."""
    return visible(call.actor, slug)


@endpoint("PATCH", needs=STEER, takes=shape.VentureChange, gives=shape.VentureOut, name="venture")
def change_venture(call: Call, slug: str) -> Venture:
    """Change a venture."""
    return catalogue.change(call.actor, visible(call.actor, slug), _columns(call.given), version=call.version)


@endpoint("PATCH", needs=STEER, takes=shape.VentureChangeById, gives=shape.VentureOut, name="venture", bare_only=True)
def change_venture_by_id(call: Call) -> Venture:
    """Change the venture named in the body."""
    fields = _columns(call.given)
    return catalogue.change(call.actor, visible(call.actor, fields.pop("id")), fields, version=call.version)


@endpoint("DELETE", needs=STEER, status=204)
def delete_venture(call: Call, slug: str) -> None:
    """Delete a venture without tasks. Archive one that has some."""
    catalogue.delete(call.actor, visible(call.actor, slug))


@endpoint("DELETE", needs=STEER, status=204, bare_only=True, query=Query(Param("id", line(60), "Which.")))
def delete_venture_by_id(call: Call) -> None:
    """Delete the venture named in the address."""
    if not call.query.get("id"):
        raise Invalid({"id": "Say which."})
    catalogue.delete(call.actor, visible(call.actor, call.query["id"]))


@endpoint(
    "GET", gives=shape.EntryOut, name="entries", paged=True, title="The ledger of a venture",
    query=Query(
        Param("kind", one_of("cost", "adjustment", "reward"), "Only these."),
        Param("task", line(8), "On this task.", also=("task_id",)),
        Param("agent", line(60), "By this agent.", also=("agent_id",)),
        LIMIT, CURSOR,
    ),
)  # fmt: skip
def list_entries(call: Call, slug: str) -> Page:
    """What was spent, newest first."""
    entries = LedgerEntry.objects.filter(venture=visible(call.actor, slug).slug)
    for name in ("kind", "task", "agent"):
        if call.query.get(name):
            entries = entries.filter(**{name: call.query[name]})
    return page(entries, call.query, orders={"at": None}, default="-at", bare=call.bare)


@endpoint(
    "POST", needs=STEER, takes=shape.AdjustmentIn, gives=shape.EntryOut, name="entry", status=201,
    title="Correct what a venture has spent",
)  # fmt: skip
def add_entry(call: Call, slug: str) -> LedgerEntry:
    """Add an adjustment, positive or negative, with a note that says why. What a task costs is told by /usage."""
    given = call.given
    venture = visible(call.actor, slug)
    return ledger.adjust(
        call.actor, venture, given["amount"], note=given["note"], request_id=given.get("request_id") or None
    )


def visible(actor: Actor, slug: str) -> Venture:
    """NotThere: unknown, or closed and not joined."""
    venture = Venture.objects.visible_to(actor).filter(slug=slug).first()
    if venture is None:
        raise NotThere("There is no such venture.")
    return venture


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    """The names of the API as the columns of the model."""
    fields = dict(given)
    if "capital_budget" in fields:
        fields["capital_budget_micro_usd"] = fields.pop("capital_budget")
    return fields
