"""One mail transaction on an open link. In: envelope and content. Out: what was said for each recipient.

Source: RFC 5321 sections 3.3 and 4.5.2, RFC 1870 (SIZE), 2033 (LMTP), 2920 (PIPELINING), 3461 (DSN), 6152 (8BITMIME),
6531 (SMTPUTF8). Must not know of queues, nor of which link it is given.
"""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import Mapping
from functools import lru_cache

from aiosmtplib import SMTPServerDisconnected

from hslpy.client.contract import RecipientResult
from hslpy.client.link import Link, LinkFailed
from hslpy.mail.address import Address, ascii_domain
from hslpy.mail.downgrade import NoSevenBitForm, has_8bit_header, to_7bit
from hslpy.mail.parameters import ascii_orcpt
from hslpy.mail.reply import Enhanced, Reply
from hslpy.records import dataclass

_LINE_END = re.compile(rb"\r\n|\n|\r")
_PARAM_VALUE = re.compile(r"[!-<>-~]+")  # esmtp-value, RFC 5321 section 4.1.2
_PIECE = 256 << 10  # of content that is written at a time
_BIG = 1 << 20  # content above this is looked through in a thread
_DOMAIN = re.compile(r"[A-Za-z0-9._-]*|\[[A-Za-z0-9.:-]+\]").fullmatch  # after IDNA; RFC 5321 section 4.1.2
_CONTROL = re.compile(r"[\x00-\x1f\x7f]").search
_RCPT_AT_ONCE = 50  # commands in one go, well below what any receive buffer holds


@dataclass(frozen=True, slots=True)
class Envelope:
    sender: Address
    recipients: tuple[Address, ...]
    sender_params: Mapping[str, str]
    recipient_params: tuple[Mapping[str, str], ...]


