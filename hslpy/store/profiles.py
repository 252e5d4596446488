"""Redis servers that scripts send commands to, by the ids of the settings. In: words. Out: replies as redis-py reads them.

Knows nothing of what is kept there. A command is sent once; one without an answer in time has its connection closed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import TYPE_CHECKING, Any

from hslpy.records import dataclass
from hslpy.store.settings import RedisProfile

if TYPE_CHECKING:
    from hslpy.store.redis import Redis


class RedisCommandFailed(Exception):
    """What the server said, or why there is no answer."""


@dataclass(slots=True)
class RedisProfiles:
    """Clients by id, "" for the one without; made at the first command."""

    settings: Mapping[str, RedisProfile] = field(default_factory=dict)
    _clients: dict[str, Redis] = field(default_factory=dict)

    async def command(self, name: str, words: Sequence[bytes]) -> Any:
        """Send a command to the server of that id, which there is, and give the reply. Raises RedisCommandFailed."""
        from hslpy.store.redis import RedisError, connect  # 0.1 s that only those who use Redis wait for

        profile = self.settings[name]
        client = self._clients.get(name)
        if client is None:
            client = self._clients[name] = connect(profile.settings)  # RESP2, as the original: pairs come as lists
            client.response_callbacks.clear()  # replies as they come: "OK", not true
        try:
            async with asyncio.timeout(profile.timeout_s):
                return await client.execute_command(*words)  # type: ignore[no-untyped-call]
        except TimeoutError:
            raise RedisCommandFailed(f"no answer in {profile.timeout_s:g} s") from None
        except (RedisError, OSError) as error:
            raise RedisCommandFailed(str(error)) from None

    async def close(self) -> None:
        """Close all connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()
