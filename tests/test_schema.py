"""The API against its own document: generated calls, with a fixed seed, are answered as the document says, never by a 500.

The ids in the generated addresses are swapped for real ones most of the time, so that the verbs behind are reached.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.parameters import ParameterLocation
from schemathesis.specs.openapi import checks

from mission_control import callers
from mission_control.outbound import webhooks
from tasks import transitions
from tests.conftest import DIRECTOR, Api, a_task, claimed, key_of

EXAMPLES = 12  # for each call, beside those that cover every keyword of its schema
OURS = (ParameterLocation.BODY, ParameterLocation.QUERY)


def wrong_bodies_are_refused(context: Any, response: Any, case: Any) -> None:
    """A body or a query that breaks the document is never taken. Unknown headers are nobody's business."""
    parts = case.meta.components if case.meta else {}
    if any(info.mode.is_negative for where, info in parts.items() if where in OURS):
        checks.negative_data_rejection(context, response, case)


CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
    wrong_bodies_are_refused,
]
schema = schemathesis.openapi.from_wsgi("/api/schema", get_wsgi_application())
real: dict[str, Any] = {}


@schema.hook
def map_path_parameters(_context: Any, ids: dict[str, Any] | None) -> dict[str, Any] | None:
    """Three of four ids are those of something that is there. A code that is the word of another address is none."""
    if ids:
        for name in ids:
            if name in real and (len(str(ids[name])) % 4 or ids[name] == "complete"):
                ids[name] = real[name]
    return ids


@pytest.fixture
def one_connection() -> Iterator[None]:
    """A request would close the connection that the test's transaction is in."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def world(db, one_connection, monkeypatch, tmp_path, ada, stranger, venture, settings) -> Api:
    """Something of everything, and a client that may do all of it and holds a lease itself."""
    settings.MEDIA_ROOT = tmp_path
    monkeypatch.setattr(callers, "within", lambda *_: None)
    first, second = a_task("first", venture=venture), a_task("second")
    task = a_task("third", depends_on=[])
    claimed(stranger, task, session_key="run")
    transitions.deliver(DIRECTOR, task.code, [{"type": "artifact", "title": "x"}])
    transitions.add_dependency(DIRECTOR, second.code, first.code)
    hook, _ = webhooks.create(DIRECTOR, url="https://hook.example/")
    real.update(
        code=task.code, before=first.code, key="run", slug="apollo", number=1, prefix="abcdefgh", hook=hook.code
    )
    return Api(key_of(stranger.agent, "admin"))


@pytest.mark.fuzz
@schema.parametrize()
@settings(
    max_examples=EXAMPLES, derandomize=True, deadline=None, database=None,
    phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
)  # fmt: skip
def test_generated_calls_are_answered_as_the_document_says(case: Any, world: Api) -> None:
    if case.path.startswith("/api/v1/agents/"):
        real["slug"] = "ada"
    elif case.path.startswith("/api/v1/ventures/"):
        real["slug"] = "apollo"
    case.call_and_validate(headers={"Authorization": f"Bearer {world.secret}"}, checks=CHECKS)


@pytest.mark.once
def test_the_document_is_valid_and_made_without_a_warning(tmp_path) -> None:
    call_command("spectacular", "--validate", "--fail-on-warn", file=str(tmp_path / "schema.yaml"))
    assert (tmp_path / "schema.yaml").stat().st_size > 50_000
