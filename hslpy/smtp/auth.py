"""AUTH. In: a session, the command's argument, a way to put a challenge. Out: the final reply. The AUTH hook decides.

PLAIN and LOGIN are decoded here; any other mechanism in the settings is a script's, step by step. No password is logged.
Source: RFC 4954, RFC 4616 (PLAIN), the HSL manual (AUTH).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable

from hslpy.hooks.facts import AuthEvent, AuthFacts
from hslpy.mail.verdict import SmtpVerdict
from hslpy.smtp import replies
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.session import Session

# Sends `334 ` and the text; gives the client's line without CRLF, None when the connection is over or was refused.
Challenge = Callable[[bytes], Awaitable[bytes | None]]

# More rounds than any mechanism has; a script that replies for ever is stopped here.
_MAX_STATE = 20


class _Refused(Exception):
    def __init__(self, reply: OwnReply | None) -> None:
        super().__init__()
        self.reply = reply


async def authenticate(session: Session, argument: str, challenge: Challenge) -> bytes:
    """Run one AUTH exchange; on success the session is signed in. Failures are delayed, counted and capped."""
    settings = session.settings
    if session.helo is None or not session.extended_smtp:
        return session.fault(replies.NEED_HELO)
    if session.auth is not None:
        return session.fault(replies.ALREADY_AUTH)
    if session.transaction is not None:
        return session.fault(replies.AUTH_IN_TRANSACTION)
    if not session.scripts.has("auth"):
        return session.fault(replies.NOT_IMPLEMENTED)
    if session.tls is None and not settings.auth_without_tls:
        return session.fault(replies.AUTH_NEEDS_TLS)
    if "AUTH" not in session.offered:
        return session.fault(replies.NOT_IMPLEMENTED)
    words = argument.split()
    if not 1 <= len(words) <= 2:
        return session.fault(replies.SYNTAX_AUTH)
    mechanism = words[0].upper()
    if mechanism not in (each.upper() for each in settings.auth_mechanisms):
        return session.fault(replies.BAD_MECHANISM)
    try:
        return await _exchange(session, mechanism, words[1] if len(words) == 2 else None, challenge)
    except _Refused as refused:
        return session.fault(refused.reply) if refused.reply is not None else b""


async def _exchange(session: Session, mechanism: str, initial: str | None, challenge: Challenge) -> bytes:
    username: str | None = None
    password: str | None = None
    response: str | None = None
    if mechanism == "PLAIN":
        decoded = _decode(initial.encode()) if initial is not None else await _ask(challenge, b"")
        parts = decoded.split(b"\0")
        if len(parts) != 3:
            raise _Refused(replies.BAD_BASE64)
        username, password = parts[1].decode("latin-1"), parts[2].decode("latin-1")
    elif mechanism == "LOGIN":
        first = _decode(initial.encode()) if initial is not None else await _ask(challenge, b"Username:")
        username = first.decode("latin-1")
        password = (await _ask(challenge, b"Password:")).decode("latin-1")
        if (
            "\0" in username + password
        ):  # what PLAIN cannot hold (RFC 4616), and would mean another user where it is passed on
            raise _Refused(replies.BAD_BASE64)
    elif initial is not None:
        response = _decode(initial.encode()).decode("latin-1")
    state = 0
    while True:
        event = AuthEvent(
            session.connection_facts(), session.context, mechanism, username, password, state=state, response=response
        )
        verdict = await session.ask("auth", event)
        if verdict.action != "reply" or state >= _MAX_STATE:
            return await _finish(session, mechanism, username, verdict)
        text = verdict.reply.text if verdict.reply is not None else ""
        response = (await _ask(challenge, text.encode("latin-1", "replace"))).decode("latin-1")
        state += 1


async def _finish(session: Session, mechanism: str, username: str | None, verdict: SmtpVerdict) -> bytes:
    if verdict.action == "accept":
        session.auth = AuthFacts(mechanism, verdict.username if verdict.username is not None else username)
        session.changed()
        session.shared.log(
            "smtp.signed_in",
            {
                "session": session.id,
                "remote_ip": session.remote_ip,
                "mechanism": mechanism,
                "username": session.auth.username,
            },
        )
        return session.accepted_reply(verdict, replies.AUTH_OK)
    session.auth_failures += 1
    # Each failure waits longer than the one before: guessing is slow, a typing error is not.
    await session.shared.clock.sleep(session.settings.auth_delay_s * session.auth_failures)
    if verdict.action == "reply":  # a script that never came to an end
        return session.fault(replies.AUTH_REJECTED)
    reply = session.refusal("auth", verdict, {"mechanism": mechanism, "username": username or ""})
    if session.auth_failures >= session.settings.max_auth_failures and not session.closing:
        return session.close_with(replies.TOO_MANY_LOGINS)
    return reply


async def _ask(challenge: Challenge, text: bytes) -> bytes:
    line = await challenge(b64encode(text))
    if line is None:
        raise _Refused(None)
    if line == b"*":
        raise _Refused(replies.AUTH_ABORTED)
    return _decode(line)


def _decode(text: bytes) -> bytes:
    """Decode base64; `=` alone stands for an empty initial response (RFC 4954 section 4)."""
    if text == b"=":
        return b""
    try:
        return b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _Refused(replies.BAD_BASE64) from None
