"""The floor's nouns: people, the fleet's one row, the log with its seals, and what requests leave behind."""

from __future__ import annotations

from datetime import time
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac


class RoleUserManager(UserManager["User"]):
    def create_superuser(self, username: str, email: Any = None, password: Any = None, **fields: Any) -> User:
        return super().create_superuser(username, email, password, **{**fields, "role": "admin"})


class User(AbstractUser):
    """A person. The role decides everything; Django's own staff flags follow it."""

    ROLES = [("viewer", "Viewer"), ("operator", "Operator"), ("admin", "Admin")]
    role = models.CharField(max_length=16, choices=ROLES, default="viewer")
    sessions_ended = models.PositiveIntegerField(default=0, editable=False)  # how often all sessions were ended
    objects: ClassVar[RoleUserManager] = RoleUserManager()

    class Meta:
        constraints = [models.CheckConstraint(name="user_role", condition=Q(role__in=["viewer", "operator", "admin"]))]

    def save(self, *args: Any, **kwargs: Any) -> None:
        self.is_staff = self.is_superuser = self.role == "admin"
        super().save(*args, **kwargs)

    def _get_session_auth_hash(self, secret: Any = None) -> str:
        """What a session is bound to: the password, and how often all sessions were ended."""
        bound = f"{self.password}:{self.sessions_ended}" if self.sessions_ended else self.password
        salt = "django.contrib.auth.models.AbstractBaseUser.get_session_auth_hash"
        return salted_hmac(salt, bound, secret=secret, algorithm="sha256").hexdigest()


