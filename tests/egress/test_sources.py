"""The choice of a source: what a script names, families, suspensions, and the record of what was looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hslpy.clock import ManualClock
from hslpy.egress.rules.sources import Source, Sources, UnknownSource, choose_source, rotated
from hslpy.errors import OperatorError
from hslpy.mail.verdict import SourceChoice

ONE, TWO, SIX = Source("netaddr:1", "192.0.2.1", "one"), Source("netaddr:2", "192.0.2.2"), Source("netaddr:6", "2001:db8::6")


def test_the_first_of_the_family_is_chosen_and_all_is_recorded() -> None:
    choice = choose_source((SIX, ONE, TWO), {"192.0.2.1": 50.0}, 4, 20.0)
    assert choice.source == TWO
    findings = [(look.source_id, look.finding) for look in choice.looks]
    assert findings == [
        ("netaddr:6", "is IPv6, the target IPv4"),
        ("netaddr:1", "suspended for 30 s"),
        ("netaddr:2", "chosen"),
    ]
    assert "netaddr:1: suspended" in choice.reason


def test_no_candidate_says_when_to_come_back() -> None:
    choice = choose_source((SIX, ONE, TWO), {"192.0.2.1": 50.0, "192.0.2.2": 40.0}, 4, 20.0)
    assert choice.source is None and choice.again_at == 40.0
    assert choose_source((SIX,), {}, 4, 0.0).again_at is None


@given(
    st.permutations([ONE, TWO, SIX]),
    st.sets(st.sampled_from(["192.0.2.1", "192.0.2.2", "2001:db8::6"])),
    st.sampled_from([4, 6]),
)
def test_never_a_suspended_one_nor_of_the_other_family(order: list[Source], down: set[str], family: int) -> None:
    choice = choose_source(order, dict.fromkeys(down, 10.0), family, 5.0)  # type: ignore[arg-type]
    usable = [s for s in order if s.family == family and s.address not in down]
    assert choice.source == (usable[0] if usable else None)


def test_rotation_is_even_and_steady() -> None:
    assert [rotated((ONE, TWO), key)[0] for key in range(4)] == [ONE, TWO, ONE, TWO]
    assert rotated((), 3) == ()


def test_names_of_scripts() -> None:
    sources = Sources((ONE, TWO), ManualClock())
    named = (SourceChoice("1"), SourceChoice("netaddr:2", helo="mine"), SourceChoice(address="198.51.100.1"))
    assert sources.resolve(named) == (ONE, Source("netaddr:2", "192.0.2.2", "mine"), Source("", "198.51.100.1"))
    assert sources.resolve([SourceChoice(address="192.0.2.1")]) == (ONE,)
    with pytest.raises(UnknownSource, match="did you mean netaddr:1"):
        sources.resolve([SourceChoice("netaddr:11")])
    with pytest.raises(UnknownSource, match="neither"):
        sources.resolve([SourceChoice(address="host.example")])


def test_suspensions_pass() -> None:
    clock = ManualClock()
    sources = Sources((ONE,), clock)
    sources.suspend("192.0.2.1", 60, "cannot be bound")
    assert sources.suspensions == {"192.0.2.1": (clock.time() + 60, "cannot be bound")}
    clock.step(-3600)  # set back, it prolongs nothing
    assert sources.suspended == {"192.0.2.1": clock.time() + 60}
    clock.advance(60)
    assert sources.suspended == {}
    sources.suspend("192.0.2.1", 60, "again")
    sources.release("192.0.2.1")
    assert sources.suspended == {}


def test_settings_are_checked() -> None:
    with pytest.raises(OperatorError, match="not an IP address"):
        Sources((Source("netaddr:1", "host"),), ManualClock())
    with pytest.raises(OperatorError, match="twice"):
        Sources((ONE, ONE), ManualClock())
