"""The server: board, API, live streams and chores in one process on one port."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from mission_control import server, starting
from mission_control.accounts import first_run


class Command(BaseCommand):
    help = "Start the server. It migrates the database by itself, and stops in order on SIGTERM."
    requires_system_checks = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default=settings.HOST, help="address to listen on (HOST)")
        parser.add_argument("--port", type=int, default=settings.PORT, help="port, 0 for a free one (PORT)")
        parser.add_argument(
            "--demo",
            action="store_true",
            default=settings.DEMO,
            help="fill an empty database with a fleet that works (DEMO)",
        )
        parser.add_argument("--no-chores", action="store_true", help="leave the chores to manage.py worker")

    def handle(self, *, host: str, port: int, demo: bool, no_chores: bool, **_: Any) -> None:
        settings.HOST, settings.PORT = host, port
        for warning in starting.check_settings():
            self.stderr.write(f"Mind: {warning}")
        listener = self._listen(host, port)
        starting.migrate(self._say)
        starting.collect_static(self._say)
        if demo:
            call_command("seed_demo", stdout=self.stdout)
        here = _address_of(listener)
        address = settings.PUBLIC_URL or here
        link = first_run.new_link()
        with contextlib.ExitStack() as until_the_end:

            def started() -> None:
                self._greet(address, link)
                if demo:
                    until_the_end.callback(_stop, _simulate(here))

            server.run(listener, with_chores=not no_chores, started=started)

    def _listen(self, host: str, port: int) -> Any:
        try:
            return server.listen(host, port)
        except OSError as error:
            raise CommandError(f"Cannot listen on {host}:{port}: {error.strerror}. Choose another PORT.") from None

    def _greet(self, address: str, link: str) -> None:
        self._say(f"Mission Control   {address}")
        if link:
            self._say(f"First admin       {address}{link}   (opens once)")
        register = f"curl -X POST {address}/api/v1/agents/register -H 'Content-Type: application/json'"
        self._say(f'Connect an agent  {register} -d \'{{"name": "my agent"}}\'')

    def _say(self, line: str) -> None:
        self.stdout.write(line)
        self.stdout.flush()


def _address_of(listener: socket.socket) -> str:
    """On this machine."""
    host, port = listener.getsockname()[:2]
    shown = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(host, host)
    return f"http://{shown}:{port}"


def _simulate(address: str) -> subprocess.Popen[bytes]:
    """A fleet that works over HTTP, in a process of its own. Its queue is short enough to be read on one screen."""
    manage = os.path.join(settings.BASE_DIR, "manage.py")
    return subprocess.Popen([sys.executable, manage, "simulate", "--url", address, "--forever", "--with-parent"])


def _stop(process: subprocess.Popen[bytes]) -> None:
    """At once: there is no server left to give anything back to. What it held comes back by the sweep."""
    process.kill()
    process.wait()
