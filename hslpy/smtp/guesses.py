"""Failed logins, counted. In: clients and users whose logins failed. Out: who is not to be heard for a while.

Counted by client, by user and network, and by user. The last never keeps a user out from where it has signed in before:
otherwise anybody could lock anybody out. Must not know passwords, or what a login is.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator

from hslpy.log import Log
from hslpy.rate.contract import RateCounters
from hslpy.smtp.networks import client_of, is_inside, network_of, networks
from hslpy.smtp.settings import SmtpSettings

_KNOWN_S = 30 * 86_400.0  # how long a network is known as one from which the user signs in
# Namespaces of counters, none of which scripts can name by accident.
_FAILED, _BLOCKED, _KNOWN = "smtp:login-failed:", "smtp:login-blocked:", "smtp:login-known:"

_LONGEST_NAME = 64  # names are kept by the hundred thousand: longer ones as digests


class Guesses:
    """What is known of failed logins, in rate counters: exact over processes and nodes where these are in Redis.

    While that is away this process counts by itself, whatever `rate()` gives then.
    """

    def __init__(self, settings: SmtpSettings, rates: RateCounters, log: Log) -> None:
        self._settings = settings
        self._rates = rates
        self._log = log
        self._exempt = networks("auth_exempt_networks", settings.auth_exempt_networks)

    async def client_blocked(self, ip: str) -> bool:
        """Say whether the client is not to be heard at all."""
        return not is_inside(ip, self._exempt) and await self._is_blocked("client", client_of(ip))

    async def user_blocked(self, ip: str, username: str) -> bool:
        """Say whether the client is not to be heard as this user."""
        if is_inside(ip, self._exempt):
            return False
        if await self._is_blocked("user-network", _user_network(ip, username)):
            return True
        return await self._is_blocked("user", _user(username)) and not await self._count(
            _KNOWN, "", _user_network(ip, username), _KNOWN_S
        )

    async def failed(self, ip: str, username: str | None) -> int:
        """Count a failed login; give how many of the client's are counted, 0 for one that counts for nothing.

        `username` None is one not known. Logs whom that blocks.
        """
        if is_inside(ip, self._exempt):
            return 0
        window_s, block_s = self._settings.auth_window_s, self._settings.auth_block_s
        for scope, entry, limit in self._scopes(ip, username):
            # The failure that reaches the limit blocks; it is not counted, so that the limit is one lower afterwards.
            under = limit > 1 and await self._hit(_FAILED, scope, entry, limit - 1, window_s)
            if not under and await self._hit(_BLOCKED, scope, entry, 1, block_s):
                fields = {
                    "level": "warning",
                    "remote_ip": ip,
                    "username": _readable(username),
                    "by": scope,
                    "for_s": block_s,
                }
                self._log("smtp.login_blocked", fields)
        return max(1, await self._count(_FAILED, "client", client_of(ip), window_s))

    async def succeeded(self, ip: str, username: str) -> None:
        """Remember from where the user signs in."""
        await self._hit(_KNOWN, "", _user_network(ip, username), 1, _KNOWN_S)

    async def forget(self, ip: str | None, username: str | None) -> list[str]:
        """Forget the failed logins of the client, of the user, and of that user from there; give who was refused.

        Raises OSError where the store of the counters does not answer.
        """
        refused = []
        for scope, entry, _ in self._scopes(ip, username):
            if await self._is_blocked(scope, entry):
                refused.append(scope)
            await self._rates.forget(_FAILED + scope, entry, self._settings.auth_window_s)
            await self._rates.forget(_BLOCKED + scope, entry, self._settings.auth_block_s)
        self._log("smtp.login_unblocked", {"remote_ip": ip or "", "username": _readable(username), "by": " ".join(refused)})
        return refused

    def _scopes(self, ip: str | None, username: str | None) -> Iterator[tuple[str, str, int]]:
        settings = self._settings
        if ip is not None:
            yield "client", client_of(ip), settings.auth_failures_per_client
        if ip is not None and username is not None:
            yield "user-network", _user_network(ip, username), settings.auth_failures_per_user_network
        if username is not None:
            yield "user", _user(username), settings.auth_failures_per_user

    async def _is_blocked(self, scope: str, entry: str) -> bool:
        return await self._count(_BLOCKED, scope, entry, self._settings.auth_block_s) > 0

    async def _hit(self, kind: str, scope: str, entry: str, limit: int, interval_s: float) -> bool:
        return bool(await self._ask(kind + scope, entry, limit, interval_s))

    async def _count(self, kind: str, scope: str, entry: str, interval_s: float) -> int:
        return int(await self._ask(kind + scope, entry, 0, interval_s) or 0)

    async def _ask(self, namespace: str, entry: str, limit: int, interval_s: float) -> bool | float | None:
        rates = self._rates
        if rates.health.reachable:
            answer = await rates.check(namespace, entry, limit, interval_s)
            if rates.health.reachable:
                return answer
        return await rates.check(namespace, entry, limit, interval_s, shared=False)


def _readable(username: str | None) -> str:
    return (username or "").encode("latin-1", "replace").decode("utf-8", "replace")  # names have a character a byte


def _user(username: str) -> str:
    """Give a short key for a name of a character a byte, the same for all that a directory may take for the same user.

    Where case, blanks or ways to write a letter do not count (RFC 4518, LDAP), they must not multiply the guesses.
    """
    text = username.encode("latin-1", "replace").decode("utf-8", "replace")
    key = " ".join(unicodedata.normalize("NFKC", text).casefold().split()).encode()
    return key.decode("latin-1") if len(key) <= _LONGEST_NAME else hashlib.blake2b(key, digest_size=16).hexdigest()


def _user_network(ip: str, username: str) -> str:
    return f"{network_of(ip, 24, 48)} {_user(username)}"
