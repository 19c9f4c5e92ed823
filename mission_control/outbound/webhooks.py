"""The verbs on webhooks: subscribe, change, rotate, disable, delete. Not: what they are sent (deliveries.py), how (sending.py).

    enabled ── 410, or five days of nothing but failures, or a person ──▶ disabled ── a person ──▶ enabled

While it is disabled nothing is kept for a webhook, and what was waiting is dead; what it missed can be sent again by
`deliveries.redeliver_range`. Lock order: the watermark `hooked`, the webhook, its deliveries, the fleet's counter.
"""

from __future__ import annotations

import secrets
import string
from datetime import timedelta
from typing import Any

from mission_control import log
from mission_control.actors import Actor
from mission_control.errors import Invalid, NotAllowed, NotThere, Refused
from mission_control.models import Activity, Delivery, Webhook
from mission_control.outbound import outgoing, signatures

CHANGEABLE = ("url", "description", "kinds", "ventures", "concurrency", "enabled")
MOST_WEBHOOKS = 500

# The kinds that may be subscribed to. Set by the app that knows them all.
known_kinds: tuple[str, ...] = ()


def by_code(code: str) -> Webhook:
    hook = Webhook.objects.filter(code=code).first()
    if hook is None:
        raise NotThere("There is no such webhook.")
    return hook


@log.verb
def create(actor: Actor, *, url: str, secret: str = "", agent: str = "", **fields: Any) -> tuple[Webhook, str]:
    """`(webhook, secret)`: what is recorded from now on is told to this address. The secret is not shown again.

    `agent`: the slug whose own address it is; it takes the place of the one before. Records webhook.created.
    Invalid: an address, a kind or a secret that is none. The URL is not in the log: its path may be a secret.
    """
    if not (agent and actor.agent is not None and actor.agent.slug == agent):
        may_steer(actor)
    secret = secret or signatures.new_secret()
    fields = {"url": url, **fields}
    _check(fields, secret)
    if agent:
        Webhook.objects.filter(agent=agent).delete()
    if Webhook.objects.count() >= MOST_WEBHOOKS:
        raise Refused(f"There are {MOST_WEBHOOKS} webhooks already.", code="too_many")
    hook = Webhook.objects.create(
        code=_new_code(), secret=signatures.sealed(secret), agent=agent, created_by=actor.name, created_at=log.now(),
        **fields,
    )  # fmt: skip
    line = record(hook, "webhook.created", actor, data={"after": _shown(hook, CHANGEABLE)})
    return _from_now_on(hook, line), secret


@log.verb
def change(actor: Actor, code: str, changes: dict[str, Any], *, version: int | None = None) -> Webhook:
    """Records webhook.changed with before and after; nothing when nothing differs. Locks the webhook.

    `enabled` true begins anew: with the next line of the log, and with all failures forgotten.
    """
    may_steer(actor)
    hook = locked(code)
    if version is not None and version != hook.version:
        raise Refused("Somebody changed it in the meantime.", code="stale", status=412, version=hook.version)
    _check(changes)
    differing = [name for name in CHANGEABLE if name in changes and changes[name] != getattr(hook, name)]
    if not differing:
        return hook
    before = _shown(hook, differing)
    for name in differing:
        setattr(hook, name, changes[name])
    hook.version += 1
    hook.save(update_fields=[*differing, "version"])
    if "enabled" in differing:
        _switch(hook, "" if hook.enabled else f"Switched off by {actor.name}.")
    data = {"before": before, "after": _shown(hook, differing)}
    if differing == ["enabled"] and not hook.enabled:
        record(hook, "webhook.disabled", actor, level="warning", message=hook.disabled_reason, data=data)
        return hook
    line = record(hook, "webhook.changed", actor, data=data)
    return _from_now_on(hook, line) if "enabled" in differing and hook.enabled else hook


@log.verb
def rotate(actor: Actor, code: str, *, overlap_hours: int = 24, secret: str = "") -> tuple[Webhook, str]:
    """A new secret. The old one signs too for so many hours, so that nothing is refused while the receiver changes over.

    Records webhook.changed. Locks the webhook.
    """
    may_steer(actor)
    hook = locked(code)
    secret = secret or signatures.new_secret()
    _check({}, secret)
    if overlap_hours:
        hook.old_secret, hook.old_secret_until = hook.secret, log.now() + timedelta(hours=overlap_hours)
    else:
        hook.old_secret = hook.old_secret_until = None
    hook.secret, hook.version = signatures.sealed(secret), hook.version + 1
    hook.save(update_fields=["secret", "old_secret", "old_secret_until", "version"])
    record(hook, "webhook.changed", actor, data={"rotated": True, "overlap_hours": overlap_hours})
    return hook, secret


