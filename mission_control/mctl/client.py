"""The client library: one method for each thing that an agent or an operator does, under the names that the API has.

Each method is one call of `/api/v1` and gives what that answers, as Python values. Not: HTTP (wire.py), files with keys
and leases (keeping.py), anything that is printed (cli.py).
"""

from __future__ import annotations

import mimetypes
import os
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

from .wire import Refused, Wire, part

MOST_WAIT = 60  # seconds that one claim may wait
PAGE = 200
Rows = list[dict[str, Any]]  # a name of its own: inside the class, list is a method


class Lease(NamedTuple):
    """The right to write to one task: what a claim gives, and what every report shows."""

    task: str
    epoch: int
    token: str

    def headers(self) -> dict[str, str]:
        return {"X-Lease-Epoch": str(self.epoch), "X-Lease-Token": self.token}


class MissionControl:
    """One caller of one server.

        control = MissionControl("http://127.0.0.1:8000", key)
        claim = control.claim(wait=60)
        if claim["task"]:
            control.progress(claim["task"]["id"], 40, "First draft")
            control.complete(claim["task"]["id"], "Done.")

    What is claimed here is reported here under its lease, with nothing more to hand over: `leases` holds one for each
    task. `agent_id`: act for this agent, where the key may. All methods raise `Refused`; a call whose answer was lost,
    and one that the server could not take at the time, is sent again for up to `patience` seconds, with one effect.
    """

    def __init__(
        self, url: str, key: str = "", agent_id: str = "", *, timeout: float = 30.0, patience: float = 30.0
    ) -> None:
        self.wire = Wire(url, key, timeout=timeout, patience=patience)
        self.agent_id = agent_id
        self.leases: dict[str, Lease] = {}

    # ── tasks ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def add(self, title: str, **fields: Any) -> dict[str, Any]:
        """A new task; `fields` as POST /tasks takes them: description, priority, venture, tags, depends_on …"""
        if self.agent_id:
            fields.setdefault("created_by", self.agent_id)
        return self._post("/tasks", {"title": title, **fields})["task"]

    def add_many(self, tasks: Rows) -> Rows:
        """Up to 500 in one transaction."""
        return self._post("/tasks", tasks)["tasks"]

    def list(self, *, limit: int = PAGE, **filters: Any) -> Rows:
        """The tasks that fit, `limit` at most: status, venture, assignee, priority, tags, q, parent, mine, ordering …"""
        return list(self._pages("/tasks", "tasks", limit, filters))

    def show(self, task: str) -> dict[str, Any]:
        return self._get(f"/tasks/{part(task)}")["task"]

    def update(self, task: str, **fields: Any) -> dict[str, Any]:
        """Change fields; `status` goes through the verb for that move."""
        return self._call("PATCH", f"/tasks/{part(task)}", fields, task=task)["task"]

    def delete(self, task: str) -> None:
        self._call("DELETE", f"/tasks/{part(task)}")

    def assign(self, task: str, agent: str) -> dict[str, Any]:
        """Meant for this agent from now on; for anybody with an empty name."""
        return self.update(task, assignee=agent)

    def why(self, task: str, agent: str = "") -> Rows:
        """The ordered gates between it and an agent: `{name, open, sentence, action}`."""
        return self._get(f"/tasks/{part(task)}/why", agent=agent or self.agent_id)["gates"]

    # ── work under a lease ──────────────────────────────────────────────────────────────────────────────────────────

    def claim(self, task: str = "", *, wait: float = 0, **wish: Any) -> dict[str, Any]:
        """The next task, or this one: `{task, epoch, lease_token, lease_expires_in, briefing}`; `task` is None when
        there was nothing. `wait`: seconds to stand in line, any number. `wish`: venture, capabilities, lease_seconds,
        session_key."""
        wish = self._acting(wish)
        if task:
            return self._taken(self._post(f"/tasks/{part(task)}/claim", wish))
        while True:
            now = min(wait, MOST_WAIT)
            answer = self._post("/tasks/claim", {**wish, **({"wait": now} if now else {})}, wait=now)
            wait -= now
            if answer["task"] or wait <= 0:
                return self._taken(answer)

    def heartbeat(self, task: str) -> dict[str, Any]:
        """A sign of life, which extends the lease: `{action: "continue", lease_expires_in, …}`."""
        return self._report(task, "heartbeat", {})

    def progress(self, task: str, percent: int | None = None, message: str = "", **fields: Any) -> dict[str, Any]:
        """How far it is; `fields`: step, tokens_used, actual_cost … in total for this attempt."""
        return self._report(task, "progress", {"percent": percent, "message": message, **fields})["task"]

    def complete(self, task: str, summary: str = "", **fields: Any) -> dict[str, Any]:
        """Hand it in; `fields`: output, deliverables, actual_cost, tokens_used, branch, commits, review, results …"""
        return self._ended(task, "complete", {"summary": summary, **fields})

    def fail(self, task: str, error: str = "", **fields: Any) -> dict[str, Any]:
        return self._ended(task, "fail", {"error": error, **fields})

    def block(self, task: str, reason: str, *, kind: str = "", **fields: Any) -> dict[str, Any]:
        """Stop it with a question or an obstacle. Ends the lease."""
        return self._ended(task, "block", {"reason": reason, "kind": kind, **fields})

    def release(self, task: str, reason: str = "", **fields: Any) -> dict[str, Any]:
        return self._ended(task, "release", {"reason": reason, **fields})

    def deliver(
        self, task: str, path: str, *, title: str = "", type: str = "", description: str = ""
    ) -> dict[str, Any]:
        """Hand over a file of this machine (it is uploaded), or name a URL."""
        if path.startswith(("http://", "https://")):
            given = {"type": type or "url", "title": title or path, "path": path, "description": description}
            return self._report(task, "deliverables", given)["deliverable"]
        with open(path, "rb") as file:
            content = file.read()
        name = os.path.basename(path)
        fields = {"title": title or name, "type": type or "file", "description": description}
        if self.agent_id:
            fields["agent_id"] = self.agent_id
        form = form_of({key: value for key, value in fields.items() if value}, name, content)
        return self._call("POST", f"/tasks/{part(task)}/deliverables", form, task=task)["deliverable"]

    def briefing(self, task: str) -> str:
        """What whoever works on it is told, as text."""
        return self._get(f"/tasks/{part(task)}/briefing", format="text")

    def process(self, task: str, agent: str = "") -> dict[str, Any]:
        """Hand it to an agent now: `{task, session, dispatched_via}`."""
        return self._post(f"/tasks/{part(task)}/process", {"agent": agent} if agent else {})

    # ── together ────────────────────────────────────────────────────────────────────────────────────────────────────

    def join(self, task: str, role: str = "") -> dict[str, Any]:
        return self._report(task, "join", {"role": role})["participant"]

    def share(self, task: str, key: str, value: Any, *, kind: str = "") -> dict[str, Any]:
        """A value that all who work on it see, any JSON; the latest of a key stands."""
        return self._report(task, "context", {"key": key, "value": value, "kind": kind})["entry"]

    def context(self, task: str) -> Rows:
        """What was shared: `{key, value, kind, by, at}` each."""
        return list(self._pages(f"/tasks/{part(task)}/context", "entries", 10_000, {}))

    def note(self, task: str, text: str) -> dict[str, Any]:
        """For the caller alone."""
        return self._report(task, "notes", {"text": text})["note"]

    def sync(self, task: str, message: str) -> dict[str, Any]:
        """A checkpoint for all who take part."""
        return self._report(task, "sync", {"message": message})["activity"]

    def discover(self, task: str, message: str, *, impact: str = "", tags: tuple[str, ...] = ()) -> dict[str, Any]:
        """A finding, and what it means for the others."""
        return self._report(task, "discover", {"message": message, "impact": impact, "tags": [*tags]})["activity"]

    def feedback(self, task: str, quality: int, timeliness: int, notes: str = "") -> dict[str, Any]:
        """Two numbers from 1 to 5 for what is done."""
        given = {"quality": quality, "timeliness": timeliness, **({"notes": notes} if notes else {})}
        return self._post(f"/tasks/{part(task)}/feedback", given)["feedback"]

    # ── the fleet ───────────────────────────────────────────────────────────────────────────────────────────────────

    def register(self, name: str, **fields: Any) -> dict[str, Any]:
        """A new agent: `{agent, api_key, claim_url, …}`; the key is used from now on."""
        answer = self._post("/agents/register", {"name": name, **fields})
        self.wire.key = answer["api_key"]
        return answer

    def me(self) -> dict[str, Any]:
        """The calling agent: `{agent, leases, sessions, abilities, …}`."""
        return self._get("/agents/me")

    def metrics(self) -> dict[str, Any]:
        """`{board, feedback}`: true counts by status and venture; averages by agent."""
        return {"board": self._get("/board/summary"), "feedback": self._get("/feedback/metrics")["summary"]}

    def columns(self, venture: str = "") -> Rows:
        return self._get("/board/columns", venture=venture)["columns"]

    def freeze(self, reason: str = "") -> dict[str, Any]:
        """No new claims anywhere until `thaw`."""
        return self._post("/fleet/freeze", {"reason": reason} if reason else {})

    def thaw(self) -> dict[str, Any]:
        return self._post("/fleet/thaw", {})

    def export(self, format: str = "json", *, venture: str = "", status: str = "") -> bytes:
        """All tasks as a file: json, csv or markdown."""
        query = {"format": format, "venture": venture, "status": status}
        return self.wire.fetch("GET", "/tasks/export", query=query, headers={"Accept": "*/*"})[2]

    def watch(self, since: int | None = None) -> Iterator[dict[str, Any]]:
        """Every change from now on, or after this number, as it happens; a lost connection goes on where it was."""
        return (event for event in self.wire.events(since) if event is not None)

    # ── how ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def _get(self, path: str, **query: Any) -> Any:
        return self.wire.call("GET", path, query=query)

    def _post(self, path: str, body: Any, wait: float = 0.0) -> Any:
        return self.wire.call("POST", path, body, wait=wait)

    def _call(self, method: str, path: str, body: Any = None, *, task: str = "") -> Any:
        """Under the lease of this task, where there is one; one that is lost is forgotten."""
        lease = self.leases.get(task)
        try:
            return self.wire.call(method, path, body, headers=lease.headers() if lease else None)
        except Refused as refused:
            if refused.code == "lease_lost":
                self.leases.pop(task, None)
            raise

    def _report(self, task: str, verb: str, given: dict[str, Any]) -> Any:
        said = {name: value for name, value in given.items() if value is not None and value != "" and value != []}
        return self._call("POST", f"/tasks/{part(task)}/{verb}", self._acting(said), task=task)

    def _ended(self, task: str, verb: str, given: dict[str, Any]) -> dict[str, Any]:
        answer = self._report(task, verb, given)
        self.leases.pop(task, None)
        return answer["task"]

    def _acting(self, given: dict[str, Any]) -> dict[str, Any]:
        return {**given, "agent_id": self.agent_id} if self.agent_id else given

    def _taken(self, answer: dict[str, Any]) -> dict[str, Any]:
        claims = answer.get("tasks") or ([answer] if answer.get("task") else [])
        for claim in claims:
            if claim.get("lease_token"):
                code = claim["task"]["id"] if "task" in claim else claim["id"]
                self.leases[code] = Lease(code, claim["epoch"], claim["lease_token"])
        return answer

    def _pages(self, path: str, name: str, limit: int, query: dict[str, Any]) -> Iterator[dict[str, Any]]:
        cursor, left = "", limit
        while left > 0:
            answer = self.wire.call("GET", path, query={**query, "limit": min(left, PAGE), "cursor": cursor})
            yield from answer[name]
            left -= len(answer[name])
            cursor = answer.get("next") or ""
            if not cursor:
                return


def form_of(fields: dict[str, str], name: str, content: bytes) -> tuple[str, bytes]:
    """`(content type, bytes)` of a form with one file."""
    mark = uuid.uuid4().hex
    quoted = name.replace("\\", "_").replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    pieces = [
        f'--{mark}\r\nContent-Disposition: form-data; name="{field}"\r\n\r\n{value}\r\n'.encode()
        for field, value in fields.items()
    ]
    head = (
        f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{quoted}"\r\nContent-Type: {kind}\r\n\r\n'
    )
    body = b"".join([*pieces, head.encode(), content, f"\r\n--{mark}--\r\n".encode()])
    return f"multipart/form-data; boundary={mark}", body
