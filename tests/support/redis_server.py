"""Private redis-servers in folders of their own: one on a Unix socket, Sentinels with master and replica, a cluster.

In: nothing. Out: their addresses, and ways to stop, freeze and restart them. All on loopback, ports from the system.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType


def free_port() -> int:
    """Give a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
    """Wait for the condition, which looks at what other processes do."""
    end = time.monotonic() + seconds
    while True:
        with suppress(subprocess.CalledProcessError):  # a server that is only just starting
            if condition():
                return
        if time.monotonic() > end:
            raise TimeoutError(what)
        time.sleep(0.02)


class RedisServer:
    """Keeps nothing on disk; listens on a Unix socket, and on a port where it has one: both stay the same over restarts."""

    def __init__(self, *options: str, port: int = 0, sentinel: bool = False) -> None:
        # Not pytest's folder: a Unix socket's path has at most 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="hslpy-redis-"))
        self.socket = self.folder / "s"
        self.url = f"unix://{self.socket}"
        self.port = port
        self.address = f"127.0.0.1:{port}"
        self._options = options
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self, *more: str) -> None:
        """Start it and wait until it accepts connections."""
        command = ["redis-server"]
        if self._sentinel:
            settings = self.folder / "sentinel.conf"
            settings.touch()
            command += [str(settings), "--sentinel"]
        else:
            command += ["--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0"]
        command += ["--port", str(self.port), "--bind", "127.0.0.1", "--unixsocket", str(self.socket)]
        command += ["--dir", str(self.folder), "--logfile", str(self.folder / "log"), "--daemonize", "no"]
        self._process = subprocess.Popen(
            [*command, *self._options, *more], stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT, cwd=self.folder
        )
        for _ in range(500):
            with socket.socket(socket.AF_UNIX) as probe:
                try:
                    probe.connect(str(self.socket))
                    return
                except OSError:
                    time.sleep(0.01)
        raise RuntimeError("redis-server did not start: " + (self.folder / "log").read_text(errors="replace"))

    def stop(self) -> None:
        if self._process is not None:
            self._signal(signal.SIGCONT)
            self._process.kill()
            self._process.wait()
            self._process = None

    def freeze(self) -> None:
        """Stop its answers while its connections stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, *words: str) -> str:
        """Give what redis-cli says to a command."""
        command = ["redis-cli", "-s", str(self.socket), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()

    def _signal(self, number: int) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class Replicated:
    """A master with a replica, and three Sentinels who watch them as `mymaster`."""

    def __init__(self) -> None:
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []
        self._stack = ExitStack()

    def __enter__(self) -> Replicated:
        start = self._stack.enter_context
        master = start(RedisServer(port=free_port()))
        replica = start(RedisServer("--replicaof", "127.0.0.1", str(master.port), port=free_port()))
        self.servers += [master, replica]
        until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
        for _ in range(3):
            sentinel = start(RedisServer(port=free_port(), sentinel=True))
            sentinel.ask("SENTINEL", "MONITOR", "mymaster", "127.0.0.1", str(master.port), "2")
            for name, value in (("down-after-milliseconds", "500"), ("failover-timeout", "1000")):
                sentinel.ask("SENTINEL", "SET", "mymaster", name, value)
            self.sentinels.append(sentinel)
        self.wait_until_settled()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(sentinel.address for sentinel in self.sentinels)

    def wait_until_settled(self) -> None:
        until(self._settled, "the Sentinels know each other and the replica")

    def master(self) -> RedisServer:
        """Give the server that is master as the first Sentinel says."""
        port = int(self.sentinels[0].ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster").split()[1])
        return next(server for server in self.servers if server.port == port)

    def _settled(self) -> bool:
        def agrees(sentinel: RedisServer) -> bool:
            wanted = "num-slaves\n1\nnum-other-sentinels\n2\n"
            replicas = sentinel.ask("SENTINEL", "REPLICAS", "mymaster")
            return wanted in sentinel.ask("SENTINEL", "MASTER", "mymaster") and "flags\nslave\n" in replicas

        followed = any("master_link_status:up" in server.ask("INFO", "replication") for server in self.servers)
        return followed and all(agrees(sentinel) for sentinel in self.sentinels)


class RedisCluster:
    """A Redis Cluster of three masters, of which the first has a replica."""

    def __init__(self) -> None:
        self.nodes: list[RedisServer] = []
        self._stack = ExitStack()

    def __enter__(self) -> RedisCluster:
        options = ["--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-require-full-coverage", "no"]
        options += ["--cluster-replica-validity-factor", "0"]
        for _ in range(4):
            bus = ["--cluster-port", str(free_port())]
            self.nodes.append(self._stack.enter_context(RedisServer(*options, *bus, port=free_port())))
        masters, replica = self.nodes[:3], self.nodes[3]
        bounds = [0, 5461, 10923, 16384]
        for number, node in enumerate(masters):
            node.ask("CLUSTER", "ADDSLOTSRANGE", str(bounds[number]), str(bounds[number + 1] - 1))
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", str(number + 1))
        for node in self.nodes[1:]:
            node.ask("CLUSTER", "MEET", "127.0.0.1", str(masters[0].port), masters[0]._options[-1])
        until(lambda: all(len(self._lines(node)) == 4 for node in self.nodes), "the nodes know each other")
        replica.ask("CLUSTER", "REPLICATE", self.id_of(masters[0]))
        until(lambda: "master_link_status:up" in replica.ask("INFO", "replication"), "the replica follows")
        until(self._settled, "the nodes agree")
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(node.address for node in self.nodes)

    def id_of(self, node: RedisServer) -> str:
        return node.ask("CLUSTER", "MYID")

    def move_slot(self, slot: int, source: RedisServer, target: RedisServer, between: Callable[[], object]) -> None:
        """Move a slot with its keys as resharding does; `between` is called while it is half moved."""
        target.ask("CLUSTER", "SETSLOT", str(slot), "IMPORTING", self.id_of(source))
        source.ask("CLUSTER", "SETSLOT", str(slot), "MIGRATING", self.id_of(target))
        between()
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", str(slot), "10").splitlines():
            source.ask("MIGRATE", "127.0.0.1", str(target.port), "", "0", "5000", "KEYS", *keys)
            between()
        for node in (target, source):
            node.ask("CLUSTER", "SETSLOT", str(slot), "NODE", self.id_of(target))

    def _lines(self, node: RedisServer) -> Sequence[str]:
        return [line for line in node.ask("CLUSTER", "NODES").splitlines() if "handshake" not in line]

    def _settled(self) -> bool:
        def agrees(node: RedisServer) -> bool:
            lines = self._lines(node)
            return (
                "cluster_state:ok" in node.ask("CLUSTER", "INFO")
                and sum(" slave " in f" {line.replace(',', ' ')} " for line in lines) == 1
            )

        return all(agrees(node) for node in self.nodes)
