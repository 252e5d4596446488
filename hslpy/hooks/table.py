"""The hooks: one row each, with its variables and what happens when its scripts say nothing or fail.

In: nothing. Out: `HOOKS`, rows that the runner, the linter, the REPL and the docs walk. The functions of a hook are the
builtins whose rows name it. Source: the HSL manual's hook pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from hslpy.builtins.host.options import map_array
from hslpy.hooks import bind
from hslpy.hooks.bind import Builder
from hslpy.hooks.moments import MOMENTS
from hslpy.lang.predefined import Predefined
from hslpy.lang.profiles import Profile
from hslpy.mail.address import ascii_lower
from hslpy.mail.policy_replies import DEFERRED, FAILED, REJECTED
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import DataVerdict, QueueOptions, QueueVerdict, SmtpVerdict, Verdict
from hslpy.records import dataclass

FAILURE_DELAY_S = 300.0  # the HSL manual, Pre-delivery


@dataclass(frozen=True, slots=True)
class Fact:
    """A predefined variable: its name without `$`, its HSL types, how it is built, whether scripts may assign it."""

    name: str
    types: tuple[str, ...]
    build: Builder
    help: str
    writable: bool = False
    classic: bool = True


@dataclass(frozen=True, slots=True)
class Earlier:
    """What a hook did up to the profiles of the year `until`; what is None was as it is now.

    `implicit_with` is the implicit verdict where the script has set the variable named, `facts` are variables it had
    beside the others. `settles`: Bounce and Delete end the matter, without the post-delivery hook.
    """

    until: int
    implicit: Verdict | None = None
    implicit_with: tuple[str, Verdict] | None = None
    failure: Verdict | None = None
    outcome: str | None = None
    facts: tuple[Fact, ...] = ()
    settles: bool = False


@dataclass(frozen=True)
class Hook:
    """A hook. `implicit` is the verdict when its scripts end without one, `failure` when one fails.

    `outcome` says what the failure verdict means, for the log. `data` has no single implicit verdict: a recipient whose
    scripts end without one is delivered. `earlier` are the years that did otherwise, the oldest first; the row of such a
    year is the one here with its changes.
    """

    name: str
    moment: str
    facts: tuple[Fact, ...]
    implicit: Verdict
    failure: Verdict
    outcome: str
    earlier: tuple[Earlier, ...] = ()
    implicit_with: tuple[str, Verdict] | None = None
    settles: bool = False

    def in_profile(self, profile: Profile) -> Hook:
        """Give the hook's row as it is for scripts of a profile."""
        if not self.earlier or profile.year > self.earlier[-1].until:
            return self
        return self._in_years[next(each for each in self.earlier if profile.year <= each.until)]

    @cached_property
    def _in_years(self) -> dict[Earlier, Hook]:
        return {
            each: replace(
                self,
                facts=(*self.facts, *each.facts),
                implicit=each.implicit or self.implicit,
                failure=each.failure or self.failure,
                outcome=each.outcome or self.outcome,
                implicit_with=each.implicit_with,
                settles=each.settles,
                earlier=(),
            )
            for each in self.earlier
        }

    def without_verdict(self, facts: Mapping[str, object]) -> Verdict:
        """Give the verdict where no script gave one; `facts` are the variables it left."""
        given = self.implicit_with
        return given[1] if given is not None and given[0] in facts else self.implicit

    @cached_property
    def builders(self) -> dict[str, Builder]:
        """The builders of all variables, those of earlier years among them: one run may have scripts of several."""
        return {fact.name: fact.build for fact in (*self.facts, *(fact for each in self.earlier for fact in each.facts))}

    @cached_property
    def predefined(self) -> dict[str, Predefined]:
        return {
            fact.name: Predefined(fact.types, fact.writable, yields=fact.classic and not fact.writable)
            for fact in self.facts
        }


_STRING, _NUMBER, _BOOLEAN, _ARRAY = ("string",), ("number",), ("boolean",), ("array",)


def _modern(name: str, build: Builder, help: str) -> Fact:
    return Fact(name, _ARRAY, build, help, classic=False)


def _text(name: str, build: Builder, help: str) -> Fact:
    return Fact(name, _STRING, build, help)


def _number(name: str, build: Builder, help: str) -> Fact:
    return Fact(name, _NUMBER, build, help)


_CONTEXT = Fact("context", ("any",), bind.context, "anything, kept for the connection", writable=True)
_PRE_CONTEXT = Fact("context", ("any",), bind.context, "anything, kept for post-delivery", writable=True)
_POST_CONTEXT = Fact("context", ("any",), bind.kept_context, "what pre-delivery left, if it ran", writable=True)

