"""The SMTP dialogue: what each command does. In: a command's argument. Out: the reply's bytes; hooks decide in between.

Knows nothing of sockets, buffers or aiosmtpd, which are `adapter.py`'s, nor of HSL. Source: RFC 5321 section 4.1.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Protocol

from hslpy.clock import Clock
from hslpy.egress.rules.book import Sender
from hslpy.egress.traffic.departures import Departures
from hslpy.egress.traffic.origin import account_of, sender_at
from hslpy.errors import MailError
from hslpy.hooks.facts import (
    AuthFacts,
    ConnectEvent,
    ConnectionFacts,
    Context,
    DisconnectEvent,
    Event,
    HeloEvent,
    HeloFacts,
    MailFromEvent,
    ProxyEvent,
    RcptToEvent,
    RecipientFacts,
    TlsFacts,
    TransactionFacts,
)
from hslpy.log import Log
from hslpy.mail.address import Address, ascii_domain, ascii_lower
from hslpy.mail.envelope import Path, parse_path
from hslpy.mail.parameters import mail_parameter_fault, rcpt_parameter_fault
from hslpy.mail.policy_replies import ACCEPTED, refusal_at
from hslpy.mail.received import received_start, with_keyword
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import SmtpVerdict, Verdict
from hslpy.records import dataclass
from hslpy.smtp import replies
from hslpy.smtp.guesses import Guesses
from hslpy.smtp.networks import Network, is_inside, networks, plain_ip
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.settings import SmtpSettings
from hslpy.spool.contract import NewMessage, QueuedRecipient
from hslpy.users.contract import Logins

if TYPE_CHECKING:
    from hslpy.egress.traffic.picture import Picture

Accept = Callable[[NewMessage], Awaitable[tuple[QueuedRecipient, ...]]]
PtrLookup = Callable[[str], Awaitable[str | None]]
_PTR_S = 5.0  # how long a client waits for its greeting because of its PTR record, at most


class Scripts(Protocol):
    """The set of scripts that a session keeps from its beginning to its end."""

    def has(self, hook: str) -> bool: ...


class HookRunner(Protocol):
    """What `hooks.runner.Hooks` is to this room. `run` never raises for a script's fault: its verdict says `failed`."""

    @property
    def current(self) -> Scripts: ...

    async def run(self, scripts: Any, hook: str, event: Event) -> Verdict: ...


