"""Made-up hook events for `hslpy run`, the REPL and script tests. In: a few facts by HSL's classic names. Out: an event.

What is not given gets a plain default, so that a script can be tried with nothing at all. The names are the rows of
`FACTS`; a name that is not one is an error with a suggestion.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hslpy.errors import OperatorError
from hslpy.hooks.facts import (
    AttemptFacts,
    AuthEvent,
    AuthFacts,
    ConnectEvent,
    ConnectionFacts,
    Context,
    DataEvent,
    DisconnectEvent,
    Event,
    HeloEvent,
    HeloFacts,
    MailFromEvent,
    PostDeliveryEvent,
    PreDeliveryEvent,
    ProxyEvent,
    QueuedFacts,
    RcptToEvent,
    RecipientFacts,
    TlsFacts,
    TransactionFacts,
)
from hslpy.lang.diagnostics import suggest
from hslpy.mail.address import Address, parse_address
from hslpy.records import dataclass

# A message for hooks that need one: valid, small, and of no meaning to a scanner.
DEFAULT_CONTENT = (
    b"From: Sender <sender@example.com>\r\nTo: recipient@example.net\r\nSubject: A test\r\n"
    b"Date: Thu, 01 Jan 2026 00:00:00 +0000\r\nMessage-ID: <test@example.com>\r\n\r\nA test.\r\n"
)


@dataclass(frozen=True, slots=True)
class Fact:
    """A settable fact: its name, its kind (`text`, `number`, `boolean`, `texts`, `table`, `any`), default and meaning."""

    name: str
    kind: str
    default: Any
    help: str


FACTS: tuple[Fact, ...] = (
    Fact("senderip", "text", "127.0.0.1", "the client's address"),
    Fact("senderport", "number", 50000, "the client's port"),
    Fact("senderptr", "text", "", "the client's name in DNS; empty for none"),
    Fact("serverip", "text", "127.0.0.1", "our address; at postdelivery the remote server's"),
    Fact("serverport", "number", 25, "our port; at postdelivery the port tried"),
    Fact("serverid", "text", "mailserver:1", "the listener"),
    Fact("senderhelo", "text", "client.example.com", "the HELO name"),
    Fact("tlsstarted", "boolean", False, "whether TLS was started"),
    Fact("saslusername", "text", "", "the login; empty for none"),
    Fact("saslpassword", "text", "", "the password at the auth hook"),
    Fact("saslmechanism", "text", "PLAIN", "the mechanism at the auth hook"),
    Fact("command", "text", "NOOP", "the command line at the proxy hook"),
    Fact("sender", "text", "sender@example.com", "the envelope sender; empty for the null sender"),
    Fact("senderdomain", "text", None, "the domain of the sender, where only that matters"),
    Fact("senderparams", "table", {}, "ESMTP parameters of MAIL"),
    Fact("recipient", "text", "recipient@example.net", "the recipient at hand"),
    Fact("recipientdomain", "text", None, "the domain of the recipient, where only that matters"),
    Fact("recipientparams", "table", {}, "ESMTP parameters of RCPT"),
    Fact("recipients", "texts", None, "all recipients at the end of DATA"),
    Fact("transportid", "text", "mailtransport:1", "the transport"),
    Fact("messageid", "text", "00000000-0000-4000-8000-000000000001", "the transaction id"),
    Fact("queueid", "number", 1, "the queue id"),
    Fact("retry", "number", 0, "how many attempts were charged before"),
    Fact("receivedtime", "number", None, "when the message came, in Unix seconds"),
    Fact("retries", "number", 0, "how many attempts there may be; 0 when the schedule goes by time"),
    Fact("jobid", "text", "", "the job"),
    Fact("metadata", "table", {}, "the metadata stored with the recipient"),
    Fact("destination", "text", "", "the transport's next hop"),
    Fact("destinationport", "number", 25, "the port of the next hop"),
    Fact("sourceip", "text", "", "the IP address that the attempt left from, at postdelivery"),
    Fact("errorcode", "number", 0, "the peer's reply code at postdelivery; 0 for a network fault, 250 for delivered"),
    Fact("errormsg", "text", "", "the peer's text, or the network fault's"),
    Fact("errorndr", "text", "", "the enhanced status, as in 5.7.1"),
    Fact("transfertime", "number", 0.1, "how long the attempt took, in seconds"),
    Fact("action", "text", None, "what will happen: DELETE, BOUNCE, RETRY or empty; by errorcode when not given"),
    Fact("expired", "boolean", False, "whether the message is past its lifetime"),
    Fact("context", "any", None, "`$context`, as an earlier hook left it"),
)
_BY_NAME = {fact.name: fact for fact in FACTS}


def facts_from_texts(given: Mapping[str, str]) -> dict[str, Any]:
    """Give facts by name from texts, as `--set name=value` has them. Raises OperatorError for a bad name or value."""
    out: dict[str, Any] = {}
    for name, text in given.items():
        kind = _fact(name).kind
        if kind == "number":
            try:
                out[name] = float(text)
            except ValueError:
                raise OperatorError(f"`{name}` wants a number, got {text!r}") from None
        elif kind == "boolean":
            if text not in ("true", "false"):
                raise OperatorError(f"`{name}` wants true or false, got {text!r}")
            out[name] = text == "true"
        elif kind == "texts":
            out[name] = [part for part in text.split(",") if part]
        elif kind == "table":
            pairs = [part.partition("=") for part in text.split(",") if part]
            out[name] = {key: value for key, _, value in pairs}
        else:
            out[name] = text
    return out


def facts_from_values(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give facts by name from values (text, float, bool, list, dict), none left out. Raises OperatorError for a bad one."""
    out: dict[str, Any] = {}
    for name, value in given.items():
        kind = _fact(name).kind
        if value is None:
            continue
        if kind == "any":
            out[name] = value
            continue
        if kind == "table" and value == []:
            value = {}
        wanted = {"text": str, "number": float, "boolean": bool, "texts": list, "table": dict}[kind]
        parts = value if kind == "texts" else value.values() if isinstance(value, dict) else ()
        if not isinstance(value, wanted) or not all(isinstance(part, str) for part in parts):
            shown = {"text": "a string", "number": "a number", "boolean": "true or false", "texts": "an array of strings"}
            raise OperatorError(f"`{name}` wants {shown.get(kind, 'an array of strings by name')}")
        out[name] = value
    return out


