"""The file of users: its lines, its reloads, its bounded pool of threads."""

from __future__ import annotations

import asyncio
import itertools
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from argon2 import PasswordHasher

from hslpy.clock import ManualClock
from hslpy.errors import OperatorError
from hslpy.users import argon
from hslpy.users.argon import HashPool, fault_in, make_hash, matches, stand_in
from hslpy.users.contract import ACCEPTED, UNKNOWN_USER, WRONG_PASSWORD, PoolFull
from hslpy.users.file import UsersFile, read_users


def quick(password: str) -> str:
    """Give a hash that costs little: for tests alone."""
    return PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


def test_a_file_is_read_as_written() -> None:
    one, two, three = quick("a"), quick("b"), quick("c")
    text = f"# users\n\n   \nalice:{one}\r\nAlice@example.com:{two} \njör:g:{three}"
    assert read_users(b"\xef\xbb\xbf" + text.encode(), "users") == {
        "alice": one,
        "Alice@example.com": two,
        "jör:g": three,
    }
    assert read_users(b"", "users") == {}


def test_bad_lines_are_told_with_their_numbers() -> None:
    good = quick("a")
    lines = [
        f"alice:{good}",
        "bob",
        "carol:secret",
        "dave:$6$salt$hash",
        f"alice:{good}",
        f" eve:{good}",
        f":{good}",
        f"fr\0ed:{good}",
        "grace:$argon2id$v=19$m=4194304,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo",
    ]
    with pytest.raises(OperatorError) as raised:
        read_users("\n".join(lines).encode() + b"\n\xff:x", "users")
    told = raised.value.message.split("\n  ")
    assert [line.split(": ")[0] for line in told[1:]] == [f"users:{number}" for number in range(2, 11)]
    assert "line 1" in told[4] and "4194304 KiB" in told[8] and "UTF-8" in told[9]
    with pytest.raises(OperatorError) as raised:
        read_users(b"x\n" * 1000, "users")
    assert raised.value.message.endswith("and 980 more")


