"""The verbs on ventures: create, change, delete. Not: what is spent (ledger.py), who joined (agents)."""

from __future__ import annotations

from typing import Any

from django.db import IntegrityError
from django.db.models import F, ProtectedError
from django.utils.text import slugify

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity
from ventures.models import DEFAULT_SLUG, Venture

CHANGEABLE = (
    "name",
    "icon",
    "color",
    "description",
    "status",
    "priority",
    "capital_budget_micro_usd",
    "repo_url",
    "default_branch",
    "context_file",
    "workspace",
    "intake",
    "review_required",
    "open_to_all",
    "wip_limits",
    "max_failures",
    "approval_required",
    "four_eyes",
)
COLUMN_KEYS = ("inbox", "ready", "assigned", "in_progress", "on_hold", "review", "done")
LIMIT_MOST = 100_000
GUARDS = ("approval_required", "four_eyes")  # who may start is not for agents to loosen  # fmt: skip


def by_slug(slug: str) -> Venture:
    try:
        return Venture.objects.get(slug=slug)
    except Venture.DoesNotExist:
        raise NotThere("There is no such venture.") from None


@log.verb
def create(actor: Actor, *, name: str, slug: str = "", **fields: Any) -> Venture:
    """Records venture.created. Invalid: the slug is taken or nothing is left of the name."""
    _may_change(actor)
    if fields.get("workspace"):
        _may_name_place(actor)
    slug = slug or free_slug(name)
    if Venture.objects.filter(slug=slug).exists():
        raise Invalid({"slug": f"The slug {slug} is taken."})
    try:
        with log.step():
            venture = Venture.objects.create(name=name, slug=slug, created_at=log.now(), **_known(fields))
    except IntegrityError:
        raise Invalid({"slug": f"The slug {slug} is taken."}) from None
    log.record("venture.created", actor, venture=slug, title=name, data={"after": _shown(venture)})
    return venture


@log.verb
def change(actor: Actor, venture: Venture, changes: dict[str, Any], *, version: int | None = None) -> Venture:
    """Records venture.changed with before and after; nothing when nothing differs. Locks the venture's row.

    `version`: refuse with 412 when someone changed it in between.
    """
    _may_change(actor)
    current = Venture.objects.select_for_update(no_key=True).get(pk=venture.pk)
    if version is not None and version != current.version:
        raise Refused("Somebody changed it in the meantime.", code="stale", status=412, version=current.version)
    before, after = {}, {}
    for field, value in _known(changes).items():
        if getattr(current, field) != value:
            if field in GUARDS and not value and not actor.can("operate"):
                raise NotAllowed("Only an operator loosens who has to approve.", code="operators_only")
            if field == "workspace":
                _may_name_place(actor)
            before[field], after[field] = getattr(current, field), value
            setattr(current, field, value)
    if after:
        current.version += 1
        current.save(update_fields=[*after, "version"])
        log.record(
            "venture.changed", actor, venture=current.slug, title=current.name, data={"before": before, "after": after}
        )
    return current


@log.verb
def set_limit(actor: Actor, slug: str, column: str, most: int | None) -> Venture:
    """How many cards a column should hold, the other limits left as they are; None takes it away.

    A limit of In progress holds claims back, the others are only shown. Records venture.changed. Locks the venture's row.
    """
    _may_change(actor)
    if column not in COLUMN_KEYS:
        raise Invalid({"column": "There is no such column."})
    if most is not None and not 1 <= most <= LIMIT_MOST:
        raise Invalid({"most": f"Give a number from 1 to {LIMIT_MOST:,}, or none."})
    current = Venture.objects.select_for_update(no_key=True).get(pk=by_slug(slug).pk)
    limits = {key: number for key, number in current.wip_limits.items() if key != column}
    return change(actor, current, {"wip_limits": limits if most is None else {**limits, column: most}})


@log.verb
def delete(actor: Actor, venture: Venture) -> None:
    """Records venture.changed with `deleted`. Refused while it holds tasks, and for the default venture."""
    _may_change(actor)
    if venture.slug == DEFAULT_SLUG:
        raise Refused(
            "The default venture cannot be deleted: tasks without a venture go there.", code="default_venture"
        )
    current = Venture.objects.select_for_update(no_key=True).get(pk=venture.pk)
    try:
        with log.step():
            current.delete()
    except ProtectedError:
        raise Refused("It still holds tasks. Archive it, or delete its tasks first.", code="not_empty") from None
    log.record("venture.changed", actor, venture=venture.slug, title=venture.name, data={"deleted": True})


def default() -> Venture:
    """Where a task without a venture goes; made by the first migration."""
    return Venture.objects.get(slug=DEFAULT_SLUG)


def touch(slug: str) -> None:
    """Count a change that an app to the right made (somebody joined)."""
    Venture.objects.filter(slug=slug).update(version=F("version") + 1)


def free_slug(name: str) -> str:
    """A slug made from the name, with a number behind it while it is taken."""
    stem = slugify(name)[:50] or "venture"
    slug, number = stem, 2
    while Venture.objects.filter(slug=slug).exists() or Activity.objects.filter(venture=slug).exists():
        slug, number = f"{stem}-{number}", number + 1
    return slug


def _may_change(actor: Actor) -> None:
    if not (actor.can("operate") or actor.can("orchestrate")):
        raise NotAllowed("Only an operator or an orchestrator changes ventures.")


def _may_name_place(actor: Actor) -> None:
    """A workspace is a directory of this server: branches are merged there, and whether files are there is told."""
    if not actor.can("operate"):
        raise NotAllowed("Only an operator names a directory of this server.", code="operators_only")


def _known(fields: dict[str, Any]) -> dict[str, Any]:
    unknown = set(fields) - set(CHANGEABLE)
    if unknown:
        raise Invalid(dict.fromkeys(sorted(unknown), "This cannot be set."))
    return fields


def _shown(venture: Venture) -> dict[str, Any]:
    return {field: getattr(venture, field) for field in CHANGEABLE}