class Transaction:
    """A transaction under way; `results` fills as replies come, None where nothing was said.

    `content_sent` says that the peer may have the message, whatever happens next. `until`, on the loop's clock, is when
    it ends without success; once the final dot is with the peer that is put off by the time its answer may take.

    When its task is cancelled while the peer's answer to the message is here, it gives that all the same, for it must be
    recorded. The task is `cancelling` then: it is for the caller to go on with that, or to end it.
    """

    def __init__(
        self, link: Link, envelope: Envelope, content: bytes, until: float = math.inf, *, convert_8bit: bool = True
    ) -> None:
        self.results: list[RecipientResult | None] = [None] * len(envelope.recipients)
        self.content_sent = False
        self.state = "MAIL"
        self._link = link
        self._envelope = envelope
        self._content = content
        self._until = until
        self._now = asyncio.get_running_loop().time
        self._open = False
        self._is_7bit = content.isascii()
        self._convert = convert_8bit and not self._is_7bit
        self._no_form = ""  # why it cannot be made 7-bit
        declared = not self._is_7bit and any(name.upper() == "SMTPUTF8" for name in envelope.sender_params)
        self._utf8_header = declared and has_8bit_header(content)

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return self._now() >= self._until

    async def run(self) -> None:
        """Send it. Raises LinkFailed when the link broke; afterwards a link still usable is ready for the next."""
        if self._convert and not self._takes_8bit and not self._utf8_header:
            await self._make_7bit()
        self._refuse()
        if None not in self.results:
            return
        accepted, go_ahead = await (self._pipelined() if self._link.offers("pipelining") else self._step_by_step())
        if go_ahead is None:
            await self._reset()
        elif go_ahead.code != 354:
            self._settle(accepted, _no_success(go_ahead), "DATA")
            await self._reset()
        elif not accepted:
            await self._send(b"", 1)  # RFC 2920 section 3.1: DATA went through with nobody to have it
        else:
            await self._content_to(accepted)

    async def _step_by_step(self) -> tuple[list[int], Reply | None]:
        if not self._mail_reply(await self._command("MAIL", self._mail_line())):
            return [], None
        accepted = []
        for index, line in self._rcpt_lines():
            self.state = "RCPT"
            if self._rcpt_reply(index, await self._command("RCPT", line)):
                accepted.append(index)
        if not accepted:
            return [], None
        self.state = "DATA"
        return accepted, await self._command("DATA", b"DATA")

    async def _pipelined(self) -> tuple[list[int], Reply | None]:
        lines = self._rcpt_lines()
        batches = [lines[start : start + _RCPT_AT_ONCE] for start in range(0, len(lines), _RCPT_AT_ONCE)]
        accepted: list[int] = []
        welcome = False
        for number, batch in enumerate(batches):
            first = [] if number else [self._mail_line()]
            last = [b"DATA"] if number == len(batches) - 1 else []
            self._write(first + [line for _, line in batch] + last)
            if first:
                welcome = self._mail_reply(await self._next("MAIL"))
            for index, _ in batch:
                reply = await self._next("RCPT")
                if welcome and self._rcpt_reply(index, reply):
                    accepted.append(index)
        go_ahead = await self._next("DATA")
        if not accepted and go_ahead.code != 354:
            return [], None
        return accepted, go_ahead

    def _write(self, lines: list[bytes]) -> None:
        if any(ch in line for line in lines for ch in (b"\r", b"\n")):
            raise LinkFailed(self.state, "a command would hold a line end")
        try:
            self._link.protocol.write_commands(b"".join(line + b"\r\n" for line in lines), len(lines))
        except SMTPServerDisconnected as error:
            self._link.close()
            raise LinkFailed(self.state, "the peer closed the connection") from error

    async def _next(self, state: str) -> Reply:
        self.state = state
        response = self._link.protocol.here()
        if response is not None:
            return self._link.checked(state, response)
        return await self._link.reply(state, self._link.protocol.read_response(self._limit_s(state)))

    async def _next_final(self) -> Reply:
        """Give the next reply of those to the content, the first of which has been read. Raises LinkFailed."""
        task = asyncio.current_task()
        try:
            if not self._link.protocol.has_reply and task is not None and task.cancelling():
                raise asyncio.CancelledError  # came with the one before
            return await self._next("EOD")
        except asyncio.CancelledError:
            response = self._link.protocol.here()
            if response is not None:
                return self._link.checked("EOD", response)
            self._link.close()
            raise LinkFailed("EOD", "the server was stopped") from None

    async def _command(self, state: str, line: bytes) -> Reply:
        return await self._link.command(state, line, self._limit_s(state))

    def _limit_s(self, state: str) -> float:
        return max(min(self._link.route.timeouts.of(state), self._until - self._now()), 0.0)

    def _mail_reply(self, reply: Reply) -> bool:
        """Note the reply to MAIL; True when the transaction is open."""
        self._open = reply.code == 250
        if not self._open:
            self._settle(range(len(self.results)), _no_success(reply), "MAIL")
        return self._open

    def _rcpt_reply(self, index: int, reply: Reply) -> bool:
        if reply.code in (250, 251):
            return True
        self._settle([index], _no_success(reply), "RCPT")
        return False

    async def _content_to(self, accepted: list[int]) -> None:
        self.state = "EOD"
        self.content_sent = True
        lmtp = self._link.route.protocol == "lmtp"
        if not lmtp:
            self._settle(accepted, _final(await self._send(self._content, 1)), "EOD")
        else:
            reply = await self._send(self._content, len(accepted))
            for count, index in enumerate(accepted):
                if count:
                    reply = await self._next_final()
                self._settle([index], _final(reply), "EOD")
        self._open = False

    async def _send(self, content: bytes, replies: int) -> Reply:
        """Send the content, the dot after it, and give the first reply.

        Large content goes piece by piece: of what a slow peer has not taken yet there is no second copy.
        """
        link, timeouts = self._link, self._link.route.timeouts
        data, at = _piece(content, 0)
        try:
            link.protocol.write_commands(data, replies)
        except SMTPServerDisconnected as error:
            link.close()
            raise LinkFailed(self.state, "the peer closed the connection") from error
        try:
            while at < len(content):
                left = link.protocol.unsent_bytes
                if not await link.protocol.has_room(min(timeouts.block_s, self._until - self._now())):
                    if link.protocol.unsent_bytes >= left or self.over:
                        raise _stalled(link)
                elif not link.protocol.is_quiet:
                    break
                else:
                    data, at = _piece(content, at)
                    link.protocol.write(data)
            while (left := link.protocol.unsent_bytes) and not await link.protocol.arrives(
                min(timeouts.block_s, self._until - self._now())
            ):
                unsent = link.protocol.unsent_bytes
                if unsent >= left or (unsent and self.over):
                    raise _stalled(link)
            self._until = max(self._until, self._now()) + timeouts.of("EOD")
            if not await link.protocol.arrives(timeouts.of("EOD")):
                raise _stalled(link)
        except BaseException as error:
            if not (isinstance(error, asyncio.CancelledError) and link.protocol.has_reply):
                link.close()
                raise
        early = bool(link.protocol.unsent_bytes) or at < len(content)
        reply = await self._next(self.state)
        if early:  # it answered before it had everything: it cannot have taken that, and would read the rest as commands
            link.close()
            return _no_success(reply)
        return reply

    async def _reset(self) -> None:
        if self._open and self._link.usable:
            reply = await self._command("RSET", b"RSET")
            if reply.code != 250:
                self._link.close()
        self._open = False

    def _settle(self, indexes: range | list[int], reply: Reply, state: str, *, ours: bool = False) -> None:
        for index in indexes:
            if self.results[index] is None:
                self.results[index] = RecipientResult(reply, state, ours)

    def _refuse(self) -> None:
        """Settle, in this peer's stead, what it cannot take: the whole message, or the recipients it has no words for."""
        refusal = self._refusal()
        if refusal is not None:
            self._settle(range(len(self.results)), refusal, "MAIL", ours=True)
            return
        for index, recipient in enumerate(self._envelope.recipients):
            refusal = self._address_refusal(recipient)
            if refusal is not None:
                self._settle([index], refusal, "RCPT", ours=True)

    def _refusal(self) -> Reply | None:
        link = self._link
        if b"\0" in self._content:  # servers that drop it, or end a line there, may see dots that are not doubled
            return _ours(554, (5, 6, 0), "The message has a NUL character, which mail cannot have")
        if self._utf8_header and not link.offers("smtputf8"):
            return _ours(550, (5, 6, 9), "The message's header is internationalised, and the receiving server takes none")
        if not self._is_7bit and not self._takes_8bit:
            why = f": {self._no_form}" if self._no_form else ""
            return _ours(554, (5, 6, 3), f"The message has 8-bit text, and the receiving server takes none{why}")
        limit = link.extension("size")
        if limit.isascii() and limit.isdigit() and 0 < int(limit) < len(self._content):
            return _ours(552, (5, 3, 4), f"The message is larger than the {limit} bytes that the receiving server takes")
        return self._address_refusal(self._envelope.sender)

    def _address_refusal(self, address: Address) -> Reply | None:
        if _path(address) is None:
            return _ours(553, (5, 1, 3), "The address cannot be written in SMTP")
        if not address.local_part.isascii() and not self._link.offers("smtputf8"):
            return _ours(553, (5, 6, 7), "The address is internationalised, and the receiving server takes none")
        return None

    @property
    def _takes_8bit(self) -> bool:
        """Whether the peer takes 8-bit content; of an internationalised message it must (RFC 6531 section 3.1)."""
        return self._link.offers("8bitmime") or (self._utf8_header and self._link.offers("smtputf8"))

    async def _make_7bit(self) -> None:
        """Give the content another form for a peer without 8BITMIME, if there is one."""
        try:
            if len(self._content) > _BIG:
                self._content = await asyncio.to_thread(to_7bit, self._content)
            else:
                self._content = to_7bit(self._content)
            self._is_7bit = True
        except NoSevenBitForm as error:
            self._no_form = str(error)

    def _mail_line(self) -> bytes:
        words = [b"MAIL FROM:<" + (_path(self._envelope.sender) or b"") + b">"]
        if self._link.offers("size"):
            words.append(b"SIZE=%d" % len(self._content))
        if not self._is_7bit and self._link.offers("8bitmime"):
            words.append(b"BODY=8BITMIME")
        addresses = (self._envelope.sender, *self._envelope.recipients)
        if self._link.offers("smtputf8") and (
            self._utf8_header or any(not address.local_part.isascii() for address in addresses)
        ):
            words.append(b"SMTPUTF8")
        return b" ".join(words + _dsn_words(self._link, self._envelope.sender_params, ("RET", "ENVID")))

    def _rcpt_lines(self) -> list[tuple[int, bytes]]:
        lines = []
        for index, recipient in enumerate(self._envelope.recipients):
            if self.results[index] is not None:
                continue
            params = self._envelope.recipient_params[index] if index < len(self._envelope.recipient_params) else {}
            words = [b"RCPT TO:<" + (_path(recipient) or b"") + b">", *_dsn_words(self._link, params, ("NOTIFY", "ORCPT"))]
            lines.append((index, b" ".join(words)))
        return lines


