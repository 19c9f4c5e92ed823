"""A client that claims one task, keeps it alive, and finishes it when told, whatever happened in between.

python tests/chaos/sleeper.py URL KEY TASK HISTORY
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tasks.demo.fleet_client import Answer, Client, History  # noqa: E402 - the project is not installed, so the path comes first


def main(url: str, key: str, task: str, history: str) -> int:
    client = Client(url, key, "ada", History(history))
    claim = client.call("claim", "POST", "/api/v1/tasks/claim", {"session_key": "a", "lease_seconds": 2})
    assert claim.body["task"]["id"] == task, claim
    epoch, token = claim.body["epoch"], claim.body["lease_token"]

    def write(verb: str, body: dict[str, object] | None = None) -> Answer:
        path = f"/api/v1/tasks/{task}/{'deliverables' if verb == 'deliver' else verb}"
        return client.call(verb, "POST", path, body, epoch=epoch, token=token, facts={"task": task, "under": epoch})

    print("claimed", flush=True)
    beats = 0
    while not select.select([sys.stdin], [], [], 0.5)[0]:
        write("heartbeat")
        beats += 1
        if beats == 5:
            print("alive", flush=True)
    sys.stdin.readline()
    late = {"type": "file", "title": "Late", "path": "out/late.txt"}
    for verb, body in (
        ("progress", {"percent": 90, "actual_cost": "0.5", "tokens_used": 600}),
        ("complete", {"summary": "Done.", "deliverables": [late], "actual_cost": "0.75", "tokens_used": 900}),
        ("deliver", {**late, "title": "Late too"}),
        ("heartbeat", None),
    ):
        answer = write(verb, body)
        print(json.dumps({"verb": verb, "status": answer.status, "code": answer.code}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
