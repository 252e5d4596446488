"""Two nodes that share PostgreSQL and Redis: no message leaves from elsewhere than was chosen, or than its level has."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import pytest

from hslpy.egress.traffic.picture import ASK_S
from tests.scenarios import two_nodes
from tests.scenarios.harness import ROOT
from tests.support.databases import postgresql
from tests.support.namespaces import own
from tests.support.redis_server import RedisServer

__all__ = ["postgresql"]


def test_a_thousand_messages_from_ten_levels(tmp_path: Path, postgresql: str) -> None:
    host = postgresql.partition("host=")[2]
    subprocess.run(["psql", "-q", "-h", host, "-U", "postgres", "-c", "CREATE DATABASE nodes"], check=True)
    with RedisServer() as redis:
        found = asyncio.run(two_nodes.run(tmp_path, postgresql.format(name="nodes"), redis.url, 1000))
    assert found.received == 1000 and found.mismatches == []
    for (_, level), counts in found.by_level.items():
        assert len(counts) == two_nodes.SIZES[level]
        assert max(counts.values()) == pytest.approx(100 / len(counts), abs=30)
    assert found.looks <= 2 and 2 * ASK_S <= 1.0, "within a second"


def test_addresses_of_both_families_that_come_and_go() -> None:
    command = [*own("net"), sys.executable, "-m", "tests.scenarios.own_network"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.stdout == "as it should be\n", done.stdout + done.stderr
