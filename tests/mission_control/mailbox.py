"""A mail server on this machine that keeps what it is handed, and refuses when it is told to."""

from __future__ import annotations

import email
import email.policy
import socketserver
import threading
from email.message import EmailMessage


class Mailbox:
    """Speaks as much SMTP as a client needs. `refuses` is the answer to a sender, such as "451 Later"."""

    def __init__(self) -> None:
        self.letters: list[tuple[str, EmailMessage]] = []  # (recipient, letter)
        self.refuses = ""
        mailbox = self

        class Conversation(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                self.say("220 here")
                recipient = ""
                for line in self.rfile:
                    word = line.strip().upper()
                    if word.startswith(b"MAIL") and mailbox.refuses:
                        self.say(mailbox.refuses)
                    elif word.startswith(b"RCPT"):
                        recipient = line.decode().partition("<")[2].partition(">")[0]
                        self.say("250 OK")
                    elif word == b"DATA":
                        self.say("354 Go on")
                        body = b"".join(iter(self.rfile.readline, b".\r\n"))
                        letter = email.message_from_bytes(body, policy=email.policy.default)
                        mailbox.letters.append((recipient, letter))
                        self.say("250 Kept")
                    elif word == b"QUIT":
                        self.say("221 Bye")
                        break
                    else:
                        self.say("250 OK")

            def say(self, line: str) -> None:
                self.wfile.write(line.encode() + b"\r\n")

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Conversation)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
