"""What the peer hears of a hook's verdict whose script has no words of its own. In: a hook's name. Out: replies.

The one place for these texts: the functions of scripts, the hook table and the server take them from here. Codes: the HSL
manual's hook pages; enhanced codes: RFC 3463, those of AUTH RFC 4954 section 6.
"""

from __future__ import annotations

from collections.abc import Mapping

from hslpy.mail.reply import Enhanced, Reply


def _reply(code: int, enhanced: Enhanced, text: str) -> Reply:
    return Reply(code, enhanced, (text,))


ACCEPTED: Mapping[str, Reply] = {
    "connect": _reply(220, (2, 0, 0), "ESMTP"),
    "proxy": _reply(250, (2, 0, 0), "Ok"),
    "helo": _reply(250, (2, 0, 0), "Ok"),
    "auth": _reply(235, (2, 7, 0), "Authentication successful"),
    "mailfrom": _reply(250, (2, 1, 0), "Sender ok"),
    "rcptto": _reply(250, (2, 1, 5), "Recipient ok"),
    "data": _reply(250, (2, 0, 0), "Ok"),
    "eod": _reply(250, (2, 0, 0), "Ok"),
}
REJECTED: Mapping[str, Reply] = {
    "connect": _reply(521, (5, 7, 1), "Connection refused by policy"),
    "helo": _reply(554, (5, 7, 1), "Refused by policy"),
    "auth": _reply(535, (5, 7, 8), "Authentication failed"),
    "mailfrom": _reply(554, (5, 7, 1), "Sender refused by policy"),
    "rcptto": _reply(554, (5, 7, 1), "Recipient refused by policy"),
    "data": _reply(550, (5, 7, 1), "Message refused by policy"),
    "eod": _reply(550, (5, 7, 1), "Message refused by policy"),
}
DEFERRED: Mapping[str, Reply] = {
    "connect": _reply(421, (4, 7, 1), "Try again later"),
    "helo": _reply(450, (4, 7, 1), "Try again later"),
    "auth": _reply(454, (4, 7, 0), "Temporary authentication failure"),
    "mailfrom": _reply(450, (4, 7, 1), "Try again later"),
    "rcptto": _reply(450, (4, 7, 1), "Try again later"),
    "data": _reply(421, (4, 7, 1), "Try again later"),
    "eod": _reply(421, (4, 7, 1), "Try again later"),
}
# All that a peer hears of a script's fault. Codes: 421 closes, 454 is AUTH's (RFC 4954 section 6)
_FAILURE_CODES = {
    "connect": 421,
    "proxy": 421,
    "helo": 451,
    "auth": 454,
    "mailfrom": 451,
    "rcptto": 451,
    "data": 451,
    "eod": 451,
}
FAILED: Mapping[str, Reply] = {
    hook: _reply(code, (4, 3, 0), "Temporary policy failure") for hook, code in _FAILURE_CODES.items()
}


def refusal_at(hook: str, action: str, *, failed: bool) -> Reply:
    """Give the reply to a reject or defer at `hook` that has none of its own."""
    if failed:
        return FAILED[hook]
    return REJECTED[hook] if action == "reject" else DEFERRED[hook]
