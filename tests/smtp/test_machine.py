"""Dialogues by chance over real sockets, held against a model: one reply a command, in order, of the right kind.

Several clients at once, commands pipelined and cut anywhere, junk, hang-ups, halves closed. What is stored is what the
model says was accepted. `python -m tests.soak.commands` runs it for as long as one likes.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
import struct
import threading
from collections import Counter
from typing import Any, ClassVar

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.smtp.dialogue_model import (
    COMMANDS,
    HEADER_LIMIT,
    MAX_ERRORS,
    MAX_RECIPIENTS,
    MAX_UNKNOWN,
    SIZE_LIMIT,
    Command,
    Model,
)
from tests.smtp.harness import World, serving

PATIENCE_S = 60.0
LAST = [command for command in COMMANDS if command.last]
OTHERS = [command for command in COMMANDS if not command.last]
# What leads somewhere comes more often than chance would have it.
ONWARD = [command for command in COMMANDS if command.good and command.kind in ("hello", "mail", "rcpt", "data")]
PLAIN_LINES = (b"", b".", b"..", b"text", b"x" * 998, b"\xe5\xff", b". ", b"Received: x", b"From: y")
ODD_LINES = (b"x" * 999, b"\0", b"a\rb", b"a\nb", b"a\r", b"y" * 1200)


class ServerThread:
    """A server in a thread with a loop of its own, so that tests may block; made once, and kept."""

    def __init__(self) -> None:
        self.ready = threading.Event()
        self.stop: Any = None
        self.world: World
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)
        self._thread.start()
        assert self.ready.wait(PATIENCE_S)

    async def _serve(self) -> None:
        self.stop = asyncio.Event()
        self.loop = asyncio.get_running_loop()
        async with serving(
            max_errors=MAX_ERRORS,
            max_unknown_commands=MAX_UNKNOWN,
            max_recipients=MAX_RECIPIENTS,
            size_limit_bytes=SIZE_LIMIT,
            header_limit_bytes=HEADER_LIMIT,
        ) as self.world:
            self.ready.set()
            await self.stop.wait()

    def call(self, function: Any) -> Any:
        """Run a plain function in the server's loop, and give its result."""

        async def work() -> Any:
            return function()

        return asyncio.run_coroutine_threadsafe(work(), self.loop).result(PATIENCE_S)

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self.stop.set)
        self._thread.join(PATIENCE_S)


class Peer:
    """A client and what it thinks of its connection."""

    def __init__(self, port: int) -> None:
        self.model = Model()
        self.socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._file = self.socket.makefile("rb")
        assert self.reply() == "220"

    def send(self, data: bytes, cuts: list[int]) -> None:
        for start, end in itertools.pairwise((0, *sorted({cut % len(data) for cut in cuts}), len(data))):
            self.socket.sendall(data[start:end])

    def reply(self) -> str:
        """Give a reply's code; "" at the end of the connection. A reply that is none is an error."""
        while True:
            try:
                line = self._file.readline(600)
            except ConnectionResetError:  # what stands behind a QUIT was not read
                line = b""
            if not line:
                return ""
            assert line.endswith(b"\r\n") and line[:3].isdigit() and line[3:4] in b"- \r" and line.isascii(), line
            if line[3:4] != b"-":
                return line[:3].decode()

    def expect(self, codes: list[str], told: object) -> None:
        got = [self.reply() for _ in codes]
        wrong = [n for n, (code, wanted) in enumerate(zip(got, codes, strict=True)) if not code.startswith(wanted)]
        assert not wrong, (wrong, codes, got, told)

    def drop(self, *, reset: bool) -> None:
        if reset:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._file.close()
        self.socket.close()


