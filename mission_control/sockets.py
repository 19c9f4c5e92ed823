"""The websocket protocol of `serve`: uvicorn's, with a way to write many ready frames at once and to drop who is stuck.

Sending one message costs a system call; a burst of fifty events for a thousand sockets would cost fifty thousand. The
doors ask for the extension `mission_control.frames` and fall back to plain messages on any other ASGI server.
"""

from __future__ import annotations

import struct
from typing import Any

from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

EXTENSION = "mission_control.frames"
ABORT_SECONDS = 5  # after the close was written to a client that does not read


def frame(payload: bytes) -> bytes:
    """One unmasked text frame (RFC 6455, section 5.2)."""
    length = len(payload)
    if length < 126:
        return struct.pack("!BB", 0x81, length) + payload
    if length < 1 << 16:
        return struct.pack("!BBH", 0x81, 126, length) + payload
    return struct.pack("!BBQ", 0x81, 127, length) + payload


class Protocol(WebSocketsSansIOProtocol):
    """No compression: its window costs more memory per socket than all the rest together."""

    def handle_connect(self, event: Any) -> None:
        super().handle_connect(event)
        if hasattr(self, "scope"):
            self.scope["extensions"][EXTENSION] = {"write": self.write_frames}

    def write_frames(self, frames: bytes) -> bool:
        """Write at once when nothing is waiting to be written; False when it has to be sent the slow way."""
        if not self.writable.is_set() or self.disconnected or self.close_sent:
            return False
        self.transport.write(frames)
        return True

    async def send(self, message: Any) -> None:
        """As in ASGI; besides `{"type": EXTENSION, "bytes": frames}`, which waits like any message while the buffer is full."""
        if message["type"] == EXTENSION:
            if not self.writable.is_set():
                await self.writable.wait()
            if self.disconnected or self.close_sent:
                raise ClientDisconnected
            self.transport.write(message["bytes"])
            return
        if message["type"] == "websocket.close" and not self.writable.is_set():
            self.writable.set()  # it does not read: the close goes behind what is waiting, and then we hang up
            self.loop.call_later(ABORT_SECONDS, self.transport.abort)
        await super().send(message)

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self.loop.call_later(ABORT_SECONDS, self.transport.abort)
