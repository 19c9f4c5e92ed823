"""The calls on the runs of a task, with what they give: its attempts as a chain. Not: sub-agents (api.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import NO_STORE, WORK, Call, endpoint
from mission_control.fields import Answer
from mission_control.paging import Page, page
from mission_control.query import CURSOR, LIMIT, Query
from tasks import claiming, runs
from tasks.api import worker
from tasks.claiming import Wish
from tasks.models import Session
from tasks.serializers import ClaimOneIn, SessionOut
from tasks.shapes import session_shape
from tasks.transitions import visible


class RunOut(SessionOut):
    """One attempt: the session of its agent, and where it stands in the chain."""

    previous = serializers.IntegerField(allow_null=True, help_text="The attempt before.")
    next = serializers.IntegerField(allow_null=True, help_text="The attempt after.")
    retry_of = serializers.IntegerField(allow_null=True, help_text="The attempt that failed before this one.")
    retry_reason = serializers.CharField(allow_blank=True, help_text="What that one failed of.")
    seconds = serializers.IntegerField(allow_null=True, help_text="How long it took, once it is over.")
    subagents = SessionOut(many=True)

    @classmethod
    def shape(cls, thing: Session, call: Any) -> dict[str, Any]:
        run: Any = thing
        retried = runs.retry_of(run)
        took = thing.ended_at - thing.started_at if thing.ended_at else None
        return {
            **SessionOut.shape(thing, call), "previous": run.before_attempt, "next": run.after_attempt,
            "retry_of": retried, "retry_reason": run.before_error if retried is not None else "",
            "seconds": int(took.total_seconds()) if took else None,
            "subagents": [session_shape(child) for child in run.subagents],
        }  # fmt: skip


class BegunOut(Answer):
    run = RunOut()
    epoch = serializers.IntegerField()
    lease_token = serializers.CharField()
    lease_expires_in = serializers.IntegerField()


@endpoint("GET", gives=RunOut, name="runs", paged=True, query=Query(LIMIT, CURSOR))
def list_runs(call: Call, code: str) -> Page:
    """The attempts at this task as a chain, newest first, each with its sub-agents."""
    rows = runs.of_task(visible(call.actor, code))
    return page(rows, call.query, orders={"started_at": None}, default="-started_at", bare=call.bare)


@endpoint("GET", gives=RunOut, name="run")
def read_run(call: Call, code: str, number: int) -> Session:
    """One attempt."""
    return runs.by_attempt(visible(call.actor, code), number)


@endpoint("POST", needs=WORK, takes=ClaimOneIn, gives=BegunOut, status=201, headers=NO_STORE, title="Begin a run")
def begin_run(call: Call, code: str) -> dict[str, Any]:
    """Begin a run: a claim of this task, under its other name. The holder asking again gets the same run."""
    given = call.given
    wish = Wish(session_key=given.get("session_key", ""), lease_seconds=given.get("lease_seconds"), simple=call.bare)
    claim = claiming.claim_task(worker(call), code, wish)
    return {
        "run": RunOut.shape(runs.by_attempt(claim.task, claim.epoch), call), "epoch": claim.epoch,
        "lease_token": claim.lease_token, "lease_expires_in": claim.expires_in,
    }  # fmt: skip
