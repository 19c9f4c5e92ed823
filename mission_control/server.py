"""The server of `manage.py serve`: uvicorn in this process, made to leave in order. Not: what has to be ready before."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Awaitable, Callable, Iterator

import uvicorn

from mission_control import chores
from mission_control.sockets import Protocol

logger = logging.getLogger(__name__)

DRAIN_SECONDS = 25  # for requests that run; with the chores it stays under 30
BACKLOG = 2048
STUCK_MILLISECONDS = 60_000  # what a client does not take for so long is given up by the kernel


class Server(uvicorn.Server):
    """Ends with exit code 0 on SIGTERM: streams hear 1012, requests finish, chores stop."""

    def __init__(
        self, config: uvicorn.Config, begin: Callable[[], object], leave: Callable[[], Awaitable[None]]
    ) -> None:
        super().__init__(config)
        self.begin, self.leave = begin, leave

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self.begin()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Ours end the loop and nothing more: uvicorn's raise the signal again afterwards, for an exit code of 143."""
        before = {which: signal.signal(which, self.handle_exit) for which in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for which, handler in before.items():
                signal.signal(which, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        if chores.runner is not None:
            chores.runner.stopping.set()
        for server in self.servers:
            server.close()  # nobody new comes in while the others are told
        await self.leave()
        await super().shutdown(sockets)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket. OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; accepted sockets inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MILLISECONDS)
        listener.bind((host.strip("[]"), port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


def run(listener: socket.socket, *, with_chores: bool, started: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. `started` is called when requests are answered."""
    from mission_control import asgi

    config = uvicorn.Config(
        asgi.application,
        loop="auto",
        http="httptools",
        ws=Protocol,
        ws_per_message_deflate=False,
        ws_max_size=65_536,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        backlog=BACKLOG,
    )

    def begin() -> None:
        if with_chores:
            chores.begin()
        started()

    server = Server(config, begin, asgi.leave)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(server.serve(sockets=[listener]))
    if chores.runner is not None:
        chores.runner.stop()
