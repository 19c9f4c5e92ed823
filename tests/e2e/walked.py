"""All pages that a person can open, by their route, and the addresses at which each is looked at.

`tests/test_pages.py` asks every route of the product: one that answers with a whole page has to stand here.
"""

from __future__ import annotations

# What stands in braces is told by who walks: {task}, {asked} (waits for approval), {webhook}, {claim}.
SIGNED_IN: dict[str, tuple[str, ...]] = {
    "": ("/", "/?at=60", "/?view=list", "/?group=assignee", "/?q=nothing+is+called+that"),
    "ventures": ("/ventures",),
    "ventures/<slug:slug>": ("/ventures/shoe-store",),
    "ventures/<slug:slug>/board": ("/ventures/shoe-store/board",),
    "sessions": ("/sessions",),
    "inbox": ("/inbox",),
    "tasks/<slug:code>": (
        *(f"/tasks/{{task}}?tab={tab}" for tab in ("overview", "activity", "deliverables", "sessions", "context", "audit")),
        "/tasks/{asked}",
    ),
    "agents": ("/agents",),
    "agents/<slug:slug>": ("/agents/ada",),
    "connect": ("/connect",),
    "claim/<str:token>": ("{claim}",),
    "settings/keys": ("/settings/keys",),
    "settings/notifications": ("/settings/notifications",),
    "settings/users": ("/settings/users",),
    "settings/webhooks": ("/settings/webhooks",),
    "settings/webhooks/<slug:code>": ("/settings/webhooks/{webhook}",),
    "settings/circuits": ("/settings/circuits",),
    "settings/data": ("/settings/data",),
    "account": ("/account",),
    "account/logout": ("/account/logout",),
    "account/password/change": ("/account/password/change",),
    "account/reauthenticate": ("/account/reauthenticate",),
    "account/authenticator/add": ("/account/authenticator/add",),
    "account/passkeys/add": ("/account/passkeys/add",),
    "no such page": ("/nothing/here",),
}  # fmt: skip
DEBUG_ONLY = {"styleguide": ("/styleguide",)}
SIGNED_OUT = {
    "account/login": ("/account/login",),
    "first-run/<str:token>": ("/first-run/nothing",),
    "welcome/<str:token>": ("/welcome/nothing",),
}
# Steps of a second factor, reached only in the middle of it: tests/e2e/test_account.py looks at them on its way.
ON_THE_WAY = {
    "account/login/second-step", "account/reauthenticate/code", "account/recovery-codes", "account/recovery-codes/new",
    "account/authenticator/remove", "account/passkeys/<number:pk>/remove", "account/second-step",
    "account/sign-out-everywhere",
}  # fmt: skip