def _fact(name: str) -> Fact:
    fact = _BY_NAME.get(name)
    if fact is None:
        hint = suggest(name, _BY_NAME) or f"the facts are {', '.join(_BY_NAME)}"
        raise OperatorError(f"unknown fact `{name}`", hint=hint)
    return fact


class _Values:
    """The given facts over the defaults, with the addresses worked out."""

    def __init__(self, given: Mapping[str, Any], now: float) -> None:
        for name in given:
            _fact(name)
        self._given = given
        self.now = now

    def __getitem__(self, name: str) -> Any:
        value = self._given.get(name)
        return _BY_NAME[name].default if value is None else value

    def address(self, name: str) -> Address:
        text = self[name]
        domain = self[f"{name}domain"]
        if domain is not None and name not in self._given:
            local = _BY_NAME[name].default.partition("@")[0]
            return Address(local, domain)
        address = parse_address(text)
        if address is None:
            raise OperatorError(f"`{name}` wants an address, got {text!r}")
        return address

    def recipients(self) -> tuple[RecipientFacts, ...]:
        texts = self["recipients"]
        addresses = [self.address("recipient")]
        if texts is not None:
            addresses = []
            for text in texts:
                address = parse_address(text)
                if address is None:
                    raise OperatorError(f"`recipients` wants addresses, got {text!r}")
                addresses.append(address)
        return tuple(RecipientFacts(a, self["recipientparams"], self["transportid"]) for a in addresses)

    def connection(self, *, helo: bool = True, auth: bool = True) -> ConnectionFacts:
        username = self["saslusername"]
        return ConnectionFacts(
            id="session-1",
            remote_ip=self["senderip"],
            remote_port=int(self["senderport"]),
            local_ip=self["serverip"],
            local_port=int(self["serverport"]),
            server_id=self["serverid"],
            remote_ptr=self["senderptr"] or None,
            helo=HeloFacts("EHLO", self["senderhelo"]) if helo else None,
            tls=TlsFacts("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256) if self["tlsstarted"] else None,
            auth=AuthFacts(self["saslmechanism"], username) if auth and username else None,
        )

    def transaction(self, recipients: tuple[RecipientFacts, ...] = ()) -> TransactionFacts:
        return TransactionFacts(self["messageid"], self.address("sender"), self["senderparams"], recipients)

    def queued(self, content: bytes) -> QueuedFacts:
        received = self["receivedtime"]

        async def read() -> bytes:
            return content

        return QueuedFacts(
            transaction_id=self["messageid"],
            queue_id=int(self["queueid"]),
            received_at=self.now if received is None else float(received),
            sender=self.address("sender"),
            recipient=self.address("recipient"),
            transport_id=self["transportid"],
            retries=int(self["retry"]),
            size_bytes=len(content),
            server_id=self["serverid"],
            remote_ip=self["senderip"],
            helo=self["senderhelo"],
            sasl_username=self["saslusername"],
            metadata=self["metadata"],
            sender_params=self["senderparams"],
            recipient_params=self["recipientparams"],
            job_id=self["jobid"],
            most_retries=int(self["retries"]),
            content=read,
            received=read,
        )

    def attempt(self) -> AttemptFacts:
        code = int(self["errorcode"])
        text = self["errormsg"]
        parts = [p for p in str(self["errorndr"]).split(".") if p.isdigit()]
        enhanced = (int(parts[0]), int(parts[1]), int(parts[2])) if len(parts) == 3 else None
        given = self._given
        common: dict[str, Any] = {
            "duration_s": float(self["transfertime"]),
            "local_ip": self["sourceip"],
            "remote_ip": self["serverip"] if "serverip" in given else "192.0.2.1",
            "remote_port": int(self["serverport"]),
            "remote_mx": self["destination"],
        }
        if code == 0:
            return AttemptFacts(**common, error=text or "connection timed out")
        return AttemptFacts(**common, code=code, enhanced=enhanced, reason=(text or "OK",), state="EOD")

    def action(self) -> str | None:
        given = self["action"]
        if given is not None:
            action = {"RETRY": "QUEUE"}.get(given, given)
            if action not in ("DELETE", "BOUNCE", "QUEUE", ""):
                raise OperatorError(f"`action` wants DELETE, BOUNCE, RETRY or nothing, got {given!r}")
            return action or None
        code = int(self["errorcode"])
        if 200 <= code < 300:
            return None
        return "BOUNCE" if code >= 500 or self["expired"] else "QUEUE"


def make_event(hook: str, given: Mapping[str, Any], content: bytes = DEFAULT_CONTENT, now: float = 0.0) -> Event:
    """Give an event of `hook` from facts by their classic names.

    Raises OperatorError for a hook or fact that doesn't exist, or a value that can't be.
    """
    v = _Values(given, now)
    context = Context()
    if v["context"] is not None:
        context.value, context.defined = v["context"], True
    makers: dict[str, Callable[[], Event]] = {
        "connect": lambda: ConnectEvent(v.connection(helo=False, auth=False), context),
        "proxy": lambda: ProxyEvent(
            v.connection(), context, v.transaction(v.recipients()) if "sender" in given else None, v["command"]
        ),
        "helo": lambda: HeloEvent(v.connection(helo=False, auth=False), context, "EHLO", v["senderhelo"]),
        "auth": lambda: AuthEvent(
            v.connection(auth=False), context, v["saslmechanism"], v["saslusername"] or None, v["saslpassword"]
        ),
        "mailfrom": lambda: MailFromEvent(v.connection(), context, v.transaction()),
        "rcptto": lambda: RcptToEvent(v.connection(), context, v.transaction(), v.recipients()[0]),
        "data": lambda: DataEvent(v.connection(), context, v.transaction(v.recipients()), content, now),
        "eod": lambda: DataEvent(v.connection(), context, v.transaction(v.recipients()), content, now),
        "predelivery": lambda: PreDeliveryEvent(v.queued(content), context, v["destination"], int(v["destinationport"])),
        "postdelivery": lambda: PostDeliveryEvent(v.queued(content), context, v.action(), v.attempt(), bool(v["expired"])),
        "disconnect": lambda: DisconnectEvent(v.connection(), context, "remote"),
    }
    maker = makers.get(hook)
    if maker is None:
        raise OperatorError(f"there is no hook `{hook}`", hint=suggest(hook, makers) or f"the hooks are {', '.join(makers)}")
    return maker()
