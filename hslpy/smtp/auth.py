"""AUTH. In: a session, the command's argument, a way to put a challenge. Out: the final reply.

The AUTH hook decides where there is one, otherwise the server's own users do. PLAIN and LOGIN are decoded here; any other
mechanism in the settings is a script's, step by step. Whose logins failed too often is refused before any of that. No
password is logged. Source: RFC 4954, RFC 4616 (PLAIN), the HSL manual (AUTH).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Callable

from hslpy.hooks.facts import AuthEvent, AuthFacts
from hslpy.mail.verdict import SmtpVerdict
from hslpy.smtp import replies
from hslpy.smtp.networks import client_of
from hslpy.smtp.replies import OwnReply
from hslpy.smtp.session import Session

# Sends `334 ` and the text; gives the client's line without CRLF, None when the connection is over or was refused.
Challenge = Callable[[bytes], Awaitable[bytes | None]]

# More rounds than any mechanism has; a script that replies for ever is stopped here.
_MAX_STATE = 20
# How many times `auth_delay_s` the longest wait is.
_LONGEST_WAIT = 10


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
    if not session.mechanisms:
        return session.fault(replies.NOT_IMPLEMENTED)
    if session.tls is None and not settings.auth_without_tls:
        return session.fault(replies.AUTH_NEEDS_TLS)
    if "AUTH" not in session.offered:
        return session.fault(replies.NOT_IMPLEMENTED)
    words = argument.split()
    if not 1 <= len(words) <= 2:
        return session.fault(replies.SYNTAX_AUTH)
    mechanism = words[0].upper()
    if mechanism not in (each.upper() for each in session.mechanisms):
        return session.fault(replies.BAD_MECHANISM)
    try:
        if await session.shared.guesses.client_blocked(session.remote_ip):
            return _blocked(session, mechanism)
        return await _exchange(session, mechanism, words[1] if len(words) == 2 else None, challenge)
    except _Refused as refused:
        return session.fault(refused.reply) if refused.reply is not None else b""


async def _exchange(session: Session, mechanism: str, initial: str | None, challenge: Challenge) -> bytes:
    username: str | None = None
    password: str | None = None
    response: str | None = None
    wrong = ""
    if mechanism == "PLAIN":
        decoded = _decode(initial.encode()) if initial is not None else await _ask(challenge, b"")
        parts = decoded.split(b"\0")
        if len(parts) != 3:
            raise _Refused(replies.BAD_BASE64)
        username, password = parts[1].decode("latin-1"), parts[2].decode("latin-1")
        if parts[0] not in (b"", parts[1]):
            wrong = "signs in for another user"  # nobody here may act for somebody else
    elif mechanism == "LOGIN":
        first = _decode(initial.encode()) if initial is not None else await _ask(challenge, b"Username:")
        username = first.decode("latin-1")
        password = (await _ask(challenge, b"Password:")).decode("latin-1")
        if "\0" in username + password:
            # what PLAIN cannot hold (RFC 4616), and would mean another user where it is passed on
            raise _Refused(replies.BAD_BASE64)
    elif initial is not None:
        response = _decode(initial.encode()).decode("latin-1")
    if username is not None and password is not None:
        if not username or not password:
            wrong = "empty user or password"  # RFC 4616 has none; to LDAP such a login would be anybody's
        if await session.shared.guesses.user_blocked(session.remote_ip, username):
            return _blocked(session, mechanism, username, only_as_user=True)
        if wrong:
            return await _failed(session, mechanism, username, wrong)
        if not session.scripts.has("auth"):
            return await _by_users(session, mechanism, username, password)
    state = 0
    while True:
        event = AuthEvent(
            session.connection_facts(), session.context, mechanism, username, password, state=state, response=response
        )
        verdict = await session.ask("auth", event)
        if verdict.action != "reply" or state >= _MAX_STATE:
            return await _by_script(session, mechanism, username, verdict)
        text = verdict.reply.text if verdict.reply is not None else ""
        response = (await _ask(challenge, text.encode("latin-1", "replace"))).decode("latin-1")
        state += 1


async def _by_users(session: Session, mechanism: str, username: str, password: str) -> bytes:
    logins = session.shared.logins
    if logins is None:  # an auth script that is gone since: `mechanisms` says so from the next session on
        return session.fault(replies.NOT_IMPLEMENTED)
    raw = username.encode("latin-1")
    result = await logins.verify(raw.decode("utf-8", "replace"), password.encode("latin-1"), client_of(session.remote_ip))
    if result.accepted:
        return await _signed_in(session, mechanism, username) or replies.AUTH_OK.wire
    if result.temporary:
        session.shared.log("smtp.login_deferred", {**_about(session, mechanism, username), "reason": result.reason})
        return session.fault(replies.AUTH_LATER)
    return await _failed(session, mechanism, username, result.reason)


async def _by_script(session: Session, mechanism: str, username: str | None, verdict: SmtpVerdict) -> bytes:
    if verdict.action == "accept":
        name = verdict.username if verdict.username is not None else username
        return await _signed_in(session, mechanism, name) or session.accepted_reply(verdict, replies.AUTH_OK)
    if verdict.action == "reply":  # a script that never came to an end
        return await _failed(session, mechanism, username, "a script without an end")
    reply = session.refusal("auth", verdict, {"mechanism": mechanism, "username": username or ""})
    return await _slowed(session, username, reply, counts=verdict.action == "reject")


async def _signed_in(session: Session, mechanism: str, username: str | None) -> bytes:
    """Sign the session in; give the reply that refuses it, where its other guesses blocked the client meanwhile."""
    guesses = session.shared.guesses
    if await guesses.client_blocked(session.remote_ip):
        return _blocked(session, mechanism, username)
    session.signed_in(AuthFacts(mechanism, username))
    session.shared.log("smtp.signed_in", _about(session, mechanism, username))
    if username is not None:
        await guesses.succeeded(session.remote_ip, username)
    return b""


async def _failed(session: Session, mechanism: str, username: str | None, reason: str) -> bytes:
    session.shared.log("smtp.login_failed", {**_about(session, mechanism, username), "reason": reason})
    session.errors += 1
    return await _slowed(session, username, replies.AUTH_REJECTED.wire, counts=True)


async def _slowed(session: Session, username: str | None, reply: bytes, *, counts: bool) -> bytes:
    """Count a refused login, and give its reply after a wait that grows: guessing is slow, a typing error is not.

    The wait ends with the connection, and is one of `max_connections`.
    """
    session.auth_failures += 1
    failures = await session.shared.guesses.failed(session.remote_ip, username) if counts else 0
    times = min(max(failures, session.auth_failures), _LONGEST_WAIT)
    await session.shared.clock.sleep(session.settings.auth_delay_s * times)
    if session.auth_failures >= session.settings.max_auth_failures and not session.closing:
        return session.close_with(replies.TOO_MANY_LOGINS)
    return reply


def _blocked(session: Session, mechanism: str, username: str | None = None, *, only_as_user: bool = False) -> bytes:
    """Refuse a login unheard: of a client that is blocked, or that is as this user."""
    session.shared.log("smtp.login_refused", _about(session, mechanism, username))
    session.auth_failures += 1
    if only_as_user and session.auth_failures < session.settings.max_auth_failures:
        return session.fault(replies.AUTH_LATER)
    return session.close_with(replies.TOO_MANY_LOGINS)


def _about(session: Session, mechanism: str, username: str | None) -> dict[str, object]:
    return {
        "session": session.id,
        "remote_ip": session.remote_ip,
        "mechanism": mechanism,
        "username": (username or "").encode("latin-1", "replace").decode("utf-8", "replace"),
    }


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