_CONNECTION = (
    _text("senderip", bind.connection_field("remote_ip"), "the client's IP address"),
    _number("senderport", bind.connection_number("remote_port"), "the client's port"),
    _text("serverip", bind.connection_field("local_ip"), "our IP address"),
    _number("serverport", bind.connection_number("local_port"), "our port"),
    _text("serverid", bind.connection_field("server_id"), "our listener, as in `mailserver:1`"),
    Fact("tlsstarted", _BOOLEAN, bind.tls_started, "whether the session is under TLS"),
    _modern("connection", bind.connection_array, "the connection, with HELO, TLS and login where there are any"),
    _CONTEXT,
)
_HELO = (_text("senderhelo", bind.helo_host, "the name given in HELO or EHLO"),)
_BEFORE_MAIL = (
    _text("messageid", bind.connection_id, "the connection's id, before there is a message"),
    _modern("transaction", bind.transaction_id_array, "the id only, before there is a sender"),
)
_LOGIN = (
    Fact("saslauthed", _BOOLEAN, bind.signed_in, "whether the client has signed in"),
    _text("saslusername", bind.login, "the login, empty without one"),
)
_TRANSACTION = (
    _text("messageid", bind.transaction_id, "the transaction's id"),
    Fact("senderparams", _ARRAY, bind.sender_params, "the parameters of MAIL FROM"),
    _modern("transaction", bind.transaction_array, "id, sender and recipients so far"),
)
_SENDER = (
    _text("sender", bind.sender, "the envelope's sender, in lower case"),
    _text("senderdomain", bind.sender_domain, "the domain of the sender"),
    _text("senderlocalpart", bind.sender_local_part, "the local part of the sender"),
)
_RECIPIENTS = (
    Fact("recipients", _ARRAY, bind.recipients, "the recipients accepted so far, in lower case"),
    Fact("recipientdomains", _ARRAY, bind.recipient_domains, "their domains"),
)


_RCPT = (
    _text("recipient", bind.rcpt_field(lambda one: bind.lower(one.address)), "the recipient, in lower case"),
    _text("recipientdomain", bind.rcpt_field(lambda one: ascii_lower(one.address.domain)), "the domain of the recipient"),
    _text("recipientlocalpart", bind.rcpt_field(lambda one: one.address.local_part), "the local part of the recipient"),
    Fact("recipientparams", _ARRAY, bind.rcpt_field(lambda one: map_array(one.params)), "the parameters of RCPT TO"),
    _text("transportid", bind.rcpt_field(lambda one: one.transport_id), "the transport that will be used"),
    _text("tlsprotocol", bind.tls_text("protocol"), "the TLS protocol, empty without TLS"),
    _text("tlscipher", bind.tls_text("cipher"), "the TLS cipher, empty without TLS"),
    _number("tlskeysize", bind.tls_key_bits, "the TLS key's bits, 0 without TLS"),
    _modern("arguments", bind.rcpt_arguments, "recipient, address, params, transportid"),
)
_DATA_SENDER = (
    _text("sender", bind.data_sender(bind.lower), "the envelope's sender, in lower case"),
    _text("senderdomain", bind.data_sender(lambda a: ascii_lower(a.domain)), "the domain of the sender"),
    _text("senderlocalpart", bind.data_sender(lambda a: a.local_part), "the local part of the sender"),
)
_DATA_RECIPIENT = (
    _text("recipient", bind.data_recipient(bind.lower), "the recipient whose turn it is, in lower case"),
    _text("recipientdomain", bind.data_recipient(lambda a: ascii_lower(a.domain)), "its domain"),
    _text("recipientlocalpart", bind.data_recipient(lambda a: a.local_part), "its local part"),
    Fact("recipientparams", _ARRAY, bind.data_recipient_params, "the parameters of its RCPT TO"),
    _text("transportid", bind.data_transport, "the transport that will be used"),
    _number("actionid", bind.data_action_id, "counts the actions on this message, from 1"),
    _modern("arguments", bind.data_arguments, "recipient, address, params, transportid"),
)


