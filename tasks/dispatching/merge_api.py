"""The call that merges the finished branches of a venture. Not: rules, git (merging.py)."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from mission_control.endpoints import STEER, Call, endpoint
from mission_control.fields import Answer, Flag, StrictSerializer
from tasks.dispatching import merging
from tasks.dispatching.merging import Merge
from ventures.api import visible


class MergeIn(StrictSerializer):
    dry_run = Flag(default=False, help_text="Only say what would happen.")


class MergeOut(Answer):
    class OutcomeOut(serializers.Serializer[Any]):
        task = serializers.CharField()
        branch = serializers.CharField(allow_blank=True)
        state = serializers.ChoiceField(choices=merging.STATES)
        files = serializers.ListField(child=serializers.CharField(), help_text="Those that are in conflict.")
        behind = serializers.CharField(allow_blank=True, help_text="The task that holds it up.")

    venture = serializers.CharField()
    branch = serializers.CharField(help_text="The default branch, into which it is merged.")
    dry_run = serializers.BooleanField(help_text="Nothing was changed; the states say what would become of each.")
    merged = serializers.IntegerField(help_text="How many branches were, or would be, merged.")
    outcomes = OutcomeOut(many=True)

    @classmethod
    def shape(cls, thing: Merge, call: Any) -> dict[str, Any]:
        return thing.as_dict()


@endpoint("POST", needs=STEER, takes=MergeIn, gives=MergeOut, name="merge", title="Merge finished branches")
def merge_branches(call: Call, slug: str) -> Merge:
    """Merge the branches of its done tasks into the default branch, prerequisites first, in the venture's workspace.

    A conflict leaves the default branch as it was before that task, reopens the task and blocks it with the files as its
    reason; what does not depend on it goes on. Refused where somebody's uncommitted work stands on the default branch.
    """
    return merging.merge(call.actor, visible(call.actor, slug), dry_run=call.given.get("dry_run", False))