def mail_line(link: Link, sender: Address, params: Mapping[str, str]) -> bytes:
    """Give MAIL for a transaction without content. Raises LinkFailed for an address that the peer cannot be told."""
    words = [b"MAIL FROM:<" + _told(link, "MAIL", sender) + b">"]
    if not sender.local_part.isascii():
        words.append(b"SMTPUTF8")
    return b" ".join(words + _dsn_words(link, params, ("RET", "ENVID")))


def rcpt_line(link: Link, recipient: Address, params: Mapping[str, str]) -> bytes:
    """Give RCPT. Raises LinkFailed as `mail_line`."""
    words = [b"RCPT TO:<" + _told(link, "RCPT", recipient) + b">"]
    return b" ".join(words + _dsn_words(link, params, ("NOTIFY", "ORCPT")))


def _told(link: Link, state: str, address: Address) -> bytes:
    path = _path(address)
    if path is None:
        raise LinkFailed(state, "the address cannot be written in SMTP", temporary=False)
    if not address.local_part.isascii() and not link.offers("smtputf8"):
        raise LinkFailed(state, "the address is internationalised, and the server takes none", temporary=False)
    return path


def _dsn_words(link: Link, params: Mapping[str, str], names: tuple[str, ...]) -> list[bytes]:
    if not params or not link.offers("dsn"):
        return []
    given = {name.upper(): value for name, value in params.items()}
    if not given.get("ORCPT", "").isascii():
        given["ORCPT"] = ascii_orcpt(given["ORCPT"])
    return [f"{name}={given[name]}".encode("ascii") for name in names if _PARAM_VALUE.fullmatch(given.get(name, ""))]


