"""Accept, Reject, Defer, Reply and Pass of the SMTP hooks. In: reasons and options. Out: an `SmtpVerdict`.

The defaults of each hook's replies stand in one table here; `hooks` decides what happens when a script says nothing.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from hslpy.builtins.host.contract import HookHost
from hslpy.builtins.host.options import (
    ADDRESS,
    ARRAY,
    BOOLEAN,
    REASON,
    TEXT,
    read_address,
    read_options,
    read_reply,
    text_list,
)
from hslpy.errors import ScriptError
from hslpy.lang.declare import Effect, Topic
from hslpy.lang.run import Run, VerdictGiven
from hslpy.lang.values import Array, Value
from hslpy.mail.reply import Enhanced, Reply
from hslpy.mail.verdict import SmtpVerdict

TOPIC = Topic("verdicts")

SMTP_HOOKS = ("connect", "helo", "auth", "mailfrom", "rcptto")
END_OF_DATA_HOOKS = ("data", "eod")
REFUSAL_OPTIONS = {"disconnect": BOOLEAN, "reply_codes": ARRAY}

# What Accept([...]) takes at each hook. Source: the HSL manual's hook pages
ACCEPT_OPTIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "connect": {"reason": REASON, "remoteip": TEXT, "remoteptr": TEXT, "reply_codes": ARRAY},
    "helo": {"extensions": ARRAY, "host": TEXT, "reason": REASON, "reply_codes": ARRAY},
    "auth": {"username": TEXT, "reason": REASON, "reply_codes": ARRAY},
    "mailfrom": {"sender": ADDRESS, "reason": REASON, "reply_codes": ARRAY},
    "rcptto": {"recipient": ADDRESS, "transportid": TEXT, "reason": REASON, "reply_codes": ARRAY},
}


@dataclass(frozen=True, slots=True)
class DefaultReply:
    """Code, enhanced code and text of a verdict whose script gives none."""

    code: int
    enhanced: Enhanced
    text: str


# Codes: the HSL manual's hook pages; enhanced codes: RFC 3463, those of AUTH RFC 4954 section 6
ACCEPTED = {
    "connect": DefaultReply(220, (2, 0, 0), "ESMTP ready"),
    "helo": DefaultReply(250, (2, 0, 0), "OK"),
    "auth": DefaultReply(235, (2, 7, 0), "Authentication succeeded"),
    "mailfrom": DefaultReply(250, (2, 1, 0), "Sender OK"),
    "rcptto": DefaultReply(250, (2, 1, 5), "Recipient OK"),
    "data": DefaultReply(250, (2, 0, 0), "Message accepted"),
    "eod": DefaultReply(250, (2, 0, 0), "Message accepted"),
}
REJECTED = {
    "connect": DefaultReply(521, (5, 7, 1), "Connection refused by policy"),
    "helo": DefaultReply(554, (5, 7, 1), "Refused by policy"),
    "auth": DefaultReply(535, (5, 7, 8), "Authentication failed"),
    "mailfrom": DefaultReply(554, (5, 7, 1), "Sender refused by policy"),
    "rcptto": DefaultReply(554, (5, 7, 1), "Recipient refused by policy"),
    "data": DefaultReply(550, (5, 7, 1), "Message refused by policy"),
    "eod": DefaultReply(550, (5, 7, 1), "Message refused by policy"),
}
DEFERRED = {
    "connect": DefaultReply(421, (4, 7, 1), "Try again later"),
    "helo": DefaultReply(450, (4, 7, 1), "Try again later"),
    "auth": DefaultReply(454, (4, 7, 0), "Temporary authentication failure"),
    "mailfrom": DefaultReply(450, (4, 7, 1), "Try again later"),
    "rcptto": DefaultReply(450, (4, 7, 1), "Try again later"),
    "data": DefaultReply(421, (4, 7, 1), "Try again later"),
    "eod": DefaultReply(421, (4, 7, 1), "Try again later"),
}


def refusal(
    host: HookHost, function: str, table: dict[str, DefaultReply], reason: Value, options: Array | None
) -> tuple[Reply, bool]:
    """Give the reply of Reject or Defer at the host's hook, and whether to disconnect."""
    given = read_options(function, options, REFUSAL_OPTIONS)
    default = table[host.hook]
    reply = read_reply(function, reason, given.get("reply_codes"), default.code, default.enhanced, default.text)
    return reply, given.get("disconnect", False)