cuts = st.lists(st.integers(0, 5000), max_size=4)
STAYING = [command for command in COMMANDS if command.kind not in ("http", "quit")]
DATA = next(command for command in COMMANDS if command.kind == "data")
command = st.one_of(st.sampled_from(ONWARD), st.sampled_from(STAYING), st.sampled_from(COMMANDS))
group = st.builds(
    lambda first, last: [*first, *last], st.lists(st.sampled_from(OTHERS), max_size=6), st.lists(command, max_size=1)
)
onward = st.builds(
    lambda mail, rcpts, more: [mail, *rcpts, *more],
    st.sampled_from([each for each in ONWARD if each.kind == "mail"]),
    st.lists(st.sampled_from([each for each in COMMANDS if each.kind == "rcpt"]), min_size=1, max_size=7),
    st.lists(command, max_size=1),
)
line = st.sampled_from(PLAIN_LINES)
lines = st.builds(
    lambda head, body, odd, at: [*head, b"", *(body[:at] + odd + body[at:])],
    st.lists(st.sampled_from((b"Subject: x", b"X-Y: z", b"Received: by x", b"A: b\r\n c")), max_size=4),
    st.lists(line, max_size=12),
    st.lists(st.sampled_from(ODD_LINES), max_size=1),
    st.integers(0, 12),
)
behind = st.lists(st.sampled_from(OTHERS), max_size=3)
BIG = {
    "loop": [b"Received: x"] * 51 + [b""],
    "header": [b"X: y"] * 2000 + [b""],
    "body": [b""] + [b"z" * 90] * 300,
    "folded": [b"A: b"] + [b" c"] * 2000 + [b""],
}
big = st.sampled_from(list(BIG)).map(BIG.__getitem__)


