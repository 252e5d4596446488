"""Several processes as one server: real processes on loopback, killed, restarted and changed in number."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from hslpy import supervisor
from hslpy.cli.queue import request
from hslpy.config import read_settings
from tests.scenarios.harness import LIMIT_S, ROOT, Client
from tests.support.redis_server import RedisServer
from tests.support.smtp_sink import Sink

# Nothing listens there: mail waits in the queue.
PATIENCE_S = 60.0  # starting Python takes long where all processors are busy
NOWHERE = '[[transport]]\nid = "mailtransport:1"\nnext_hop = "127.0.0.1"\nport = 1\nallow_private_targets = true\n'


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


class Node:
    """A running `hslpy serve`."""

    def __init__(self, process: asyncio.subprocess.Process, folder: Path) -> None:
        self.process = process
        self.folder = folder
        self.port = 0

    async def command(self, name: str, **arguments: Any) -> Any:
        return await asyncio.to_thread(request, self.folder / "data/control.sock", name, arguments)

    async def workers(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.command("workers"))["workers"]
        return rows

    async def queued(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = (await self.command("queue.list", limit=10_000))["recipients"]
        return rows

    def logged(self, event: str) -> list[dict[str, Any]]:
        records = map(json.loads, (self.folder / "log").read_text().splitlines())
        return [record for record in records if record.get("event") == event]

    async def until(self, condition: Callable[[], Awaitable[object]]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not await condition():
                await asyncio.sleep(0.05)

    async def one_on_each(self, workers: int) -> list[Client]:
        """Give a client of each worker, in order. The kernel spreads connections by their ports."""
        found: dict[int, Client] = {}
        while len(found) < workers:
            before = await self.workers()
            client = await Client.connect(self.port)
            after = await self.workers()
            worker = next((n for n in range(workers) if after[n]["connections"] > before[n]["connections"]), None)
            if worker is None:  # one that was closed before has left only now
                await client.close()
            elif worker in found:
                await client.close()
                await self.until(self._has(worker, before[worker]["connections"]))
            else:
                found[worker] = client
        return [found[worker] for worker in range(workers)]

    def _has(self, worker: int, connections: int) -> Callable[[], Awaitable[bool]]:
        async def check() -> bool:
            return bool((await self.workers())[worker]["connections"] == connections)

        return check


def write_settings(folder: Path, redis: RedisServer, workers: int, settings: str = NOWHERE) -> None:
    (folder / "hslpy.toml").write_text(
        f'workers = {workers}\n[server]\nhostname = "mail.example.com"\ndata_dir = "{folder}/data"\n'
        '[egress]\ndatabase = ""\n[[listen]]\nport = 0\n'
        f'[rate]\nstore = "redis"\n[redis]\nurl = "{redis.url}"\n[log]\nformat = "json"\n{settings}'
    )


async def begin(folder: Path) -> asyncio.subprocess.Process:
    with (folder / "log").open("ab") as log:
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "hslpy", "serve", "--config", str(folder / "hslpy.toml")),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=log,
            env=dict(os.environ, PYTHONUNBUFFERED="1"),
        )


@asynccontextmanager
async def node(folder: Path, redis: RedisServer, workers: int, settings: str = NOWHERE) -> AsyncIterator[Node]:
    write_settings(folder, redis, workers, settings)
    process = await begin(folder)
    running = Node(process, folder)
    try:
        assert process.stdout is not None
        while not running.port:
            line = (await asyncio.wait_for(process.stdout.readline(), LIMIT_S)).decode()
            assert line, "the server ended: " + (folder / "log").read_text()[-1000:]
            if "listening" in line:
                running.port = int(line.split("port ")[1].split()[0])
        yield running
    finally:
        if process.returncode is None:
            process.terminate()
            async with asyncio.timeout(PATIENCE_S):
                await process.wait()


def test_mail_through_both_workers_and_commands_over_the_whole(tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        async with node(tmp_path, redis, 2) as n:
            first, second = await n.one_on_each(2)
            replies = []
            for number in range(3):
                replies.append(await first.send(f"a{number}@one.example", "x@example.net", "y@example.net"))
                replies.append(await second.send(f"a{number}@two.example", "x@example.net"))
            assert all(reply.startswith("250 ") for reply in replies)
            rows = await n.queued()
            ids = {row["sender"] + row["recipient"]: row["queue_id"] for row in rows}
            assert len(ids) == 9
            assert all((queue_id > 10**12) == ("@two" in who) for who, queue_id in ids.items())
            assert [row["received_at"] for row in rows] == sorted(row["received_at"] for row in rows)

            page = await n.command("queue.list", limit=3, offset=4)
            assert [row["queue_id"] for row in page["recipients"]] == [row["queue_id"] for row in rows[4:7]]
            assert (page["matching"], page["total"], page["missing"]) == (9, 9, [])
            assert (await n.command("queue.list", limit=-1, offset=-(10**30)))["recipients"] == []
            for strange in ({"limit": 1, "offset": 10**30}, {"limit": "x"}, {"limit": 1e400}):
                with pytest.raises(Exception, match=r"can be listed|are numbers"):
                    await n.command("queue.list", **strange)
            for unknown in ("²", "9" * 5000, "-1", "\0", "1" * 19):
                with pytest.raises(Exception, match="nothing in the queue has the id"):
                    await n.command("queue.show", id=unknown)

            await n.until(lambda: _no_attempt_under_way(n))
            of_each = [ids["a0@one.examplex@example.net"], ids["a0@two.examplex@example.net"]]
            held = await n.command("queue.hold", ids=[str(queue_id) for queue_id in of_each])
            assert held == {"count": 2, "later": 0, "missing": []}
            held_rows = (await n.command("queue.list", held=True))["recipients"]
            assert sorted(row["queue_id"] for row in held_rows) == sorted(of_each)
            transaction = replies[2].split("queued as ")[1].split()[0]
            shown = await n.command("queue.show", id=transaction, content=True)
            assert [row["recipient"] for row in shown["recipients"]] == ["x@example.net", "y@example.net"]
            assert "Hello" in shown["content"]
            with pytest.raises(Exception, match="nothing in the queue has the id 77"):
                await n.command("queue.delete", ids=["77"])
            assert (await n.command("queue.delete", filter={"senderdomain": "two.example"}))["count"] == 3
            assert (await n.command("queue.release", all=True))["count"] == 6
            assert await n.command("user.unblock", ip="192.0.2.1") == {"unblocked": [], "missing": []}
            status = await n.workers()
            assert [(row["state"], row["queued"]) for row in status] == [("running", 6), ("running", 0)]
            shown = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "hslpy", "workers", "--config", str(tmp_path / "hslpy.toml")),
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            text = (await shown.communicate())[0].decode()
            assert shown.returncode == 0 and text.count("running") == 2
            assert {record["worker"] for record in n.logged("smtp.message")} == {0, 1}

            assert (await second.send("c@two.example", "x@example.net")).startswith("250 ")

        # One worker: what the other had is its now. More again, and what nobody had before is delivered too.
        async with node(tmp_path, redis, 1) as n:
            assert (await (await Client.connect(n.port)).send("b@one.example", "z@example.net")).startswith("250 ")
            rows = await n.queued()
            assert len({row["queue_id"] for row in rows}) == 8 == (await n.workers())[0]["queued"]
        async with Sink() as sink, node(tmp_path, redis, 3, NOWHERE.replace("port = 1\n", f"port = {sink.port}\n")) as n:
            await n.command("queue.release", all=True)

            async def emptied() -> bool:
                return not await n.queued()

            await n.until(emptied)
            assert sum(len(message.rcpts) for message in sink.received) == 8

    asyncio.run(scenario())


async def _no_attempt_under_way(n: Node) -> bool:
    return all(row["attempts"] == 0 for row in await n.workers())


def test_a_killed_worker_loses_nothing_and_is_started_again(tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        async with node(tmp_path, redis, 2) as n:
            acknowledged: list[str] = []

            enough = asyncio.Event()

            async def load(number: int) -> None:
                while not enough.is_set():
                    try:
                        client = await Client.connect(n.port)
                        while not enough.is_set():
                            reply = await client.send(f"a@d{number}.example", "m@example.net")
                            if reply.startswith("250 "):
                                acknowledged.append(reply.split("queued as ")[1].split()[0])
                            await asyncio.sleep(0.02)
                        await client.close()
                    except OSError:
                        continue  # its worker was killed: connect anew

            tasks = [asyncio.create_task(load(number)) for number in range(8)]
            for killed in (0, 1):
                at = len(acknowledged) + 60
                await n.until(lambda at=at: asyncio.sleep(0, len(acknowledged) >= at))  # type: ignore[misc]
                before = await n.workers()
                os.kill(before[killed]["pid"], signal.SIGKILL)

                async def is_back(killed: int = killed, before: list[dict[str, Any]] = before) -> bool:
                    row = (await n.workers())[killed]
                    return row["state"] == "running" and row["pid"] != before[killed]["pid"] and "why" not in row

                await n.until(is_back)
                after = await n.workers()
                assert after[1 - killed]["pid"] == before[1 - killed]["pid"]
            enough.set()
            await asyncio.gather(*tasks)
            assert [row["restarts"] for row in await n.workers()] == [1, 1]
            kept = {row["transaction_id"] for row in await n.queued()}
            assert not set(acknowledged) - kept
            assert [record["worker"] for record in n.logged("worker.ended")] == [0, 1]

    asyncio.run(scenario())


def test_a_killed_supervisor_takes_its_workers_along_and_a_new_one_has_their_mail(
    tmp_path: Path, redis: RedisServer
) -> None:
    async def scenario() -> None:
        async with node(tmp_path, redis, 2) as n:
            for client in await n.one_on_each(2):
                assert (await client.send("a@one.example", "x@example.net")).startswith("250 ")
            old = [row["pid"] for row in await n.workers()]
            n.process.kill()
            await n.process.wait()
            async with node(tmp_path, redis, 2) as again:
                assert len(await again.queued()) == 2
                await n.until(lambda: asyncio.sleep(0, not any(map(_runs, old))))
                second = await begin(tmp_path)  # a second server on the same data
                assert await asyncio.wait_for(second.wait(), LIMIT_S) == 2
                assert "another server" in (tmp_path / "log").read_text()

    asyncio.run(scenario())


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_limits_are_those_of_the_whole(tmp_path: Path, redis: RedisServer) -> None:
    """Connections, and attempts to one destination, with all workers together."""

    async def scenario() -> None:
        async with Sink() as sink:
            sink.hold = asyncio.Event()
            limits = (
                "[smtp]\nmax_connections = 20\nmax_connections_per_client = 8\n[delivery]\ndestination_connections = 3\n"
                + NOWHERE.replace("port = 1\n", f"port = {sink.port}\n")
            )
            async with node(tmp_path, redis, 2, limits) as n:
                clients = await asyncio.gather(*(Client.connect(n.port) for _ in range(20)))
                greetings = [client.greeting[:3] for client in clients]
                assert (greetings.count("220"), greetings.count("421")) == (8, 12)
                others = ["127.0.0.2", "127.0.0.3", "127.0.0.4"]
                more = await asyncio.gather(*(Client.connect(n.port, source=ip) for ip in others * 6))
                assert [client.greeting[:3] for client in more].count("220") == 12  # 20 in all
                for client in (*clients, *more):
                    await client.close()

                async def all_left() -> bool:
                    return not any(row["connections"] for row in await n.workers())

                await n.until(all_left)
                for client in await n.one_on_each(2):
                    for number in range(10):
                        assert (await client.send(f"a{number}@one.example", "x@example.net")).startswith("250 ")
                await n.until(lambda: asyncio.sleep(0, sink.open_now == 3))
                sink.hold.set()
                await n.until(lambda: asyncio.sleep(0, len(sink.received) == 20))
                assert sink.peak == 3

    asyncio.run(scenario())


def test_a_metric_counts_the_queues_of_all(tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        (tmp_path / "mailfrom.hsl").write_text(
            'if ($senderlocalpart == "ask") {\n'
            '    $of_domain = GetMailQueueMetric(["filter" => ["senderdomain" => $senderdomain]]);\n'
            '    Reject($of_domain . "/" . GetMailQueueMetric());\n}\n'
        )
        async with node(
            tmp_path, redis, 2, '[hooks]\nmailfrom = "mailfrom.hsl"\n[smtp]\nmax_errors = 9999\n' + NOWHERE
        ) as n:

            async def answers(clients: list[Client]) -> list[str]:
                return [(await client.say("MAIL FROM:<ask@one.example>")).split()[-1] for client in clients]

            clients = await n.one_on_each(2)
            for number, client in enumerate(clients):
                for _ in range(2 + number):
                    assert (await client.send("a@one.example", "x@example.net")).startswith("250 ")
                assert (await client.send("a@two.example", "x@example.net")).startswith("250 ")
            assert (await answers(clients[:1]))[0].startswith("5/")  # exact at the first time, as the others were asked
            await n.until(lambda: _are(answers(clients), ["5/7", "5/7"]))
            await n.command("queue.delete", filter={"senderdomain": "two.example"})
            assert (await clients[1].send("a@one.example", "x@example.net")).startswith("250 ")
            await n.until(lambda: _are(answers(clients), ["6/6", "6/6"]))
            os.kill((await n.workers())[1]["pid"], signal.SIGKILL)
            assert await answers(clients[:1]) == ["6/6"]  # its mail is there, though it is not
            await n.until(lambda: asyncio.sleep(0, n.logged("worker.started")))
            clients = await n.one_on_each(2)
            for client in clients:
                await client.say("EHLO client.example.com")
            assert (await clients[1].send("a@one.example", "x@example.net")).startswith("250 ")
            await n.until(lambda: _are(answers(clients), ["7/7", "7/7"]))

    asyncio.run(scenario())


async def _are(found: Awaitable[list[str]], wanted: list[str]) -> bool:
    return await found == wanted


def test_all_workers_have_the_same_scripts(tmp_path: Path, redis: RedisServer) -> None:
    async def scenario() -> None:
        script = tmp_path / "rcptto.hsl"
        script.write_text('Reject("first");')
        hooks = '[hooks]\nrcptto = "rcptto.hsl"\nreload_check_s = 0.05\n' + NOWHERE
        async with node(tmp_path, redis, 2, hooks) as n:

            async def verdicts() -> list[str]:
                clients = await n.one_on_each(2)
                found = [await client.send("a@one.example", "x@example.net") for client in clients]
                for client in clients:  # a stop would wait for their transactions
                    await client.close()
                return [reply.split()[-1] for reply in found]

            assert await verdicts() == ["first", "first"]
            script.write_text('Reject("second");')
            await n.until(lambda: asyncio.sleep(0, n.logged("scripts.reloaded")))
            assert await verdicts() == ["second", "second"]
            script.write_text('Reject("third"')
            await n.until(lambda: asyncio.sleep(0, n.logged("scripts.kept")))
            os.kill((await n.workers())[1]["pid"], signal.SIGKILL)
            await n.until(lambda: asyncio.sleep(0, n.logged("worker.started")))  # with the scripts that the others have
            assert await verdicts() == ["second", "second"]

    asyncio.run(scenario())


@pytest.mark.parametrize("what", ["shard", "port", "script"])
def test_what_keeps_one_worker_from_starting_is_told_once(tmp_path: Path, redis: RedisServer, what: str) -> None:
    async def scenario() -> None:
        write_settings(tmp_path, redis, 2)
        file = tmp_path / "hslpy.toml"
        with socket.create_server(("127.0.0.1", 0), reuse_port=True) as taken:
            if what == "shard":
                (tmp_path / "data").mkdir()
                (tmp_path / "data/spool-1").write_text("no folder")
            elif what == "port":
                file.write_text(file.read_text().replace("port = 0", f"port = {taken.getsockname()[1]}"))
            else:
                (tmp_path / "bad.hsl").write_text("Accept(")
                file.write_text(file.read_text() + '[hooks]\nrcptto = "bad.hsl"\n')
            process = await begin(tmp_path)
            status = await asyncio.wait_for(process.wait(), LIMIT_S)
        log = (tmp_path / "log").read_text()
        assert status == (1 if what == "script" else 2)
        assert log.count("error") == 1 or what == "script", log
        assert {"shard": "spool-1 cannot be used", "port": "cannot listen on", "script": "error[E"}[what] in log
        assert not (tmp_path / "data/control.sock").exists()

    asyncio.run(scenario())


@pytest.mark.parametrize("each_time", [False, True], ids=["once", "each time"])
def test_a_worker_killed_during_the_first_start(tmp_path: Path, redis: RedisServer, each_time: bool) -> None:
    """It is started again as later on, but not for ever."""

    async def scenario() -> None:
        write_settings(tmp_path, redis, 2)
        process = await begin(tmp_path)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        killed: set[int] = set()

        async def kill() -> None:
            while process.returncode is None and (each_time or not killed):
                with suppress(FileNotFoundError, ProcessLookupError):  # the worker, or the server, has ended
                    for pid in map(int, children.read_text().split()[:1]):
                        if "hslpy.worker" in Path(f"/proc/{pid}/cmdline").read_text():  # it is one by now
                            os.kill(pid, signal.SIGKILL)
                            killed.add(pid)
                await asyncio.sleep(0.005)

        try:
            async with asyncio.timeout(PATIENCE_S):
                await kill()
                if each_time:
                    assert await process.wait() == 2
                    assert (tmp_path / "log").read_text().count("error: worker") == 1
                    return
                assert process.stdout is not None
                assert await process.stdout.read(1) == b"h"
            running = Node(process, tmp_path)
            rows = await running.workers()
            assert sorted(row["restarts"] for row in rows) == [0, 1] and {row["state"] for row in rows} == {"running"}
            assert [record["status"] for record in running.logged("worker.ended")] == [-signal.SIGKILL]
        finally:
            if process.returncode is None:
                process.terminate()
                await asyncio.wait_for(process.wait(), PATIENCE_S)

    asyncio.run(scenario())


def test_a_worker_that_hangs_is_killed_and_started_again(
    tmp_path: Path, redis: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It still gets its part of the connections, which nobody answers."""
    monkeypatch.setattr(supervisor, "WATCH_S", 0.05)
    monkeypatch.setattr(supervisor, "ANSWER_S", 0.5)
    monkeypatch.setattr(supervisor, "HEALTHY_S", 0.0)
    write_settings(tmp_path, redis, 2)
    logged: list[tuple[str, Mapping[str, object]]] = []

    async def scenario() -> None:
        server = supervisor.Supervisor(
            read_settings(tmp_path / "hslpy.toml"), lambda event, fields: logged.append((event, fields))
        )
        await server.start()
        try:
            path = tmp_path / "data/control.sock"
            before = (await asyncio.to_thread(request, path, "workers", {}))["workers"]
            os.kill(before[1]["pid"], signal.SIGSTOP)
            async with asyncio.timeout(PATIENCE_S):
                while not any(event == "worker.started" for event, _ in logged):
                    await asyncio.sleep(0.05)
            after = (await asyncio.to_thread(request, path, "workers", {}))["workers"]
            assert after[1]["pid"] != before[1]["pid"]
            assert ("worker.killed", 1) in [(event, fields.get("worker")) for event, fields in logged]
        finally:
            await server.stop(1.0)

    asyncio.run(scenario())


