"""What a server must answer, command by command: the dialogue of RFC 5321 as a small state machine of plain data.

In: a command's kind and whether it is well formed. Out: the reply's code, or its class as in `5`. Knows nothing of hslpy.
"""

from __future__ import annotations

from dataclasses import dataclass, field

MAX_ERRORS, MAX_UNKNOWN, MAX_RECIPIENTS = 15, 8, 5
SIZE_LIMIT, HEADER_LIMIT = 20_000, 4000


@dataclass(frozen=True, repr=False)
class Command:
    """A command line as sent; `last` ones end a pipelined group."""

    kind: str
    line: bytes
    good: bool = True
    extended: bool = False  # has parameters, which HELO did not offer

    def __repr__(self) -> str:
        return f"{self.kind} {self.line[:60]!r}"

    @property
    def last(self) -> bool:
        return self.kind in ("hello", "data", "starttls", "auth", "bdat")


def _of(kind: str, *lines: bytes, good: bool = True, extended: bool = False) -> list[Command]:
    return [Command(kind, line + b"\r\n", good, extended) for line in lines]


COMMANDS = [
    *_of("hello", b"EHLO x.test", b"ehlo [127.0.0.1]", b"HELO x", b"hElO  x.test"),
    *_of("hello", b"EHLO", b"HELO a b", b"EHLO " + b"x" * 300, good=False),
    *_of("mail", b"MAIL FROM:<a@x.test>", b"mail from:<>", b"MAIL FROM: <a.b+c@x.test> ", b'MAIL FROM:<"a b"@x.test>'),
    *_of("mail", b"MAIL FROM:<@r.test,@s.test:a@x.test>", b"MAIL FROM:<" + b"a" * 64 + b"@x.test>"),
    *_of("mail", b"MAIL FROM:<a@x.test> SIZE=100", b"MAIL FROM:<a@x.test> BODY=8BITMIME size=0", extended=True),
    *_of("mail", b"MAIL", b"MAIL FROM", b"MAIL FROM:", b"MAIL FROM:a@x.test", b"MAIL FROM:<a@x.test", good=False),
    *_of("mail", b"MAIL TO:<a@x.test>", b"MAIL FROM:<a@@x.test>", b"MAIL FROM:<a b@x.test>", good=False),
    *_of("mail", b"MAIL FROM:<" + b"a" * 65 + b"@x.test>", b"MAIL FROM:<a@x.test> SIZE=1 SIZE=1", good=False),
    *_of("mail", b"MAIL FROM:<a@x.test> SIZE=99999999", b"MAIL FROM:<a@x.test> X=1", b"MAIL FROM:<a@x.test>>", good=False),
    *_of("rcpt", b"RCPT TO:<b@y.test>", b"rcpt to: <B@y.test>", b"RCPT TO:<postmaster>", b'RCPT TO:<"a>b"@y.test>'),
    *_of("rcpt", b"RCPT TO:<@r.test:b@y.test>", b"RCPT TO:<b@[127.0.0.1]>"),
    *_of("rcpt", b"RCPT", b"RCPT TO:<>", b"RCPT TO:b@y.test", b"RCPT TO:<b@y.test", b"RCPT TO:<b>", good=False),
    *_of("rcpt", b"RCPT FROM:<b@y.test>", b"RCPT TO:<b@y..test>", b"RCPT TO:<b@y.test> X=1", b"RCPT TO:<@r:>", good=False),
    *_of("data", b"DATA", b"data"),
    *_of("data", b"DATA x", good=False),
    *_of("rset", b"RSET", b"rset "),
    *_of("rset", b"RSET x", good=False),
    *_of("noop", b"NOOP", b"NOOP x y", b"noop"),
    *_of("help", b"HELP", b"HELP MAIL"),
    *_of("vrfy", b"VRFY a"),
    *_of("expn", b"EXPN a", b"EXPN"),
    *_of("bdat", b"BDAT 0 LAST"),
    *_of("starttls", b"STARTTLS"),
    *_of("auth", b"AUTH PLAIN AGEAYg=="),
    *_of("quit", b"QUIT"),
    *_of("quit", b"QUIT x", good=False),
    *_of("unknown", b"", b"X", b"MAILFROM:<a@x.test>", b"EHLOX", b"  ", b"DATA\t", b"XCLIENT NAME=x", b"Subject: x", b"."),
    *_of("http", b"GET / HTTP/1.1", b"POST / HTTP/1.1"),
    *_of("noise", b"NOOP \x00", b"\x00", b"NOOP \xff", b"\xff\xfe", b"NOOP\r", b"NO\rOP", b"\r", b"NOOP " + b"x" * 510),
    *_of("noise", b"y" * 13_000, b"RCPT TO:<b\r@y.test>", b"MAIL FROM:<a\x00@x.test>", b"NOOP\x01", b"\x16\x03\x01"),
    Command("noise", b"NOOP\n"),
    Command("noise", b"\n"),
    Command("noise", b"DATA\n"),
]


