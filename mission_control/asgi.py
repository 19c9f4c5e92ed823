"""The roof for requests: which address is answered by what. Websockets, event streams and waiting are ASGI applications;
everything else is Django, in threads. Runs under `manage.py serve`, or `uvicorn mission_control.asgi:application`.
"""

from __future__ import annotations

import functools
import logging
import os
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "mission_control.settings")

from django.core.wsgi import get_wsgi_application

wsgi_application = get_wsgi_application()

from django.conf import settings
from django.db import DatabaseError, InterfaceError

from mission_control import doors, live, metrics
from mission_control.doors import Receive, Scope, Send, answer
from mission_control.errors import Refused
from mission_control.log import Busy
from mission_control.plain_http import Gone, PlainHTTP
from tasks import waiting

logger = logging.getLogger(__name__)
Handler = Callable[[Scope, Receive, Send], Awaitable[None]]

threads = ThreadPoolExecutor(settings.THREADS, thread_name_prefix="request")
line = waiting.Line()
plain_http = PlainHTTP(wsgi_application, threads)

# Besides Django: method (or "websocket") and path → who answers. A claim with a cookie and no key is Django's.
handlers: dict[tuple[str, str], Handler] = {}
for path, door in doors.SOCKETS.items():
    handlers["websocket", path] = functools.partial(doors.serve_socket, door)
for path, door in doors.EVENT_STREAMS.items():
    handlers["GET", path] = functools.partial(doors.serve_event_stream, door)
for path in waiting.CLAIMS:
    handlers["POST", path] = functools.partial(waiting.claim, line, threads)
for path in waiting.LISTENS:
    handlers["GET", path] = functools.partial(waiting.listen, line, threads)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """One request or one websocket, from its beginning to its end."""
    kind = scope["type"]
    if kind == "http":
        await _http(scope, receive, send)
    elif kind == "websocket":
        await handlers.get(("websocket", scope["path"]), _no_socket)(scope, receive, send)
    elif kind == "lifespan":
        await _lifespan(receive, send)


async def _http(scope: Scope, receive: Receive, send: Send) -> None:
    key = (scope["method"], scope["path"])
    handler = handlers.get(key)
    if handler is not None and key[1] in waiting.CLAIMS and _has_cookie_alone(scope):
        handler = None
    if handler is None and key[1] != "/healthz":
        await _refusing(plain_http, scope, receive, send)
        return
    began, status = time.perf_counter(), 0

    async def noting(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
            metrics.note(key[1], key[0], status, began)
        await send(message)

    if handler is None:
        await answer(noting, 200, {"status": "ok"})  # alive, whatever the threads are doing
    else:
        await _refusing(handler, scope, receive, noting)


async def _refusing(handler: Handler, scope: Scope, receive: Receive, send: Send) -> None:
    """Turn what goes wrong before an answer has begun into one."""
    begun = False

    async def watching(message: Any) -> None:
        nonlocal begun
        begun = True
        await send(message)

    try:
        await handler(scope, receive, watching)
    except Gone:
        pass
    except Exception as error:
        if begun:
            raise
        refused = _refusal(error, scope)
        await answer(send, refused.status, refused.body(), refused.headers())


def _refusal(error: Exception, scope: Scope) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, DatabaseError | InterfaceError):
        logger.warning("%s %s: %s", scope["method"], scope["path"], error)
        return Busy()
    logger.error("%s %s", scope["method"], scope["path"], exc_info=error)
    return Refused("Something went wrong here. It is in the server's log.", code="internal", status=500)


def _has_cookie_alone(scope: Scope) -> bool:
    names = {name for name, _ in scope["headers"]}
    return b"cookie" in names and b"authorization" not in names


async def _no_socket(scope: Scope, receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.close", "code": 4404})


async def leave() -> None:
    """End what would never end by itself; requests that run may finish."""
    line.leave()
    await doors.leave()


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await leave()
            await live.stop()
            threads.shutdown(wait=False, cancel_futures=True)
            await send({"type": "lifespan.shutdown.complete"})
            return
