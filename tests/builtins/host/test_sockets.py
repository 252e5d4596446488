"""The class Socket against real peers on loopback: what each method gives, its numbers of errors, limits and closing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import Iterator

import pytest

from hslpy.client.sockets import SocketSettings
from hslpy.lang.run import Limits
from tests.hooks.world import World
from tests.support.peer import peer


def echoed(world: World, script: str, **more: object) -> list[str]:
    verdict = world.run("rcptto", script, **more)  # type: ignore[arg-type]
    assert not verdict.failed, world.failure()
    return world.echoed()


def tcp(port: int) -> str:
    """Give the start of a script that has connected."""
    return f'$s = Socket("AF_INET", "SOCK_STREAM"); if (!$s->connect("127.0.0.1", {port})) echo "no connection";'


@contextlib.contextmanager
def says(*pieces: bytes) -> Iterator[int]:
    """A peer that waits for a line before each piece it sends, and then for the end."""

    def answer(connection: socket.socket) -> None:
        for piece in pieces:
            assert connection.recv(100)
            connection.sendall(piece)
        while connection.recv(65536):
            pass

    with peer(answer) as port:
        yield port


def test_send_and_receive(world: World) -> None:
    with says(b"Hello World", b"x" * 100_000) as port:
        assert echoed(
            world,
            tcp(port)
            + """
            echo $s->send("go\\n");
            echo $s->recv(5, ["MSG_PEEK"]); echo $s->recv(1); echo $s->recv(10, "MSG_WAITALL");
            echo $s->recv(10, "MSG_DONTWAIT") ?? "nothing"; echo $s->errno();
            echo $s->recv(0) === "";
            $s->send("go\\n");
            echo length($s->recv(60000, "MSG_WAITALL")); echo length($s->recv(40000, "MSG_WAITALL"));
            echo is_object($s->shutdown("SHUT_WR")); echo $s->recv(100) === ""; echo $s->recv(4, "MSG_WAITALL") === "";
            echo $s->send("x") ?? "none"; echo $s->errno();
            echo is_object($s->close()); echo $s->close() ?? "none"; echo $s->errno();
            echo [$s->recv(1), $s->send("x"), $s->shutdown("SHUT_RD")] === [none, none, none];
            """,
        ) == [
            *("3", "Hello", "H", "ello World", "nothing", "11", "true", "60000", "40000", "true", "true", "true"),
            *("none", "32", "true", "none", "9", "true"),
        ]


def test_less_than_all_at_the_end_of_the_connection(world: World) -> None:
    def answer(connection: socket.socket) -> None:
        connection.sendall(b"abc")

    with peer(answer) as port:
        assert echoed(world, tcp(port) + 'echo $s->recv(10, "MSG_WAITALL"); echo $s->recv(1) === "";') == ["abc", "true"]


def test_a_large_text_goes_out_whole(world: World) -> None:
    received: list[int] = []

    def answer(connection: socket.socket) -> None:
        total = 0
        while data := connection.recv(65536):
            total += len(data)
        received.append(total)

    with peer(answer) as port:
        script = tcp(port) + 'echo $s->send(str_repeat("x", 8000000)); $s->close();'
        assert echoed(world, script) == ["8000000"]
    assert received == [8_000_000]


def test_what_is_refused(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    script = f"""
        $s = Socket("AF_INET", "SOCK_STREAM"); echo $s->errno();
        echo $s->connect("127.0.0.1", {port}) ?? "none"; echo $s->errno();
        echo $s->connect("::1", {port}) ?? "none"; echo $s->errno();
        echo $s->connect("localhost", {port}) ?? "none"; echo $s->errno();
        echo Socket("AF_INET", "SOCK_STREAM")->send("x") ?? "none";
        echo Socket("AF_INET", "SOCK_STREAM")->bind("192.0.2.55", 0) ?? "none";
        $u = Socket("AF_UNIX", "SOCK_STREAM"); echo $u->connect("/nowhere/socket") ?? "none"; echo $u->errno();
        echo $u->connect("/" . str_repeat("x", 200)) ?? "none"; echo $u->errno();
    """
    assert echoed(world, script) == (
        ["0", "none", "111", "none", "97", "none", "97", "none", "none", "none", "2", "none", "36"]
    )


def test_time_is_up(world: World) -> None:
    with says(b"abc") as port:
        script = (
            tcp(port)
            + """
            echo is_object($s->settimeout(0.05)); echo $s->recv(1) ?? "none"; echo $s->errno();
            $s->settimeout(20); $s->send("x"); echo $s->recv(1); $s->settimeout(0.05); echo $s->recv(9, "MSG_WAITALL");
            echo $s->recv(9, "MSG_WAITALL") ?? "none";
            """
        )
        assert echoed(world, script) == ["true", "none", "11", "a", "bc", "none"]


def test_the_settings_give_the_time_of_sockets_without_one(world: World) -> None:
    with says() as port:
        script = tcp(port) + 'echo $s->recv(1) ?? "none"; echo $s->errno();'
        assert echoed(world, script, sockets=SocketSettings(timeout_s=0.05)) == ["none", "11"]


def test_datagrams_and_paths(world: World) -> None:
    path = str(world.folder / "socket")
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as udp, socket.socket(socket.AF_UNIX) as unix:
        udp.bind(("::1", 0))
        unix.bind(path)
        unix.listen()

        def answer(connection: socket.socket) -> None:
            connection.sendall(connection.recv(100).upper())

        with peer(answer, unix):
            script = f"""
                $u = Socket(Socket::AF("::1"), "SOCK_DGRAM");
                echo is_object($u->bind("::1", 0)); echo is_object($u->connect("::1", {udp.getsockname()[1]}));
                echo $u->send("one"); echo $u->send("");
                $p = Socket("AF_UNIX", "SOCK_STREAM"); $p->connect("{path}"); $p->send("unix"); echo $p->recv(100);
            """
            assert echoed(world, script) == ["true", "true", "3", "0", "UNIX"]
        udp.settimeout(20)
        assert udp.recv(100) == b"one"
        assert udp.recv(100) == b""


def test_families(world: World) -> None:
    script = 'echo [Socket::AF("192.0.2.1"), Socket::AF("2001:db8::1"), Socket::AF("example.com"), Socket::AF("")];'
    assert echoed(world, script + " ") == ['[0=>"AF_INET",1=>"AF_INET6",2=>none,3=>none]']


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ('Socket("AF_INET4", "SOCK_STREAM");', "did you mean `AF_INET`?"),
        ('Socket("AF_INET", "SOCK_RAW");', "knows no `type`"),
        ('Socket("AF_INET", "SOCK_STREAM")->connect("127.0.0.1", 70000);', "wants `port`"),
        ('Socket("AF_INET", "SOCK_STREAM")->recv(-1);', "wants `length`"),
        ('Socket("AF_INET", "SOCK_STREAM")->recv(1, "MSG_OOB");', "knows no `flags`"),
        ('Socket("AF_INET", "SOCK_STREAM")->shutdown("SHUT");', "knows no `how`"),
        ('Socket("AF_INET", "SOCK_STREAM")->settimeout(-1);', "wants `timeout`"),
        ('Socket("AF_INET", "SOCK_STREAM")->bind("127.0.0.1", 0, ["nonloacl" => true]);', "did you mean `nonlocal`?"),
        ('Socket(Socket::AF("example.com"), "SOCK_STREAM");', "Socket() wants string as `family`, got none"),
        ('$s = []; for ($i = 0; $i < 300; $i++) $s[] = Socket("AF_INET", "SOCK_DGRAM");', "at most 256 sockets open"),
    ],
)
def test_mistakes(world: World, script: str, message: str) -> None:
    assert world.run("rcptto", script).failed
    assert message in world.failure()


def test_dropped_sockets_close_themselves(world: World) -> None:
    assert echoed(world, 'for ($i = 0; $i < 300; $i++) $s = Socket("AF_INET", "SOCK_DGRAM"); echo "fine";') == ["fine"]


@pytest.mark.parametrize("ending", ["", "Reject();", "throw 1;", "$s->settimeout(0); $s->recv(1);"])
def test_sockets_are_closed_when_the_run_ends(world: World, ending: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with says() as port:  # its end waits for ours
        script = "class A { constructor($s) { $this->me = $this; $this->s = $s; } }" + tcp(port) + "$a = A($s);" + ending
        verdict = world.run("rcptto", script, limits=Limits(wall_s=0.3 if "settimeout" in ending else 60.0))
    assert verdict.failed == ("Reject" not in ending and ending != "")
    assert len(os.listdir("/proc/self/fd")) <= before


def test_waiting_leaves_the_loop_to_others(world: World) -> None:
    turns = 0

    async def main(port: int) -> None:
        nonlocal turns
        hooks = world.hooks({"rcptto": tcp(port) + '$s->settimeout(0.2); echo $s->recv(1) ?? "none";'})
        running = asyncio.create_task(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        while not running.done():
            turns += 1
            await asyncio.sleep(0.01)

    with says() as port:
        asyncio.run(main(port))
    assert world.echoed() == ["none"]
    assert turns > 5


def test_many_small_reads_leave_the_loop_to_others(world: World) -> None:
    turns = 0

    async def main(port: int) -> None:
        nonlocal turns
        script = tcp(port) + '$s->send("x"); $n = 0; while ($n < 100000 and $s->recv(1)) $n++; echo $n;'
        hooks = world.hooks({"rcptto": script})
        running = asyncio.create_task(hooks.run(hooks.current, "rcptto", world.event("rcptto")))
        while not running.done():
            turns += 1
            await asyncio.sleep(0)

    with says(b"x" * 100_000) as port:
        asyncio.run(main(port))
    assert world.echoed() == ["100000"]
    assert turns > 50


def test_another_event_loop(world: World) -> None:
    uvloop = pytest.importorskip("uvloop")

    async def main(port: int) -> None:
        hooks = world.hooks(
            {"rcptto": tcp(port) + '$s->send("x"); echo $s->recv(9); $s->settimeout(0.05); echo $s->recv(9);'}
        )
        await hooks.run(hooks.current, "rcptto", world.event("rcptto"))

    with says(b"hello") as port:
        uvloop.run(main(port))
    assert world.echoed() == ["hello", "none"]


def test_an_address_with_a_zone_is_none_of_ipv4(world: World) -> None:
    world.run("connect", '$s = Socket("AF_INET", "SOCK_STREAM"); $s->connect("127.0.0.1%a.example", 25); echo $s->errno();')
    assert world.echoed() == ["97"]
