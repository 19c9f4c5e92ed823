"""A seeded fleet that works over the real HTTP API: it claims, reports, hands in, fails, crashes, and comes back as a
zombie. It drives the demo, the race and fault tests, and anybody's first look. Not: the client (fleet_client.py), what
the work is about (fleet_stories.py), the judgement of a run (tests/chaos/checker.py).

Each agent is a thread with a client and a random generator of its own, so that the same seed draws the same fates.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tasks.demo import fleet_stories
from tasks.demo.fleet_client import Answer, Client, History, Lost, Stopped
from tasks.demo.fleet_stories import Story, Trade

API = "/api/v1"
FENCED = ("heartbeat", "progress", "deliver", "complete", "fail", "release", "block")  # writes that carry a lease
OVER = frozenset({"lease_lost", "cancelled", "paused"})  # how a write under an old lease is refused
QUEUED = "ready,assigned,in_progress"
ZOMBIE_PATIENCE = 90.0  # seconds for which a zombie hopes that somebody claims its task again
DEMO_CALM = 0.1  # in the demo people take ten times as long, so that there is something to see in every column
IDLE_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Plan:
    """How the fleet behaves. Shares are of claimed tasks (0..1) unless said otherwise."""

    url: str
    agents: int = 20
    tasks: int = 200
    seed: int = 1
    speed: float = 1.0  # times real time; 0: nobody waits for anything
    lease_seconds: int = 60
    failures: float = 0.08
    blocks: float = 0.04
    releases: float = 0.04
    crashes: float = 0.03
    zombies: float = 0.03
    cuts: float = 0.03  # of requests whose answer decides: the connection is dropped before it
    reviews: float = 0.25  # of created tasks
    skills: float = 0.3  # of created tasks ask for a capability
    steering: bool = True  # somebody accepts, returns, answers and retries
    forever: bool = False
    keep_ready: int = 12  # tasks in the queue, with `forever`
    seconds: float | None = None  # end after so long, whatever is left
    with_parent: bool = False  # end when the process that started this one is gone
    tag: str = ""  # on every task that is created, so that a run knows its own
    ventures: bool = True  # work in the ventures of the stories; else in the default one
    long_poll: int = 20  # seconds; 0: ask again every now and then
    marks: bool = False  # every message carries its operation's mark, so that each effect can be found again


@dataclass
class Held:
    """A claimed task as its holder knows it."""

    code: str
    title: str
    epoch: int
    token: str
    seconds: float
    trade: Trade
    cost: float = 0.0
    tokens_in: int = 0
    tokens_out: int = 0
    since: float = field(default_factory=time.monotonic)


class Fleet:
    """One run: its threads, its counts, and when it is over."""

    def __init__(self, plan: Plan, history: History, say: Callable[[str], None] = print) -> None:
        self.plan, self.history, self.say = plan, history, say
        self.counts: Counter[str] = Counter()
        self.claim_seconds: deque[float] = deque(maxlen=100_000)
        self.wrong: list[str] = []  # what must never happen, in words
        self.over = threading.Event()  # no new work
        self.gone = threading.Event()  # nothing is sent any more
        self.haunted: deque[tuple[float, Client, Held]] = deque()
        self.first_claim = self.last_claim = 0.0
        self._lock = threading.Lock()

    def client(self, agent: str, key: str) -> Client:
        return Client(
            self.plan.url, key, agent, self.history, may_go_on=lambda: not self.gone.is_set(), wait=self.gone.wait
        )

    def count(self, what: str, n: int = 1) -> None:
        with self._lock:
            self.counts[what] += n

    def claimed(self, seconds: float) -> None:
        with self._lock:
            self.counts["claims"] += 1
            self.claim_seconds.append(seconds)
            self.last_claim = time.monotonic()
            self.first_claim = self.first_claim or self.last_claim

    def must(self, condition: bool, sentence: str) -> None:
        if not condition:
            with self._lock:
                self.wrong.append(sentence)
            self.say(f"WRONG: {sentence}")

    def pause(self, seconds: float) -> None:
        """So long at speed 1; ends early with the run."""
        if self.plan.speed > 0 and seconds > 0:
            self.over.wait(seconds / self.plan.speed)

    def answered(self, answer: Answer, verb: str) -> Answer:
        """Keep count of what no client should see."""
        if answer.tries > 1:
            self.count("answered after a retry")
        if answer.status >= 500 and answer.status != 503:
            self.count(f"{answer.status}")
            self.must(False, f"{verb} was answered {answer.status}: {str(answer.body)[:200]}")
        return answer


# ── an agent ────────────────────────────────────────────────────────────────────────────────────────────────────────


class Worker:
    """One agent: claims, works, reports; now and then it fails, dies, or comes back too late."""

    def __init__(self, fleet: Fleet, slug: str, key: str) -> None:
        self.fleet, self.plan, self.slug, self.key = fleet, fleet.plan, slug, key
        self.draw = random.Random(f"{fleet.plan.seed}:{slug}")
        self.client = fleet.client(slug, key)
        self.lives = itertools.count(1)
        self.runs = itertools.count(1)
        self.held: Held | None = None

    def run(self) -> None:
        with contextlib.suppress(Stopped):
            self._introduce()
            while not self.fleet.over.is_set():
                try:
                    self.held = self._claim()
                    if self.held is None:
                        self.fleet.over.wait(0 if self.plan.long_poll else IDLE_POLL_SECONDS)
                    else:
                        self._work(self.held)
                except Lost:
                    self._restart()  # died with a request on the wire
            if self.held is not None and not self.fleet.gone.is_set():
                self._report("release", self.held, {"reason": "The fleet goes home."})
        self.client.close()

    def _introduce(self) -> None:
        self.client.call("heartbeat_agent", "POST", f"{API}/agents/heartbeat", {"status": "available"})

    def _restart(self) -> None:
        """A new process of the same agent: it knows nothing of what the old one did."""
        self.held = None
        self.client.close()
        self.client = self.fleet.client(self.slug, self.key)
        self.fleet.count("restarts")

    def _claim(self) -> Held | None:
        body: dict[str, Any] = {
            "session_key": f"{self.client.name}:{next(self.runs)}",
            "lease_seconds": self.plan.lease_seconds,
        }
        if self.plan.long_poll:
            body["wait"] = self.plan.long_poll
        options: dict[str, Any] = {"timeout": self.plan.long_poll + 30.0}
        if self.draw.random() < self.plan.cuts:
            if self.draw.random() < 0.5:
                self.fleet.count("claims whose answer nobody heard")
                self.client.call("claim", "POST", f"{API}/tasks/claim", body, cut=True, **options)
            self.fleet.count("claims repeated after a lost answer")
            answer = self.client.cut_and_retry("claim", "POST", f"{API}/tasks/claim", body, **options)
        else:
            answer = self.client.call("claim", "POST", f"{API}/tasks/claim", body, **options)
        self.fleet.answered(answer, "claim")
        task = answer.body.get("task") if answer.ok and isinstance(answer.body, dict) else None
        if not task:
            if not answer.ok:
                self.fleet.count(f"claims refused: {answer.code or answer.status}")
                self.fleet.over.wait(1.0)
            return None
        self.fleet.claimed(answer.seconds)
        return Held(
            task["id"], task["title"], answer.body["epoch"], answer.body["lease_token"],
            float(answer.body["lease_expires_in"]), fleet_stories.trade_of(task, self.draw),
        )  # fmt: skip

    def _work(self, held: Held) -> None:
        fate = self._fate()
        if fate == "zombie":
            self.fleet.count("zombies")
            if self.draw.random() < 0.5 and not self._step(held, 0, 4):
                return
            self.fleet.haunted.append((time.monotonic() + held.seconds, self.client, held))
            self.client = self.fleet.client(self.slug, self.key)
            self.held = None
            return
        steps = self.draw.randint(2, 6) if self.plan.speed else self.draw.randint(0, 2)
        last = self.draw.randint(0, steps) if fate == "crash" else steps
        assistant = self.draw.random() < 0.25
        for place in range(last):
            if assistant and place == 1:
                self._send_assistant(held)
            if not self._step(held, place, steps) or self.fleet.over.is_set():
                return
        if fate == "crash":
            self.fleet.count("crashes")
            self._restart()
            return
        if self.draw.random() < 0.3:
            title, path = self.draw.choice(held.trade.results)
            self._report("deliver", held, {"type": "file", "title": title, "path": f"out/{held.code}/{path}"})
        self._spend(held)
        self._end(held, fate)

    def _fate(self) -> str:
        plan, roll = self.plan, self.draw.random()
        for fate, share in (
            ("zombie", plan.zombies), ("crash", plan.crashes), ("fail", plan.failures), ("block", plan.blocks),
            ("release", plan.releases),
        ):  # fmt: skip
            if roll < share:
                return fate
            roll -= share
        return "complete"

    def _step(self, held: Held, place: int, steps: int) -> bool:
        """Work for a while and say how far it is. False: the lease is gone."""
        step = held.trade.steps[place % len(held.trade.steps)]
        self._spend(held)
        body = {
            "percent": min(95, round(100 * (place + 1) / (steps + 1))),
            "step": f"Step {place + 1} of {steps} · {step[0].lower()}{step[1:]}",
            **self._cost(held),
        }
        if self.draw.random() < 0.2:
            body["message"] = (
                f"{step}: {self.draw.choice(('as expected', 'slower than hoped', 'easy', 'odd, see notes'))}"
            )
        if not self._report("progress", held, body):
            return False
        return self._alive_for(held, self.draw.uniform(8, 35))

    def _alive_for(self, held: Held, seconds: float) -> bool:
        """Time passes, with a heartbeat before a third of the lease is over."""
        if not self.plan.speed:
            return self.draw.random() > 0.3 or self._report("heartbeat", held, None)
        until = time.monotonic() + seconds / self.plan.speed
        beat = min(held.seconds / 3, 15.0)
        while not self.fleet.over.is_set() and (left := until - time.monotonic()) > 0:
            self.fleet.over.wait(min(left, beat))
            if left > beat and not self._report("heartbeat", held, None):
                return False
        return True

    def _spend(self, held: Held) -> None:
        held.tokens_in += self.draw.randint(400, 6000)
        held.tokens_out += self.draw.randint(50, 1500)
        held.cost += self.draw.randint(1_000, 30_000) / 1_000_000

    def _cost(self, held: Held) -> dict[str, Any]:
        return {"tokens_used": held.tokens_in + held.tokens_out, "actual_cost": f"{held.cost:.6f}"}

    def _send_assistant(self, held: Held) -> None:
        """A sub-agent works on it for a moment."""
        name = self.draw.choice(fleet_stories.ASSISTANTS)
        key = f"agent:{self.slug}:subagent:{self.client.name}-{held.code}-{next(self.lives)}"
        body = {"openclaw_session_id": key, "agent_name": name}
        answer = self._call("subagent", "POST", f"{API}/tasks/{held.code}/subagent", body, held)
        if answer.ok:
            self.fleet.count("sub-agents")
            self.fleet.pause(self.draw.uniform(2, 8))
            path = f"{API}/sessions/{key.replace(':', '%3A')}"
            self._call("end_subagent", "PATCH", path, {"state": "completed"}, held)

    def _end(self, held: Held, fate: str) -> None:
        trade = held.trade
        if fate == "fail":
            body: dict[str, Any] = {"error": self.draw.choice(trade.hitches), **self._cost(held)}
        elif fate == "block":
            body = {"kind": "needs_input", "reason": self.draw.choice(trade.questions), **self._cost(held)}
        elif fate == "release":
            body = {"reason": "Somebody who knows this part should take it.", **self._cost(held)}
        else:
            chosen = self.draw.sample(trade.results, self.draw.randint(0, len(trade.results)))
            body = {
                "summary": self.draw.choice(trade.summaries),
                "deliverables": [
                    {"type": "file", "title": title, "path": f"out/{held.code}/{path}"} for title, path in chosen
                ],
                **self._cost(held),
            }
        if self._report(fate, held, body):
            self.held = None

    def _report(self, verb: str, held: Held, body: dict[str, Any] | None) -> bool:
        """One write under the lease. False: it was refused, so the work on it is over."""
        path = f"{API}/tasks/{held.code}/{'deliverables' if verb == 'deliver' else verb}"
        answer = self._call(verb, "POST", path, body, held, fenced=True)
        self.fleet.count(verb if answer.ok else f"{verb} refused: {answer.code or answer.status}")
        known = answer.ok or answer.code in OVER or answer.status in (404, 503)
        self.fleet.must(known, f"{verb} of {held.code} by {self.slug}: {answer.status} {str(answer.body)[:300]}")
        if not answer.ok:
            self.held = None
        return answer.ok

    def _call(
        self, verb: str, method: str, path: str, body: dict[str, Any] | None, held: Held, *, fenced: bool = False
    ) -> Answer:
        if body is not None and self.plan.marks:
            body = _marked(body, self.client.name, next(self.lives))
        options: dict[str, Any] = {"facts": {"task": held.code, "under": held.epoch}}
        if fenced:
            options.update(epoch=held.epoch, token=held.token)
        if method == "POST" and self.draw.random() < self.plan.cuts:
            if self.draw.random() < 0.5:
                self.fleet.count("reports whose answer nobody heard")
                self.client.call(verb, method, path, body, cut=True, **options)
            self.fleet.count("reports repeated after a lost answer")
            return self.fleet.answered(self.client.cut_and_retry(verb, method, path, body, **options), verb)
        return self.fleet.answered(self.client.call(verb, method, path, body, **options), verb)


def _marked(body: dict[str, Any], client: str, number: int) -> dict[str, Any]:
    """The same with a mark in what the log and the tables keep of it."""
    mark = f"⟨{client}/{number}⟩"
    marked = {**body}
    for name in ("step", "message", "summary", "error", "reason", "title"):
        if name in marked:
            marked[name] = f"{marked[name]} {mark}"
    if "deliverables" in marked:
        marked["deliverables"] = [{**one, "title": f"{one['title']} {mark}"} for one in marked["deliverables"]]
    return marked


# ── those who come back too late ────────────────────────────────────────────────────────────────────────────────────


class Graveyard:
    """Wakes zombies: holders whose lease has run out, best after somebody else has claimed their task."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.draw = random.Random(f"{fleet.plan.seed}:graveyard")
        self.closing = threading.Event()  # the fleet is done: whoever is left wakes now or never

    def run(self) -> None:
        with contextlib.suppress(Stopped, Lost):
            while not (self.closing.is_set() and not self.fleet.haunted):
                if not self._wake_one():
                    self.fleet.gone.wait(0.2)
                if self.fleet.gone.is_set():
                    return

    def _wake_one(self) -> bool:
        fleet = self.fleet
        for _ in range(len(fleet.haunted)):
            due, client, held = fleet.haunted.popleft()
            if due > time.monotonic():
                fleet.haunted.append((due, client, held))
                continue
            answer = client.call("look", "GET", f"{API}/tasks/{held.code}", facts={"task": held.code})
            fleet.answered(answer, "look")
            task = answer.body.get("task", answer.body) if isinstance(answer.body, dict) else {}
            if answer.status == 404:
                return True
            claimed_again = task.get("epoch", 0) > held.epoch
            swept = claimed_again or task.get("status") != "in_progress"
            waited = time.monotonic() - held.since > held.seconds + ZOMBIE_PATIENCE or self.closing.is_set()
            if claimed_again or (swept and waited):
                self._haunt(client, held)
            else:
                fleet.haunted.append((time.monotonic() + 1.0, client, held))
            return True
        return False

    def _haunt(self, client: Client, held: Held) -> None:
        """It writes as if nothing had happened. Everything has to be refused."""
        for number, verb in enumerate(self.draw.sample(FENCED, self.draw.randint(2, 4)), start=1):
            body = self._body(verb, held)
            if body is not None and self.fleet.plan.marks:
                body = _marked(body, client.name, -number)
            path = f"{API}/tasks/{held.code}/{'deliverables' if verb == 'deliver' else verb}"
            answer = client.call(
                verb, "POST", path, body, epoch=held.epoch, token=held.token,
                facts={"task": held.code, "under": held.epoch, "zombie": True},
            )  # fmt: skip
            self.fleet.answered(answer, verb)
            refused = answer.status == 409 and answer.code in OVER
            self.fleet.count("zombie writes refused" if refused else "zombie writes not refused")
            self.fleet.must(
                refused or answer.status in (404, 503),
                f"a zombie's {verb} of {held.code} under epoch {held.epoch} was answered {answer.status} {answer.body}",
            )
        client.close()

    def _body(self, verb: str, held: Held) -> dict[str, Any] | None:
        held.tokens_in += 900
        held.cost += 0.0123
        cost = {"tokens_used": held.tokens_in + held.tokens_out, "actual_cost": f"{held.cost:.6f}"}
        title, path = self.draw.choice(held.trade.results)
        result = {"type": "file", "title": f"{title} (late)", "path": f"out/{held.code}/{path}"}
        bodies: dict[str, dict[str, Any] | None] = {
            "heartbeat": None,
            "progress": {"percent": 99, "step": "Nearly there", **cost},
            "deliver": result,
            "complete": {"summary": "Done, it took a while.", "deliverables": [result], **cost},
            "fail": {"error": "It took too long.", **cost},
            "release": {"reason": "It took too long."},
            "block": {"kind": "transient", "reason": "It took too long."},
        }
        return bodies[verb]


