"""Quotas of an hour: exact, paced, shared by processes and nodes; the same in memory and in Redis."""

from __future__ import annotations

import asyncio
import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hslpy.admin.hub import Link
from hslpy.admin.node_quotas import NodeQuotas, quota_notes, quota_questions
from hslpy.clock import SystemClock
from hslpy.log import no_log
from hslpy.rate.quota import HOUR_MS, Answer, Cap, MemoryQuotas, Quotas, State, decide
from hslpy.rate.quota_file import QuotaFile
from hslpy.rate.quota_redis import RedisQuotas
from hslpy.store.redis import RedisSettings, connect
from hslpy.store.servers import Servers

T0 = 1_700_000_000.0 - 1_700_000_000.0 % 3600
KEY = "192.0.2.1"


@asynccontextmanager
async def opened(kind: str, url: str, nodes: int = 1) -> AsyncIterator[list[Quotas]]:
    """Give the counters of each of several nodes, or workers of one."""
    if kind == "memory":
        yield [MemoryQuotas()]
        return
    if kind == "workers":
        async with linked(nodes) as found:
            yield found
        return
    client = connect(RedisSettings(url))
    await client.flushall()
    await client.aclose()
    quotas = [RedisQuotas(Servers(RedisSettings(url)), SystemClock(), no_log) for _ in range(nodes)]
    yield list(quotas)
    for each in quotas:
        await each.close()


@asynccontextmanager
async def linked(workers: int) -> AsyncIterator[list[Quotas]]:
    """Give the counters of a supervisor's workers."""
    kept = MemoryQuotas()
    ends: list[Link] = []
    found: list[Quotas] = []
    for _ in range(workers):
        ours, theirs = socket.socketpair()
        supervisor = Link(quota_notes(kept), quota_questions(kept), lambda: None, no_log)
        worker = Link({}, {}, lambda: None, no_log)
        await supervisor.connect(ours)
        await worker.connect(theirs)
        ends += [worker, supervisor]
        found.append(NodeQuotas(worker))
    yield found
    for end in ends:
        end.close()


@pytest.fixture(params=["memory", "workers", "redis"])
def kind(request):
    return request.param


def test_an_hour_is_exact_and_paced(kind, redis_server):
    async def run():
        async with opened(kind, redis_server.url) as (quotas,):
            caps = [Cap("", 20, 3)]
            at_once = [await quotas.reserve(KEY, caps, T0) for _ in range(5)]
            assert [one.granted for one in at_once] == [True] * 3 + [False] * 2
            assert at_once[4] == Answer(False, T0 + 180, "")  # one every 180 s
            granted, now = 3, T0
            while now < T0 + 3600:
                granted += (await quotas.reserve(KEY, caps, now)).granted
                now += 10
            assert granted == 20
            full = await quotas.reserve(KEY, caps, T0 + 3599)
            assert full == Answer(False, T0 + 3600, "")
            assert (await quotas.reserve(KEY, caps, T0 + 3600)).granted
            assert (await quotas.reserve("192.0.2.2", caps, T0)).granted or kind != "redis"

    asyncio.run(run())


def test_a_group_holds_besides_and_takes_nothing_when_it_refuses(kind, redis_server):
    async def run():
        async with opened(kind, redis_server.url) as (quotas,):
            both = [Cap("", 5, 5), Cap("google", 1, 1)]
            assert (await quotas.reserve(KEY, both, T0)).granted
            refused = await quotas.reserve(KEY, both, T0)
            assert (refused.granted, refused.cap) == (False, "google")
            rest = [(await quotas.reserve(KEY, both[:1], T0)).granted for _ in range(6)]
            assert sum(rest) == 4

    asyncio.run(run())


