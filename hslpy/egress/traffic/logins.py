"""Outgoing users of the database, as `Logins`. In: a picture. Out: whether a name and a password are right.

Must not know SMTP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hslpy.clock import Clock
from hslpy.egress.traffic.departures import Departures
from hslpy.users.contract import ACCEPTED, BUSY, UNKNOWN_USER, WRONG_PASSWORD, LoginResult, PoolFull

if TYPE_CHECKING:
    from hslpy.egress.traffic.picture import Account, Picture
    from hslpy.users.argon import HashPool, StandIns

UNKNOWN_YET = LoginResult(False, "the outgoing users are not known yet", temporary=True)


class StoreLogins:
    """`threads` compare passwords at a time, and `waiting` more may wait."""

    def __init__(self, departures: Departures, threads: int, waiting: int, clock: Clock) -> None:
        self._departures = departures
        self._bounds = threads, waiting
        self._clock = clock
        self._pool: HashPool | None = None
        self._seen: tuple[Picture | None, bool, StandIns | None] = (None, True, None)

    @property
    def offered(self) -> bool:
        """Whether anybody has a password, as far as is known."""
        return self._of_picture()[0]

    async def verify(self, username: str, password: bytes, client: str) -> LoginResult:
        picture = self._departures.picture
        if picture is None:
            return UNKNOWN_YET
        account = picture.account(username)
        try:
            right = await self.fits(account, username, password, client)
        except PoolFull:
            return BUSY
        if account is None or not account.password_hash:
            return UNKNOWN_USER
        if not right:
            return WRONG_PASSWORD
        return LoginResult(False, f"the user is locked: {account.locked}") if account.locked else ACCEPTED

    async def fits(self, account: Account | None, username: str, password: bytes, client: str) -> bool:
        """Say whether it is the account's password; it takes as long where there is none. Raises PoolFull."""
        if self._pool is None:
            from hslpy.users.argon import HashPool  # argon2 takes 10 ms to import, which few starts need

            self._pool = HashPool(*self._bounds, self._clock)
        stand_ins = self._of_picture()[1]
        assert stand_ins is not None
        encoded = account.password_hash if account is not None else ""
        right = await self._pool.matches(encoded or stand_ins.of(username), password, client)
        return right and bool(encoded)

    def _of_picture(self) -> tuple[bool, StandIns | None]:
        seen, offered, stand_ins = self._seen
        picture = self._departures.picture
        if picture is not None and picture is not seen:
            from hslpy.users.argon import StandIns

            hashes = [account.password_hash for account in picture.accounts.values() if account.password_hash]
            offered, stand_ins = bool(hashes), StandIns(hashes)
            self._seen = (picture, offered, stand_ins)
        return offered, stand_ins

    async def close(self) -> None:
        """Let comparisons under way end by themselves; drop what waits."""
        if self._pool is not None:
            self._pool.close()