# ── those who steer ─────────────────────────────────────────────────────────────────────────────────────────────────


class Director:
    """Fills the queue and does what people do: verdicts, answers, second chances. Uses the admin key."""

    def __init__(self, fleet: Fleet, key: str) -> None:
        self.fleet, self.plan = fleet, fleet.plan
        self.draw = random.Random(f"{fleet.plan.seed}:director")
        self.client = fleet.client(fleet_stories.DIRECTOR[0], key)
        self.capabilities: set[str] = set()
        self.ventures: list[str] = []
        self.keys: list[tuple[str, str]] = []  # agent, prefix: those we made

    def prepare(self) -> dict[str, str]:
        """Ventures and agents, as far as they are not there. `{agent slug: key}`."""
        if self.plan.ventures:
            there = {venture["id"] for venture in self._items("ventures?limit=200")}
            for fields in fleet_stories.VENTURES:
                if fields["slug"] not in there:
                    self._must("create_venture", "POST", f"{API}/ventures", fields)
                self.ventures.append(fields["slug"])
        there = {agent["id"] for agent in self._items("agents?limit=200")}
        for slug in fleet_stories.ASSISTANTS:
            if slug not in there:
                self._must(
                    "create_agent", "POST", f"{API}/agents", {"slug": slug, "name": slug.title(), "role": "Sub-agent"}
                )
        keys: dict[str, str] = {}
        for place in range(self.plan.agents):
            fields = fleet_stories.profile(place)
            slug = fields["slug"]
            self.capabilities |= set(fields["capabilities"])
            if slug not in there:
                self._must("create_agent", "POST", f"{API}/agents", fields)
            label = {"scopes": ["work"], "label": "simulation"}
            made = self._must("create_key", "POST", f"{API}/agents/{slug}/keys", label, secret=True)
            keys[slug] = made["api_key"]
            self.keys.append((slug, made["key"]["prefix"]))
        return keys

    def fill(self, count: int) -> None:
        """Create so many tasks, in batches."""
        stories = [self._story() for _ in range(count)]
        for start in range(0, count, 250):
            batch = [story.fields for story in stories[start : start + 250]]
            answer = self.client.call("create", "POST", f"{API}/tasks", batch)
            self.fleet.answered(answer, "create")
            self.fleet.must(answer.status == 201, f"creating tasks: {answer.status} {str(answer.body)[:300]}")
            self.fleet.count("tasks created", len(batch) if answer.ok else 0)

    def _story(self) -> Story:
        story = fleet_stories.story(self.draw, self.capabilities, self.ventures, self.plan.skills)
        if self.draw.random() < self.plan.reviews:
            story.fields["review_required"] = True
        if self.plan.tag:
            story.fields["tags"] = [*story.fields["tags"], self.plan.tag]
        if self.plan.forever and self.draw.random() < 0.1:
            story.fields["status"] = "inbox"
        return story

    def is_drained(self, *, but_for_held_back: bool = False) -> bool:
        """Nothing of this run waits in a queue or is being worked on; what failed a moment ago may be left out."""
        if not but_for_held_back:
            return not self._tasks(QUEUED, 1)
        return all(task["not_before"] for task in self._tasks(QUEUED, 200))

    def steer(self) -> None:
        """One round of what people do."""
        for task in self._some("review", 0.6):
            if self.draw.random() < 0.85:
                self._act(task, "accept", {"note": self.draw.choice(("Good.", "Thank you, exactly this.", ""))})
            else:
                self._act(task, "return", {"reason": "The second half is missing."})
        for task in self._some("blocked", 0.5):
            if task.get("blocked_reason"):
                self._act(task, "unblock", {"answer": "The first one. Go on."})
        for task in self._some("failed", 0.5):
            self._act(task, "retry", {})
        for task in self._some("paused", 0.5):
            self._act(task, "resume", {})
        if self.plan.forever:
            self._stir()

    def _stir(self) -> None:
        """Keep the demo interesting: neither empty nor flooded, with something in every column."""
        most = self.plan.keep_ready
        if len(self._tasks("ready", min(most, 200))) < min(most, 200):
            self.fill(self.draw.randint(most // 2, most))
        for task in self._some("inbox", 0.3):
            self._call("move", "PUT", task, "move", {"status": "ready"})
        if self.draw.random() < 0.05:
            for task in self._tasks("ready", 5)[-1:]:
                self._act(task, "pause", {"reason": "Waits for the price list."})

    def leave(self) -> None:
        """Take back the keys that were made for this run."""
        with contextlib.suppress(Lost, Stopped):  # the server has gone before us
            for slug, prefix in self.keys:
                self.client.call("revoke_key", "DELETE", f"{API}/agents/{slug}/keys/{prefix}", tries=1)
        self.client.close()

    def _some(self, status: str, share: float) -> Iterator[dict[str, Any]]:
        share *= DEMO_CALM if self.plan.forever else 1
        for task in self._tasks(status, 100):
            if self.plan.speed == 0 or self.draw.random() < share:
                yield task

    def _tasks(self, status: str, limit: int) -> list[dict[str, Any]]:
        tagged = f"&tags={self.plan.tag}" if self.plan.tag else ""
        return self._items(f"tasks?status={status}&limit={limit}{tagged}")

    def _items(self, path: str) -> list[dict[str, Any]]:
        answer = self.fleet.answered(self.client.call("list", "GET", f"{API}/{path}"), "list")
        if not answer.ok:
            return []
        body = answer.body
        return next((items for items in body.values() if isinstance(items, list)), []) if body else []

    def _act(self, task: dict[str, Any], verb: str, body: dict[str, Any]) -> None:
        self._call(verb, "POST", task, verb, body)

    def _call(self, verb: str, method: str, task: dict[str, Any], path: str, body: dict[str, Any]) -> None:
        answer = self.client.call(verb, method, f"{API}/tasks/{task['id']}/{path}", body, facts={"task": task["id"]})
        self.fleet.answered(answer, verb)
        self.fleet.count(verb if answer.ok else f"{verb} refused: {answer.code or answer.status}")

    def _must(self, verb: str, method: str, path: str, body: dict[str, Any], *, secret: bool = False) -> dict[str, Any]:
        answer = self.client.call(verb, method, path, body, secret=secret)
        if not answer.ok:
            raise CannotStart(f"{verb} was answered {answer.status}: {str(answer.body)[:300]}")
        return answer.body if isinstance(answer.body, dict) else {}


class CannotStart(Exception):
    """The server does not let this fleet in; the message says why."""


# ── the run ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def run(plan: Plan, key: str, history: History, say: Callable[[str], None] = print) -> Fleet:
    """Work until all is done, the time is up, or Ctrl-C; then say what came of it. `key` has the scope admin.

    On Ctrl-C the agents give back what they hold before they go.
    """
    fleet = Fleet(plan, history, say)
    director = Director(fleet, key)
    keys = director.prepare()
    director.fill(plan.tasks)
    threads = work(fleet, keys)
    graveyard = Graveyard(fleet)
    waker = threading.Thread(target=graveyard.run, name="graveyard", daemon=True)
    waker.start()
    if plan.with_parent:
        threading.Thread(target=_end_with, args=(fleet, os.getppid()), daemon=True).start()
    try:
        _direct(fleet, director)
        fleet.over.set()
        _join(threads, 60)
        graveyard.closing.set()
        waker.join(ZOMBIE_PATIENCE)
    except Stopped:
        pass  # whoever started us is gone
    except KeyboardInterrupt:
        say("Ending: the agents give back what they hold …")
        fleet.over.set()
        with contextlib.suppress(KeyboardInterrupt):
            _join(threads, 15)
    finally:
        director.leave()
        fleet.over.set()
        fleet.gone.set()
        _join([*threads, waker], 10)
    return fleet


def work(fleet: Fleet, keys: dict[str, str]) -> list[threading.Thread]:
    """Start a thread for each agent; they end with `fleet.over`."""
    threads = [
        threading.Thread(target=Worker(fleet, slug, key).run, name=slug, daemon=True) for slug, key in keys.items()
    ]
    for thread in threads:
        thread.start()
    return threads


def _direct(fleet: Fleet, director: Director) -> None:
    plan = fleet.plan
    end = time.monotonic() + plan.seconds if plan.seconds else None
    told = time.monotonic()
    while end is None or time.monotonic() < end:
        fleet.gone.wait(1.0 if not plan.speed else 4.0)
        if plan.steering:
            director.steer()
        if not plan.forever and director.is_drained():
            return
        if not plan.forever and time.monotonic() - told > 30:
            told = time.monotonic()
            fleet.say(f"{fleet.counts['claims']} claims, {fleet.counts['complete']} completed so far")


def _end_with(fleet: Fleet, parent: int) -> None:
    """End at once when that process is gone: it was the server, so there is nobody to give anything back to."""
    while os.getppid() == parent and not fleet.gone.is_set():
        fleet.gone.wait(1.0)
    fleet.over.set()
    fleet.gone.set()


def _join(threads: list[threading.Thread], seconds: float) -> None:
    end = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))


def summary(fleet: Fleet) -> str:
    """What happened, as lines of text."""
    seconds = fleet.last_claim - fleet.first_claim
    lines = [f"{n:>8}  {what}" for what, n in sorted(fleet.counts.items(), key=lambda pair: (-pair[1], pair[0]))]
    if seconds > 0:
        took = sorted(fleet.claim_seconds)
        lines.append(
            f"{fleet.counts['claims'] / seconds:>8.1f}  claims/s; a claim took {_share(took, 0.5) * 1000:.1f} ms in the"
            f" middle, {_share(took, 0.95) * 1000:.1f} ms at 95 %, {_share(took, 0.99) * 1000:.1f} ms at 99 %"
        )
    lines += [f"   WRONG  {sentence}" for sentence in fleet.wrong[:20]]
    return "\n".join(lines)


def _share(ordered: list[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