def acceptance(host: HookHost, function: str, given: dict[str, Value]) -> Reply | None:
    """Give the reply that the options of an accepting verdict ask for, None for the server's own."""
    reason, codes = given.get("reason"), given.get("reply_codes")
    if reason is None and codes is None:
        return None
    default = ACCEPTED[host.hook]
    return read_reply(function, reason, codes, default.code, default.enhanced, default.text)


@TOPIC.builtin(
    "Accept([options: array]) -> terminates",
    effect=Effect.IO,
    hooks=SMTP_HOOKS,
    examples=["Accept();"],
)
def accept(call: Run, options: Array | None = None) -> None:
    """Let it pass and end the script. Options, by hook: reason, reply_codes, and what the verdict changes."""
    host: HookHost = call.host
    given = read_options("Accept", options, ACCEPT_OPTIONS[host.hook])
    sender = recipient = None
    if "sender" in given:
        sender, _ = read_address("Accept", given["sender"], null_allowed=True)
    if "recipient" in given:
        recipient, _ = read_address("Accept", given["recipient"])
    if "remoteip" in given:
        _check_ip(given["remoteip"])
    extensions = text_list("`extensions`", given["extensions"]) if "extensions" in given else None
    for word in (*(extensions or ()), given.get("host", "")):
        if not word.isprintable() or not word.isascii():
            raise ScriptError("R302", "Accept() wants `extensions` and `host` without control characters")
    raise VerdictGiven(
        SmtpVerdict(
            "accept",
            reply=acceptance(host, "Accept", given),
            remote_ip=given.get("remoteip"),
            remote_ptr=given.get("remoteptr"),
            host=given.get("host"),
            extensions=extensions,
            username=given.get("username"),
            sender=sender,
            recipient=recipient,
            transport_id=given.get("transportid"),
        )
    )


@TOPIC.builtin(
    "Reject([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=SMTP_HOOKS,
    examples=['Reject("Not from here", ["disconnect" => true]);'],
)
def reject(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Refuse for good (5xx) and end the script. A reason of several lines gives a reply of several lines."""
    reply, disconnect = refusal(call.host, "Reject", REJECTED, reason, options)
    raise VerdictGiven(SmtpVerdict("reject", reply=reply, disconnect=disconnect))


@TOPIC.builtin(
    "Defer([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=SMTP_HOOKS,
    examples=['Defer("Too many messages, try later");'],
)
def defer(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Refuse for now (4xx) and end the script."""
    reply, disconnect = refusal(call.host, "Defer", DEFERRED, reason, options)
    raise VerdictGiven(SmtpVerdict("defer", reply=reply, disconnect=disconnect))


@TOPIC.builtin(
    "Reply([reply: string], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=("auth",),
    examples=['Reply("Verification code:");'],
)
def reply(call: Run, reply: str = "", options: Array | None = None) -> None:
    """Ask the client for one more answer (334); the text is sent in base64. The hook runs again with state + 1."""
    given = read_options("Reply", options, REFUSAL_OPTIONS)
    code = read_reply("Reply", None, given.get("reply_codes"), 334, (3, 0, 0), "").code
    raise VerdictGiven(SmtpVerdict("reply", reply=Reply(code, None, (reply,)), disconnect=given.get("disconnect", False)))


@TOPIC.builtin("Pass() -> terminates", effect=Effect.IO, hooks=("disconnect",), examples=["Pass();"])
def pass_(call: Run) -> None:
    """End the script."""
    raise VerdictGiven(SmtpVerdict("accept"))


@TOPIC.builtin("GetExtensions() -> array", effect=Effect.READS, hooks=("helo",), examples=["$words = GetExtensions();"])
def get_extensions(call: Run) -> Array:
    """The EHLO keywords about to be announced."""
    return Array.of(call.host.event.extensions)


def _check_ip(text: str) -> None:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        raise ScriptError("R302", f'Accept() wants `remoteip` as an IP address, got "{text[:60]}"') from None