def test_what_came_to_nothing_is_given_back(kind, redis_server):
    async def run():
        async with opened(kind, redis_server.url) as (quotas,):
            caps = [Cap("", 1, 1)]
            for _ in range(3):
                assert (await quotas.reserve(KEY, caps, T0)).granted
                assert not (await quotas.reserve(KEY, caps, T0)).granted
                await quotas.release(KEY, caps, T0)
            await quotas.release(KEY, caps, T0 - 3600)  # of another hour: nothing
            assert (await quotas.reserve(KEY, caps, T0)).granted
            assert not (await quotas.reserve(KEY, caps, T0 + 1)).granted

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["workers", "redis"])
def test_two_interleaved_send_all_that_may_go_and_no_more(kind, redis_server):
    async def run():
        chance = random.Random(7)
        async with opened(kind, redis_server.url, 2) as nodes:
            caps = [Cap("", 40, 5)]
            now, sent = T0, 0
            while now < T0 + 3600:
                who = [chance.choice(nodes) for _ in range(6)]
                answers = await asyncio.gather(*(node.reserve(KEY, caps, now) for node in who))
                for node, one in zip(who, answers, strict=True):
                    if one.granted and chance.random() < 0.2:
                        await node.release(KEY, caps, now)
                    else:
                        sent += one.granted
                now += chance.uniform(1, 60)
            assert sent == 40

    asyncio.run(run())


def test_a_restart_does_not_refill(kind, redis_server):
    async def run():
        caps = [Cap("", 10, 5)]
        async with opened(kind, redis_server.url) as (quotas,):
            for _ in range(4):
                assert (await quotas.reserve(KEY, caps, T0)).granted
            if kind == "redis":
                again: Quotas = RedisQuotas(Servers(RedisSettings(redis_server.url)), SystemClock(), no_log)
            else:
                again = MemoryQuotas() if kind == "memory" else quotas
            for _ in range(2):  # each worker that starts says it
                again.load(KEY, "", 4, T0)
            sent, now = 4, T0
            while now < T0 + 3600:
                sent += (await again.reserve(KEY, caps, now)).granted
                now += 5
            assert sent == 10
            await again.close()

    asyncio.run(run())


