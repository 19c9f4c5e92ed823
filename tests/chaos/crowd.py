"""Client processes for the fault tests: agents of the simulator, spread over processes that can be killed.

As a program it is one such process: it reads what to do from standard input as one JSON line, works until its input
ends, lets its zombies wake, and says what it counted.
"""

from __future__ import annotations

import dataclasses
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tasks.demo import fleet_simulator  # noqa: E402 - the project is not installed, so the path comes first
from tasks.demo.fleet_client import History  # noqa: E402
from tasks.demo.fleet_simulator import Director, Fleet, Graveyard, Plan  # noqa: E402


class Crowd:
    """The agents of a plan in several processes, and somebody who fills the queue and steers, in this one."""

    def __init__(self, plan: Plan, key: str, folder: Path, *, processes: int) -> None:
        self.plan, self.folder = plan, folder
        self.histories = [folder / "director.jsonl"]
        self.fleet = Fleet(plan, History(self.histories[0]), say=lambda _: None)
        self.director = Director(self.fleet, key)
        self.keys = self.director.prepare()
        self.processes: list[subprocess.Popen[str]] = []
        self.shares = [dict(list(self.keys.items())[place::processes]) for place in range(processes)]
        self.kills = 0
        self.generation = 0
        self.draw = random.Random(plan.seed)

    def fill(self, count: int) -> None:
        self.director.fill(count)

    def start(self) -> None:
        self.processes = [self._spawn(share) for share in self.shares]

    def _spawn(self, share: dict[str, str]) -> subprocess.Popen[str]:
        self.generation += 1
        history = self.folder / f"clients-{self.generation}.jsonl"
        self.histories.append(history)
        # another generation draws other fates: a killed client does not do the same again
        plan = dataclasses.replace(self.plan, seed=self.plan.seed * 1000 + self.generation)
        process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
        )
        assert process.stdin is not None
        orders = {"plan": dataclasses.asdict(plan), "keys": share, "history": str(history)}
        process.stdin.write(json.dumps(orders) + "\n")
        process.stdin.flush()
        return process

    def kill_one(self) -> None:
        """SIGKILL to one client process at any moment; its agents begin anew in another one."""
        place = self.draw.randrange(len(self.processes))
        process = self.processes[place]
        process.kill()
        assert process.wait(10) == -signal.SIGKILL
        assert process.stdout is not None and process.stdin is not None
        process.stdout.close()
        process.stdin.close()
        self.kills += 1
        self.processes[place] = self._spawn(self.shares[place])

    def steer(self) -> None:
        self.director.steer()

    def finish(self, seconds: float = 150.0) -> dict[str, int]:
        """No new work; zombies wake; everybody goes. What they counted, all together."""
        counts: dict[str, int] = dict(self.fleet.counts)
        wrong: list[str] = list(self.fleet.wrong)
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.close()
        deadline = time.monotonic() + seconds
        for process in self.processes:
            assert process.stdout is not None
            watchdog = threading.Timer(max(1.0, deadline - time.monotonic()), process.kill)
            watchdog.start()
            said = process.stdout.read()
            code = process.wait()
            watchdog.cancel()
            assert code == 0, f"a client process ended with {code}: {said[-500:]}"
            told = json.loads(said)
            wrong += told["wrong"]
            for what, n in told["counts"].items():
                counts[what] = counts.get(what, 0) + n
        self.fleet.gone.set()
        assert wrong == [], "\n".join(wrong[:20])
        return counts

    def close(self) -> None:
        """End what still runs, whatever happened."""
        self.fleet.gone.set()
        for process in self.processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None and not pipe.closed:
                    pipe.close()


def main() -> int:
    orders: dict[str, Any] = json.loads(sys.stdin.readline())
    fleet = Fleet(Plan(**orders["plan"]), History(orders["history"]), say=lambda _: None)
    threads = fleet_simulator.work(fleet, orders["keys"])
    graveyard = Graveyard(fleet)
    waker = threading.Thread(target=graveyard.run, daemon=True)
    waker.start()
    sys.stdin.read()  # until the test closes it, or is gone
    fleet.over.set()
    for thread in threads:
        thread.join(60)
    graveyard.closing.set()
    waker.join(90)
    fleet.gone.set()
    print(json.dumps({"counts": dict(fleet.counts), "wrong": fleet.wrong, "pid": os.getpid()}))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.exit(main())
