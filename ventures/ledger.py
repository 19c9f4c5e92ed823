"""The only place that books money. Not: who may report it (the verbs), budgets and caps."""

from __future__ import annotations

from dataclasses import dataclass

from django.db import IntegrityError, connection
from django.db.models import Sum

from mission_control import log, sql
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, Refused
from mission_control.figures import compact, dollars
from ventures.models import LedgerEntry, Venture

_NOW = {"postgresql": "now()", "sqlite": "STRFTIME('%%Y-%%m-%%d %%H:%%M:%%f', 'NOW')"}


@dataclass(frozen=True)
class Spent:
    """What one report adds: amounts in micro-USD and tokens, all zero or more."""

    amount_micro_usd: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    model: str = ""
    provider: str = ""
    note: str = ""

    @property
    def tokens(self) -> int:
        return self.tokens_in + self.tokens_out

    @property
    def figures(self) -> str:
        """`18.2k tokens · $0.42`, for a screen; nothing when nothing was spent."""
        money = dollars(self.amount_micro_usd) if self.amount_micro_usd else ""
        return " · ".join(filter(None, [f"{compact(self.tokens)} tokens" if self.tokens else "", money]))

    def __bool__(self) -> bool:
        return bool(self.amount_micro_usd or self.tokens)


def book(
    actor: Actor,
    spent: Spent,
    *,
    venture: str,
    task: str = "",
    agent: str = "",
    session: str = "",
    attempt: int | None = None,
    request_id: str | None = None,
    announce: bool = False,
) -> bool:
    """Add one cost line and keep the venture's total equal. False when there is nothing new to book.

    A `request_id` that was booked before is not booked again. `announce` records cost.recorded: for reports that no
    other activity tells of. Locks the venture's row.
    """
    if not spent or (request_id and LedgerEntry.objects.filter(request_id=request_id).exists()):
        return False
    written = {
        "venture": venture, "task": task, "agent": agent, "session": session, "attempt": attempt, "kind": "cost",
        "amount_micro_usd": spent.amount_micro_usd, "tokens_in": spent.tokens_in, "tokens_out": spent.tokens_out,
        "model": spent.model, "provider": spent.provider, "note": spent.note[:500], "request_id": request_id,
    }  # fmt: skip
    sql.change(
        f"INSERT INTO ventures_ledgerentry ({', '.join(written)}, at)"  # noqa: S608  # constants
        f" VALUES ({sql.marks(written)}, {_NOW[connection.vendor]})",
        list(written.values()),
    )
    if spent.amount_micro_usd:
        sql.change(
            "UPDATE ventures_venture SET capital_spent_micro_usd = capital_spent_micro_usd + %s WHERE slug = %s",
            [spent.amount_micro_usd, venture],
        )
    if announce:
        log.record(
            "cost.recorded", actor, venture=venture, task=task, agent=agent, session=session, message=spent.note,
            data={
                "amount_micro_usd": spent.amount_micro_usd, "tokens_in": spent.tokens_in,
                "tokens_out": spent.tokens_out, "model": spent.model, "attempt": attempt,
            },
        )  # fmt: skip
    return True


@log.verb
def adjust(
    actor: Actor, venture: Venture, amount_micro_usd: int, *, note: str, request_id: str | None = None
) -> LedgerEntry:
    """Correct what a venture has spent, by more or by less. By an operator. Records cost.recorded.

    A `request_id` that was booked before is not booked again: its line is returned. Refused `below_zero`: less than
    nothing would be spent. Locks the venture's row.
    """
    if not actor.can("operate"):
        raise NotAllowed("Only an operator corrects the ledger.")
    if not amount_micro_usd:
        raise Invalid({"amount": "Give an amount."})
    Venture.objects.select_for_update(no_key=True).get(pk=venture.pk)
    if request_id and (booked := LedgerEntry.objects.filter(request_id=request_id).first()):
        if (booked.venture, booked.kind) != (venture.slug, "adjustment"):
            raise Refused("This request_id stands for another line of the ledger.", code="request_id_taken")
        return booked
    if not sql.change(
        "UPDATE ventures_venture SET capital_spent_micro_usd = capital_spent_micro_usd + %s"
        " WHERE slug = %s AND capital_spent_micro_usd + %s >= 0",
        [amount_micro_usd, venture.slug, amount_micro_usd],
    ):
        raise Refused("That would leave less than nothing spent.", code="below_zero")
    entry = LedgerEntry(
        venture=venture.slug, agent=actor.agent.slug if actor.agent else "", kind="adjustment",
        amount_micro_usd=amount_micro_usd, note=note, request_id=request_id, at=log.now(),
    )  # fmt: skip
    try:
        with log.step():
            entry.save(force_insert=True)
    except IntegrityError:  # another venture's report of the same id came first
        raise Refused("This request_id stands for another line of the ledger.", code="request_id_taken") from None
    log.record(
        "cost.recorded", actor, venture=venture.slug, message=note,
        data={"kind": "adjustment", "amount_micro_usd": amount_micro_usd},
    )  # fmt: skip
    return entry


def today() -> dict[str, Spent]:
    """`{agent's slug: what was booked for it}` since midnight UTC, by one statement."""
    midnight = log.now().replace(hour=0, minute=0, second=0, microsecond=0)
    rows = LedgerEntry.objects.filter(at__gte=midnight, kind="cost").exclude(agent="").order_by().values_list("agent")
    sums = rows.annotate(Sum("amount_micro_usd"), Sum("tokens_in"), Sum("tokens_out"))
    return {agent: Spent(amount, tokens_in, tokens_out) for agent, amount, tokens_in, tokens_out in sums}


def difference(total: Spent, *, task: str, agent: str, attempt: int) -> Spent:
    """What is missing in the ledger so that this attempt adds up to `total`; never less than nothing."""
    [(amount, tokens_in, tokens_out)] = sql.rows(
        "SELECT COALESCE(SUM(amount_micro_usd), 0), COALESCE(SUM(tokens_in), 0), COALESCE(SUM(tokens_out), 0)"
        " FROM ventures_ledgerentry"
        " WHERE task = %s AND task <> '' AND agent = %s AND attempt = %s AND kind = 'cost'",
        [task, agent, attempt],
    )
    return Spent(
        amount_micro_usd=max(0, total.amount_micro_usd - int(amount)),
        tokens_in=max(0, total.tokens_in - int(tokens_in)),
        tokens_out=max(0, total.tokens_out - int(tokens_out)),
        model=total.model,
        provider=total.provider,
        note=total.note,
    )
