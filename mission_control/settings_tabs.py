"""Which pages hang in the frame of the settings, in which order, and who sees the tab of each. Not: the pages."""

from __future__ import annotations

from dataclasses import dataclass

from mission_control.actors import Actor


@dataclass(frozen=True)
class Tab:
    """`needs` is the ability without which the page answers 403."""

    path: str
    label: str
    sign: str
    needs: str = "read"


TABS = (
    Tab("/account", "Your account", "i-person"),
    Tab("/settings/notifications", "Notifications", "i-bell"),
    Tab("/settings/users", "Users", "i-people", "admin"),
    Tab("/settings/keys", "API keys", "i-key", "operate"),
    Tab("/settings/webhooks", "Webhooks", "i-link", "operate"),
    Tab("/settings/circuits", "Loop breaker", "i-alert", "operate"),
    Tab("/settings/data", "Data", "i-download", "operate"),
)


def of(actor: Actor) -> list[Tab]:
    """The tabs that this caller may open, from top to bottom."""
    return [tab for tab in TABS if actor.can(tab.needs)]
