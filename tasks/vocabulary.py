"""The words: statuses, priorities, columns, and what is accepted on input. Output is always canonical."""

INBOX, READY, ASSIGNED, IN_PROGRESS = "inbox", "ready", "assigned", "in_progress"
PAUSED, BLOCKED, REVIEW, DONE, FAILED, CANCELLED = "paused", "blocked", "review", "done", "failed", "cancelled"
STATUSES = {
    INBOX: "Inbox",
    READY: "Ready",
    ASSIGNED: "Assigned",
    IN_PROGRESS: "In progress",
    PAUSED: "Paused",
    BLOCKED: "Blocked",
    REVIEW: "Review",
    DONE: "Done",
    FAILED: "Failed",
    CANCELLED: "Cancelled",
}
CREATED_IN = (INBOX, READY, ASSIGNED, BLOCKED)
OPEN = tuple(status for status in STATUSES if status not in (DONE, CANCELLED))
APPROVABLE = (INBOX, READY, ASSIGNED, BLOCKED, PAUSED, FAILED)  # not started, or to be started again

STATUS_WORDS = {
    "backlog": INBOX, "new": INBOX, "planning": INBOX,
    "queue": READY, "queued": READY, "pending": READY, "todo": READY,
    "active": IN_PROGRESS, "processing": IN_PROGRESS, "running": IN_PROGRESS, "doing": IN_PROGRESS,
    "inprogress": IN_PROGRESS,
    "testing": REVIEW, "verification": REVIEW,
    "completed": DONE, "complete": DONE, "closed": DONE,
}  # fmt: skip

LOW, MEDIUM, HIGH, URGENT = 0, 1, 2, 3
PRIORITIES = {LOW: "low", MEDIUM: "medium", HIGH: "high", URGENT: "urgent"}
PRIORITY_WORDS = {**{word: rank for rank, word in PRIORITIES.items()}, "normal": MEDIUM, "critical": URGENT}

BLOCK_KINDS = ("needs_input", "dependency", "capability", "transient")
DELIVERABLE_TYPES = ("file", "url", "artifact")
SESSION_TYPES = ("primary", "subagent", "persistent")
STEPS_MOST = 200
STEP_STATES = ("pending", "running", "done", "failed", "skipped")
STEP_WORDS = {
    "todo": "pending", "open": "pending", "not_started": "pending",
    "in_progress": "running", "active": "running", "doing": "running", "current": "running",
    "completed": "done", "complete": "done", "finished": "done", "checked": "done",
    "error": "failed", "cancelled": "skipped", "canceled": "skipped",
}  # fmt: skip
WAYS = {  # of a hand-over, in the order in which they are tried
    "webhook": "webhook",
    "push": "its open connection",
    "runner": "its runner",
    "poll": "its next call",
}
HAND_OVER_WAYS = tuple(WAYS)
CONTEXT_KINDS = ("requirement", "decision", "artifact", "share")
SESSION_STATES = ("queued", "running", "waiting", "paused", "completed", "failed", "cancelled")

# The board, left to right: key → (label, statuses). Cancelled shows only behind its filter.
COLUMNS = {
    "inbox": ("Inbox", (INBOX,)),
    "ready": ("Ready", (READY,)),
    "assigned": ("Assigned", (ASSIGNED,)),
    "in_progress": ("In progress", (IN_PROGRESS,)),
    "on_hold": ("On hold", (PAUSED, BLOCKED, FAILED)),
    "review": ("Review", (REVIEW,)),
    "done": ("Done", (DONE,)),
    "cancelled": ("Cancelled", (CANCELLED,)),
}
COLUMN_OF = {status: key for key, (_, statuses) in COLUMNS.items() for status in statuses}


def status_named(word: str) -> str:
    """The canonical status of any accepted word. ValueError names the words there are."""
    key = _folded(word)
    if key in STATUSES:
        return key
    if key in STATUS_WORDS:
        return STATUS_WORDS[key]
    raise ValueError(f"Unknown status. Use one of: {', '.join(STATUSES)}.")