@pytest.mark.parametrize(
    ("encoded", "fault"),
    [
        ("$argon2id$v=19$m=262144,t=2,p=4$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", None),
        ("$argon2i$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", None),
        ("$argon2id$v=19$m=262145,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "262145 KiB"),
        ("$argon2id$v=19$m=65536,t=9,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "9 passes"),
        ("$argon2id$v=19$m=9999999999,t=9999999999,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "KiB"),
        ("$argon2id$v=19$m=65536,t=0,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "t=0"),
        ("$argon2id$v=19$m=65536,t=1,p=255$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "p=255"),
        ("$argon2id$v=19$m=7,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "m=7"),
        ("$argon2id$v=20$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo", "version 20"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFz", "cut short"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$a", "cut short"),
        ("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ", "no argon2 hash"),
        ("{PLAIN}secret", "no argon2 hash"),
    ],
)
def test_absurd_hashes_are_refused(encoded: str, fault: str | None) -> None:
    found = fault_in(encoded)
    assert found is None if fault is None else found is not None and fault in found
    if fault is None and "m=8," in encoded:
        assert matches(encoded, b"x") is False


def test_our_hashes_are_those_of_argon2() -> None:
    encoded = make_hash("pässword".encode())
    assert fault_in(encoded) is None and encoded.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert PasswordHasher().verify(encoded, "pässword")
    assert matches(encoded, "pässword".encode()) and not matches(encoded, b"password") and not matches(encoded, b"")
    assert fault_in(stand_in()) is None and not matches(stand_in(), b"")


def test_who_may_sign_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def counted(encoded: str, password: bytes) -> bool:
        compared.append(encoded)
        return real(encoded, password)

    real = argon.matches
    monkeypatch.setattr(argon, "matches", counted)
    path = tmp_path / "users"
    path.write_text(f"alice:{quick('secret')}\nbob:{quick('other')}\n")
    path.chmod(0o600)

    async def work() -> None:
        log: list[Any] = []
        users = UsersFile(path, HashPool(1, 5, ManualClock()), lambda *entry: log.append(entry))
        assert await users.verify("alice", b"secret", "192.0.2.1") == ACCEPTED
        assert await users.verify("alice", b"other", "192.0.2.1") == WRONG_PASSWORD
        assert await users.verify("Alice", b"secret", "192.0.2.1") == UNKNOWN_USER, "a name is taken as written"
        compared.clear()
        for password in (b"secret", b"other"):
            for name in ("carol", "", "\ufffd", "x" * 10_000):
                assert await users.verify(name, password, "192.0.2.1") == UNKNOWN_USER
        assert len(compared) == 8, "a stranger costs what a user does, also with somebody's password that is known again"
        assert {each.rsplit("$", 2)[0] for each in compared} == {"$argon2id$v=19$m=8,t=1,p=1"}
        await users.close()
        assert not log

    asyncio.run(work())


def test_an_empty_file_compares_too(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text("# nobody yet\n")
    path.chmod(0o644)

    async def work() -> None:
        log: list[Any] = []
        users = UsersFile(path, HashPool(1, 5, ManualClock()), lambda *entry: log.append(entry))
        assert await users.verify("alice", b"secret", "192.0.2.1") == UNKNOWN_USER
        await users.close()
        assert [event for event, _ in log] == ["users.readable_by_all"]

    asyncio.run(work())


def test_changes_are_taken_up_once_they_have_settled(tmp_path: Path) -> None:
    path = tmp_path / "users"

    def write(text: str) -> None:
        path.write_text(text)
        path.chmod(0o600)
        os.utime(path, ns=(0, next(times)))

    times = iter(range(10**9, 10**12, 10**9))

    async def work() -> None:
        log: list[Any] = []
        write(f"alice:{quick('1')}\n")
        users = UsersFile(path, HashPool(1, 5, ManualClock()), lambda *entry: log.append(entry))
        assert await users.refresh() and not log
        write("")  # an editor that empties a file before it writes it
        assert await users.refresh()
        write(f"alice:{quick('2')}\nbob:{quick('3')}\n")
        assert await users.refresh()
        assert await users.verify("alice", b"1", "") == ACCEPTED
        assert await users.refresh()
        assert await users.verify("alice", b"2", "") == ACCEPTED
        assert log.pop() == ("users.loaded", {"file": path, "users": 2})
        write("alice:oops\n")
        assert await users.refresh()
        assert not await users.refresh()
        event, fields = log.pop()
        assert event == "users.kept" and fields["level"] == "error" and f"{path}:1: " in fields["errors"]
        assert await users.verify("alice", b"2", "") == ACCEPTED
        assert await users.refresh() and not log, "told once"
        assert not await users.refresh(everything=True), "an order is answered at once"
        path.unlink()
        await users.refresh()
        await users.refresh()
        assert log.pop()[0] == "users.kept" and len(users) == 2
        await users.close()

    asyncio.run(work())


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="cannot read the users file"):
        UsersFile(tmp_path / "none", HashPool(1, 1, ManualClock()), lambda *_: None)


def test_the_pool_is_bounded_and_a_cancelled_wait_frees_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    under_way = 0
    most = 0
    lock = threading.Lock()

    def slow(encoded: str, password: bytes) -> bool:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        assert go_on.wait(60)
        with lock:
            under_way -= 1
        return True

    monkeypatch.setattr(argon, "matches", slow)

    async def work() -> None:
        pool = HashPool(2, 3, ManualClock())
        names = itertools.count()
        waiting = [asyncio.create_task(pool.matches("", b"", str(next(names)))) for _ in range(5)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFull):
            await pool.matches("", b"", str(next(names)))
        for task in waiting[3:]:
            task.cancel()
        await asyncio.wait(waiting[3:])
        await asyncio.sleep(0)
        more = [asyncio.create_task(pool.matches("", b"", str(next(names)))) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFull):
            await pool.matches("", b"", str(next(names)))
        go_on.set()
        assert await asyncio.gather(*waiting[:3], *more) == [True] * 5
        assert most == 2
        while pool._taken.total():
            await asyncio.sleep(0.01)
        pool.close()

    asyncio.run(work())


def test_one_client_has_half_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(argon, "matches", lambda *_: go_on.wait(60))

    async def work() -> None:
        pool = HashPool(1, 5, ManualClock())
        busy = [asyncio.create_task(pool.matches(str(number), b"", "192.0.2.1")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(PoolFull):
            await pool.matches("x", b"", "192.0.2.1")
        busy.append(asyncio.create_task(pool.matches("x", b"", "192.0.2.2")))
        await asyncio.sleep(0)
        go_on.set()
        assert await asyncio.gather(*busy) == [True] * 4
        pool.close()

    asyncio.run(work())


def test_a_right_password_is_known_again_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[str, bytes]] = []

    def counted(encoded: str, password: bytes) -> bool:
        compared.append((encoded, password))
        return password == b"right"

    monkeypatch.setattr(argon, "matches", counted)
    monkeypatch.setattr(argon, "MOST_KNOWN", 2)

    async def work() -> None:
        clock = ManualClock()
        pool = HashPool(1, 5, clock)
        for password in (b"right", b"right", b"wrong", b"wrong", b"right"):
            assert await pool.matches("one", password, "") is (password == b"right")
        assert compared == [("one", b"right"), ("one", b"wrong"), ("one", b"wrong")]
        assert await pool.matches("two", b"right", "") and len(compared) == 4, "a new hash is compared"
        assert await pool.matches("three", b"right", "")
        assert await pool.matches("one", b"right", "") and len(compared) == 6, "the oldest is forgotten for a new one"
        clock.advance(301)
        assert await pool.matches("one", b"right", "") and len(compared) == 7
        assert len(pool._right) == 2
        pool.close()

    asyncio.run(work())
