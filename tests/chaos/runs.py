"""One run of a crowd against a product: fill, work, do harm in between, come to rest, be judged.

What is proven is proven by checker.py over the raw histories and the database, and by check_invariants and verify_log.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path

from tasks.demo.fleet_client import History
from tasks.demo.fleet_simulator import Plan
from tests.chaos import checker, readers
from tests.chaos.checker import Report
from tests.chaos.crowd import Crowd
from tests.chaos.product import Product

Harm = Callable[[], object]


class Run:
    """`with Run(product, plan, folder) as run: run.work(…)`, then `run.judge(…)` for the report."""

    def __init__(
        self, product: Product, plan: Plan, folder: Path, *, processes: int = 4, followed: bool = True
    ) -> None:
        self.product, self.plan, self.folder = product, plan, folder
        folder.mkdir(parents=True, exist_ok=True)
        self.key = product.admin_key()
        self.crowd = Crowd(plan, self.key, folder, processes=processes)
        self.read = folder / "readers.jsonl"
        self.readers = readers.all_doors(product.port, self.key, History(self.read))
        self.counts: dict[str, int] = {}
        self.draw = random.Random(plan.seed)
        self.seconds = self.steered = 0.0

    def __enter__(self) -> Run:
        for reader in self.readers:
            reader.start()
        self.crowd.fill(self.plan.tasks)
        self.crowd.start()
        self.began = time.monotonic()
        return self

    def __exit__(self, *_: object) -> None:
        self.crowd.close()
        for reader in self.readers:
            reader.stop()

    def work(self, *, harms: Sequence[tuple[float, Harm]] = (), patience: float = 300.0) -> None:
        """Let them work through the queue, doing each harm when so large a share (0..1) of the tasks has been claimed.

        Tasks that are held back after a failure are left: they wait for a named time. At least one round is worked.
        """
        self._all_claimed_at_least(self.plan.tasks, sorted(harms, key=lambda harm: harm[0]), patience)
        end = time.monotonic() + patience
        while not self.crowd.director.is_drained(but_for_held_back=True):
            self.crowd.steer()
            time.sleep(1.0)
            assert time.monotonic() < end, "the queue does not drain"
        self.seconds = time.monotonic() - self.began

    def _all_claimed_at_least(self, wanted: int, harms: list[tuple[float, Harm]], patience: float) -> None:
        end = time.monotonic() + patience
        waiting = deque((share * wanted, harm) for share, harm in harms)
        while waiting:
            while waiting and self.claims() >= waiting[0][0]:
                waiting.popleft()[1]()
            self._steer()
            assert time.monotonic() < end, f"only {self.claims()} claims in {patience:.0f} s"

    def work_for(self, seconds: float, *, harms: Sequence[tuple[float, Harm]]) -> None:
        """Let them work for so long, doing each harm about every so many seconds. The queue is kept filled."""
        end = self.began + seconds
        due = [self.began + every for every, _ in harms]
        while time.monotonic() < end:
            for place, (every, harm) in enumerate(harms):
                if time.monotonic() >= due[place]:
                    harm()
                    due[place] = time.monotonic() + every * self.draw.uniform(0.6, 1.4)
            self._steer()
        self.seconds = time.monotonic() - self.began

    def claims(self) -> int:
        """How many claims a reader of the log has been shown."""
        return max(reader.kinds["task.claimed"] for reader in self.readers)

    def _steer(self) -> None:
        """A short while passes; every other second people do what they do."""
        if time.monotonic() - self.steered > 2.0:
            self.crowd.steer()
            self.steered = time.monotonic()
        time.sleep(0.05)

    def judge(self, *, least_refused: int, least_claims: int, logs: bool = True) -> Report:
        """Bring everything to rest and judge it. Prints what was seen, for whoever reads the run."""
        self.counts = self.crowd.finish()
        status, body = self.product.ask("GET", "/api/v1/activities?limit=1", self.key)
        assert status == 200
        for reader in self.readers:
            assert reader.reaches(body["head"]), (
                f"the {reader.door} reader ({reader.name}) stands at {reader.last} of {body['head']}"
            )
            reader.stop()
        invariants = self.product.manage("check_invariants", check=False)
        assert invariants.returncode == 0, invariants.stdout + invariants.stderr
        self.product.manage("verify_log")
        assert self.product.stop() == 0
        report = checker.check(
            self.product.database_url, [*self.crowd.histories, self.read],
            logs=[self.product.log] if logs else [], least_refused=least_refused, least_claims=least_claims,
        )  # fmt: skip
        told = sorted(self.counts.items(), key=lambda pair: -pair[1])
        print(f"\n{report}\nthe clients counted: {dict(told)}")
        claims = report.facts["claims in the log"]
        print(
            f"{self.seconds:.0f} s of work, {claims / self.seconds:.0f} claims/s, {self.product.kills} kills of the"
            f" server, {self.crowd.kills} of clients, reader breaks {[reader.breaks for reader in self.readers]}"
        )
        assert report.wrong == [], "\n".join(report.wrong[:40])
        return report

    def crash(self) -> None:
        """kill -9 of the process that owns the port, and a new start over the same data."""
        self.product.kill()
        self.product.start()
