"""Many claimers over HTTP on one queue: every task claimed once per epoch, none lost, nothing answered 5xx."""

import pytest

from tasks.demo.fleet_simulator import Plan
from tests.chaos.runs import Run

pytestmark = [pytest.mark.chaos]


def plan(**changes):
    """As fast as they can, short leases, and each kind of trouble in small shares."""
    return Plan(
        **{
            "url": "", "speed": 0, "long_poll": 5, "lease_seconds": 3, "marks": True, "seed": 11, "failures": 0.03,
            "blocks": 0.02, "releases": 0.03, "crashes": 0.02, "zombies": 0.03, "cuts": 0.03, "reviews": 0.1, **changes,
        }
    )  # fmt: skip


@pytest.mark.parametrize(("kind", "claimers", "tasks"), [("postgresql", 64, 2000), ("sqlite", 8, 2000)])
def test_claimers_share_a_queue(product_on, tmp_path, kind, claimers, tasks):
    product = product_on(kind)
    with Run(product, plan(url=product.url, agents=claimers, tasks=tasks), tmp_path / "run") as run:
        run.work()
        report = run.judge(least_refused=100, least_claims=tasks)
    assert report.facts["claims acknowledged"] >= tasks
    assert set(report.facts["answers by status"]) <= {"200", "201", "204", "409"}