_QUEUED = (
    _text("messageid", bind.queued(lambda m: m.transaction_id), "the transaction's id"),
    _number("queueid", bind.queued(lambda m: float(m.queue_id)), "the id in the queue"),
    _number("actionid", bind.queued(lambda m: float(m.action_id)), "which of the message's queued copies it is, from 1"),
    _number("receivedtime", bind.queued(lambda m: m.received_at), "when it was received, Unix seconds"),
    _text("senderip", bind.queued(lambda m: m.remote_ip), "the IP address of the client that sent it"),
    _text("senderhelo", bind.queued(lambda m: m.helo), "that client's name in HELO"),
    _text("serverid", bind.queued(lambda m: m.server_id), "the listener it came in by"),
    _text("saslusername", bind.queued(lambda m: m.sasl_username), "the login it was sent with, empty without one"),
    _text("sender", bind.queued(lambda m: bind.lower(m.sender)), "the envelope's sender, in lower case"),
    _text("senderdomain", bind.queued(lambda m: ascii_lower(m.sender.domain)), "the domain of the sender"),
    _text("senderlocalpart", bind.queued(lambda m: m.sender.local_part), "the local part of the sender"),
    Fact("senderparams", _ARRAY, bind.queued(lambda m: map_array(m.sender_params)), "the parameters of MAIL FROM"),
    _text("recipient", bind.queued(lambda m: bind.lower(m.recipient)), "the recipient, in lower case"),
    _text("recipientdomain", bind.queued(lambda m: ascii_lower(m.recipient.domain)), "the domain of the recipient"),
    _text("recipientlocalpart", bind.queued(lambda m: m.recipient.local_part), "the local part of the recipient"),
    Fact("recipientparams", _ARRAY, bind.queued(lambda m: map_array(m.recipient_params)), "the parameters of RCPT TO"),
    _text("transportid", bind.queued(lambda m: m.transport_id), "the transport that is used"),
    _number("retry", bind.queued(lambda m: float(m.retries)), "how many attempts were charged so far"),
    _number("retries", bind.queued(lambda m: float(m.most_retries)), "how many the schedule has room for"),
    _modern("message", bind.message_array, "the queued message"),
)
_PRE = (
    _PRE_CONTEXT,
    _text("sourceip", bind.nothing, "the source IP, once `SetSourceIP` has named one"),
    _text("destination", bind.destination, "the host to deliver to, empty for the domain's MX"),
    _number("destinationport", bind.destination_port, "the port to deliver to"),
    _modern("arguments", bind.pre_arguments, "retry"),
)
_POST = (
    _POST_CONTEXT,
    _text("sourceip", bind.tried("local_ip"), "the source IP of the attempt"),
    _text("serverip", bind.tried("remote_ip"), "the IP address tried, empty when it was never known"),
    _number("serverport", bind.tried_number("remote_port"), "the port tried"),
    _text("errormsg", bind.error_message, "what the server said, or what went wrong"),
    _number("errorcode", bind.tried_number("code"), "the reply's code, 0 for trouble in the network"),
    _text("errorndr", bind.error_ndr, "the enhanced code, as in `5.7.1`"),
    _number("transfertime", bind.tried_number("duration_s"), "how long the attempt took, in seconds"),
    _text("action", bind.classic_action, "`DELETE`, `BOUNCE`, `RETRY`, or empty after success"),
    _modern("arguments", bind.post_arguments, "retry, expired, action and attempt"),
)


def _failure(hook: str) -> SmtpVerdict:
    return SmtpVerdict("defer", FAILED[hook], disconnect=FAILED[hook].code == 421, failed=True)


def _fell_back(hook: str, verdict: str = "Defer") -> str:
    reply = FAILED[hook]
    return f"fell back to {verdict} {reply.code} {'.'.join(map(str, reply.enhanced or ()))}"


_ACCEPT = SmtpVerdict("accept")
_DATA_FAILURE = DataVerdict("defer", FAILED["data"], failed=True)
_AUTH_REJECT = SmtpVerdict("reject", REJECTED["auth"])
_RCPT_REJECT = SmtpVerdict("reject", REJECTED["rcptto"])
_RCPT_ERROR = Fact("error", ("any",), bind.unset, "set by the script: reject where it ends without a verdict", writable=True)
_DATA_NOTHING = DataVerdict("defer", Reply(451, (4, 3, 0), ("Message not handled, try again later",)))

