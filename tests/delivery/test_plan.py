"""Plain decisions: the order of hosts, which addresses are refused, what a reply means, whose turn it is."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.client.contract import RecipientResult, TransactionResult
from hslpy.delivery.attempt import destination
from hslpy.delivery.lanes import Lanes, Slots, Turn
from hslpy.delivery.outcome import action_of, outcome_of_error, outcome_of_reply
from hslpy.delivery.plan import OwnListeners, TargetRules, is_null_mx, literal_address, order_hosts, refusal, wanted_hosts
from hslpy.delivery.settings import Transport
from hslpy.delivery.targets import find_targets
from hslpy.dns.contract import Answer, ResolutionFailed
from hslpy.hooks.facts import AttemptFacts
from hslpy.mail.reply import Reply
from hslpy.mail.verdict import TryOptions


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("abcdef"))), st.integers())
def test_hosts_go_by_preference_each_once(mx: list[tuple[int, str]], seed: int) -> None:
    hosts = order_hosts(mx, random.Random(seed))
    assert [preference for preference, _ in hosts] == sorted(preference for preference, _ in hosts)
    assert {host: preference for preference, host in hosts} == {h: min(p for p, o in mx if o == h) for _, h in mx}


def test_equal_preferences_take_turns() -> None:
    rng = random.Random(1)
    firsts = Counter(order_hosts([(10, "a"), (10, "b"), (20, "c")], rng)[0][1] for _ in range(1000))
    assert set(firsts) == {"a", "b"} and abs(firsts["a"] - 500) < 80


def test_null_mx() -> None:
    assert is_null_mx([(0, "")]) and is_null_mx([(0, ".")])
    assert not is_null_mx([(0, ""), (10, "mx.example")]) and not is_null_mx([])
    assert order_hosts([(0, ""), (10, "mx.example")], random.Random()) == ((10, "mx.example"),)


def test_patterns_of_hosts() -> None:
    hosts = ((1, "mx1.google.com"), (2, "MX.example"))
    assert wanted_hosts(hosts, ("*.google.com",), ()) == hosts[:1]
    assert wanted_hosts(hosts, (), ("mx.EXAMPLE",)) == hosts[:1]


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("8.8.8.8", False),
        ("127.0.0.1", True),
        ("10.0.0.1", True),
        ("172.31.0.1", True),
        ("192.168.1.1", True),
        ("100.64.0.1", True),
        ("169.254.169.254", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("2606:4700::1111", False),
        ("::1", True),
        ("::", True),
        ("fe80::1", True),
        ("fd00::1", True),
        ("ff02::1", True),
        ("::ffff:127.0.0.1", True),
        ("::ffff:8.8.8.8", False),
        ("2002:7f00:1::", True),
        ("64:ff9b::10.0.0.1", True),
        ("64:ff9b::8.8.8.8", False),
    ],
)
def test_private_addresses(address: str, refused: bool) -> None:
    assert refusal(address, 25, TargetRules()) == ("private" if refused else None)
    assert refusal(address, 25, TargetRules(allow_private=True)) is None


def test_own_listeners() -> None:
    rules = TargetRules(
        allow_private=True,
        own_listeners=OwnListeners(frozenset({("0.0.0.0", 25), ("192.0.2.1", 587)}), frozenset({"192.0.2.7"})),
    )
    assert refusal("192.0.2.7", 25, rules) == "self" and refusal("192.0.2.7", 587, rules) is None
    assert refusal("0.0.0.0", 25, rules) == "self" and refusal("::ffff:127.0.0.1", 25, rules) == "self"
    assert refusal("127.0.0.1", 25, rules) == "self" and refusal("127.0.0.1", 26, rules) is None
    assert refusal("192.0.2.1", 587, rules) == "self" and refusal("192.0.2.1", 25, rules) is None


def test_literals() -> None:
    assert literal_address("[192.0.2.1]") == "192.0.2.1"
    assert literal_address("[IPv6:2001:DB8::1]") == "2001:db8::1"
    assert literal_address("example.org") is None and literal_address("[example]") is None


def test_destination() -> None:
    relay, plain = Transport("r", "relay.example", 2525), Transport("p")
    assert destination(TryOptions(), plain, "d.example") == ("d.example", True, 25)
    assert destination(TryOptions(), relay, "d.example") == ("relay.example", False, 2525)
    assert destination(TryOptions(host="h", port=26), relay, "d.example") == ("h", False, 26)
    assert destination(TryOptions(host="lookup-mx"), relay, "d.example") == ("d.example", True, 25)


@pytest.mark.parametrize(
    ("code", "enhanced", "state", "action"),
    [
        (250, None, "EOD", None),
        (450, (4, 2, 1), "RCPT", "QUEUE"),
        (550, (5, 1, 1), "RCPT", "BOUNCE"),
        (552, None, "RCPT", "QUEUE"),
        (552, (5, 2, 2), "RCPT", "BOUNCE"),
        (552, None, "EOD", "BOUNCE"),
        (554, None, "BANNER", "BOUNCE"),
        (535, (5, 7, 8), "AUTH", "QUEUE"),
        (421, None, "MAIL", "QUEUE"),
    ],
)
def test_what_a_reply_means(code: int, enhanced: tuple[int, int, int] | None, state: str, action: str | None) -> None:
    reply = Reply(code, enhanced, ("text",))
    assert action_of(reply, state) == action
    outcome = outcome_of_reply(
        RecipientResult(reply, state), AttemptFacts(0.0, remote_mx="mx.example", remote_ip="192.0.2.1")
    )
    assert outcome.action == action and (outcome.status[0] == {None: 2, "QUEUE": 4, "BOUNCE": 5}[action])


def test_what_an_error_means() -> None:
    facts = AttemptFacts(0.0, remote_mx="mx.example", remote_ip="192.0.2.1", error="no answer in time")
    outcome = outcome_of_error(TransactionResult((None,), "no answer in time", error_state="EOD"), facts)
    assert outcome.action == "QUEUE" and outcome.text == "mx.example [192.0.2.1]: no answer in time (EOD)"


@given(st.data())
def test_lanes_keep_their_limits_and_lose_nothing(data: st.DataObject) -> None:
    slots = Slots(5, 4, 10.0, group_share=0.5)
    lanes: Lanes[int] = Lanes(slots, room=3, crowded=8)
    limits = {"a": 1, "b": 2, "c": 3}
    groups = {"a": "x", "b": "x", "c": "y"}
    running: list[Turn[int]] = []
    offered, begun, now = set(), set(), 0.0
    for number in range(data.draw(st.integers(0, 80))):
        step = data.draw(st.sampled_from(["offer", "next", "next", "done", "later"]))
        if step == "offer":
            where = data.draw(st.sampled_from("abc"))
            if lanes.offer(where, limits[where], number, groups[where], (number,)):
                offered.add(number)
        elif step == "next":
            turn = lanes.next(now)
            if turn is not None:
                running.append(turn)
                begun.add(turn.job)
            else:
                quick = Counter(turn.group for turn in running if not turn.slow)
                for where in {where for where, lane in lanes._lanes.items() if lane.waiting}:
                    in_use = sum(turn.destination == where for turn in running)
                    assert in_use == limits[where] or quick.total() == 5 or quick[groups[where]] == 2
        elif step == "later":
            now += data.draw(st.sampled_from([1.0, 11.0]))
        elif running:
            lanes.done(running.pop(data.draw(st.integers(0, len(running) - 1))))
        assert len(lanes) == len(offered - begun)
        active = Counter(turn.destination for turn in running)
        assert lanes.active() == dict(active) and all(active[where] <= limits[where] for where in "abc")
        for slow, most, each in ((False, 5, 2), (True, 4, 2)):
            counts = Counter(turn.group for turn in running if turn.slow is slow)
            assert counts.total() <= most and all(count <= each for count in counts.values())
        assert all(now - turn.started >= 10.0 for turn in running if turn.slow)
    assert set(lanes.drain()) == offered - begun and len(lanes) == 0
    for turn in running:
        lanes.done(turn)
    assert not lanes._groups and not lanes._lanes and lanes.next(now) is None


def jobs(lanes: Lanes[str], now: float = 0.0) -> list[str]:
    """Begin all that may begin."""
    begun = []
    while (turn := lanes.next(now)) is not None:
        begun.append(turn.job)
    return begun


def test_destinations_take_turns() -> None:
    lanes: Lanes[str] = Lanes(Slots(10), room=10)
    for job in ("a1", "a2", "a3", "b1", "c1"):
        lanes.offer(job[0], 5, job, "", ())
    assert jobs(lanes) == ["a1", "b1", "c1", "a2", "a3"]


def test_transports_take_turns_and_none_takes_all_slots() -> None:
    lanes: Lanes[str] = Lanes(Slots(8), room=10)
    for job in ("a1", "b1", "c1", "d1", "e1", "f1", "g1", "h1"):
        lanes.offer(job[0], 5, job, "one", ())
    lanes.offer("z", 5, "z1", "two", ())
    assert jobs(lanes) == ["a1", "z1", "b1", "c1", "d1", "e1", "f1"]  # of eight slots six are for one transport
    lanes.offer("y", 5, "y1", "two", ())
    assert jobs(lanes) == ["y1"]


def test_a_destination_takes_three_quarters_of_all_slots_at_most() -> None:
    lanes: Lanes[str] = Lanes(Slots(8, group_share=1.0), room=10)
    for n in range(8):
        lanes.offer("a", 100, f"a{n}", "", ())
    assert len(jobs(lanes)) == 6


def test_what_lasts_makes_way_within_bounds() -> None:
    lanes: Lanes[str] = Lanes(Slots(2, 3, 10.0, group_share=1.0), room=10)
    for n in range(9):
        lanes.offer(f"d{n}", 1, f"{n}", "", ())
    assert jobs(lanes, 0.0) == ["0", "1"] and lanes.again_s(4.0) == 6.0
    assert jobs(lanes, 9.9) == [] and jobs(lanes, 10.0) == ["2", "3"]
    assert jobs(lanes, 20.0) == ["4"] and lanes.again_s(20.0) is None  # three slow ones and two quick ones
    assert jobs(lanes, 99.0) == [] and lanes.again_s(99.0) is None


@pytest.mark.parametrize("room", [1, 2, 7, 100])
@pytest.mark.parametrize("gone", [0.0, 0.9])
def test_who_finds_no_room_comes_back_when_there_is_some(room: int, gone: float) -> None:
    """A long queue for one destination, of which some are gone meanwhile: in order, each once, and no slot is idle."""
    lanes: Lanes[int] = Lanes(Slots(10), room)
    chance, offers, began = random.Random(3), 0, []
    for number in range(500):
        lanes.offer("a", 3, number, "", (number,))
    deleted = {number for number in range(room, 500) if chance.random() < gone}
    running: list[Turn[int]] = []
    while True:
        while True:
            while (turn := lanes.next(0.0)) is not None:
                running.append(turn)
                began.append(turn.job)
            if not (tickets := lanes.come_back()):
                break
            for (number,) in tickets:
                offers += 1
                if number not in deleted:
                    assert lanes.offer("a", 3, number, "", (number,))
        if not running:
            break
        assert len(running) == min(3, 500 - len(deleted) - len(began) + len(running))
        lanes.done(running.pop(0))
    assert began == [number for number in range(500) if number not in deleted]
    assert offers == 500 - room and not lanes._lanes


def test_a_zone_of_thousands_of_hosts_does_not_hold_the_slot() -> None:
    asked: list[str] = []

    class Slow:
        async def query(self, name: str, record_type: str) -> Answer:
            if record_type == "MX":
                return Answer((), tuple((n, f"mx{n}.example.org") for n in range(3000)), False, 60.0)
            asked.append(name)
            raise ResolutionFailed("no answer in time", "TRY_AGAIN")

    plan = asyncio.run(find_targets(Slow(), "example.org", 25, TargetRules(), random.Random(1), use_mx=True))
    assert plan.problem is not None and plan.problem.code == 451
    assert len(set(asked)) == 20 and "2980 more hosts" in plan.skipped
