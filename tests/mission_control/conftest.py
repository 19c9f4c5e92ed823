"""The fixtures of these tests: real servers, ours and such that others run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from tests.receiving import Receiver
from tests.serving import database_server, make_product, new_database, new_product, product

__all__ = ["database_server", "make_product", "new_database", "new_product", "product"]


@pytest.fixture
def receive(settings) -> Iterator[Callable[..., Receiver]]:
    """A receiver that the settings allow, unless `allowed` is false."""
    made: list[Receiver] = []

    def make(act: Callable[[BaseHTTPRequestHandler], None], *, allowed: bool = True, context=None) -> Receiver:
        made.append(Receiver(act, context))
        if allowed:
            settings.OUTGOING_ALLOWED = [*settings.OUTGOING_ALLOWED, f"127.0.0.1:{made[-1].port}"]
        return made[-1]

    yield make
    for receiver in made:
        receiver.close()
