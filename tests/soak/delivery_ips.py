"""Delivery IPs at size: two nodes, twenty addresses, senders at every level; the receiver's record against what was chosen.

usage: python -m tests.soak.delivery_ips [--messages 10000]
Needs PostgreSQL and Redis, which it starts; exits 1 where a message left from elsewhere than chosen.
"""

from __future__ import annotations

import argparse
import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.scenarios import two_nodes
from tests.support.databases import own_postgresql
from tests.support.redis_server import RedisServer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=10_000)
    messages: int = parser.parse_args().messages
    with tempfile.TemporaryDirectory() as folder, own_postgresql() as url, RedisServer() as redis:
        host = url.partition("host=")[2]
        subprocess.run(["psql", "-q", "-h", host, "-U", "postgres", "-c", "CREATE DATABASE nodes"], check=True)
        found = asyncio.run(two_nodes.run(Path(folder), url.format(name="nodes"), redis.url, messages))
    for (node, level), counts in sorted(found.by_level.items()):
        print(f"{node} {level:<8} " + "  ".join(f"{address} {count}" for address, count in sorted(counts.items())))
    print(f"{found.received:,} messages in {found.seconds:.1f} s, {len(found.mismatches)} mismatches; ", end="")
    print(f"a change was seen at look {found.looks}")
    for mismatch in found.mismatches[:20]:
        print("mismatch:", *mismatch)
    return 1 if found.mismatches or found.received != messages else 0


if __name__ == "__main__":
    sys.exit(main())
