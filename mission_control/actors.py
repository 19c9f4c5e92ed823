"""Who does something: a person, an agent or the system, and what each may do. Not: how a caller proves who it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mission_control.models import User

# What a role or a scope allows. "read" is looking, "work" is claiming and reporting as oneself, "orchestrate" is
# creating, triaging, assigning and registering, "operate" is steering what others do, "admin" is keys and users.
TYPES = ("user", "agent", "system")
ABILITIES = ("read", "work", "orchestrate", "operate", "admin")
ROLE_ABILITIES = {
    "viewer": frozenset({"read"}),
    "operator": frozenset({"read", "orchestrate", "operate"}),
    "admin": frozenset({"read", "orchestrate", "operate", "admin"}),
}
SCOPE_ABILITIES = {
    "work": frozenset({"read", "work"}),
    "orchestrate": frozenset({"read", "orchestrate"}),
    "admin": frozenset({"read", "work", "orchestrate", "operate", "admin"}),
}
SCOPES = tuple(SCOPE_ABILITIES)


@dataclass(frozen=True)
class Actor:
    """The author of a change. `type` is user, agent or system; `name` is the username, the agent's slug or the reason.

    `agent` is an agents.Agent, `user` a mission_control.User; exactly one is set unless the type is system.
    """

    type: str
    name: str
    abilities: frozenset[str] = field(default=frozenset(), compare=False)
    agent: Any = field(default=None, compare=False, repr=False)
    user: User | None = field(default=None, compare=False, repr=False)
    key_prefix: str = field(default="", compare=False)

    def can(self, ability: str) -> bool:
        return ability in self.abilities

    @property
    def is_agent(self) -> bool:
        return self.type == "agent"

    @property
    def is_person(self) -> bool:
        return self.type == "user"

    @property
    def identity(self) -> str:
        """`agent:ada`, `user:olivia`: the caller as one string, for idempotency keys and limits."""
        return f"{self.type}:{self.name}"


def person(user: User) -> Actor:
    return Actor("user", user.get_username(), ROLE_ABILITIES.get(user.role, frozenset()), user=user)


def system(reason: str) -> Actor:
    """The product itself, with the reason it acts: `sweep`, `dependency`, `command`."""
    return Actor("system", reason, frozenset(ABILITIES))
