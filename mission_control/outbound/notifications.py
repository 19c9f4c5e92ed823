"""Who is told of what: one notification for each recipient of a line, made from the log. Not: the rules themselves.

The apps to the right register rules (`tell`): a rule names the recipients of a line. A page of lines is worked through
under the lock of the watermark `told`, so a line becomes a recipient's notification once, in any number of processes.
What is asked for (the list, the count) is brought up to date first: nobody waits for the chore.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta

from django.db.models import Max, Q, QuerySet
from django.db.models.functions import Now

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import NotAllowed, NotThere
from mission_control.models import Activity, Notification, User, Watch, Watermark

MARK = "told"
PAGE = 500  # lines in one transaction
KEPT_DAYS = 90

# Why somebody is told, the most pressing first: a line that concerns somebody twice is told for the first of them.
REASONS = (
    "review", "approval", "question", "failed", "mention", "assigned", "unblocked", "yours", "team", "budget", "idle",
    "webhook", "watching",
)  # fmt: skip

# The same in words, after the title of what it is about.
WHY = {
    "review": "waits for a verdict", "approval": "waits for an approval", "question": "has a question",
    "failed": "failed too often", "mention": "mentions you", "assigned": "is assigned to you",
    "unblocked": "can go on", "yours": "news of what you asked for", "team": "news of the team",
    "budget": "is about the budget", "idle": "went silent at work", "webhook": "was switched off",
    "watching": "news of what you watch",
}  # fmt: skip

# Watching is for what moves a task or adds to it: not each step, nor what its author keeps for itself.
UNWATCHED = ("task.progressed", "note.added", "session.updated")

Recipient = tuple[str, str]  # ("user", username) or ("agent", slug)
Rule = Callable[[Activity], Iterable[tuple[Recipient, str]]]
_rules: list[Rule] = []


def tell(rule: Rule) -> Rule:
    """Register a rule: `line → [(recipient, reason)]`. It sees each line once and only reads."""
    if rule not in _rules:
        _rules.append(rule)
    return rule


def operators() -> list[Recipient]:
    """The people who can do something about it."""
    people = User.objects.filter(is_active=True, role__in=["operator", "admin"])
    return [("user", name) for name in people.values_list("username", flat=True)]


@tell
def _named_by_webhooks(line: Activity) -> Iterable[tuple[Recipient, str]]:
    if line.kind == "webhook.disabled" and line.actor_type == "system":
        return [(who, "webhook") for who in operators()]
    return []


# ── made from the log ───────────────────────────────────────────────────────────────────────────────────────────────


def make_from_log(pages: int = 1_000) -> int:
    """Make the notifications of the lines that are new, up to so many pages of them. How many. Two reads if none."""
    made = 0
    while (pages := pages - 1) >= 0 and Watermark.objects.filter(pk=MARK, seq__lt=log.head()).exists():
        more = _make_page()
        if more is None:
            break
        made += more
    return made


@log.verb
def _make_page() -> int | None:
    """Locks the watermark. None when another process was faster."""
    mark = Watermark.objects.select_for_update().get(pk=MARK)
    until = Activity.objects.filter(seq__gt=mark.seq, seq__lte=mark.seq + PAGE).aggregate(seq=Max("seq"))["seq"]
    if until is None:
        return None
    lines = list(Activity.objects.filter(seq__gt=mark.seq, seq__lte=until).order_by("seq"))
    watched = watchers({line.task for line in lines})
    rows = [row for line in lines for row in of(line, watched)]
    Notification.objects.bulk_create(rows, batch_size=PAGE, ignore_conflicts=True)
    Watermark.objects.filter(pk=MARK).update(seq=until, at=Now())
    return len(rows)


def watchers(tasks: Iterable[str]) -> dict[str, list[Recipient]]:
    """`{task: who watches it}` of these tasks."""
    found: dict[str, list[Recipient]] = {}
    rows = Watch.objects.filter(task__in=set(tasks) - {""}).values_list("task", "watcher_type", "watcher")
    for task, kind, name in rows:
        found.setdefault(task, []).append((kind, name))
    return found


def of(line: Activity, watched: dict[str, list[Recipient]]) -> list[Notification]:
    """The notifications of one line. Nobody is told of what it did itself."""
    named = [pair for rule in _rules for pair in rule(line)]
    if line.kind not in UNWATCHED:
        named += [(who, "watching") for who in watched.get(line.task, ())]
    reasons: dict[Recipient, str] = {}
    for who, reason in named:
        if who != (line.actor_type, line.actor):
            reasons[who] = min(reasons.get(who, reason), reason, key=REASONS.index)
    return [
        Notification(
            recipient_type=kind, recipient=name, seq=line.seq, reason=reason, kind=line.kind, level=line.level,
            actor_type=line.actor_type, actor=line.actor, venture=line.venture, task=line.task, title=line.title,
            message=line.message[:500], at=line.at,
        )
        for (kind, name), reason in reasons.items()
    ]  # fmt: skip


# ── read by their recipient ─────────────────────────────────────────────────────────────────────────────────────────


def whose(actor: Actor) -> Recipient:
    """NotAllowed: the system has no notifications."""
    if actor.agent:
        return "agent", actor.agent.slug
    if actor.user:
        return "user", actor.name
    raise NotAllowed("Only people and agents have notifications.")


def of_actor(actor: Actor) -> QuerySet[Notification]:
    """The caller's own, newest first, up to this moment; under a flood the chore may be some seconds behind."""
    make_from_log(pages=1)
    kind, name = whose(actor)
    return Notification.objects.filter(recipient_type=kind, recipient=name)


def one(actor: Actor, number: int) -> Notification:
    """NotThere: unknown, or somebody else's."""
    found = of_actor(actor).filter(pk=number).first()
    if found is None:
        raise NotThere("There is no such notification.")
    return found


def unread(actor: Actor) -> int:
    return of_actor(actor).filter(read_at=None).count()


def seen(actor: Actor, task: str) -> None:
    """Whoever looks at a task has seen what there was to know of it."""
    kind, name = whose(actor)
    new = Notification.objects.filter(recipient_type=kind, recipient=name, task=task, read_at=None)
    if new.exists():
        new.update(read_at=Now())


def mark_read(actor: Actor, ids: Sequence[int] | None = None, *, until: int | None = None) -> int:
    """Mark the caller's own as read: these, or all up to and with the number `until`, or all. How many there were.

    Records nothing: what somebody has read is nobody else's business.
    """
    kind, name = whose(actor)
    chosen = Q(recipient_type=kind, recipient=name, read_at=None)
    if ids is not None:
        chosen &= Q(pk__in=list(ids))
    if until is not None:
        chosen &= Q(pk__lte=until)
    return Notification.objects.filter(chosen).update(read_at=Now())


def watch(actor: Actor, task: str) -> None:
    """Tell the caller what happens to this task, which it sees. Once is enough."""
    kind, name = whose(actor)
    Watch.objects.get_or_create(task=task, watcher_type=kind, watcher=name)


def unwatch(actor: Actor, task: str) -> None:
    kind, name = whose(actor)
    Watch.objects.filter(task=task, watcher_type=kind, watcher=name).delete()


def is_watching(actor: Actor, task: str) -> bool:
    kind, name = whose(actor)
    return Watch.objects.filter(task=task, watcher_type=kind, watcher=name).exists()


def forget_old() -> int:
    """Chore: what nobody looks for any more. How many."""
    gone, _ = Notification.objects.filter(at__lt=Now() - timedelta(days=KEPT_DAYS)).delete()
    return gone
