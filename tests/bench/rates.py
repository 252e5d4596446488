"""Rate checks a second against a private Redis, as a ratio to redis-benchmark's pipelined calls of the same script.

usage: python -m tests.bench.rates [--seconds 2] [--rounds 3] [--keys 10000] [--tasks 100]
The goal is a ratio of 0.35 or more with 100 checks in flight, and at most 220 bytes a key. Quote the ratio, not the figures.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import subprocess
import time
from dataclasses import dataclass

import uvloop

from hslpy.clock import SystemClock
from hslpy.rate import ring
from hslpy.rate.contract import RateCounters, RateSettings, key_of
from hslpy.rate.memory import MemoryRateCounters
from hslpy.rate.redis import SCRIPT, RedisRateCounters
from hslpy.store.redis import RedisSettings, connect
from hslpy.store.servers import Servers
from tests.support.redis_server import RedisServer

LIMIT, INTERVAL_S = 300, 28_800


@dataclass(frozen=True, slots=True)
class Figures:
    per_second: float
    p50_us: float
    p99_us: float


async def measure(counters: RateCounters, tasks: int, keys: int, seconds: float) -> Figures:
    names = [f"customer{n}.example.com" for n in range(keys)]
    taken: list[float] = []
    clock = time.perf_counter
    start = clock()
    stop = start + seconds

    async def worker(choose: random.Random) -> None:
        while (before := clock()) < stop:
            await counters.check("outbound", choose.choice(names), LIMIT, INTERVAL_S)
            taken.append(clock() - before)

    await asyncio.gather(*(worker(random.Random(n)) for n in range(tasks)))
    elapsed = clock() - start
    taken.sort()
    return Figures(len(taken) / elapsed, taken[len(taken) // 2] * 1e6, taken[len(taken) * 99 // 100] * 1e6)


async def measure_redis(url: str, tasks: int, keys: int, seconds: float) -> tuple[Figures, float]:
    """Give the figures and the bytes a key, from an empty server."""
    client = connect(RedisSettings(url))
    await client.flushall()
    empty = (await client.info("memory"))["used_memory"]
    counters = RedisRateCounters(
        RateSettings(key_prefix="rate:"), Servers(RedisSettings(url)), SystemClock(), lambda event, fields: None
    )
    figures = await measure(counters, tasks, keys, seconds)
    assert counters.health.unreachable_answers == 0
    grown = (await client.info("memory"))["used_memory"] - empty
    a_key = grown / await client.dbsize()
    await counters.close()
    await client.aclose()
    return figures, a_key


def redis_benchmark(server: RedisServer, keys: int, requests: int) -> float:
    """Give the script's calls a second, one check a call, 50 in a pipeline on each of 50 connections."""
    sha = subprocess.run(
        ["redis-cli", "-s", str(server.socket), "-x", "script", "load"],
        input=SCRIPT.text.encode(),
        capture_output=True,
        check=True,
    ).stdout.decode()
    interval = INTERVAL_S * 1_000_000
    key = "rate:" + key_of("outbound", "customer__rand_int__.example.com", interval).decode()
    command = [
        "redis-benchmark",
        "-s",
        str(server.socket),
        "-n",
        str(requests),
        "-P",
        "50",
        "-c",
        "50",
        "-r",
        str(keys),
        "--csv",
    ]
    command += ["evalsha", sha.strip(), "1", key, "0", str(LIMIT), str(ring.width_us(interval))]
    shown = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    return float(shown.splitlines()[-1].split(",")[-7].strip('"'))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--keys", type=int, default=10_000)
    parser.add_argument("--tasks", type=int, default=100)
    options = parser.parse_args()
    uvloop.install()
    ratios = []
    with RedisServer() as server:
        for _ in range(options.rounds):
            subprocess.run(["redis-cli", "-s", str(server.socket), "flushall"], capture_output=True, check=True)
            yardstick = redis_benchmark(server, options.keys, 200_000)
            figures, a_key = asyncio.run(measure_redis(server.url, options.tasks, options.keys, options.seconds))
            alone, _ = asyncio.run(measure_redis(server.url, 1, options.keys, options.seconds / 4))
            ratios.append(figures.per_second / yardstick)
            print(
                f"redis: {figures.per_second:,.0f}/s of redis-benchmark's {yardstick:,.0f}/s = {ratios[-1]:.2f}; "
                f"p50 {figures.p50_us:.0f} us, p99 {figures.p99_us:.0f} us; alone p50 {alone.p50_us:.0f} us; "
                f"{a_key:.0f} bytes a key"
            )
    print(f"redis: median ratio {statistics.median(ratios):.2f} (goal 0.35)")
    counters = MemoryRateCounters(RateSettings(), SystemClock(), lambda event, fields: None)
    figures = asyncio.run(measure(counters, 1, options.keys, options.seconds / 2))
    print(f"memory: {figures.per_second:,.0f}/s, p99 {figures.p99_us:.1f} us")


if __name__ == "__main__":
    main()
