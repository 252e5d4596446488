"""Accept, Reject, Defer, Reply and Pass of the SMTP hooks. In: reasons and options. Out: an `SmtpVerdict`.

A verdict without words takes those of `mail/policy_replies.py`; `hooks` decides what happens when a script says nothing.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

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
from hslpy.mail.policy_replies import ACCEPTED, DEFERRED, REJECTED
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import SmtpVerdict

TOPIC = Topic("verdicts")

# Those at which Accept, Reject and Defer are.
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

_CHALLENGE = Reply(334, (3, 0, 0), ("",))
_NOT_IN_COMMANDS = frozenset("\r\n\0")


def refusal(
    host: HookHost, function: str, table: Mapping[str, Reply], reason: Value, options: Array | None
) -> tuple[Reply, bool]:
    """Give the reply of Reject or Defer at the host's hook, and whether to disconnect."""
    given = read_options(function, options, REFUSAL_OPTIONS)
    reply = read_reply(function, reason, given.get("reply_codes"), table[host.hook])
    return reply, given.get("disconnect", False)


def acceptance(host: HookHost, function: str, given: dict[str, Value]) -> Reply | None:
    """Give the reply that the options of an accepting verdict ask for, None for the server's own."""
    reason, codes = given.get("reason"), given.get("reply_codes")
    if reason is None and codes is None:
        return None
    return read_reply(function, reason, codes, ACCEPTED[host.hook])


@TOPIC.builtin(
    "Accept([options: array]) -> terminates",
    effect=Effect.IO,
    hooks=SMTP_HOOKS,
    examples=["Accept();"],
)
def accept(call: Run, options: Array | None = None) -> None:
    """Let it pass and end the script.

    | option | at | what it does |
    |---|---|---|
    | `reason`, `reply_codes` | all | the reply's text, and its codes as in ["code" => 250, "enhanced" => [2, 1, 5]] |
    | `remoteip`, `remoteptr` | connect | the client's address and name, from now on |
    | `host`, `extensions` | helo | the name said by the client; the list of EHLO keywords announced |
    | `username` | auth | who has signed in |
    | `sender` | mailfrom | another sender |
    | `recipient`, `transportid` | rcptto | another recipient; the transport that carries it |
    """
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
    """Refuse for good (5xx) and end the script. A reason of several lines gives a reply of several lines.

    Options: `reply_codes`, as in ["code" => 554, "enhanced" => [5, 7, 1]], and `disconnect` (false) to end the connection.
    """
    reply, disconnect = refusal(call.host, "Reject", REJECTED, reason, options)
    raise VerdictGiven(SmtpVerdict("reject", reply=reply, disconnect=disconnect))


@TOPIC.builtin(
    "Defer([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=SMTP_HOOKS,
    examples=['Defer("Too many messages, try later");'],
)
def defer(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Refuse for now (4xx) and end the script. The reason and the options are as of Reject(), with a code of 4xx."""
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
    code = read_reply("Reply", None, given.get("reply_codes"), _CHALLENGE).code
    raise VerdictGiven(SmtpVerdict("reply", reply=Reply(code, None, (reply,)), disconnect=given.get("disconnect", False)))


@TOPIC.builtin(
    "Reply([reason: string | array], [options: array]) -> terminates",
    effect=Effect.IO,
    hooks=("proxy",),
    examples=['Reply("Go ahead", ["next" => true]);', 'Reply("Not here", ["reply_codes" => ["code" => 502]]);'],
)
def answer(call: Run, reason: Value = None, options: Array | None = None) -> None:
    """Answer the client (250) in the server's place and end the script.

    The server does not see the command. Options:

    | option | default | meaning |
    |---|---|---|
    | `disconnect` | false | end the connection after the reply |
    | `reply_codes` | 250 2.0.0 | array of `code`, from 200 to 599, and `enhanced` |
    | `next` | false | run again at the next command; without it the hook has run for the last time in the connection |
    """
    given = read_options("Reply", options, {**REFUSAL_OPTIONS, "next": BOOLEAN})
    reply = read_reply("Reply", reason, given.get("reply_codes"), ACCEPTED[call.host.hook], free=True)
    raise VerdictGiven(SmtpVerdict("reply", reply, disconnect=given.get("disconnect", False), next=given.get("next", False)))


@TOPIC.builtin(
    "Pass([options: array]) -> terminates",
    effect=Effect.IO,
    hooks=("proxy",),
    examples=['Pass(["next" => true]);', 'Pass(["command" => "NOOP"]);'],
)
def pass_on(call: Run, options: Array | None = None) -> None:
    """Hand the command to the server and end the script. Options:

    | option | default | meaning |
    |---|---|---|
    | `command` | the client's | the command line to run in its place, without CRLF; it is checked as one of the client's |
    | `next` | false | run again at the next command; without it the hook has run for the last time in the connection |
    """
    given = read_options("Pass", options, {"command": TEXT, "next": BOOLEAN})
    command = given.get("command")
    if command is not None and not _NOT_IN_COMMANDS.isdisjoint(command):
        raise ScriptError("R302", "Pass() wants `command` as one line, without CR, LF and NUL")
    raise VerdictGiven(SmtpVerdict("pass", command=command, next=given.get("next", False)))


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