class Dialogue(RuleBasedStateMachine):
    """Up to three clients at a time. `commands` counts over all runs."""

    server: ServerThread | None = None
    commands = 0
    seen: ClassVar[Counter[str]] = Counter()

    @initialize()
    def begin(self) -> None:
        if Dialogue.server is None:
            Dialogue.server = ServerThread()
        self.peers: list[Peer] = []
        self.stored: list[bytes] = []
        self.world = Dialogue.server.world
        Dialogue.server.call(self.world.spool.messages.clear)

    def _peer(self, which: int) -> Peer:
        if which >= len(self.peers):
            self.peers.append(Peer(self.world.port))
            return self.peers[-1]
        return self.peers[which]

    def _over(self, peer: Peer) -> None:
        """What is closed says nothing more."""
        if peer.model.closed:
            assert peer.reply() == ""
            peer.drop(reset=False)
            self.peers.remove(peer)

    def _say(self, peer: Peer, commands: list[Command], cuts: list[int], half_close: bool = False) -> None:
        codes: list[str] = []
        data = b"".join(each.line for each in commands)
        for each in commands:
            if not peer.model.closed:
                codes.append(peer.model.answer(each))
                Dialogue.commands += 1
                Dialogue.seen[each.kind] += 1
        if any(each.last for each in commands[:-1]):
            raise AssertionError("a group has one such command, at its end")
        if not data:
            return
        try:
            peer.send(data, cuts)
            if half_close:
                peer.socket.shutdown(socket.SHUT_WR)
                peer.model.closed = True
        except OSError:
            assert peer.model.closed
        peer.expect(codes, commands)
        self._over(peer)

    @rule(which=st.integers(0, 2), commands=group, cuts=cuts)
    def say(self, which: int, commands: list[Command], cuts: list[int]) -> None:
        peer = self._peer(which)
        if not peer.model.in_data:
            self._say(peer, commands, cuts)

    @rule(which=st.integers(0, 2), commands=onward, cuts=cuts, half_close=st.sampled_from([False] * 7 + [True]))
    def send_envelope(self, which: int, commands: list[Command], cuts: list[int], half_close: bool) -> None:
        peer = self._peer(which)
        if peer.model.in_data:
            return
        if not peer.model.hello:
            self._say(peer, [COMMANDS[0]], [])
        if peer in self.peers:
            self._say(peer, commands, cuts, half_close and not commands[-1].last)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 2), first=st.sampled_from(LAST), behind=st.sampled_from(COMMANDS))
    def talk_early(self, which: int, first: Command, behind: Command) -> None:
        peer = self._peer(which)
        if peer.model.in_data:
            return
        Dialogue.commands += 2
        peer.model.closed = True
        peer.send(first.line + behind.line, [])
        peer.expect(["503"], (first, behind))
        self._over(peer)

    @rule(which=st.integers(0, 2), commands=onward, lines=lines, behind=behind, cuts=cuts)
    def send_message(
        self, which: int, commands: list[Command], lines: list[bytes], behind: list[Command], cuts: list[int]
    ) -> None:
        """The whole of it, so that chance gets to the end of a message often."""
        peer = self._peer(which)
        if peer.model.in_data:
            return
        first = [] if peer.model.hello else [COMMANDS[0]]
        if peer.model.in_mail:
            first += [next(each for each in COMMANDS if each.kind == "rset")]
        for each in first:
            if peer in self.peers:
                self._say(peer, [each], [])
        if peer in self.peers:
            self._say(peer, [each for each in commands if each.kind in ("mail", "rcpt")] + [DATA], cuts)
        if peer in self.peers and peer.model.in_data:
            self._content(peer, lines, behind, cuts)

    @rule(which=st.integers(0, 2), each=st.sampled_from(OTHERS), times=st.integers(2, 20), cuts=cuts)
    def pester(self, which: int, each: Command, times: int, cuts: list[int]) -> None:
        """The same again and again, up to the limits."""
        peer = self._peer(which)
        if not peer.model.in_data:
            self._say(peer, [each] * times, cuts)

    @precondition(lambda self: any(peer.model.in_data for peer in self.peers))
    @rule(lines=st.one_of(lines, lines, big), behind=behind, cuts=cuts)
    def send_content(self, lines: list[bytes], behind: list[Command], cuts: list[int]) -> None:
        self._content(next(peer for peer in self.peers if peer.model.in_data), lines, behind, cuts)

    def _content(self, peer: Peer, lines: list[bytes], behind: list[Command], cuts: list[int]) -> None:
        sent = [line + b"\r\n" for text in lines for line in text.split(b"\r\n")]
        code, kept = peer.model.content(sent)
        if kept is not None:
            self.stored.append(kept)
        stuffed = b"".join(b"." + line if line.startswith(b".") else line for line in sent)
        codes = [code]
        for each in behind:
            if not peer.model.closed:
                codes.append(peer.model.answer(each))
        Dialogue.commands += 1 + len(behind)
        Dialogue.seen[f"message {code}"] += 1
        try:
            peer.send(stuffed + b".\r\n" + b"".join(each.line for each in behind), cuts)
        except OSError:
            assert peer.model.closed
        peer.expect(codes, (lines, behind))
        self._over(peer)

    @precondition(lambda self: self.peers)
    @rule(which=st.integers(0, 2), rest=st.sampled_from((b"", b"NOO", b"DATA", b"x\r\n.\r", b"\r\n.")), reset=st.booleans())
    def hang_up(self, which: int, rest: bytes, reset: bool) -> None:
        peer = self.peers[which % len(self.peers)]
        if rest:
            peer.socket.sendall(rest)
        peer.drop(reset=reset)
        self.peers.remove(peer)

    def teardown(self) -> None:
        server = Dialogue.server
        if server is None or not hasattr(self, "peers"):
            return
        for peer in self.peers:
            if peer.model.in_data:
                peer.socket.sendall(b"x")
            peer.drop(reset=False)

        def look() -> tuple[list[bytes], list[Any], int]:
            world = self.world
            stored = [message.header + message.body for message in world.spool.messages]
            wrong = [fields for event, fields in world.log if event == "smtp.fault"]
            world.log.clear()
            world.hooks.events.clear()
            return stored, wrong, world.server.shared.data_bytes

        stored, wrong, _ = server.call(look)
        assert not wrong, wrong
        assert [each.partition(b"+0000\r\n")[2] for each in stored] == self.stored


Dialogue.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=30,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    phases=(Phase.reuse, Phase.generate),
)
TestDialogue = Dialogue.TestCase


def teardown_module() -> None:
    if Dialogue.server is not None:
        Dialogue.server.close()
        Dialogue.server = None