@dataclass
class Model:
    """One connection's state as its client must think it is."""

    hello: str = ""
    in_mail: bool = False
    in_data: bool = False
    recipients: int = 0
    errors: int = 0
    unknown: int = 0
    closed: bool = False
    kinds: list[str] = field(default_factory=list)

    def answer(self, command: Command) -> str:
        """Give the code of the reply, and take the command as done."""
        self.kinds.append(command.kind)
        if command.kind == "http":
            return self._close("421")
        if command.kind == "unknown":
            self.unknown += 1
            return self._close("421") if self.unknown >= MAX_UNKNOWN else self._fault("500")
        if command.kind in ("noise", "expn", "bdat", "starttls"):
            return self._fault("5")
        if command.kind == "auth":
            return self._fault("50")
        if command.kind in ("noop", "help", "vrfy"):
            return {"noop": "250", "help": "214", "vrfy": "252"}[command.kind]
        method: str = getattr(self, f"_{command.kind}")(command)
        return method

    def _fault(self, code: str) -> str:
        self.errors += 1
        return self._close("421") if self.errors >= MAX_ERRORS else code

    def _close(self, code: str) -> str:
        self.closed = True
        return code

    def _hello(self, command: Command) -> str:
        if not command.good:
            return self._fault("501")
        self.hello, self.in_mail = command.line[:4].decode().upper(), False
        return "250"

    def _mail(self, command: Command) -> str:
        if not self.hello or self.in_mail:
            return self._fault("503")
        if not command.good or (command.extended and self.hello == "HELO"):
            return self._fault("5")
        self.in_mail, self.recipients = True, 0
        return "250"

    def _rcpt(self, command: Command) -> str:
        if not self.in_mail:
            return self._fault("503")
        if not command.good:
            return self._fault("5")
        if self.recipients >= MAX_RECIPIENTS:
            return "452"
        self.recipients += 1
        return "250"

    def _data(self, command: Command) -> str:
        if not command.good:
            return self._fault("501")
        if not self.in_mail:
            return self._fault("503")
        if not self.recipients:
            return self._fault("554")
        self.in_data = True
        return "354"

    def _rset(self, command: Command) -> str:
        if not command.good:
            return self._fault("501")
        self.in_mail = False
        return "250"

    def _quit(self, command: Command) -> str:
        return self._close("221") if command.good else self._fault("501")

    def content(self, lines: list[bytes]) -> tuple[str, bytes | None]:
        """Give the code for a message of these lines (without dots, each as sent, its end included), and what is kept."""
        self.in_data = self.in_mail = False
        whole = b"".join(lines)
        if not all(line.endswith(b"\r\n") and b"\r" not in line[:-2] and b"\n" not in line[:-2] for line in lines):
            self.closed = whole.endswith(b"\r\r\n")
            return "550", None
        if len(whole) > SIZE_LIMIT:
            return "552", None
        if any(len(line) > 1000 for line in lines):
            return "500", None
        if b"\0" in whole:
            return "550", None
        if sum(len(line) for line in lines[: lines.index(b"\r\n")]) > HEADER_LIMIT:
            return "552", None
        if sum(line.lower().startswith(b"received:") for line in lines[: lines.index(b"\r\n")]) > 50:
            return "554", None
        return "250", whole
