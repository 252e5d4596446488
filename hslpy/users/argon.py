"""Argon2 hashes of passwords. In: passwords, encoded hashes. Out: hashes, whether they match, in a bounded pool of threads.

The only file that imports argon2. Source: RFC 9106; the encoding is that of the reference implementation.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress

from argon2.exceptions import VerificationError, VerifyMismatchError
from argon2.low_level import Type, hash_secret, verify_secret

from hslpy.clock import Clock
from hslpy.users.contract import PoolFull

# What `make_hash` takes: the least that OWASP's cheat sheet on password storage names, as each connection signs in anew.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
SALT_BYTES, HASH_BYTES = 16, 32  # RFC 9106 section 4
# What a hash may ask for: above it one login, or a few at a time, would take what the server needs for mail.
MOST_MEMORY_KIB = 256 * 1024
MOST_WORK_KIB = 512 * 1024  # memory times passes: half a second or so
MOST_LANES = 16
KNOWN_S = 300.0  # a client that sends now and then is compared once in a while, and a changed password is another hash
MOST_KNOWN = 20_000  # at 150 bytes or so

_ENCODED = re.compile(
    r"\$argon2(id|i|d)(?:\$v=(\d{1,3}))?\$m=(\d{1,10}),t=(\d{1,10}),p=(\d{1,10})\$([A-Za-z0-9+/]+)\$([A-Za-z0-9+/]+)",
    re.ASCII,
)
_TYPES = {"id": Type.ID, "i": Type.I, "d": Type.D}


def make_hash(password: bytes) -> str:
    """Give the encoded hash of a password, with a new salt. Blocks for some 30 ms."""
    salt = os.urandom(SALT_BYTES)
    return hash_secret(password, salt, PASSES, MEMORY_KIB, LANES, HASH_BYTES, Type.ID).decode("ascii")


def parameters_of(encoded: str) -> str:
    """Give what comes before salt and hash: what the time of a comparison hangs on."""
    return encoded.rsplit("$", 2)[0]


def stand_in(parameters: str = f"$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p={LANES}") -> str:
    """Give an encoded hash of no password."""
    salt, tag = (base64.b64encode(os.urandom(size)).rstrip(b"=").decode("ascii") for size in (SALT_BYTES, HASH_BYTES))
    return f"{parameters}${salt}${tag}"


class StandIns:
    """Hashes of no password for users that there are not: their parameters are as common as those of users.

    Always the same one for a name. It is nobody's own hash, whose password would be known again, and told by the time.
    """

    def __init__(self, hashes: Iterable[str]) -> None:
        self._secret = os.urandom(32)
        self._parameters = tuple(map(parameters_of, hashes)) or (parameters_of(stand_in()),)
        self._by_parameters = {parameters: stand_in(parameters) for parameters in set(self._parameters)}

    def of(self, username: str) -> str:
        digest = hashlib.blake2b(username.encode(), key=self._secret, digest_size=8).digest()
        return self._by_parameters[self._parameters[int.from_bytes(digest, "big") % len(self._parameters)]]


def fault_in(encoded: str) -> str | None:
    """Give what is wrong with an encoded hash, None where it can be verified against."""
    found = _ENCODED.fullmatch(encoded)
    if found is None:
        return "this is no argon2 hash; make one with `hslpy user hash`"
    version = int(found[2] or 16)
    memory, passes, lanes = (int(found[group]) for group in (3, 4, 5))
    if version not in (16, 19):
        return f"argon2 has no version {version}"
    if memory > MOST_MEMORY_KIB:
        return f"the hash wants {memory} KiB of memory; at most {MOST_MEMORY_KIB} are given"
    if memory * passes > MOST_WORK_KIB:
        return f"the hash wants {passes} passes over {memory} KiB; their product may be {MOST_WORK_KIB} at most"
    if not 1 <= lanes <= MOST_LANES or passes < 1 or memory < 8 * lanes:
        return f"m={memory},t={passes},p={lanes} cannot be: t is 1 or more, p 1 to {MOST_LANES}, m at least 8 times p"
    salt, tag = _length(found[6]), _length(found[7])
    if salt is None or tag is None or not 8 <= salt <= 64 or not 12 <= tag <= 64:
        return "the hash is cut short or damaged: a salt has 8 to 64 bytes, a hash 12 to 64"
    return None


def _length(text: str) -> int | None:
    try:
        return len(base64.b64decode(text + "=" * (-len(text) % 4), validate=True))
    except ValueError:
        return None


def matches(encoded: str, password: bytes) -> bool:
    """Say whether the hash is the password's. Blocks, without holding the interpreter's lock."""
    try:
        return verify_secret(encoded.encode("ascii"), password, _TYPES[encoded[7 : encoded.index("$", 1)]])
    except VerifyMismatchError:
        return False
    except VerificationError:  # damaged in a way that `fault_in` does not see
        return False


class HashPool:
    """`threads` compare at a time, `waiting` more may wait, half of all at most for one client.

    Memory: `threads` times what a hash asks for. A password that was right is known again for five minutes by a keyed
    digest, which costs microseconds: clients sign in for each message.
    """

    def __init__(self, threads: int, waiting: int, clock: Clock) -> None:
        self._most = threads + waiting
        self._most_of_client = max(threads, self._most // 2)
        self._taken: Counter[str] = Counter()
        self._pool = ThreadPoolExecutor(threads, "login")
        self._clock = clock
        self._secret = os.urandom(32)
        self._right: dict[bytes, float] = {}  # by digest, when it is forgotten; the oldest first

    async def matches(self, encoded: str, password: bytes, client: str) -> bool:
        """Say whether the hash is the password's. Raises PoolFull."""
        digest = hashlib.blake2b(encoded.encode() + b"\0" + password, key=self._secret, digest_size=32).digest()
        if self._clock.monotonic() < self._right.get(digest, 0.0):
            return True
        if self._taken.total() >= self._most or self._taken[client] >= self._most_of_client:
            raise PoolFull
        loop = asyncio.get_running_loop()
        future = self._pool.submit(matches, encoded, password)
        self._taken[client] += 1

        def ended(_future: Future[bool]) -> None:  # in whatever thread; a cancelled wait does not end a hash under way
            with suppress(RuntimeError):  # the loop is closed by now
                loop.call_soon_threadsafe(self._left, client)

        future.add_done_callback(ended)
        right = await asyncio.wrap_future(future)
        if right:
            self._right.pop(digest, None)
            if len(self._right) >= MOST_KNOWN:
                del self._right[next(iter(self._right))]
            self._right[digest] = self._clock.monotonic() + KNOWN_S
        return right

    def _left(self, client: str) -> None:
        self._taken[client] -= 1
        if not self._taken[client]:
            del self._taken[client]

    def close(self) -> None:
        """Let hashes under way end by themselves; drop what waits."""
        self._right.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)
