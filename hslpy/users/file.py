"""Users in a file. In: lines of `name:$argon2id$...`. Out: `Logins`, read anew when the file changes.

Must not know SMTP.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from hslpy.errors import OperatorError
from hslpy.filestamp import stamp_of
from hslpy.log import Log
from hslpy.users.argon import HashPool, StandIns, fault_in
from hslpy.users.contract import ACCEPTED, BUSY, UNKNOWN_USER, WRONG_PASSWORD, LoginResult, PoolFull

MOST_BYTES = 64 << 20  # half a million users
_MOST_ERRORS = 20  # told of one file


def read_users(content: bytes, name: str) -> dict[str, str]:
    """Give the hash of each user. `name` is the file's. Raises OperatorError that names each bad line."""
    users: dict[str, str] = {}
    first_at: dict[str, int] = {}
    errors: list[str] = []
    for number, line in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), 1):
        line = line.removesuffix(b"\r")
        if not line.strip() or line.startswith(b"#"):
            continue
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError:
            errors.append(f"{name}:{number}: the line is not UTF-8")
            continue
        user, colon, encoded = text.rpartition(":")
        if not colon or not user:
            errors.append(f"{name}:{number}: a line is `name:$argon2id$...`")
        elif (fault := fault_in_name(user)) is not None or (fault := fault_in(encoded.strip())) is not None:
            errors.append(f"{name}:{number}: {fault}")
        elif user in users:
            errors.append(f"{name}:{number}: there is a user of this name in line {first_at[user]}")
        else:
            users[user] = encoded.strip()
            first_at[user] = number
    if errors:
        more = [f"and {len(errors) - _MOST_ERRORS} more"] if len(errors) > _MOST_ERRORS else []
        raise OperatorError("\n  ".join(["the users file has errors:", *errors[:_MOST_ERRORS], *more]))
    return users


def fault_in_name(user: str) -> str | None:
    """Give what is wrong with a user's name, None for one that a line may begin with."""
    if user != user.strip() or not user.isprintable() or not user:
        return "a name begins and ends with no blank, and has no control characters"
    return "a line that begins with `#` is a comment" if user.startswith("#") else None


def load_users(path: Path) -> tuple[dict[str, str], bool]:
    """Give the users, and whether everybody on the machine may read their hashes. Blocks. Raises OperatorError."""
    try:
        with open(path, "rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise OperatorError(f"cannot read the users file {path}: {error.strerror}") from None
    if len(content) > MOST_BYTES:
        raise OperatorError(f"the users file {path} has more than {MOST_BYTES} bytes")
    return read_users(content, str(path)), bool(mode & stat.S_IROTH)


class UsersFile:
    """The users of one file, as `Logins`. Owns `pool`. Raises OperatorError where it cannot be read, or has errors."""

    def __init__(self, path: Path, pool: HashPool, log: Log) -> None:
        self._path = path
        self._pool = pool
        self._log = log
        self._reading = asyncio.Lock()
        self._seen = self._glimpsed = stamp_of(path)
        self._take(*load_users(path))

    def __len__(self) -> int:
        return len(self._users)

    @property
    def offered(self) -> bool:
        return True

    async def verify(self, username: str, password: bytes, client: str) -> LoginResult:
        encoded = self._users.get(username)
        try:
            right = await self._pool.matches(encoded or self._stand_ins.of(username), password, client)
        except PoolFull:
            return BUSY
        if encoded is None:
            return UNKNOWN_USER
        return ACCEPTED if right else WRONG_PASSWORD

    async def refresh(self, *, everything: bool = False) -> bool:
        """Take up the file if it has changed, or in any case; give whether it is without errors.

        One with errors is logged, and the users before it stay. One that has only just changed is read the next time: it
        may still be under way.
        """
        async with self._reading:
            seen = await asyncio.to_thread(stamp_of, self._path)
            settled = seen == self._glimpsed
            self._glimpsed = seen
            if not everything and (seen == self._seen or not settled):
                return True
            self._seen = seen
            try:
                self._take(*await asyncio.to_thread(load_users, self._path))
            except OperatorError as error:
                self._log("users.kept", {"level": "error", "users": len(self), "errors": error.message})
                return False
            self._log("users.loaded", {"file": self._path, "users": len(self)})
            return True

    def _take(self, users: Mapping[str, str], readable_by_all: bool) -> None:
        if readable_by_all:
            self._log("users.readable_by_all", {"level": "warning", "file": self._path})
        self._users = users
        self._stand_ins = StandIns(users.values())

    async def close(self) -> None:
        """Let hashes under way end by themselves; drop what waits."""
        self._pool.close()