def priority_named(word: object) -> int:
    """The rank 0..3 of a word or a rank. ValueError names the words there are."""
    if isinstance(word, int) and not isinstance(word, bool) and word in PRIORITIES:
        return word
    if isinstance(word, str) and _folded(word) in PRIORITY_WORDS:
        return PRIORITY_WORDS[_folded(word)]
    raise ValueError("Unknown priority. Use one of: low, medium, high, urgent.")


def step_state_named(word: str) -> str:
    """The canonical state of a step of a plan. ValueError names the words there are."""
    key = _folded(word)
    state = STEP_WORDS.get(key, key)
    if state not in STEP_STATES:
        raise ValueError(f"Unknown state. Use one of: {', '.join(STEP_STATES)}.")
    return state


def _folded(word: str) -> str:
    return "_".join(word.strip().lower().replace("-", " ").replace("_", " ").split())


# Who may do each verb of transitions.MOVES, in words; the verbs themselves decide.
WHO = {
    "move": "operator, lead, creator",
    "claim": "agent",
    "start": "operator",
    "process": "operator, lead",
    "hand_back": "system",
    "release": "lease holder, operator, lead",
    "fail": "lease holder",
    "expire": "system",
    "block": "lease holder, operator, lead",
    "unblock": "operator, lead, system",
    "pause": "operator, lead, system",
    "resume": "operator, lead, system",
    "complete": "lease holder, operator, lead",
    "accept": "operator, lead; never an agent for its own or its sub-agents' work",
    "return": "operator, lead; never an agent for its own or its sub-agents' work",
    "cancel": "operator, lead",
    "reopen": "operator, lead",
    "retry": "operator, lead",
}
WHO_BESIDE = {  # verbs that are no move from one status to another
    "create": "operator, scope orchestrate",
    "edit": "operator, lead, creator",
    "heartbeat": "lease holder",
    "progress": "lease holder",
    "plan": "lease holder, operator, lead, creator",
    "say": "operator, agent",
    "adopt": "operator, lead",
    "delete": "operator, lead",
    "approve_start": "operator; never an agent for its own or its sub-agents' work",
    "rate": "operator, lead; never an agent for its own or its sub-agents' work",
}
BESIDE = {  # in which statuses; `say` is a comment, a checkpoint, a finding, shared context, a deliverable
    "create": (),
    "edit": tuple(STATUSES),
    "heartbeat": (IN_PROGRESS,),
    "progress": (IN_PROGRESS,),
    "plan": tuple(STATUSES),
    "say": tuple(STATUSES),
    "adopt": tuple(STATUSES),
    "delete": tuple(status for status in STATUSES if status != IN_PROGRESS),
    "approve_start": APPROVABLE,
    "rate": (DONE,),
}

# What the log may say: noun.verbed.
KINDS = (
    "task.created", "task.updated", "task.moved", "task.claimed", "task.started", "task.progressed", "task.released",
    "task.expired", "task.failed", "task.blocked", "task.unblocked", "task.paused", "task.resumed", "task.completed",
    "task.accepted", "task.returned", "task.cancelled", "task.reopened", "task.retried", "task.deleted", "task.approved", "task.rated",
    "task.processed", "task.dispatched", "task.unacknowledged",
    "dependency.added", "dependency.removed", "deliverable.added", "deliverable.adopted", "activity.logged",
    "plan.changed", "comment.added", "participant.joined", "participant.left", "context.shared", "context.removed", "note.added", "checkpoint.posted", "finding.shared",
    "session.started", "session.updated", "session.ended", "agent.registered", "agent.claimed", "agent.changed",
    "agent.seen_again", "agent.went_offline", "venture.created", "venture.changed", "cost.recorded", "fleet.frozen",
    "fleet.thawed", "fleet.changed", "fleet.restored", "fleet.moved", "log.pruned", "backup.downloaded", "user.created", "user.changed", "user.deleted",
    "webhook.created", "webhook.changed", "webhook.deleted", "webhook.disabled", "webhook.redelivered",
    "circuit.opened", "circuit.reset", "enrolment.created", "enrolment.revoked",
    "channel.added", "channel.changed", "channel.removed", "usage.unmatched",
    "view.saved", "view.deleted",
)  # fmt: skip