HOOKS: tuple[Hook, ...] = (
    Hook(
        "connect",
        MOMENTS["connect"],
        (*_CONNECTION, *_BEFORE_MAIL, _modern("arguments", bind.connect_arguments, "the client's and our address")),
        _ACCEPT,
        _failure("connect"),
        _fell_back("connect"),
    ),
    Hook(
        "proxy",
        MOMENTS["proxy"],
        (
            *_CONNECTION,
            *_HELO,
            *_LOGIN,
            _text("messageid", bind.id_so_far, "the transaction's id; before MAIL FROM the connection's"),
            _modern("transaction", bind.transaction_so_far, "id, sender and recipients so far; before MAIL FROM the id"),
            _text("command", bind.command, "the command line"),
            _modern("arguments", bind.proxy_arguments, "command: the command line"),
        ),
        SmtpVerdict("pass"),
        SmtpVerdict("reply", FAILED["proxy"], disconnect=True, failed=True),
        _fell_back("proxy", "Reply"),
    ),
    Hook(
        "helo",
        MOMENTS["helo"],
        (
            *_CONNECTION,
            *_BEFORE_MAIL,
            _text("senderhelo", bind.greeted_host, "the name just given"),
            _modern("arguments", bind.helo_arguments, "verb, host, extensions"),
        ),
        _ACCEPT,
        _failure("helo"),
        _fell_back("helo"),
    ),
    Hook(
        "auth",
        MOMENTS["auth"],
        (
            *_CONNECTION,
            *_HELO,
            *_BEFORE_MAIL,
            Fact("saslusername", ("string", "none"), bind.auth_field("username"), "the login, with PLAIN and LOGIN"),
            Fact("saslpassword", ("string", "none"), bind.auth_field("password"), "the password, with PLAIN and LOGIN"),
            _text("saslmechanism", bind.auth_field("mechanism"), "the mechanism, in upper case"),
            _number("saslstate", bind.auth_state, "counts the answers of the client, from 0"),
            Fact("saslresponse", ("string", "none"), bind.auth_field("response"), "the client's answer"),
            _modern("arguments", bind.auth_arguments, "mechanism, state, and username, password, response where given"),
        ),
        _AUTH_REJECT,
        _failure("auth"),
        _fell_back("auth"),
        (Earlier(2015, failure=replace(_AUTH_REJECT, failed=True), outcome="fell back to Reject 535 5.7.8"),),
    ),
    Hook(
        "mailfrom",
        MOMENTS["mailfrom"],
        (
            *_CONNECTION,
            *_HELO,
            *_LOGIN,
            *_TRANSACTION,
            *_SENDER,
            _modern("arguments", bind.mail_arguments, "sender, address, params"),
        ),
        _ACCEPT,
        _failure("mailfrom"),
        _fell_back("mailfrom"),
    ),
    Hook(
        "rcptto",
        MOMENTS["rcptto"],
        (*_CONNECTION, *_HELO, *_LOGIN, *_TRANSACTION, *_SENDER, *_RECIPIENTS, *_RCPT),
        _ACCEPT,
        _failure("rcptto"),
        _fell_back("rcptto"),
        (
            Earlier(2016, SmtpVerdict("defer", DEFERRED["rcptto"]), ("error", _RCPT_REJECT), facts=(_RCPT_ERROR,)),
            Earlier(2018, _RCPT_REJECT),
        ),
    ),
    Hook(
        "data",
        MOMENTS["data"],
        (*_CONNECTION, *_HELO, *_LOGIN, *_TRANSACTION, *_DATA_SENDER, *_RECIPIENTS, *_DATA_RECIPIENT),
        _DATA_NOTHING,
        _DATA_FAILURE,
        _fell_back("data"),
    ),
    Hook(
        "eod",
        MOMENTS["eod"],
        (
            *_CONNECTION,
            *_HELO,
            *_LOGIN,
            *_TRANSACTION,
            *_SENDER,
            *_RECIPIENTS,
            _modern("arguments", bind.eod_arguments, "mail: the message"),
        ),
        _DATA_NOTHING,
        _DATA_FAILURE,
        _fell_back("eod"),
    ),
    Hook(
        "predelivery",
        MOMENTS["predelivery"],
        (*_QUEUED, *_PRE),
        QueueVerdict("try"),
        QueueVerdict("queue", queue=QueueOptions(delay_s=FAILURE_DELAY_S, increment_retry=False), failed=True),
        f"fell back to Queue, in {FAILURE_DELAY_S:g} seconds, the attempt not counted",
        (Earlier(2019, settles=True),),
    ),
    Hook(
        "postdelivery",
        MOMENTS["postdelivery"],
        (*_QUEUED, *_POST),
        QueueVerdict("default"),
        QueueVerdict("default", failed=True),
        "took the default action",
    ),
    Hook(
        "disconnect",
        MOMENTS["disconnect"],
        (*_CONNECTION, *_HELO, *_LOGIN, *_BEFORE_MAIL, _modern("arguments", bind.disconnect_arguments, "close, error")),
        _ACCEPT,
        SmtpVerdict("accept", failed=True),
        "was ignored",
    ),
)

BY_NAME: dict[str, Hook] = {hook.name: hook for hook in HOOKS}
