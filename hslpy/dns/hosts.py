"""From a host's name to its addresses, for connections that scripts ask for. In: a resolver, a name. Out: IP addresses.

`localhost` is this machine (RFC 6761 section 6.3), and what /etc/hosts says of a name holds.
"""

from __future__ import annotations

import asyncio
import ipaddress
from functools import lru_cache
from pathlib import Path

from hslpy.dns.contract import Answer, NameNotFound, RecordType, ResolutionFailed, Resolver

HOSTS_FILE = Path("/etc/hosts")
_LOOPBACK = ("127.0.0.1", "::1")


async def addresses_of(resolver: Resolver, host: str) -> tuple[str, ...]:
    """Give the addresses, IPv4 first. Raises NameNotFound or ResolutionFailed where there are none."""
    name = host.rstrip(".").lower()
    try:
        return (str(ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))),)
    except ValueError:
        pass
    if name == "localhost" or name.endswith(".localhost"):
        return _LOOPBACK
    known = _hosts_file().get(name)
    if known:
        return known
    found = await asyncio.gather(_ask(resolver, name, "A"), _ask(resolver, name, "AAAA"))
    addresses = [address for answer in found if isinstance(answer, Answer) for address in answer.records]
    if not addresses:
        raise next((one for one in found if isinstance(one, ResolutionFailed)), found[0])  # type: ignore[misc]
    return tuple(addresses)


async def _ask(resolver: Resolver, name: str, kind: RecordType) -> Answer | NameNotFound | ResolutionFailed:
    try:
        return await resolver.query(name, kind)
    except (NameNotFound, ResolutionFailed) as error:
        return error


def _hosts_file() -> dict[str, tuple[str, ...]]:
    try:
        return _read_hosts(HOSTS_FILE, HOSTS_FILE.stat().st_mtime)
    except OSError:
        return {}


@lru_cache(1)
def _read_hosts(file: Path, changed_at: float) -> dict[str, tuple[str, ...]]:
    return parse_hosts(file.read_text("utf-8", "replace"))


def parse_hosts(text: str) -> dict[str, tuple[str, ...]]:
    """Give the addresses by name, in the file's order."""
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        try:
            address = str(ipaddress.ip_address(words[0])) if words else ""
        except ValueError:
            continue
        for name in words[1:]:
            found.setdefault(name.lower(), []).append(address)
    return {name: tuple(addresses) for name, addresses in found.items()}