@log.verb
def delete(actor: Actor, code: str) -> None:
    """With its deliveries. Records webhook.deleted."""
    may_steer(actor)
    hook = locked(code)
    record(hook, "webhook.deleted", actor, level="warning", data={"before": _shown(hook, CHANGEABLE)})
    hook.delete()


def begin_for_agent(agent: str, actor: Actor) -> None:
    """A person answers for the agent: its own address is told from now on. Joins the unit of the caller.

    Records webhook.changed when there is one.
    """
    for hook in Webhook.objects.select_for_update().filter(agent=agent, enabled=False):
        hook.enabled = True
        hook.save(update_fields=["enabled"])
        _switch(hook, "")
        data = {"before": {"enabled": False}, "after": {"enabled": True}}
        _from_now_on(hook, record(hook, "webhook.changed", actor, data=data))


def remove_for_agent(agent: str, actor: Actor) -> None:
    """The agent has no address of its own any more. Joins the unit of the caller; records webhook.deleted once."""
    for hook in Webhook.objects.select_for_update().filter(agent=agent):
        record(hook, "webhook.deleted", actor, data={"before": _shown(hook, CHANGEABLE)})
        hook.delete()


def disable(hook: Webhook, reason: str, actor: Actor) -> None:
    """By the product itself: the endpoint is gone. Joins the unit of the caller, which holds the lock on the webhook.

    Records webhook.disabled, an error that people are told of.
    """
    hook.enabled, hook.version = False, hook.version + 1
    hook.save(update_fields=["enabled", "version"])
    given_up = _switch(hook, reason)
    record(
        hook, "webhook.disabled", actor, level="error", message=reason,
        data={"before": {"enabled": True}, "after": {"enabled": False}, "given_up": given_up},
    )  # fmt: skip


# ── small things ────────────────────────────────────────────────────────────────────────────────────────────────────


def may_steer(actor: Actor) -> None:
    if not actor.can("operate"):
        raise NotAllowed("Only an operator looks after webhooks.")


def locked(code: str) -> Webhook:
    hook = Webhook.objects.select_for_update().filter(code=code).first()
    if hook is None:
        raise NotThere("There is no such webhook.")
    return hook


def enabled(hook: Webhook) -> Webhook:
    if not hook.enabled:
        raise Refused("It is disabled. Enable it first.", code="disabled")
    return hook


def _switch(hook: Webhook, reason: str) -> int:
    """What goes with `enabled`, which is written already. How many waiting deliveries were given up."""
    hook.disabled_reason, hook.failures, hook.failing_since, hook.hold_until = reason[:500], 0, None, None
    hook.save(update_fields=["disabled_reason", "failures", "failing_since", "hold_until"])
    if hook.enabled:
        return 0
    return Delivery.objects.filter(webhook=hook, state="pending").update(state="dead", sending_until=None)


def _from_now_on(hook: Webhook, line: Activity) -> Webhook:
    """Whatever is numbered after this line was committed after the webhook was there to be seen."""
    log.flush()
    hook.since_seq = line.seq
    hook.save(update_fields=["since_seq"])
    return hook


def _check(fields: dict[str, Any], secret: str = "") -> None:
    wrong: dict[str, str] = {}
    for name, look in (("url", outgoing.target_of), ("kinds", _check_kinds)):
        if name in fields:
            try:
                look(fields[name])
            except ValueError as error:
                wrong[name] = str(error)
    if secret:
        try:
            signatures.key_of(secret)
        except ValueError as error:
            wrong["secret"] = str(error)
    if wrong:
        raise Invalid(wrong)


def _check_kinds(kinds: list[str]) -> None:
    nouns = {f"{kind.partition('.')[0]}.*" for kind in known_kinds}
    unknown = [kind for kind in kinds if kind not in nouns and kind not in known_kinds]
    if unknown:
        raise ValueError(
            f"There is no kind {unknown[0]}. Use kinds of the log, or all of a noun: {', '.join(sorted(nouns))}."
        )


def _shown(hook: Webhook, names: Any) -> dict[str, Any]:
    return {n: outgoing.host_of(hook.url) if n == "url" else getattr(hook, n) for n in names}


def record(hook: Webhook, kind: str, actor: Actor, *, data: dict[str, Any], **fields: Any) -> Activity:
    told = {"webhook": hook.code, **data}
    return log.record(kind, actor, agent=hook.agent, title=outgoing.host_of(hook.url), data=told, **fields)


def _new_code() -> str:
    return "".join(secrets.choice(string.ascii_lowercase + string.digits) for _ in range(8))