def test_a_process_that_was_killed_does_not_begin_anew_though_nobody_else_knows(tmp_path):
    async def run():
        file, caps, sent = tmp_path / "counts", [Cap("", 10, 5), Cap("gmail", 4, 5)], 0
        for life in range(8):
            quotas = MemoryQuotas(kept=QuotaFile(file))
            quotas.load(KEY, "", min(sent, 2), T0 + life)  # what the database knew of it
            while (await quotas.reserve(KEY, caps[: 1 + life % 2], T0 + life)).granted:
                sent += 1
        assert sent == 5, "the burst, and not once a life"
        whole = file.read_bytes()
        for cut in (whole[:-100], whole + b"[1, 2"):
            file.write_bytes(cut)
            assert QuotaFile(file).begin(int(T0) // 3600).keys() == {(KEY, "")}
        assert (await MemoryQuotas(kept=QuotaFile(file)).reserve(KEY, caps, T0 + 3600)).granted, "another hour"
        nowhere = MemoryQuotas(kept=QuotaFile(tmp_path / "none" / "counts"))
        assert (await nowhere.reserve(KEY, caps, T0)).granted

    asyncio.run(run())


def test_an_hour_ahead_is_not_kept_for_good(tmp_path):
    async def run():
        caps = [Cap("", 2, 2)]
        quotas = MemoryQuotas(kept=QuotaFile(tmp_path / "counts"))
        for now in (T0 + 86400, T0):  # the clock was a day ahead, and is set back
            assert [(await quotas.reserve(KEY, caps, now)).granted for _ in range(3)] == [True, True, False]
        assert not (await MemoryQuotas(kept=QuotaFile(tmp_path / "counts")).reserve(KEY, caps, T0)).granted
        assert (await quotas.reserve(KEY, caps, T0 + 3600)).granted
        late = [(await quotas.reserve(KEY, caps, T0 + 3599.5)).granted for _ in range(2)]
        assert late == [True, False], "a worker that asked just before the hour is heard just after it"
        assert not (await quotas.reserve(KEY, caps, T0 + 3601)).granted

    asyncio.run(run())


@pytest.mark.parametrize(
    "damaged",
    [
        b'[1e308, "a", "b", 0, 0]',
        b'[%d, "192.0.2.1", "", 1e308, 0]',
        b'[%d, "192.0.2.1", "", 9999999999999999999999, 0]',
        b'[%d, "192.0.2.1", "", 0, 9999999999999999999999]',
        b'[%d, "192.0.2.1", "", true, 0]',
        b'[%d, "192.0.2.1", "", -5, 0]',
        b'[%d, ["192.0.2.1"], "", 1, 0]',
        b"[[[[",
        b"7",
        b"\xff" * 256,
        b"\0" * 256,
        b"",
    ],
)
def test_a_damaged_line_of_the_file_takes_no_other_along(damaged, tmp_path):
    hour, file = int(T0) // 3600, tmp_path / "counts"
    kept = QuotaFile(file)
    assert kept.begin(hour) == {} and not file.exists()
    states = {(name, ""): State(count, int(T0 * 1000) + count) for count, name in enumerate(("x", "y", "z"), 1)}
    for key, state in states.items():
        kept.keep(hour, key, state)
    whole = file.read_bytes()
    damaged = damaged.replace(b"%d", b"%d" % hour).ljust(256)
    file.write_bytes(whole[:256] + damaged + whole[256:])
    again = QuotaFile(file)
    assert again.begin(hour) == states
    assert file.read_bytes() == whole, "what is dropped does not stay behind"
    again.keep(hour, ("z", ""), State(9, int(T0 * 1000)))
    again.keep(hour, ("new", ""), State(1, int(T0 * 1000)))
    found = QuotaFile(file).begin(hour)
    assert (found["z", ""].count, found["y", ""].count, len(found)) == (9, 2, 4)
    assert QuotaFile(file).begin(hour + 1) == {} and file.read_bytes() == b""


def test_a_write_that_fails_leaves_the_others_readable(tmp_path, monkeypatch):
    hour, kept = int(T0) // 3600, QuotaFile(tmp_path / "counts")
    write = os.pwrite

    def full(file, line, at):
        if at == 256:
            raise OSError(28, "No space left on device")
        return write(file, line, at)

    monkeypatch.setattr(os, "pwrite", full)
    for name in "xyz":
        kept.keep(hour, (name, ""), State(1, int(T0 * 1000)))
    assert QuotaFile(tmp_path / "counts").begin(hour).keys() == {("x", ""), ("z", "")}


def test_what_the_former_process_still_counts_counts(tmp_path):
    async def run():
        caps = [Cap("", 2, 2)]
        former, later = (MemoryQuotas(kept=QuotaFile(tmp_path / "counts")) for _ in range(2))
        for _ in range(2):
            assert (await former.reserve(KEY, caps, T0)).granted
        await former.close()
        former.load(KEY, "", 1, T0)  # too late: nothing is kept any more
        assert not (await later.reserve(KEY, caps, T0)).granted

    asyncio.run(run())


def test_without_redis_nothing_is_granted(redis_server):
    async def run():
        events = []
        quotas = RedisQuotas(
            Servers(RedisSettings("unix:///nowhere/s")), SystemClock(), lambda event, fields: events.append(event)
        )
        for _ in range(2):
            answer = await quotas.reserve(KEY, [Cap("", 1)], T0)
            assert (answer.granted, answer.cap, answer.again_at) == (False, "Redis", T0 + 5)
        await quotas.release(KEY, [Cap("", 1)], T0)
        await quotas.close()
        assert events == ["warmup.store_unreachable"]

    asyncio.run(run())


@given(st.integers(1, 2000), st.integers(1, 5), st.lists(st.integers(0, 60_000), max_size=400))
@settings(max_examples=80)
def test_no_hour_has_more_than_its_limit_nor_a_burst_above_it(limit, burst, waits):
    cap, state, now, times = Cap("", limit, burst), State(), int(T0 * 1000), []
    for wait in waits:
        now += wait
        if now >= T0 * 1000 + HOUR_MS:
            break
        found = decide(state, cap, now)
        if isinstance(found, State):
            state = found
            times.append(now)
        else:
            assert found > now
    assert len(times) <= limit
    for first, at in enumerate(times):
        later = times[first : first + burst + 1]
        if len(later) > burst:  # more than a burst takes at least the time between two
            assert later[-1] - at >= min(cap.interval_ms, HOUR_MS)
