"""The receiving server of the crash suite: a process of its own, which notes what it takes before and after it says so.

Recipients say by their names what happens to them: `bounce...` is refused, `defer...` and `later...` are put off once
(at RCPT and at the final dot). Notes: `D TIME OPENED ID RCPT SOUND` before the final 250, OPENED being when the
connection was taken, `A TIME ID RCPT` when it was sent, `R TIME ID RCPT` for a report on a recipient that was refused.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import time
from pathlib import Path

from tests.soak.crash.mail import about, is_sound


class Receiver:
    def __init__(self, notes: int, seed: int) -> None:
        self._notes = notes
        self._put_off: set[str] = set()
        self._random = random.Random(seed)

    def _note(self, what: str, *words: object) -> None:
        os.write(self._notes, f"{what} {time.monotonic():.6f} {' '.join(map(str, words))}\n".encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._dialogue(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    def _first_time(self, local: str) -> bool:
        if local in self._put_off:
            return False
        self._put_off.add(local)
        return True

    async def _dialogue(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        recipients: list[str] = []
        opened = time.monotonic()
        writer.write(b"220 receiver ESMTP\r\n")
        while True:
            line = (await reader.readuntil(b"\r\n"))[:-2].decode("latin-1")
            verb = line[:4].upper()
            reply = "250 2.0.0 ok"
            if verb == "EHLO":
                reply = "250-receiver\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES"
            elif verb == "MAIL":
                recipients = []
            elif verb == "RCPT":
                found = re.match(r"RCPT TO:<([^@>]*)@", line, re.IGNORECASE)
                local = found.group(1) if found else ""
                if local.startswith("bounce"):
                    reply = "550 5.1.1 no such mailbox"
                elif local.startswith("defer") and self._first_time(local):
                    reply = "451 4.2.0 not now"
                else:
                    recipients.append(local)
            elif verb == "DATA":
                if not recipients:
                    reply = "554 5.5.1 no valid recipients"
                else:
                    writer.write(b"354 go on\r\n")
                    content = (await reader.readuntil(b"\r\n.\r\n"))[:-3].replace(b"\r\n..", b"\r\n.")
                    await asyncio.sleep(self._random.choice((0, 0, 0.002, 0.02)))
                    reply = self._taken(recipients, content, opened)
                    writer.write(reply.encode() + b"\r\n")
                    await writer.drain()
                    if reply.startswith("250"):
                        for local in recipients:
                            self._note("A", about(content)[0] or "-", local)
                    continue
            elif verb == "QUIT":
                reply = "221 2.0.0 bye"
            writer.write(reply.encode() + b"\r\n")
            await writer.drain()
            if verb == "QUIT":
                return

    def _taken(self, recipients: list[str], content: bytes, opened: float) -> str:
        later = [local for local in recipients if local.startswith("later") and self._first_time(local)]
        if later:
            return "451 4.2.0 not now"
        identity, report_on = about(content)
        for local in recipients:
            if report_on:
                for failed in report_on:
                    self._note("R", identity or "-", failed)
            else:
                self._note("D", opened, identity or "-", local, int(is_sound(content, local)))
        return "250 2.0.0 taken"


def run(notes: Path, ready: int, seed: int) -> None:
    """Serve for good; the port is written to `ready`."""
    descriptor = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    async def main() -> None:
        server = await asyncio.start_server(Receiver(descriptor, seed).serve, "127.0.0.1", 0, limit=1 << 24)
        os.write(ready, b"%d\n" % server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(main())
