"""What wakes whom, and the loop breaker: agents that wake each other without end are stopped. Not: how they are woken.

    an agent hands work to another one ─▶ a wake: its cause is the wake before, of the one who hands over
    closed ── the same two for the WAKE_TURNS-th time in one chain of causes, or WAKE_LIMIT wakes in ten minutes ─▶ open
    open ── a person resets it ─▶ closed

A chain ends where a person wakes somebody. What opens a circuit still goes through; afterwards the one may not wake the
other, and is told why, until a person has looked. All of it happens in the unit of the lines themselves (log.flush).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta

from django.conf import settings
from django.db.models import Max
from django.db.models.functions import Now

from mission_control import log
from mission_control.actors import Actor, system
from mission_control.errors import NotAllowed, NotThere, Refused
from mission_control.models import Activity, Circuit, Wake

WINDOW = timedelta(minutes=10)
FORGOTTEN_AFTER = timedelta(hours=24)  # what an agent does a day later was not caused by it
LONGEST_CHAIN = 64  # lines that are looked at

# The slugs of the agents that a line calls to work. Set by the app of tasks.
called_by: Callable[[Activity], Sequence[str]] = lambda line: ()  # noqa: E731


def register() -> None:
    """Tell the log. Called once, when the app is ready."""
    log.watchers.append(watch)


def watch(pending: list[Activity]) -> Callable[[], None] | None:
    """Before lines are numbered: give them their causes, refuse what an open circuit forbids, open one.

    What it returns is called when they have their numbers. Locks the circuits of the pairs, in order of their names.
    """
    place = next((n for n, line in enumerate(pending) if line.status_to), 0)
    root = pending[place]
    for line in pending[place + 1 :]:
        if _follows(line, root):
            line.cause = -1 - place  # its number is not known yet, see log.flush
    wakes = {slug: line for line in pending for slug in called_by(line)}
    told: list[tuple[str, Activity, Activity]] = []  # woken, by this line, which that line led to
    for woken, line in sorted(wakes.items()):
        author = root if line.cause < 0 else line
        if author.actor_type != "system" and (author.actor_type, author.actor) != ("agent", woken):
            told.append((woken, line, author))
    if not told:
        return None
    before = _wake_of(root.actor) if root.actor_type == "agent" else None
    for woken, line, author in told:
        if before:
            author.cause = before.seq
        if author.actor_type == "agent":
            opened = _pass(author.actor, woken, line, before)
            if opened:
                opened.cause = -1 - pending.index(line)
    return lambda: _remember(told)


def _follows(line: Activity, root: Activity) -> bool:
    """Whether the product did this because of that: a dependant that is free now, a sweep's aftermath."""
    return line.actor_type == "system" or (line.task != root.task and line.kind != root.kind)


def _remember(told: list[tuple[str, Activity, Activity]]) -> None:
    """The fleet's counter is held by now, so nobody else writes these rows."""
    for woken, line, _ in told:
        Wake.objects.update_or_create(agent=woken, defaults={"seq": line.seq, "at": log.now()})


def _wake_of(agent: str) -> Wake | None:
    return Wake.objects.filter(agent=agent, at__gt=Now() - FORGOTTEN_AFTER).first()


# ── the circuit ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _pass(waker: str, woken: str, line: Activity, before: Wake | None) -> Activity | None:
    """Count one wake of this pair. Refused while its circuit is open. At a limit it opens: the line circuit.opened."""
    opened = None
    circuit, _ = Circuit.objects.select_for_update().get_or_create(
        waker=waker, woken=woken, defaults={"window_began_at": log.now()}
    )
    if circuit.opened_at:
        raise Refused(
            f"{waker} may not call {woken} to work for now: {circuit.reason} A person has to reset this.",
            code="circuit_open", waker=waker, woken=woken, opened_at=circuit.opened_at,
        )  # fmt: skip
    now = log.now()
    if now - circuit.window_began_at > WINDOW:
        circuit.window_began_at, circuit.wakes = now, 0
    circuit.wakes += 1
    turns = 1 + (_turns(waker, woken, before) if before else 0)
    if turns >= settings.WAKE_TURNS:
        circuit.reason = f"They woke each other {turns} times in a row and no person stepped in."
    elif circuit.wakes >= settings.WAKE_LIMIT:
        circuit.reason = f"It was called {circuit.wakes} times within ten minutes."
    if circuit.reason:
        circuit.opened_at = now
        opened = log.record(
            "circuit.opened", system("loop breaker"), level="warning", agent=woken, venture=line.venture,
            task=line.task, title=f"{waker} → {woken}", message=circuit.reason,
            data={"waker": waker, "woken": woken, "turns": turns, "wakes": circuit.wakes},
        )  # fmt: skip
    circuit.save()
    return opened


def _turns(waker: str, woken: str, last: Wake) -> int:
    """How often the one woke the other in the chain of causes that ends with the last wake of the first one.

    A reset of any circuit ends all chains there: a person has stepped in.
    """
    since = Circuit.objects.aggregate(seq=Max("since_seq"))["seq"] or 0
    turns, called, seq = 0, waker, last.seq
    for _ in range(LONGEST_CHAIN):
        line = Activity.objects.filter(seq=seq, seq__gt=since).only("seq", "actor_type", "actor", "cause").first()
        if line is None or line.actor_type == "user":
            break
        if line.actor_type == "agent":
            turns += (line.actor, called) == (waker, woken)
            called = line.actor
        seq = line.cause
    return turns


@log.verb
def reset(actor: Actor, waker: str, woken: str) -> Circuit:
    """Let the one wake the other again; the count begins anew. Records circuit.reset, nothing when it was not open."""
    if not actor.can("operate"):
        raise NotAllowed("Only an operator resets a circuit.")
    circuit = Circuit.objects.select_for_update().filter(waker=waker, woken=woken).first()
    if circuit is None:
        raise NotThere("There is no such circuit.")
    if not circuit.opened_at:
        return circuit
    line = log.record(
        "circuit.reset", actor, level="success", agent=woken, title=f"{waker} → {woken}", message=circuit.reason,
        data={"waker": waker, "woken": woken},
    )  # fmt: skip
    log.flush()
    circuit.opened_at, circuit.reason, circuit.wakes, circuit.since_seq = None, "", 0, line.seq
    circuit.save()
    return circuit