class Fleet(models.Model):
    """One row (id 1): the stream counter and the freeze.

    They share a row on purpose. Every flush of the log updates it, so a claim that is flushed after a freeze sees the
    freeze under the row lock and is rolled back: no claim has a number above `fleet.frozen` until the thaw.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField(default=0)
    frozen_at = models.DateTimeField(null=True, blank=True)
    frozen_by = models.CharField(max_length=200, blank=True)
    frozen_reason = models.CharField(max_length=500, blank=True)
    second_step_required = models.BooleanField(default=False, db_default=False)  # of everybody who signs in

    class Meta:
        verbose_name_plural = "fleet"
        constraints = [models.CheckConstraint(name="fleet_is_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return "frozen" if self.frozen_at else "running"


class Activity(models.Model):
    """One line of the append-only log. Subjects are kept as text: the line outlives them.

    `status_from` → `status_to` is set where a task enters, moves between or leaves the statuses of `venture`
    (`venture_from` where it also changed venture): the board's counts are the sum of these.
    """

    LEVELS = [("info", "Info"), ("success", "Success"), ("warning", "Warning"), ("error", "Error")]
    seq = models.BigIntegerField(primary_key=True)
    kind = models.CharField(max_length=40)
    level = models.CharField(max_length=8, choices=LEVELS, default="info")
    actor_type = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    venture = models.CharField(max_length=60, blank=True)
    venture_from = models.CharField(max_length=60, blank=True)
    task = models.CharField(max_length=8, blank=True)
    agent = models.CharField(max_length=60, blank=True)
    session = models.CharField(max_length=260, blank=True)
    status_from = models.CharField(max_length=12, blank=True)
    status_to = models.CharField(max_length=12, blank=True)
    title = models.CharField(max_length=500, blank=True)
    message = models.TextField(blank=True)
    data = models.JSONField(default=dict, blank=True)
    cause = models.BigIntegerField(
        default=0, db_default=0
    )  # the number of the line that led to this one; 0: none known
    at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "activities"
        ordering = ["-seq"]
        indexes = [
            models.Index(fields=["task", "seq"], name="activity_task", condition=~Q(task="")),
            models.Index(fields=["venture", "seq"], name="activity_venture", condition=~Q(venture="")),
            models.Index(fields=["agent", "seq"], name="activity_agent", condition=~Q(agent="")),
        ]
        constraints = [
            models.CheckConstraint(name="activity_actor", condition=Q(actor_type__in=["user", "agent", "system"])),
            models.CheckConstraint(name="activity_numbered", condition=Q(seq__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.kind}"


class Seal(models.Model):
    """The tamper-evident chain: an HMAC over the seal before and the canonical JSON of activity `seq`."""

    seq = models.BigIntegerField(primary_key=True)
    mac = models.CharField(max_length=64)
    key_id = models.CharField(max_length=12)

    def __str__(self) -> str:
        return f"{self.seq} {self.mac[:12]}"


class Checkpoint(models.Model):
    """Up to which line the log was pruned (one row, id 1; none: nothing was). The chain of seals goes on from `mac`.

    Lines below it that stayed have a chain of their own, which ends in `lasting`. `signature` binds all of it to the key
    of the log: who has only the database can put no checkpoint of his own here.
    """

    id = models.SmallIntegerField(primary_key=True, default=1)
    seq = models.BigIntegerField()
    mac = models.CharField(max_length=64)
    key_id = models.CharField(max_length=12)
    signature = models.CharField(max_length=64)
    lasting = models.CharField(max_length=64, blank=True, default="", db_default="")  # "": no line stayed
    at = models.DateTimeField()  # of the last line that went

    class Meta:
        constraints = [models.CheckConstraint(name="checkpoint_is_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return f"{self.seq} {self.mac[:12]}"


class PrunedTask(models.Model):
    """What the lines up to the checkpoint said of a task at last: the state from which invariants count on."""

    code = models.CharField(primary_key=True, max_length=8)
    status = models.CharField(max_length=12)
    epoch = models.BigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.code} {self.status}"


class StatusCount(models.Model):
    """Tasks per venture and status as of the watermark `counted`; the activities above it are the difference."""

    venture = models.CharField(max_length=60)
    status = models.CharField(max_length=12)
    n = models.BigIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["venture", "status"], name="statuscount_unique")]

    def __str__(self) -> str:
        return f"{self.venture} {self.status} {self.n}"


class Watermark(models.Model):
    """How far a chore got (`seq`) and when it last ran (`at`): counted, sealed, swept, presence."""

    name = models.CharField(primary_key=True, max_length=40)
    seq = models.BigIntegerField(default=0)
    at = models.DateTimeField(null=True, blank=True)

    def __str__(self) -> str:
        return f"{self.name} {self.seq}"


class IdempotentAnswer(models.Model):
    """What a POST with an Idempotency-Key was answered, stored in the transaction of its effect, kept 24 h."""

    caller = models.CharField(max_length=220)
    key_hash = models.CharField(max_length=64)
    request_hash = models.CharField(max_length=64)
    status = models.SmallIntegerField(null=True)
    body = models.BinaryField(null=True)  # encrypted with the raw key, of which only the hash is kept
    at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["caller", "key_hash"], name="idempotentanswer_unique")]
        indexes = [models.Index(fields=["at"], name="idempotentanswer_at")]

    def __str__(self) -> str:
        return f"{self.caller} {self.status}"


class Ticket(models.Model):
    """A one-time right to open a stream: 60 s, one use. Only the hash is kept."""

    digest = models.CharField(max_length=64, unique=True)
    actor_type = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    key_prefix = models.CharField(
        max_length=16, blank=True
    )  # of the agent key that asked: its revocation ends the stream
    expires_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return f"{self.actor_type}:{self.actor}"


class SetupLink(models.Model):
    """The printed one-time link with which the first admin is made. Only the hash is kept."""

    digest = models.CharField(max_length=64, unique=True)
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return "setup link"


class Invitation(models.Model):
    """A one-time link with which somebody sets their password. Only the hash is kept."""

    digest = models.CharField(max_length=64, unique=True)
    user = models.ForeignKey(User, models.CASCADE, related_name="invitations")
    expires_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"link for {self.user}"


class Wake(models.Model):
    """The line that called an agent to work last."""

    agent = models.CharField(primary_key=True, max_length=60)
    seq = models.BigIntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.agent} {self.seq}"


class Circuit(models.Model):
    """One agent that hands work to another: how often, and whether it may. Open since `opened_at` for `reason`."""

    waker = models.CharField(max_length=60)
    woken = models.CharField(max_length=60)
    wakes = models.PositiveIntegerField(default=0)  # since window_began_at
    window_began_at = models.DateTimeField()
    opened_at = models.DateTimeField(null=True, blank=True)
    reason = models.CharField(max_length=500, blank=True)
    since_seq = models.BigIntegerField(default=0)  # of its last reset, where all chains of causes end

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["waker", "woken"], name="circuit_unique"),
            models.CheckConstraint(
                name="circuit_says_why",
                condition=Q(opened_at=None, reason="") | Q(opened_at__isnull=False) & ~Q(reason=""),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.waker} → {self.woken}"


class Webhook(models.Model):
    """An address that is told of lines of the log: those of some kinds and ventures, or one agent's assignments.

    `failures` in a row and `failing_since` end with the first success. Until `hold_until` nothing is sent there.
    """

    code = models.CharField(max_length=8, unique=True)
    url = models.CharField(max_length=2000)
    description = models.CharField(max_length=500, blank=True)
    kinds = models.JSONField(default=list, blank=True)  # task.completed, task.*; empty: all
    ventures = models.JSONField(default=list, blank=True)  # slugs; empty: all
    agent = models.CharField(max_length=60, blank=True)  # the slug of the agent whose own address it is
    secret = models.BinaryField()  # encrypted, see signatures.py; the one before is valid until its time
    old_secret = models.BinaryField(null=True, blank=True)
    old_secret_until = models.DateTimeField(null=True, blank=True)
    concurrency = models.PositiveSmallIntegerField(default=2)
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=500, blank=True)
    since_seq = models.BigIntegerField(default=0)  # lines above it are told
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True, blank=True)
    hold_until = models.DateTimeField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_by = models.CharField(max_length=200, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["agent"], name="webhook_agent", condition=~Q(agent="")),
            models.CheckConstraint(
                name="webhook_concurrency", condition=Q(concurrency__gte=1) & Q(concurrency__lte=20)
            ),
        ]

    def __str__(self) -> str:
        return self.code


class Delivery(models.Model):
    """One message to one webhook, with how each attempt went. Its body is made from the line of the log it tells.

    While it is being sent, `sending_until` holds it; after a kill the next process sends it again when that has passed.
    """

    STATES = [("pending", "Pending"), ("delivered", "Delivered"), ("dead", "Dead")]

    webhook = models.ForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")
    message_id = models.CharField(max_length=60, unique=True)  # the same at each attempt
    seq = models.BigIntegerField(default=0)  # of the line; 0: a test
    kind = models.CharField(max_length=40)
    state = models.CharField(max_length=10, choices=STATES, default="pending")
    tries = models.PositiveSmallIntegerField(default=0)  # on its schedule; redelivering begins anew
    attempts = models.JSONField(default=list, blank=True)  # [{at, status, error, milliseconds}], the latest ones
    answer = models.CharField(max_length=500, blank=True)  # the beginning of what the endpoint last said
    next_at = models.DateTimeField(db_default=Now())
    sending_until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["webhook", "next_at", "id"], name="delivery_due", condition=Q(state="pending")),
            models.Index(fields=["webhook", "id"], name="delivery_listed"),
            models.Index(fields=["created_at"], name="delivery_created"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["webhook", "seq"], name="delivery_once", condition=Q(seq__gt=0)),
            models.CheckConstraint(name="delivery_state", condition=Q(state__in=["pending", "delivered", "dead"])),
        ]

    def __str__(self) -> str:
        return self.message_id


class Notification(models.Model):
    """One line of the log that one recipient should know of, with the reason why. Made once, read by its recipient."""

    recipient_type = models.CharField(max_length=8)
    recipient = models.CharField(max_length=200)
    seq = models.BigIntegerField()
    reason = models.CharField(max_length=20)
    kind = models.CharField(max_length=40)
    level = models.CharField(max_length=8, default="info")
    actor_type = models.CharField(max_length=8)
    actor = models.CharField(max_length=200)
    venture = models.CharField(max_length=60, blank=True)
    task = models.CharField(max_length=8, blank=True)
    title = models.CharField(max_length=500, blank=True)
    message = models.CharField(max_length=500, blank=True)
    at = models.DateTimeField()
    read_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-id"]
        constraints = [
            models.UniqueConstraint(fields=["recipient_type", "recipient", "seq"], name="notification_once"),
            models.CheckConstraint(name="notification_recipient", condition=Q(recipient_type__in=["user", "agent"])),
        ]
        indexes = [
            models.Index(fields=["recipient_type", "recipient", "id"], name="notification_listed"),
            models.Index(
                fields=["recipient_type", "recipient"], name="notification_unread", condition=Q(read_at__isnull=True)
            ),
            models.Index(fields=["at"], name="notification_at"),
        ]

    def __str__(self) -> str:
        return f"{self.recipient} {self.seq} {self.reason}"


class Watch(models.Model):
    """Somebody wants to know what happens to a task."""

    task = models.CharField(max_length=8)
    watcher_type = models.CharField(max_length=8)
    watcher = models.CharField(max_length=200)
    since = models.DateTimeField(db_default=Now())

    class Meta:
        verbose_name_plural = "watches"
        constraints = [models.UniqueConstraint(fields=["task", "watcher_type", "watcher"], name="watch_once")]

    def __str__(self) -> str:
        return f"{self.watcher} {self.task}"


class Channel(models.Model):
    """A way to reach one person beside the bell: an address for e-mail, a device, a chat. Its address is a secret.

    One message at a time: `held_until` holds it for who sends, and after a kill the next process sends again. After a
    failure nothing goes out before `retry_at`. A test is asked for at `test_asked_at` and told of at `tested_at`.
    """

    TYPES = [("email", "E-mail"), ("push", "Push"), ("url", "Channel URL")]

    code = models.CharField(max_length=8, unique=True)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="channels")
    type = models.CharField(max_length=8, choices=TYPES)
    address = models.BinaryField()  # encrypted, see signatures.py
    digest = models.CharField(max_length=64)  # of the address, so that it is there once
    shown = models.CharField(max_length=200)  # what of the address may be seen
    name = models.CharField(max_length=60, blank=True)  # its person's word for it
    reasons = models.JSONField(default=list, blank=True)  # what is told there
    enabled = models.BooleanField(default=True)
    since_seq = models.BigIntegerField(default=0)  # lines above it are told
    held_until = models.DateTimeField(null=True, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)
    failures = models.PositiveIntegerField(default=0)  # in a row
    error = models.CharField(max_length=500, blank=True)  # why the last message did not arrive
    sent_at = models.DateTimeField(null=True, blank=True)
    test_asked_at = models.DateTimeField(null=True, blank=True)
    tested_at = models.DateTimeField(null=True, blank=True)
    test_error = models.CharField(max_length=500, blank=True)
    version = models.PositiveIntegerField(default=1)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(fields=["user", "digest"], name="channel_once"),
            models.CheckConstraint(name="channel_type", condition=Q(type__in=["email", "push", "url"])),
        ]

    def __str__(self) -> str:
        return f"{self.code} {self.type}"


class Posting(models.Model):
    """One notification that goes out by one channel, at `due_at`. What is due together goes in one message."""

    STATES = [("waiting", "Waiting"), ("sent", "Sent"), ("read", "Read before"), ("dead", "Given up")]

    channel = models.ForeignKey(Channel, on_delete=models.CASCADE, related_name="postings")
    notification = models.ForeignKey(Notification, on_delete=models.CASCADE, related_name="postings")
    state = models.CharField(max_length=8, choices=STATES, default="waiting")
    tries = models.PositiveSmallIntegerField(default=0)
    due_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["channel", "notification"], name="posting_once"),
            models.CheckConstraint(name="posting_state", condition=Q(state__in=["waiting", "sent", "read", "dead"])),
        ]
        indexes = [models.Index(fields=["channel", "due_at"], name="posting_due", condition=Q(state="waiting"))]

    def __str__(self) -> str:
        return f"{self.channel_id} {self.notification_id} {self.state}"


class TellingTimes(models.Model):
    """When one person wants to be told outside of the page. Times of day are those of `time_zone`."""

    DIGESTS = [("off", "At once"), ("hourly", "Every hour"), ("daily", "Once a day")]

    user = models.OneToOneField(User, on_delete=models.CASCADE, primary_key=True, related_name="telling_times")
    time_zone = models.CharField(max_length=60, default="UTC")
    quiet_from = models.TimeField(null=True, blank=True)  # with quiet_until; both empty: no quiet hours
    quiet_until = models.TimeField(null=True, blank=True)
    digest = models.CharField(max_length=8, choices=DIGESTS, default="off")
    digest_at = models.TimeField(default=time(8))
    urgent = models.JSONField(default=list, blank=True)  # reasons that wait for nothing
    version = models.PositiveIntegerField(default=0)  # 0: never chosen

    class Meta:
        verbose_name_plural = "telling times"
        constraints = [
            models.CheckConstraint(name="tellingtimes_digest", condition=Q(digest__in=["off", "hourly", "daily"])),
            models.CheckConstraint(
                name="tellingtimes_quiet",
                condition=Q(quiet_from=None, quiet_until=None) | Q(quiet_from__isnull=False, quiet_until__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.user_id} {self.digest}"


class PushKey(models.Model):
    """The key that push services know us by (one row, id 1). A new one would end the subscription of every device."""

    id = models.SmallIntegerField(primary_key=True, default=1)
    private = models.BinaryField()  # encrypted, see signatures.py
    public = models.CharField(max_length=100)  # as browsers take it: the point, base64url

    class Meta:
        constraints = [models.CheckConstraint(name="pushkey_is_one_row", condition=Q(id=1))]

    def __str__(self) -> str:
        return self.public[:12]
