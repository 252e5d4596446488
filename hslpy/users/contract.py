"""Who may sign in. In: a name, a password, a client's address. Out: whether that is right, and what the log is told.

Knows neither SMTP nor where users are kept.
"""

from __future__ import annotations

from typing import Protocol

from hslpy.records import dataclass


@dataclass(frozen=True, slots=True)
class LoginResult:
    """`reason` is for the log alone: a client hears the same of every refusal. `temporary`: it could not be found out."""

    accepted: bool
    reason: str = ""
    temporary: bool = False


ACCEPTED = LoginResult(True)
UNKNOWN_USER = LoginResult(False, "unknown user")
WRONG_PASSWORD = LoginResult(False, "wrong password")
BUSY = LoginResult(False, "too many logins at a time", temporary=True)


class PoolFull(Exception):
    """As many passwords wait to be compared as may."""


class Logins(Protocol):
    """Answers for passwords. It takes as long for a user that there is not as for a wrong password."""

    @property
    def offered(self) -> bool:
        """Whether there may be anybody to sign in."""
        ...

    async def verify(self, username: str, password: bytes, client: str) -> LoginResult:
        """Say whether the password is that of the user. `client` is who asks: no one client has all that may wait.

        `username` is text without NUL; what was not UTF-8 in it is U+FFFD. Raises nothing for what could not be found
        out: the result is `temporary` then.
        """
        ...
