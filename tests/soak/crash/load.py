"""The clients of the crash suite: a process that sends until the server dies, and notes what it sent and what was accepted.

Notes: `S ID RCPT...` before the final dot goes out, `K ID` when its 250 was seen.
"""

from __future__ import annotations

import os
import random
import socket
import threading
from pathlib import Path

from tests.soak.crash.mail import make

CLIENTS = 6


class _Client(threading.Thread):
    def __init__(self, port: int, notes: int, seed: str, messages: int) -> None:
        super().__init__(daemon=True)
        self._port = port
        self._notes = notes
        self._seed = seed
        self._messages = messages
        self._random = random.Random(seed)
        self._left = b""

    def run(self) -> None:
        try:
            sent = 0
            while sent < self._messages:
                with socket.create_connection(("127.0.0.1", self._port), 20) as link:
                    self._left = b""
                    self._reply(link)
                    self._say(link, b"EHLO client.example\r\n")
                    for _ in range(self._random.choice((1, 3, 1000))):
                        if sent < self._messages:
                            self._message(link, f"{self._seed}-{sent}")
                            sent += 1
        except OSError:
            return

    def _message(self, link: socket.socket, identity: str) -> None:
        recipients, content = make(self._random, identity)
        commands = [f"MAIL FROM:<s.{identity}@sender.example>"]
        commands += [f"RCPT TO:<{local}@d{number % 3}.example>" for number, local in enumerate(recipients)]
        commands.append("DATA")
        if self._random.random() < 0.5:
            link.sendall("".join(f"{command}\r\n" for command in commands).encode())
            codes = [self._reply(link) for _ in commands]
        else:
            codes = [self._say(link, f"{command}\r\n".encode()) for command in commands]
        if codes[-1] != "354":
            return
        taken = [local for local, code in zip(recipients, codes[1:-1], strict=True) if code == "250"]
        os.write(self._notes, f"S {identity} {' '.join(taken)}\n".encode())
        if self._say(link, content) == "250":
            os.write(self._notes, f"K {identity}\n".encode())

    def _say(self, link: socket.socket, data: bytes) -> str:
        link.sendall(data)
        return self._reply(link)

    def _reply(self, link: socket.socket) -> str:
        while True:
            while b"\r\n" not in self._left:
                data = link.recv(65536)
                if not data:
                    raise ConnectionError
                self._left += data
            line, _, self._left = self._left.partition(b"\r\n")
            if line[3:4] != b"-":
                return line[:3].decode()


def run(port: int, notes: Path, seed: str, messages: int) -> None:
    """Send `messages` from each client, or until the server is gone."""
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    clients = [_Client(port, descriptor, f"{seed}-{number}", messages) for number in range(CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