@dataclass(slots=True)
class Shared:
    """What the sessions of one server have in common. `data_bytes` counts messages being received."""

    settings: SmtpSettings
    hooks: HookRunner
    accept: Accept
    clock: Clock
    new_id: Callable[[], str]
    log: Log
    guesses: Guesses
    lookup_ptr: PtrLookup | None = None
    logins: Logins | None = None
    departures: Departures | None = None
    stopping: bool = False
    storage_full: bool = False
    data_bytes: int = 0
    data_of: dict[str, int] = field(default_factory=dict)  # the same by client
    relay_networks: tuple[Network, ...] = field(init=False)

    def __post_init__(self) -> None:
        self.relay_networks = networks("relay_networks", self.settings.relay_networks)

    def has_memory(self, client: str, size_bytes: int) -> bool:
        """Count what came of a message; say whether there is memory for it.

        One client has half of it, or room for one message: who sends many large ones slowly keeps no others from theirs.
        """
        settings = self.settings
        self.data_bytes += size_bytes
        self.data_of[client] = own = self.data_of.get(client, 0) + size_bytes
        if self.data_bytes > settings.data_memory_bytes:
            return False
        return own <= max(settings.data_memory_bytes // 2, settings.size_limit_bytes * 4 // 3)

    def forget_memory(self, client: str, size_bytes: int) -> None:
        """A message that was counted is stored or refused."""
        self.data_bytes -= size_bytes
        left = self.data_of[client] - size_bytes
        if left:
            self.data_of[client] = left
        else:
            del self.data_of[client]

    def log_fault(self, error: BaseException, ids: Mapping[str, object]) -> None:
        """Log a fault of ours in full."""
        text = "".join(traceback.format_exception(error))
        self.log("smtp.fault", {"level": "error", **ids, "error": repr(error), "text": text})


class Transaction:
    """From MAIL to the end of DATA. `tried` says that a recipient was named, accepted or not."""

    __slots__ = ("id", "recipients", "sender", "sender_params", "tried")

    def __init__(self, transaction_id: str, sender: Address, sender_params: Mapping[str, str]) -> None:
        self.id = transaction_id
        self.sender = sender
        self.sender_params = sender_params
        self.recipients: list[RecipientFacts] = []
        self.tried = False

    @property
    def smtputf8(self) -> bool:
        """Whether addresses and the header may be beyond ASCII (RFC 6531)."""
        return "SMTPUTF8" in self.sender_params

    def facts(self) -> TransactionFacts:
        return TransactionFacts(self.id, self.sender, self.sender_params, tuple(self.recipients))


class Session:
    """One client's dialogue. Its methods give the reply to send; `closing` says that it is the last one.

    `proxying`: the proxy hook wants the next command. `peer`, `ssl` and `host_name` are attributes that aiosmtpd sets or
    reads on its own sessions.
    """

    def __init__(self, shared: Shared, *, starttls: bool, server_id: str) -> None:
        self.shared = shared
        self.settings = shared.settings
        self.scripts: Scripts = shared.hooks.current
        self.proxying = self.scripts.has("proxy")
        self.context = Context()
        self.id = shared.new_id()
        self.server_id = server_id
        self.starttls = starttls
        self.remote_ip = self.local_ip = ""
        self.remote_port = self.local_port = 0
        self.remote_ptr: str | None = None
        self.helo: HeloFacts | None = None
        self.extended_smtp = False
        self.offered: frozenset[str] = frozenset()
        self.tls: TlsFacts | None = None
        self.auth: AuthFacts | None = None
        self.is_outgoing_user = False
        self.auth_failures = 0
        self.trusted = False
        self.transaction: Transaction | None = None
        self.errors = 0
        self.unknown = 0
        self.accepted = 0
        self.closing = False
        self.quitting = False
        self.closed_by = "remote"
        self.connected = False
        self.peer: object = None
        self.ssl: object = None
        self._facts: ConnectionFacts | None = None
        self._received_start: bytes | None = None
        # What `sender_of` was asked last, and what it found: MAIL and the end of DATA ask the same.
        self._sender_in: Picture | None = None
        self._sender_asked: tuple[object, ...] = ()
        self._sender: Sender | None = None

    @property
    def host_name(self) -> str | None:
        return self.helo.host if self.helo else None

    def placed(self, remote: tuple[Any, ...] | None, local: tuple[Any, ...] | None) -> None:
        """Take the addresses of the connection; an IPv4 address mapped into IPv6 is taken as IPv4."""
        if remote:
            self.remote_ip, self.remote_port = plain_ip(remote[0]), int(remote[1])
        if local:
            self.local_ip, self.local_port = plain_ip(local[0]), int(local[1])
        self.trusted = is_inside(self.remote_ip, self.shared.relay_networks)

    def connection_facts(self) -> ConnectionFacts:
        if self._facts is None:
            self._facts = ConnectionFacts(
                self.id,
                self.remote_ip,
                self.remote_port,
                self.local_ip,
                self.local_port,
                self.server_id,
                self.remote_ptr,
                self.helo,
                self.tls,
                self.auth,
            )
        return self._facts

    def received_start(self) -> bytes:
        if self.transaction is not None and self.transaction.smtputf8:
            return self._make_received_start("UTF8SMTP")
        if self._received_start is None:
            self._received_start = self._make_received_start("ESMTP" if self.extended_smtp else "SMTP")
        return self._received_start

    def _make_received_start(self, protocol: str) -> bytes:
        tls = self.tls
        comment = f"{tls.protocol} with cipher {tls.cipher} ({tls.key_bits} bits)" if tls else ""
        keyword = with_keyword(protocol, tls is not None, self.auth is not None)
        return received_start(
            self.host_name or "", self.remote_ip, self.remote_ptr, self.settings.hostname, keyword, comment
        )

    def changed(self) -> None:
        """Forget what was built from the connection's state."""
        self._facts = None
        self._received_start = None

    def fault(self, reply: OwnReply) -> bytes:
        """Give the reply's bytes and count an error of the client's; at the limit it is the last one."""
        self.errors += 1
        if self.errors >= self.settings.max_errors and not self.closing:
            return self.close_with(replies.TOO_MANY_ERRORS)
        return reply.wire

    def close_with(self, reply: OwnReply) -> bytes:
        self.closing = True
        self.shared.log("smtp.closed", {"session": self.id, "remote_ip": self.remote_ip, "reply": str(reply.reply)})
        return reply.wire

    def refusal(self, hook: str, verdict: SmtpVerdict, about: Mapping[str, object] | None = None) -> bytes:
        """Give the reply to a verdict that is not accept, and log it; `about` says who or what was refused."""
        reply = verdict.reply or refusal_at(hook, verdict.action, failed=verdict.failed)
        if verdict.disconnect or reply.code in (421, 521):
            self.closing = True
        self.shared.log(
            "smtp.refused",
            {
                "session": self.id,
                "transaction": self.transaction.id if self.transaction else "",
                "remote_ip": self.remote_ip,
                "hook": hook,
                **(about or {}),
                "failed": verdict.failed,
                "reply": str(reply),
                "by": verdict.by,
            },
        )
        return reply.render()

    def accepted_reply(self, verdict: SmtpVerdict, own: OwnReply) -> bytes:
        if verdict.disconnect:
            self.closing = True
        return verdict.reply.render() if verdict.reply else own.wire

    async def ask(self, hook: str, event: Event) -> SmtpVerdict:
        verdict = await self.shared.hooks.run(self.scripts, hook, event)
        if not isinstance(verdict, SmtpVerdict):
            raise TypeError(f"hook {hook} gave {type(verdict).__name__}")
        return verdict

    # the connection -----------------------------------------------------------------------------------------------

    async def greet(self) -> bytes:
        """Run the connect hook and give the greeting, or the refusal after which the connection is closed."""
        self.connected = True
        shared = self.shared
        if self.settings.ptr_lookup and shared.lookup_ptr is not None:
            with contextlib.suppress(MailError, TimeoutError):
                async with asyncio.timeout(_PTR_S):
                    self.remote_ptr = await shared.lookup_ptr(self.remote_ip)
        text = ACCEPTED["connect"].text
        if self.scripts.has("connect"):
            verdict = await self.ask("connect", ConnectEvent(self.connection_facts(), self.context))
            if verdict.action != "accept":
                self.closing = True
                return self.refusal("connect", verdict)
            if verdict.remote_ip is not None:
                # Trust goes with the address that counts: a proxy on loopback must not lend its own.
                self.remote_ip = plain_ip(verdict.remote_ip)
                self.trusted = is_inside(self.remote_ip, shared.relay_networks)
            if verdict.remote_ptr is not None:
                self.remote_ptr = verdict.remote_ptr
            if verdict.reply is not None:
                text = verdict.reply.text
            self.closing = verdict.disconnect
            self.changed()
        return Reply(220, None, (f"{self.settings.hostname} {text}",)).render()

    async def ended(self) -> None:
        """Run the disconnect hook, if the client was ever greeted."""
        if self.connected and self.scripts.has("disconnect"):
            await self.ask("disconnect", DisconnectEvent(self.connection_facts(), self.context, self.closed_by))

    def secured(self, tls: TlsFacts) -> None:
        """Forget all that the client said in clear text (RFC 3207 section 4.2)."""
        self.tls = tls
        self.helo = None
        self.auth = None
        self.is_outgoing_user = False
        self.extended_smtp = False
        self.offered = frozenset()
        self.transaction = None
        self.changed()

    # commands -----------------------------------------------------------------------------------------------------

    async def proxied(self, command: bytes) -> tuple[bytes, bytes]:
        """Ask the proxy hook about a command line; give the line to run, and the reply where it is not to be run.

        Lines are without CRLF. The one given back may be anything: it is to be checked as if it came from the client.
        """
        transaction = self.transaction.facts() if self.transaction is not None else None
        verdict = await self.ask(
            "proxy", ProxyEvent(self.connection_facts(), self.context, transaction, command.decode("latin-1"))
        )
        self.proxying = verdict.next
        if verdict.action == "pass":
            return (command if verdict.command is None else verdict.command.encode("latin-1")), b""
        reply = verdict.reply or ACCEPTED["proxy"]
        if reply.code >= 400:
            return b"", self.refusal("proxy", verdict)
        if verdict.disconnect:
            self.closing = True
        return b"", reply.render()

    async def hello(self, verb: str, host: str) -> bytes:
        """HELO and EHLO."""
        if not host or " " in host or len(host) > 255:
            return self.fault(replies.SYNTAX_HELO)
        extensions = self._extensions() if verb == "EHLO" else ()
        text = ""
        if self.scripts.has("helo"):
            event = HeloEvent(self.connection_facts(), self.context, verb, host, extensions)
            verdict = await self.ask("helo", event)
            if verdict.action != "accept":
                return self.refusal("helo", verdict, {"helo": host})
            if verdict.host is not None:
                host = verdict.host
            if verdict.extensions is not None and verb == "EHLO":
                extensions = verdict.extensions
            if verdict.reply is not None:
                text = " " + verdict.reply.text
            if verdict.disconnect:
                self.closing = True
        self.helo = HeloFacts(verb, host)
        self.extended_smtp = verb == "EHLO"
        self.offered = frozenset(line.split(" ", 1)[0].upper() for line in extensions if line)
        self.transaction = None
        self.changed()
        return Reply(250, None, (self.settings.hostname + text, *extensions)).render()

    @property
    def mechanisms(self) -> tuple[str, ...]:
        """What clients may sign in with: those of the settings, without a script only those that a password needs."""
        wanted = self.settings.auth_mechanisms
        if self.scripts.has("auth"):
            return wanted
        if self.shared.logins is None or not self.shared.logins.offered:
            return ()
        return tuple(each for each in wanted if each.upper() in ("PLAIN", "LOGIN"))

    def _extensions(self) -> tuple[str, ...]:
        settings = self.settings
        lines = ["PIPELINING", f"SIZE {settings.size_limit_bytes}", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"]
        if self.starttls and self.tls is None:
            lines.append("STARTTLS")
        if self.auth is None and self.mechanisms and (self.tls is not None or settings.auth_without_tls):
            lines.append("AUTH " + " ".join(self.mechanisms))
        lines.append("HELP")
        return tuple(lines)

    async def mail(self, argument: str) -> bytes:
        if self.helo is None:
            return self.fault(replies.NEED_HELO)
        if self.transaction is not None:
            return self.fault(replies.NESTED_MAIL)
        path = parse_path(argument, "FROM:")
        if not isinstance(path, Path):
            return self.fault(_MAIL_FAULTS[path])
        if not argument.isascii():
            wrong = self._utf8_fault(path.address, "SMTPUTF8" in path.params, replies.BAD_SENDER)
            if wrong is not None:
                return self.fault(wrong)
        if path.address.local_part and not path.address.domain:
            return self.fault(replies.BAD_SENDER)
        if path.params:
            wrong = self._mail_params(path.params)
            if wrong is not None:
                return self.fault(wrong)
        shared = self.shared
        if shared.storage_full:
            return replies.STORAGE_FULL.wire
        locked = self._locked(path.address)
        if locked is not None:
            return locked
        transaction = Transaction(shared.new_id(), path.address, path.params)
        if not self.scripts.has("mailfrom"):
            self.transaction = transaction
            return replies.SENDER_OK.wire
        verdict = await self.ask("mailfrom", MailFromEvent(self.connection_facts(), self.context, transaction.facts()))
        if verdict.action != "accept":
            return self.refusal("mailfrom", verdict, {"transaction": transaction.id, **self._people(transaction)})
        if verdict.sender is not None:
            transaction.sender = verdict.sender
        self.transaction = transaction
        return self.accepted_reply(verdict, replies.SENDER_OK)

    def sender_of(self, address: Address) -> Sender | None:
        """Give whose mail it is that comes from an address; None where there is no database, or it is not known yet."""
        departures = self.shared.departures
        if departures is None or departures.picture is None:
            return None
        picture, asked = departures.picture, (address, self.auth, self.remote_ip)
        if picture is not self._sender_in or asked != self._sender_asked:
            domain = ascii_lower(ascii_domain(address.domain))
            self._sender = sender_at(picture, self.login, self.remote_ip, domain, is_null=address.is_null)
            self._sender_in, self._sender_asked = picture, asked
        return self._sender

    @property
    def login(self) -> str:
        """The name that the client has signed in with, as text; empty where it has not."""
        name = self.auth.username or "" if self.auth is not None else ""
        return name.encode("latin-1", "replace").decode("utf-8", "replace")

    @property
    def _has_account(self) -> bool:
        departures = self.shared.departures
        return (
            departures is not None and departures.picture is not None and departures.picture.account(self.login) is not None
        )

    @property
    def is_gone(self) -> bool:
        """Whether the outgoing user that the client has signed in as was removed since."""
        departures = self.shared.departures
        if not self.is_outgoing_user or departures is None or departures.picture is None:
            return False
        return account_of(departures.picture, self.login, "") is None

    def signed_in(self, auth: AuthFacts) -> None:
        """Take note of who the client has shown to be."""
        self.auth = auth
        self.is_outgoing_user = self._has_account
        self.changed()

    def _locked(self, address: Address) -> bytes | None:
        """Give the reply to a MAIL of a sender that is locked, or of an outgoing user that is not there any more."""
        sender, departures = self.sender_of(address), self.shared.departures
        if sender is None or departures is None or departures.picture is None:
            return None
        why = departures.picture.locked(sender.domain, sender.username)
        if self.is_outgoing_user and not self._has_account:
            why = "there is no such user any more"
        if not why:
            return None
        about = {"remote_ip": self.remote_ip, "username": self.login, "sender": address, "user": str(sender), "reason": why}
        self.shared.log("smtp.sender_locked", {"level": "warning", "session": self.id, **about})
        return replies.ACCOUNT_LOCKED.wire

    def _relay_refusal(self, transaction: Transaction, address: Address) -> bytes | None:
        """Give the reply to a client that may not relay: neither trusted nor signed in, nor known by its address."""
        if self.trusted or self.auth is not None:
            return None
        departures = self.shared.departures
        if departures is not None:
            if departures.picture is None:
                return replies.NOT_KNOWN_YET.wire
            if departures.picture.account_at(self.remote_ip) is not None:
                return None
        return self._relay_denied(transaction, address)

    def _mail_params(self, params: Mapping[str, str]) -> OwnReply | None:
        for key, value in params.items():
            if not self.extended_smtp:
                return replies.UNKNOWN_PARAM
            if key == "SIZE":
                # isdigit() alone would take `²`, were the line not ASCII by now; RFC 1870 allows 20 digits.
                if not (value.isascii() and value.isdigit() and len(value) <= 20):
                    return replies.SYNTAX_PARAMS
                if int(value) > self.settings.size_limit_bytes:
                    return replies.TOO_BIG
            else:
                fault = mail_parameter_fault(key, value, self.offered)
                if fault is not None:
                    return _PARAMETER_FAULTS[fault]
        return None

    def _utf8_fault(self, address: Address, smtputf8: bool, malformed: OwnReply) -> OwnReply | None:
        """Give what is wrong with an argument beyond ASCII: no SMTPUTF8, or a domain that has no form in ASCII."""
        if not smtputf8 or "SMTPUTF8" not in self.offered:
            return replies.ADDRESS_8BIT
        return None if ascii_domain(address.domain).isascii() else malformed

    async def rcpt(self, argument: str) -> bytes:
        transaction = self.transaction
        if transaction is None:
            return self.fault(replies.NEED_MAIL)
        path = parse_path(argument, "TO:")
        if not isinstance(path, Path):
            return self.fault(_RCPT_FAULTS[path])
        address = path.address
        if not argument.isascii():
            wrong = self._utf8_fault(address, transaction.smtputf8, replies.BAD_RECIPIENT)
            if wrong is not None:
                return self.fault(wrong)
        if not address.domain:
            # RFC 5321 section 4.5.1: <postmaster> alone is always an address.
            if address.local_part.lower() != "postmaster":
                return self.fault(replies.BAD_RECIPIENT)
            address = Address(address.local_part, self.settings.hostname)
        if path.params:
            for key, value in path.params.items():
                fault = rcpt_parameter_fault(key, value, self.offered)
                if fault is not None:
                    return self.fault(_PARAMETER_FAULTS[fault])
        transaction.tried = True
        if len(transaction.recipients) >= self.settings.max_recipients:
            return replies.TOO_MANY_RECIPIENTS.wire
        recipient = RecipientFacts(address, path.params, self.settings.transport_id)
        if not self.scripts.has("rcptto"):
            if (denied := self._relay_refusal(transaction, address)) is not None:
                return denied
            transaction.recipients.append(recipient)
            return replies.RECIPIENT_OK.wire
        verdict = await self.ask(
            "rcptto", RcptToEvent(self.connection_facts(), self.context, transaction.facts(), recipient)
        )
        if verdict.action != "accept":
            return self.refusal("rcptto", verdict, self._people(transaction, address))
        # After the hook, and whatever it said: no script opens the relay by its silence.
        if (denied := self._relay_refusal(transaction, address)) is not None:
            return denied
        if verdict.recipient is not None or verdict.transport_id is not None:
            recipient = RecipientFacts(
                verdict.recipient if verdict.recipient is not None else address,
                path.params,
                verdict.transport_id if verdict.transport_id is not None else self.settings.transport_id,
            )
        transaction.recipients.append(recipient)
        return self.accepted_reply(verdict, replies.RECIPIENT_OK)

    def _people(self, transaction: Transaction, recipient: Address | None = None) -> dict[str, object]:
        """Give what a log record says of who sends, and to whom."""
        people: dict[str, object] = {"username": self.auth.username or "" if self.auth else "", "sender": transaction.sender}
        return people if recipient is None else {**people, "recipient": recipient}

    def _relay_denied(self, transaction: Transaction, address: Address) -> bytes:
        ids = {"session": self.id, "transaction": transaction.id, "remote_ip": self.remote_ip}
        self.shared.log("smtp.relay_denied", {**ids, **self._people(transaction, address)})
        return self.fault(replies.RELAY_DENIED)

    def data_refusal(self, argument: str) -> bytes | None:
        """Give the reply to a DATA that is out of place, None for one that may go ahead."""
        if argument:
            return self.fault(replies.SYNTAX_NO_ARGUMENT)
        if self.transaction is None:
            return self.fault(replies.NEED_MAIL)
        if not self.transaction.recipients:
            if self.transaction.tried:
                return replies.NEED_RCPT.wire
            return self.fault(replies.NEED_RCPT)
        return None

    def starttls_refusal(self, argument: str) -> bytes | None:
        if argument:
            return self.fault(replies.SYNTAX_NO_ARGUMENT)
        if self.tls is not None:
            return self.fault(replies.ALREADY_TLS)
        if not self.starttls:
            return self.fault(replies.TLS_UNAVAILABLE if self.settings.certificate_files else replies.NOT_IMPLEMENTED)
        if self.helo is not None and "STARTTLS" not in self.offered and self.extended_smtp:
            return self.fault(replies.NOT_IMPLEMENTED)
        if self.transaction is not None:
            return self.fault(replies.AUTH_IN_TRANSACTION)
        return None

    def chunk(self, argument: str) -> bytes:
        """BDAT, which is not offered. Its octets may follow whatever the reply is, and must not be run as commands."""
        self.closing = self.closing or _NO_OCTETS(argument) is None
        return self.fault(replies.NOT_IMPLEMENTED)

    def reset(self, argument: str) -> bytes:
        if argument:
            return self.fault(replies.SYNTAX_NO_ARGUMENT)
        self.transaction = None
        return replies.RESET.wire

    def quit(self, argument: str) -> bytes:
        if argument:
            return self.fault(replies.SYNTAX_NO_ARGUMENT)
        self.closing = self.quitting = True
        return replies.BYE.wire

    def unrecognized(self, verb: bytes = b"") -> bytes:
        if verb in _OF_HTTP:
            return self.close_with(replies.OTHER_PROTOCOL)
        self.unknown += 1
        if self.unknown >= self.settings.max_unknown_commands:
            return self.close_with(replies.TOO_MANY_ERRORS)
        return self.fault(replies.UNKNOWN)


# A web browser can be led to send commands within what it posts: Postfix's smtpd_forbidden_commands.
_OF_HTTP = frozenset({b"GET", b"POST", b"PUT", b"HEAD", b"OPTIONS", b"CONNECT"})
# BDAT without a payload (RFC 3030 section 2)
_NO_OCTETS = re.compile(r"0+(?: +LAST)?", re.IGNORECASE).fullmatch
_MAIL_FAULTS = {"syntax": replies.SYNTAX_MAIL, "address": replies.BAD_SENDER, "params": replies.SYNTAX_PARAMS}
_PARAMETER_FAULTS = {"syntax": replies.SYNTAX_PARAMS, "body": replies.BAD_BODY, "unknown": replies.UNKNOWN_PARAM}
_RCPT_FAULTS = {"syntax": replies.SYNTAX_RCPT, "address": replies.BAD_RECIPIENT, "params": replies.SYNTAX_PARAMS}