def test_a_hang_up_before_the_server_is_imported_ends_nothing(tmp_path: Path) -> None:
    lines = [
        "import os, signal, sys",
        "from hslpy.cli import main",
        "class HangUp:",
        "    def find_spec(self, name, *rest):",
        "        if name == 'hslpy.cli.serve': os.kill(os.getpid(), signal.SIGHUP)",
        "sys.meta_path.insert(0, HangUp())",
        "sys.exit(main(['serve', '--config', 'missing.toml']))",
    ]
    command = [sys.executable, "-c", "\n".join(lines)]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ, PYTHONPATH=str(ROOT)), capture_output=True, text=True)
    assert done.returncode == 2 and "missing.toml" in done.stderr, done


def test_a_hang_up_during_the_start_ends_nothing(tmp_path: Path, redis: RedisServer) -> None:
    """An operator, or a rotation of logs, may be that quick."""

    async def scenario() -> None:
        write_settings(tmp_path, redis, 2)
        process = await begin(tmp_path)
        try:
            assert process.stdout is not None
            greeted = asyncio.ensure_future(process.stdout.read(1))

            def ignored() -> bool:
                status = Path(f"/proc/{process.pid}/status").read_text()
                masks = dict(line.split(":", 1) for line in status.splitlines() if line.startswith("Sig"))
                return bool((int(masks["SigIgn"], 16) | int(masks["SigCgt"], 16)) & 1)

            async with asyncio.timeout(PATIENCE_S):
                while not ignored():
                    await asyncio.sleep(0.002)
                while not greeted.done():
                    process.send_signal(signal.SIGHUP)
                    await asyncio.sleep(0.02)
            assert await greeted == b"h"
        finally:
            process.terminate()
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0

    asyncio.run(scenario())