def dot_stuffed(content: bytes) -> bytes:
    """Give the content as it goes over the wire: every line ended by CRLF, a dot before each leading dot."""
    ends = content.count(b"\n")
    if content.count(b"\r\n") != ends or content.count(b"\r") != ends:
        content = _LINE_END.sub(b"\r\n", content)
    if content and not content.endswith(b"\r\n"):
        content += b"\r\n"
    if content.startswith(b"."):
        content = b"." + content
    return content.replace(b"\r\n.", b"\r\n..")


def _piece(content: bytes, start: int) -> tuple[bytes, int]:
    """Give what goes over the wire for the content's next lines, with the dot after the last, and where they end."""
    end = len(content)
    if end - start > _PIECE:
        end = content.find(b"\n", start + _PIECE) + 1 or end
    data = dot_stuffed(content if end - start == len(content) else content[start:end])
    return (data + b".\r\n" if end == len(content) else data), end


@lru_cache(maxsize=4096)
def _path(address: Address) -> bytes | None:
    """Give the path without `<>`, its domain in A-labels; None where it cannot be written."""
    domain = ascii_domain(address.domain)
    text = str(Address(address.local_part, domain))
    if not _DOMAIN(domain) or _CONTROL(text):  # a script's may be any text
        return None
    return text.encode("latin-1", "replace")


def _final(reply: Reply) -> Reply:
    return reply if 200 <= reply.code <= 299 else _no_success(reply)


def _no_success(reply: Reply) -> Reply:
    """Give the reply that a refusal is; a reply out of place (2xx or 3xx to a command it doesn't fit) is temporary."""
    if reply.code >= 400:
        return reply
    return Reply(451, (4, 5, 0), (f"The receiving server's answer was out of place: {reply}",))


def _ours(code: int, enhanced: Enhanced, text: str) -> Reply:
    return Reply(code, enhanced, (text,))


def _stalled(link: Link) -> LinkFailed:
    link.close()
    return LinkFailed("EOD", "no answer in time")
